"""From a tokenizer's spelling of a token to the bytes it stands for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

_BRACKETED = re.compile(r"\[[^\[\]\s]+\]")
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
SPACE_MARK = "\u2581"
BYTE_SPACE = "\u0120"


@cache
def byte_alphabet() -> dict[str, int]:
    """Return the character that byte-level BPE writes for each byte, inverted.

    Printable Latin-1 bytes stand for themselves; the others are counted up from code point 256.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(b): b for b in printable}
    others = (b for b in range(256) if b not in set(printable))
    alphabet.update({chr(256 + i): b for i, b in enumerate(others)})
    return alphabet


def from_byte_level(spelling: str) -> bytes:
    """Return the bytes of a byte-level BPE token; added tokens, spelt in plain text, stand for themselves."""
    alphabet = byte_alphabet()
    if all(c in alphabet for c in spelling):
        return bytes(alphabet[c] for c in spelling)
    return spelling.encode()


def from_sentencepiece(spelling: str) -> bytes:
    """Return the bytes of a sentencepiece token: ``<0x0A>`` is a byte, the low block mark is a space."""
    byte = _BYTE.fullmatch(spelling)
    return bytes([int(byte[1], 16)]) if byte else spelling.replace(SPACE_MARK, " ").encode()


def is_byte_piece(spelling: str) -> bool:
    """Return whether a sentencepiece token is a byte spelt out, as ``<0x0A>``."""
    return _BYTE.fullmatch(spelling) is not None


def from_wordpiece(spelling: str, prefix: str = "##") -> bytes:
    """Return the bytes of a WordPiece token: ``##ing`` continues a word, any other begins one after a space.

    ``[CLS]``, ``[unused7]`` and their like stand for themselves.
    """
    if prefix and spelling.startswith(prefix) and len(spelling) > len(prefix):
        return spelling[len(prefix) :].encode()
    return spelling.encode() if _BRACKETED.fullmatch(spelling) else f" {spelling}".encode()


def spelt(spelling: str, kind: str) -> bytes:
    """Return the bytes of a token of a vocabulary of ``kind``."""
    if kind == "byte_bpe":
        return from_byte_level(spelling)
    return from_sentencepiece(spelling) if kind == "sentencepiece" else from_wordpiece(spelling)


def guessed_kind(spellings: Iterable[str]) -> str:
    """Return the kind that the spellings of a vocabulary speak of: by its mark for a space."""
    for spelling in spellings:
        if SPACE_MARK in spelling:
            return "sentencepiece"
        if BYTE_SPACE in spelling:
            return "byte_bpe"
        if spelling.startswith("##") and len(spelling) > 2:
            return "wordpiece"
    return "byte_bpe"
