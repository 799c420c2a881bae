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
Ints = npt.NDArray[np.int64]


_KIND = "modeling_"  # other kinds of files (image processors) seldom declare what they were copied from
_RARE_FROM = 2  # rare structures from which a pair is kept


@dataclass(frozen=True, eq=False)
class Null:
    """What unrelated files share.

    Attributes:
        scores: best score of every file against the unrelated ones, sorted, shape (files,).
        owner, contained, rare: pairs that share rare structures: which file, its contained share, how many; shape (n,).
        pairs: number of pairs compared.
    """

    scores: Floats
    owner: Ints
    contained: Floats
    rare: Ints
    pairs: int

    def p_value(self, score: float) -> float | None:
        """Return (1 + files whose best unrelated one scores at least as high) / (1 + files); None without a corpus."""
        if not len(self.scores):
            return None
        above = len(self.scores) - int(np.searchsorted(self.scores, score, side="left"))
        return (1 + above) / (1 + len(self.scores))

    def joint(self, contained: float, rare: int) -> float | None:
        """Return the same for files with an unrelated one that holds as much and shares as many rare structures."""
        if not len(self.scores) or rare < _RARE_FROM:
            return None
        as_much = (self.contained >= contained) & (self.rare >= rare)
        return (1 + len(np.unique(self.owner[as_much]))) / (1 + len(self.scores))


def measure(index: Index) -> Null:
    """Return the null of a corpus, from the modeling files of its newest release of the largest package."""
    here = _newest(index)
    lineage = ancestors(index.documents)
    names = [stem(d.path) for d in index.documents]
    folders = [d.path.rpartition("/")[0] for d in index.documents]
    best: list[float] = []
    owner: list[int] = []
    parts: list[tuple[Floats, Ints]] = []
    pairs = 0
    for number in here:
        score, contained, rare = index.scores(index.documents[number].fingerprint())
        mine = lineage[names[number]]
        unrelated = np.array(
            [n for n in here if folders[n] != folders[number] and not mine & lineage[names[n]]], np.int64
        )
        if not len(unrelated):
            continue
        some = unrelated[rare[unrelated] >= _RARE_FROM]
        owner += [len(best)] * len(some)
        parts.append((contained[some], rare[some]))
        best.append(float(score[unrelated].max()))
        pairs += len(unrelated)
    held = np.concatenate([c for c, _ in parts]) if parts else np.zeros(0)
    many = np.concatenate([r for _, r in parts]) if parts else np.zeros(0, np.int64)
    return Null(np.sort(np.array(best)), np.array(owner, np.int64), held, many, pairs)


def _newest(index: Index) -> list[int]:
    """Return the modeling files of the newest release that has any."""
    for release in reversed(index.releases):
        here = [
            n
            for n, d in enumerate(index.documents)
            if d.repository == release.name and stem(d.path).startswith(_KIND)
        ]
        if here:
            return here
    return []
