"""From a tokenizer's spelling of a token to the bytes it stands for."""

from __future__ import annotations

import re
from functools import cache

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
SPACE_MARK = "\u2581"


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


def spelt(spelling: str, kind: str) -> bytes:
    """Return the bytes of a token of a vocabulary of ``kind``."""
    if kind == "byte_bpe":
        return from_byte_level(spelling)
    return from_sentencepiece(spelling) if kind == "sentencepiece" else spelling.encode()
