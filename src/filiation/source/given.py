"""Files of given references, ranked beside the corpus: their features and which of them have each, looked up once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from filiation.source.features import features
from filiation.source.prints import Hashes, Print
from filiation.source.ranking import COMMON, RARE, Document, Index, Ints, Ranked, ranges

_FEW = 4  # documents that may all be versions of one work
TWIN = 0.9  # score from which a given file is taken for a work of the corpus


class Given:
    """The files of given references.

    What many of several have is no rare structure: it is the manner of one library.
    """

    def __init__(self, index: Index, documents: Sequence[Document]) -> None:
        self.index, self.documents = index, tuple(documents)
        found = [features(each.fingerprint()) for each in self.documents]
        lengths = np.array([len(hashes) for hashes, _ in found], np.int64)
        owner = np.repeat(np.arange(len(found)), lengths)
        every = np.concatenate([hashes for hashes, _ in found]) if found else np.zeros(0, np.uint64)
        self._known, ids = np.unique(every, return_inverse=True)
        counts = np.bincount(ids, minlength=len(self._known))
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._owners = owner[np.argsort(ids, kind="stable")]
        self._totals = np.array([float(index.weights(h, sizes).sum()) for h, sizes in found])
        common = counts > max(_FEW, COMMON * len(found))
        self._common = self._known[common] if len(found) > _FEW else np.zeros(0, np.uint64)
        self._twins: dict[int, str | None] = {}

    def rank(self, source: Print) -> list[Ranked]:
        """Return every file with its score, weighted by the corpus; structures are rare beside the corpus alone."""
        if not self.documents:
            return []
        hashes, sizes = features(source)
        weights = self.index.weights(hashes, sizes)
        spots, counts = self._spots(hashes)
        owners, n = self._owners[spots], len(self.documents)
        shared = np.bincount(owners, np.repeat(weights, counts), minlength=n)
        rare = np.bincount(owners[np.repeat(self._rare(hashes, RARE - 1), counts)], minlength=n)
        total = max(float(weights.sum()), 1e-12)
        score = np.minimum(shared / np.sqrt(np.maximum(self._totals, 1e-12) * total), 1.0)
        return [
            Ranked(document, float(score[at]), float(shared[at] / total), int(rare[at]))
            for at, document in enumerate(self.documents)
        ]

    def known_as(self, source: Print, ranked: Ranked) -> Ranked:
        """Return a ranked file with its rare structures counted anew where it is a work that the corpus has.

        A file of a public release that is given again is no further work.
        """
        at = self.documents.index(ranked.document)
        twin = self._twin(at)
        if twin is None:
            return ranked
        hashes, _ = features(source)
        hashes = hashes[np.isin(hashes, features(ranked.document.fingerprint())[0])]
        few = self._rare(hashes, RARE)
        of_twin = self.index.among(hashes, frozenset({twin}))
        return Ranked(
            ranked.document,
            ranked.score,
            ranked.contained,
            int((few & (of_twin | self._rare(hashes, RARE - 1))).sum()),
        )

    def _twin(self, at: int) -> str | None:
        if at not in self._twins:
            scores = self.index.scores(self.documents[at].fingerprint())[0]
            best = int(np.argmax(scores)) if len(scores) else None
            near = best is not None and scores[best] >= TWIN
            self._twins[at] = self.index.documents[best].work if near and best is not None else None
        return self._twins[at]

    def _rare(self, hashes: Hashes, most: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return which features at most ``most`` works of the corpus have and few of the given files."""
        found = self.index.look_up(hashes)
        frequency = np.zeros(len(hashes), np.int64)
        frequency[found >= 0] = self.index.frequency[found[found >= 0]]
        return (frequency <= most) & ~np.isin(hashes, self._common)

    def _spots(self, hashes: Hashes) -> tuple[Ints, Ints]:
        at = np.searchsorted(self._known, hashes)
        there = at < len(self._known)
        there[there] = self._known[at[there]] == hashes[there]
        counts = np.zeros(len(hashes), np.int64)
        counts[there] = self._starts[at[there] + 1] - self._starts[at[there]]
        return ranges(self._starts[at[there]], counts[there]), counts
