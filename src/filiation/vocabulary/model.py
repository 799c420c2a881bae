"""A vocabulary: which token each id stands for, comparable between tokenizers of different kinds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, as the bytes they stand for.

    ``tokens[id]`` is None where an id is unused. ``kind`` is ``byte_bpe``, ``sentencepiece``, ``wordpiece`` or
    ``tiktoken``; ``source`` the file it was read from.
    """

    tokens: tuple[bytes | None, ...]
    kind: str
    source: str

    def __len__(self) -> int:
        return len(self.tokens)


def shared_rows(first: Vocabulary, second: Vocabulary) -> tuple[Integers, Integers]:
    """Return the ids of the tokens both have, as two arrays of equal length, ascending in the first's ids.

    A token that one of them holds several times counts with its lowest id.
    """
    where: dict[bytes, int] = {}
    for number, token in enumerate(second.tokens):
        if token is not None:
            where.setdefault(token, number)
    mine: list[int] = []
    theirs: list[int] = []
    seen: set[bytes] = set()
    for number, token in enumerate(first.tokens):
        if token is not None and token in where and token not in seen:
            seen.add(token)
            mine.append(number)
            theirs.append(where[token])
    return np.array(mine, np.int64), np.array(theirs, np.int64)
