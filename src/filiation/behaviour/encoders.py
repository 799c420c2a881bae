"""Byte-pair encoders in plain Python: text to token ids, for tokenizers that are tables of tokens or of merges.

They serve short probes. What a tokenizer.json asks for beyond such tables is left to the ``tokenizers`` package
(:mod:`filiation.behaviour.encoding`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from filiation.behaviour.patterns import cut

Ids = tuple[int, ...]


class Encoder(Protocol):
    """Text to token ids, without special tokens."""

    def encode(self, texts: Sequence[str]) -> tuple[Ids, ...]:
        """Return the ids of each text.

        Raises:
            InputError: the tokenizer failed on a text, or took too long.
        """
        ...


Rank = Callable[[bytes, bytes], int | None]


def merged(symbols: list[bytes], rank: Rank) -> list[bytes]:
    """Merge neighbours, the lowest rank first and the leftmost of equals, until no pair has a rank."""
    symbols = list(symbols)
    none = 1 << 62
    ranks = [_or(rank(a, b), none) for a, b in pairwise(symbols)]
    while ranks:
        best = min(ranks)
        if best == none:
            break
        at = ranks.index(best)
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
        del ranks[at]
        if at < len(ranks):
            ranks[at] = _or(rank(symbols[at], symbols[at + 1]), none)
        if at:
            ranks[at - 1] = _or(rank(symbols[at - 1], symbols[at]), none)
    return symbols


def _or(value: int | None, other: int) -> int:
    return other if value is None else value


@dataclass(frozen=True, eq=False)
class ByteEncoder:
    """Byte-level BPE: text is cut by a pattern, each piece's bytes are merged.

    Attributes:
        ids: id by token.
        pattern: name in :data:`filiation.behaviour.patterns.PATTERNS`.
        merges: order of each pair of tokens that merges; None where the id of what comes out is the order (tiktoken).
        normal_form: Unicode normal form that is applied first, such as ``NFC``.
        whole: whether a piece that is a token is taken as it is, whatever the merges.
    """

    ids: Mapping[bytes, int]
    pattern: str
    merges: Mapping[tuple[bytes, bytes], int] | None = None
    normal_form: str | None = None
    whole: bool = True

    def encode(self, texts: Sequence[str]) -> tuple[Ids, ...]:
        """Return the ids of each text; a byte that the table lacks is left out."""
        return tuple(self._encoded(text) for text in texts)

    def _encoded(self, text: str) -> Ids:
        found: list[int] = []
        for piece in cut(_normal(text, self.normal_form), self.pattern):
            data = piece.encode("utf-8", "replace")
            is_whole = self.whole and data in self.ids
            tokens = [data] if is_whole else merged([data[i : i + 1] for i in range(len(data))], self.rank)
            found += [self.ids[token] for token in tokens if token in self.ids]
        return tuple(found)

    def rank(self, left: bytes, right: bytes) -> int | None:
        """Return the order of the merge of two tokens, None where they do not merge."""
        return self.ids.get(left + right) if self.merges is None else self.merges.get((left, right))


@dataclass(frozen=True, eq=False)
class PieceEncoder:
    """Sentencepiece BPE: the characters of the whole text are merged, the best score first.

    Attributes:
        ids: id by piece, spaces as spaces.
        order: the order of each piece, ascending from the best score.
        byte_ids: ids of the 256 byte pieces, for characters that no piece holds; empty where there are none.
        prefix: whether a space is put before the text.
        unknown: the id of what no piece holds, where there are no byte pieces.
        fixed: pieces that are cut out of the text before anything is merged, the longest first.
    """

    ids: Mapping[bytes, int]
    order: Mapping[bytes, int]
    byte_ids: tuple[int, ...] = ()
    prefix: bool = True
    unknown: int = 0
    fixed: tuple[str, ...] = ()

    def encode(self, texts: Sequence[str]) -> tuple[Ids, ...]:
        """Return the ids of each text."""
        return tuple(self._encoded(text) for text in texts)

    def _encoded(self, text: str) -> Ids:
        marked = f" {text}" if self.prefix and text else text
        found: list[int] = []
        for part in _parted(marked, self.fixed):
            if part in self.fixed:
                found.append(self.ids[part.encode()])
            else:
                found += self._pieces(part)
        return tuple(found)

    def _pieces(self, text: str) -> list[int]:
        symbols = [character.encode("utf-8", "replace") for character in text]
        found: list[int] = []
        for token in merged(symbols, self._rank):
            known = self.ids.get(token)
            if known is not None:
                found.append(known)
            elif self.byte_ids:
                found += [self.byte_ids[byte] for byte in token]
            else:
                found.append(self.unknown)
        return found

    def _rank(self, left: bytes, right: bytes) -> int | None:
        return self.order.get(left + right)


def _parted(text: str, fixed: Sequence[str]) -> list[str]:
    """Cut ``text`` at every occurrence of a fixed piece; the order of ``fixed`` decides between overlapping ones."""
    parts = [text]
    for piece in fixed:
        parts = [p for part in parts for p in ([part] if part in fixed else _split_at(part, piece))]
    return parts


def _split_at(text: str, piece: str) -> list[str]:
    if piece not in text:
        return [text]
    between = text.split(piece)
    found = [p for part in between for p in (part, piece)][:-1]
    return [p for p in found if p]


def _normal(text: str, form: str | None) -> str:
    if form == "NFC":
        return unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFKC", text) if form == "NFKC" else text
