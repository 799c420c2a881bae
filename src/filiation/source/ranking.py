"""Rank against a dated corpus: what is rare there counts more, what everything has counts little.

The score of two files is the geometric mean of the two containments: the share of the suspect's weight that stands in
the reference, and the other way round. A feature weighs its nodes times the logarithm of how few works of the corpus
have it. A score means little alone; its rank, its margin to the next work, the structures that at most two works share,
and what unrelated files of the corpus score are kept with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filiation.source.corpus.release import Entry, Release
from filiation.source.features import Features, features
from filiation.source.prints import Counts, Hashes, Print

RARE = 2  # works of the corpus that may have a rare structure
COMMON = 0.3  # of the works have it: boilerplate, which counts nothing
_FEW = 10  # works below which nothing is called boilerplate
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Document:
    """A file that can be ranked: a file of a release, or one of a given reference (``release`` is then null)."""

    repository: str
    path: str
    work: str
    year: int | None
    released: str | None
    sources: tuple[str, ...]
    number: int
    release: Release | None
    given: Print | None = None

    def fingerprint(self) -> Print:
        """Return the file's fingerprint."""
        if self.given is not None:
            return self.given
        assert self.release is not None
        return self.release.print_of(self.number)


@dataclass(frozen=True, slots=True)
class Ranked:
    """One document with its score, the share of the suspect that it holds, and the rare structures they share."""

    document: Document
    score: float
    contained: float
    rare: int


class Index:
    """Features of all documents of a corpus, and which have them."""

    def __init__(self, releases: Sequence[Release]) -> None:
        self.releases = tuple(releases)
        self.documents: list[Document] = []
        self.siblings: dict[
            tuple[Document, frozenset[str]], float
        ] = {}  # filled by filiation.source.siblings
        self.one_work: dict[tuple[Document, Document], bool] = {}  # filled by filiation.source.judge
        hashes: list[npt.NDArray[np.uint64]] = []
        weights: list[npt.NDArray[np.int32]] = []
        for each in releases:
            for number, entry in enumerate(each.entries):
                self.documents.append(_document(each, number, entry))
                h, w = (each.features_of or _whole(each))(number)
                hashes.append(h)
                weights.append(w)
        self._fill(hashes, weights)

    def _fill(self, hashes: list[npt.NDArray[np.uint64]], weights: list[npt.NDArray[np.int32]]) -> None:
        self.number_of = {work: n for n, work in enumerate(dict.fromkeys(d.work for d in self.documents))}
        self.work_of = np.array([self.number_of[d.work] for d in self.documents], np.int64)
        self.works = len(self.number_of)
        lengths = np.array([len(h) for h in hashes], np.int64)
        every = np.concatenate(hashes) if hashes else np.zeros(0, np.uint64)
        owner = np.repeat(np.arange(len(hashes)), lengths)
        self.known, ids = np.unique(every, return_inverse=True)
        sizes = np.zeros(len(self.known))
        sizes[ids] = np.concatenate(weights) if weights else 0
        in_works = np.unique(ids * max(self.works, 1) + self.work_of[owner]) // max(self.works, 1)
        self.frequency = np.bincount(in_works, minlength=len(self.known))
        self.weight = sizes * self.rarity(self.frequency)
        order = np.argsort(ids, kind="stable")
        self._postings = owner[order]
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(ids, minlength=len(self.known)))])
        self.totals = np.bincount(owner, self.weight[ids], minlength=len(self.documents))

    def rarity(self, frequency: npt.ArrayLike) -> Floats:
        """Return the logarithm of how few works have a feature; a new one counts as one that a single work has.

        Boilerplate counts nothing.
        """
        counts = np.maximum(np.asarray(frequency, np.float64), 1)
        boilerplate = (counts > COMMON * self.works) & (self.works >= _FEW)
        return np.where(boilerplate, 0.0, np.log((max(self.works, 1) + 1) / counts))

    def look_up(self, hashes: npt.NDArray[np.uint64]) -> Ints:
        """Return the position of each feature among the known ones, or -1."""
        if not len(self.known):
            return np.full(len(hashes), -1, np.int64)
        at = np.minimum(np.searchsorted(self.known, hashes), len(self.known) - 1)
        return np.where(self.known[at] == hashes, at, -1)

    def scores(self, source: Print) -> tuple[Floats, Floats, Ints]:
        """Return score, containment of the suspect and rare shared structures for every document."""
        hashes, sizes = features(source)
        at = self.look_up(hashes)
        there = at[at >= 0]
        missing = sizes[at < 0].astype(np.float64) @ np.full(int((at < 0).sum()), float(self.rarity(1)))
        total = float(self.weight[there].sum() + missing)
        counts = self._starts[there + 1] - self._starts[there]
        spots = ranges(self._starts[there], counts)
        owners = self._postings[spots]
        n = len(self.documents)
        shared = np.bincount(owners, np.repeat(self.weight[there], counts), minlength=n)
        is_rare = np.repeat(self.frequency[there] <= RARE, counts)
        rare = np.bincount(owners[is_rare], minlength=n)
        score = shared / np.sqrt(np.maximum(self.totals * total, 1e-12))
        return np.minimum(score, 1.0), shared / max(total, 1e-12), rare

    def rank(self, source: Print, *, top: int = 5) -> list[Ranked]:
        """Return the best documents of as many works, the best first."""
        score, contained, rare = self.scores(source)
        best: dict[str, Ranked] = {}
        for at in np.argsort(-score, kind="stable")[: top * (len(self.releases) + 1)]:
            document = self.documents[int(at)]
            if score[at] > 0 and document.work not in best:
                best[document.work] = Ranked(document, float(score[at]), float(contained[at]), int(rare[at]))
        return list(best.values())[:top]

    def weights(self, hashes: Hashes, sizes: Counts) -> Floats:
        """Return the weights of features: their sizes times how few works have them."""
        at = self.look_up(hashes)
        frequency = np.where(at >= 0, self.frequency[at], 1) if len(self.known) else np.ones(len(at))
        return sizes * self.rarity(frequency)

    def among(self, hashes: Hashes, works: frozenset[str]) -> npt.NDArray[np.bool_]:
        """Return whether each feature stands in one of ``works``."""
        return self._stands(hashes, works, inside=True)

    def elsewhere(self, hashes: Hashes, works: frozenset[str]) -> npt.NDArray[np.bool_]:
        """Return whether each feature stands in a work of the corpus that is not one of ``works``."""
        return self._stands(hashes, works, inside=False)

    def _stands(self, hashes: Hashes, works: frozenset[str], *, inside: bool) -> npt.NDArray[np.bool_]:
        at = self.look_up(hashes)
        there = np.flatnonzero(at >= 0)
        counts = self._starts[at[there] + 1] - self._starts[at[there]]
        owners = self._postings[ranges(self._starts[at[there]], counts)]
        numbers = [self.number_of[work] for work in works if work in self.number_of]
        told = np.isin(self.work_of[owners], numbers) == inside
        found = np.zeros(len(hashes), np.bool_)
        found[np.repeat(there, counts)[told]] = True
        return found

    def beyond(self, source: Print, reference: Print, ancestor: Print) -> float:
        """Return the part of what two files share that a third one does not hold, by weight."""
        ours, sizes = features(source)
        shared = np.isin(ours, features(reference)[0])
        weights = self.weights(ours, sizes)
        left = shared & ~np.isin(ours, features(ancestor)[0])
        return float(weights[left].sum() / max(float(weights[shared].sum()), 1e-12))


def _whole(release: Release) -> Callable[[int], Features]:
    return lambda number: features(release.print_of(number))


def ranges(starts: Ints, counts: Ints) -> Ints:
    """Return the concatenation of ``starts[i], starts[i] + 1, ...`` of ``counts[i]`` numbers each."""
    ends = np.cumsum(counts)
    if not len(ends):
        return np.zeros(0, np.int64)
    return np.arange(ends[-1]) - np.repeat(ends - counts, counts) + np.repeat(starts, counts)


def _document(release: Release, number: int, entry: Entry) -> Document:
    return Document(
        release.name,
        entry.path,
        entry.work,
        entry.header.year,
        release.released,
        entry.sources,
        number,
        release,
    )


def ancestors(documents: Sequence[Document]) -> Mapping[str, frozenset[str]]:
    """Return for every module (last name of the path) itself and all that it declares to come from, through others."""
    direct: dict[str, set[str]] = {}
    for each in documents:
        direct.setdefault(stem(each.path), set()).update(each.sources)
    found: dict[str, frozenset[str]] = {}
    for name in direct:
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            here = waiting.pop()
            if here not in seen:
                seen.add(here)
                waiting += direct.get(here, ())
        found[name] = frozenset(seen)
    return found


def stem(path: str) -> str:
    """Return the module's own name: ``modeling_llama``."""
    return path.rpartition("/")[2].removesuffix(".py")
