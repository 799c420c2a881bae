"""What files score that have nothing to do with one another: the empirical null of a corpus.

For every file of the corpus the best score against all files with which it shares no declared ancestor: no statement
``Copied from``, no generated file, no import leads from both to a third. Kinship that nobody declared stays in, so the
null is on the careful side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filiation.source.ranking import Index, ancestors, stem

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Null:
    """Sorted best scores and best numbers of rare shared structures of unrelated files; ``pairs`` compared."""

    scores: Floats
    rare: Floats
    pairs: int

    def p_value(self, score: float) -> float | None:
        """Return (1 + files whose best unrelated one scores at least as high) / (1 + files); None without a corpus."""
        if not len(self.scores):
            return None
        above = len(self.scores) - int(np.searchsorted(self.scores, score, side="left"))
        return (1 + above) / (1 + len(self.scores))


def measure(index: Index, *, step: int = 1) -> Null:
    """Return the null of a corpus, from every ``step``-th file of its newest release."""
    newest = index.releases[-1].name if index.releases else ""
    lineage = ancestors(index.documents)
    names = [stem(d.path) for d in index.documents]
    here = [n for n, d in enumerate(index.documents) if d.repository == newest]
    best: list[float] = []
    most: list[int] = []
    pairs = 0
    for number in here[::step]:
        score, _, rare = index.scores(index.documents[number].fingerprint())
        mine = lineage[names[number]]
        unrelated = [
            n for n in here if index.work_of[n] != index.work_of[number] and not mine & lineage[names[n]]
        ]
        if unrelated:
            best.append(float(score[unrelated].max()))
            most.append(int(rare[unrelated].max()))
            pairs += len(unrelated)
    return Null(np.sort(np.array(best)), np.sort(np.array(most, np.float64)), pairs)
