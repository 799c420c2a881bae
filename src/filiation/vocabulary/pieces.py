"""Vocabularies in sentencepiece's tokenizer.model and in tiktoken's rank files."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace

from filiation.errors import CorruptCheckpointError
from filiation.vocabulary.huggingface import MOST_TOKENS
from filiation.vocabulary.model import Vocabulary
from filiation.vocabulary.spelling import from_sentencepiece

_TYPE_BYTE = 6
FAIRSEQ = (b"<s>", b"<pad>", b"</s>", b"<unk>")
"""What stands first in the ids of models that came from fairseq (XLM-R, mBART), whatever the pieces' order."""


def from_sentencepiece_model(data: bytes, file: str = "tokenizer.model") -> Vocabulary:
    """Return the pieces of a sentencepiece model, in the order of their ids.

    The file is a protobuf message whose field 1 repeats ``{1: piece, 2: score, 3: type}``; nothing else is looked at.

    Raises:
        CorruptCheckpointError: the bytes are not such a message.
    """
    tokens: list[bytes | None] = []
    fallback: set[int] = set()
    for number, value in _fields(data, file):
        if number == 1 and isinstance(value, bytes):
            inner = dict(_fields(value, file))
            piece = inner.get(1)
            if inner.get(3) == _TYPE_BYTE:
                fallback.add(len(tokens))
            text = piece.decode("utf-8", "replace") if isinstance(piece, bytes) else ""
            tokens.append(from_sentencepiece(text) if text else None)
    if not tokens or len(tokens) > MOST_TOKENS:
        raise _broken(file, f"It holds {len(tokens)} pieces.")
    return Vocabulary(tuple(tokens), "sentencepiece", file, frozenset(fallback))


def from_fairseq_model(data: bytes, file: str = "sentencepiece.bpe.model") -> Vocabulary:
    """Return the tokens of XLM-R's and mBART's sentencepiece.bpe.model under the ids those models use.

    The pieces' own three special ones are replaced by fairseq's four, so that every other id is one higher.
    """
    pieces = from_sentencepiece_model(data, file)
    if pieces.tokens[:3] != (b"<unk>", b"<s>", b"</s>"):
        return pieces
    moved = frozenset(number + 1 for number in pieces.fallback)
    return replace(pieces, tokens=(*FAIRSEQ, *pieces.tokens[3:]), fallback=moved)


def _fields(data: bytes, file: str) -> list[tuple[int, int | bytes]]:
    """Return ``(field number, value)`` of one protobuf message; fixed-size values come as bytes."""
    found: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(data):
        key, at = _varint(data, at, file)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at, file)
            found.append((key >> 3, value))
            continue
        size, at = _varint(data, at, file) if wire == 2 else ({1: 8, 5: 4}.get(wire, -1), at)
        if size < 0 or at + size > len(data):
            raise _broken(file, "A field reaches beyond the end of its message.")
        found.append((key >> 3, data[at : at + size]))
        at += size
    return found


def _varint(data: bytes, at: int, file: str) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise _broken(file, "A number does not end.")


def from_tiktoken(data: bytes, file: str) -> Vocabulary:
    """Return the tokens of a tiktoken rank file: lines of base64 and rank.

    Raises:
        CorruptCheckpointError: a line is not of that form.
    """
    ranks: dict[int, bytes] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[int(rank)] = base64.b64decode(token, validate=True)
        except (ValueError, binascii.Error) as error:
            raise _broken(file, f"Line {number} is not base64 and a rank.") from error
    if not ranks or min(ranks) < 0 or max(ranks) >= MOST_TOKENS:
        raise _broken(file, f"It holds {len(ranks)} usable ranks.")
    return Vocabulary(tuple(ranks.get(i) for i in range(max(ranks) + 1)), "tiktoken", file)


def _broken(file: str, reason: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        "A tokenizer file cannot be read.",
        file=file,
        reason=reason,
        next_step="Re-download the file, or remove it: tokens are then compared by id.",
    )
