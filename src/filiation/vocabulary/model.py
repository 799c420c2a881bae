"""A vocabulary: which token each id stands for, comparable between tokenizers of different kinds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, as the bytes they stand for.

    ``tokens[id]`` is None where an id is unused. ``kind`` is ``byte_bpe``, ``sentencepiece``, ``wordpiece`` or
    ``tiktoken``; ``source`` the file it was read from. ``fallback`` are the ids of byte pieces (``<0x41>``), which
    stand for the same byte as a token of text may, and are another row.
    """

    tokens: tuple[bytes | None, ...]
    kind: str
    source: str
    fallback: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.tokens)


def shared_rows(first: Vocabulary, second: Vocabulary) -> tuple[Integers, Integers]:
    """Return the ids of the tokens both have, as two arrays of equal length, ascending in the first's ids.

    A token that is held several times is paired occurrence by occurrence, in the order of ids; byte pieces are
    paired with byte pieces only. Two equal vocabularies therefore share every row, each with itself.
    """
    where = {key: number for number, key in _keyed(second)}
    pairs = [(number, where[key]) for number, key in _keyed(first) if key in where]
    mine, theirs = np.array(pairs, np.int64).reshape(-1, 2).T
    return np.ascontiguousarray(mine), np.ascontiguousarray(theirs)


def _keyed(vocabulary: Vocabulary) -> Iterator[tuple[int, tuple[bytes, bool, int]]]:
    """Yield each id with what identifies its token: the bytes, whether a byte piece, which occurrence."""
    seen: Counter[tuple[bytes, bool]] = Counter()
    for number, token in enumerate(vocabulary.tokens):
        if token is not None:
            key = (token, number in vocabulary.fallback)
            yield number, (*key, seen[key])
            seen[key] += 1
