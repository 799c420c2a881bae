"""The passages that the two activation methods read: sentences of the documentation that every CPython brings.

The papers use TruthfulQA (REEF) and WikiText-103 (MATCH). Neither is here; both methods are defined for any text that
the models can read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.fingerprints.subject import CannotTestError, Index, Subject, shared_rows

FEWEST, SHORTEST, LONGEST = 32, 40, 160


def sentences(count: int, *, seed: int = 1) -> list[str]:
    """Return sentences of 40 to 160 characters out of ``pydoc_data.topics``, drawn without replacement."""
    from pydoc_data.topics import topics

    text = (" ".join(topics[name].split()) for name in sorted(topics))
    found = [s for topic in text for s in re.split(r"(?<=[.!?])\s+", topic) if SHORTEST <= len(s) <= LONGEST]
    order = np.random.default_rng(seed).permutation(len(found))[:count]
    return [found[place] for place in order]


def rows(one: Subject, other: Subject, count: int) -> list[tuple[Index, Index]]:
    """Return each passage as embedding rows of both models, cut into the same tokens for both.

    The second model's tokenizer cuts; a passage with a token that the first model does not have is left out.

    Raises:
        CannotTestError: neither model brings a tokenizer.json, or fewer than 32 passages remain.
    """
    mine, theirs = shared_rows(one, other)
    by_other = _has_tokenizer(other)
    tokenizer = _tokenizer(other if by_other else one)
    known, wanted = (theirs, mine) if by_other else (mine, theirs)
    match = dict(zip(known.tolist(), wanted.tolist(), strict=True))
    pairs: list[tuple[Index, Index]] = []
    for text in sentences(count):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if ids and all(i in match for i in ids):
            cut = np.array(ids, dtype=np.int64), np.array([match[i] for i in ids], dtype=np.int64)
            pairs.append((cut[1], cut[0]) if by_other else cut)
    if len(pairs) < min(FEWEST, count):
        raise CannotTestError("the vocabularies share too few tokens to read the same text")
    return pairs


def rows_each(one: Subject, other: Subject, count: int) -> list[tuple[Index, Index]]:
    """Return each passage as embedding rows of both models, cut by each model's own tokenizer.

    A model that brings none reads what the other's tokenizer cuts, as :func:`rows` has it.

    Raises:
        CannotTestError: see :func:`rows`.
    """
    if not (_has_tokenizer(one) and _has_tokenizer(other)):
        return rows(one, other, count)
    found: list[tuple[Index, Index]] = []
    pair = [(_tokenizer(model), len(model.need("embedding"))) for model in (one, other)]
    for text in sentences(count):
        cut = [np.array(t.encode(text, add_special_tokens=False).ids, dtype=np.int64) for t, _ in pair]
        if all(len(ids) and ids.max() < size for ids, (_, size) in zip(cut, pair, strict=True)):
            found.append((cut[0], cut[1]))
    if len(found) < min(FEWEST, count):
        raise CannotTestError("the tokenizers do not fit the embeddings")
    return found


def _has_tokenizer(model: Subject) -> bool:
    return "tokenizer.json" in _names(model)


def _names(model: Subject) -> set[str]:
    opened = model.anatomy.checkpoint
    return {file.name for file in opened.files} | set(opened.side_files)


def _tokenizer(model: Subject) -> Any:
    from tokenizers import Tokenizer

    if not _has_tokenizer(model):
        raise CannotTestError("neither model brings a tokenizer.json")
    data = model.anatomy.checkpoint.read_file("tokenizer.json")
    return Tokenizer.from_str(bytes(data).decode("utf-8"))


@dataclass(frozen=True, eq=False)
class Batch:
    """Passages of about one length, filled up on the right with row 0.

    A model that looks back only does not see what stands to the right of a token, so the filling changes nothing.

    Attributes:
        places: which passages these are, (batch,).
        tokens: their embedding rows, (batch, longest).
        lengths: how many of them are the passage's own, (batch,).
    """

    places: Index
    tokens: Index
    lengths: Index

    @property
    def own(self) -> npt.NDArray[np.bool_]:
        """Which positions are the passages' own, (batch, longest)."""
        return np.arange(self.tokens.shape[1])[None] < self.lengths[:, None]


def batches(passages: Sequence[Index], size: int = 50) -> list[Batch]:
    """Return the passages in batches, shortest first."""
    order = sorted(range(len(passages)), key=lambda place: len(passages[place]))
    found: list[Batch] = []
    for start in range(0, len(order), size):
        places = order[start : start + size]
        lengths = np.array([len(passages[place]) for place in places], dtype=np.int64)
        tokens = np.zeros((len(places), int(lengths.max())), dtype=np.int64)
        for row, place in enumerate(places):
            tokens[row, : lengths[row]] = passages[place]
        found.append(Batch(np.array(places, dtype=np.int64), tokens, lengths))
    return found
