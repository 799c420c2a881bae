"""Every built-in test keeps its promises; tests that break one are caught."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from filiation.origin import TESTS, Abstention, Outcome, Units, evalues
from filiation.origin.adversaries import ADVERSARIES
from filiation.origin.conformance import check_test
from filiation.origin.order import FixedPoints
from filiation.origin.sign import Signs
from filiation.origin.testing import ExactTest, Weights
from filiation.origin.units import signed_agreement, similarity

DRAWS = 40


@pytest.mark.parametrize("test", TESTS, ids=lambda t: t.name)
def test_built_in_tests_keep_every_promise(test: ExactTest) -> None:
    report = check_test(test, draws=DRAWS)
    assert report.passed, str(report)
    assert len(report.checks) > 40


class Broken(FixedPoints):
    """An order test with a matching of its own."""

    name = "broken"

    def measure(
        self, suspect: Units, candidate: Units, rng: np.random.Generator, weights: Weights | None = None
    ) -> Outcome | Abstention:
        s, c = self.chosen(suspect), self.chosen(candidate)
        if len(s) < 2 or len(c) < 2:
            return Abstention("too_few_units")
        hits = self.hits(s, c)
        blocks = np.unique(s.block)
        counts = [int(hits[s.block == b].sum()) for b in blocks]
        sizes = [int((s.block == b).sum()) for b in blocks]
        return Outcome(self.log_e(counts, sizes), sum(counts), float(len(blocks)), sum(sizes))

    def chosen(self, units: Units) -> Units:
        return units.alive()

    def scores(self, s: Units, c: Units) -> np.ndarray:
        return similarity(s, c) - 10.0 * (s.block[:, None] != c.block[None])

    def hits(self, s: Units, c: Units) -> np.ndarray:
        match = self.scores(s, c).argmax(axis=1)
        return (c.position[match] == s.position) & (c.block[match] == s.block)

    def log_e(self, counts: list[int], sizes: list[int]) -> float:
        return evalues.fixed_points(counts, sizes, [1.0] * len(counts))


class IdentityOnTies(Broken):
    """Linear assignment without a shuffle, on padded units too: it returns the identity where all is tied."""

    def chosen(self, units: Units) -> Units:
        return units

    def hits(self, s: Units, c: Units) -> np.ndarray:
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(self.scores(s, c), maximize=True)
        hits = np.zeros(len(s), np.bool_)
        hits[rows] = (c.position[columns] == s.position[rows]) & (c.block[columns] == s.block[rows])
        return hits


class IdentityOnLivingTies(IdentityOnTies):
    """The same on living units only: equal contents are dropped, distinct ones of equal similarity are not."""

    def chosen(self, units: Units) -> Units:
        return units.alive()


class FisherSum(Broken):
    """P(X >= k) <= 1/k! is a p-value; minus its logarithm, added up over blocks, is no e-value."""

    def log_e(self, counts: list[int], sizes: list[int]) -> float:
        return sum(math.lgamma(k + 1) for k in counts)


class ReadsIndices(Broken):
    """The matching prefers a neighbour in the file where contents say little."""

    def scores(self, s: Units, c: Units) -> np.ndarray:
        near = np.abs(s.position[:, None] - c.position[None])
        return super().scores(s, c) - 0.05 * near


class ReadsRows(Broken):
    """Ties are broken by the row that a unit happens to be stored in."""

    def hits(self, s: Units, c: Units) -> np.ndarray:
        n = min(len(s), len(c))
        match = self.scores(s, c).argmax(axis=1)
        close = np.arange(n)[np.abs(self.scores(s, c)[np.arange(n), np.arange(n)]) > 0.2]
        match[close] = close
        return (c.position[match] == s.position) & (c.block[match] == s.block)


class ReadsSigns(Broken):
    """Exact as an order test, but no sign test may follow it: it matches by the signed contents."""

    def scores(self, s: Units, c: Units) -> np.ndarray:
        signed = (
            replace(s, content=s.signed[0], sign_free=False),
            replace(c, content=c.signed[0], sign_free=False),
        )
        return super().scores(*signed)


class KeepsNoBlocks(Broken):
    """Blocks counted as one: the number of independent permutations is paid for once."""

    def log_e(self, counts: list[int], sizes: list[int]) -> float:
        return evalues.fixed_points([sum(counts)], [sum(sizes)], [1.0])


class ForgetsWeights(FixedPoints):
    """Copied blocks are counted as if they were independent."""

    name = "forgets_weights"

    def measure(
        self, suspect: Units, candidate: Units, rng: np.random.Generator, weights: Weights | None = None
    ) -> Outcome | Abstention:
        return super().measure(suspect, candidate, rng, None)


class ReadsOwnSigns(Signs):
    """The match is the unit with the largest signed agreement, so the agreement is positive."""

    name = "reads_own_signs"

    def measure(
        self, suspect: Units, candidate: Units, rng: np.random.Generator, weights: Weights | None = None
    ) -> Outcome | Abstention:
        if not suspect.signed or not candidate.signed:
            return Abstention("sign_is_no_label")
        s, c = suspect.alive(), candidate.alive()
        if not len(s) or not len(c):
            return Abstention("too_few_units")
        match = similarity(*(replace(u, content=u.signed[0], sign_free=False) for u in (s, c))).argmax(axis=1)
        values = signed_agreement(s, c, match)
        values = values[np.abs(values) > 1e-9]
        if values.size < 2:
            return Abstention("too_few_units")
        return Outcome(evalues.signs(values), int((values > 0).sum()), values.size / 2, values.size)


class CountsClonesTwice(Signs):
    """Units of equal content flip together; each is counted as a coin."""

    name = "counts_clones_twice"

    def measure(
        self, suspect: Units, candidate: Units, rng: np.random.Generator, weights: Weights | None = None
    ) -> Outcome | Abstention:
        if not suspect.signed or not candidate.signed:
            return Abstention("sign_is_no_label")
        if not len(suspect) or not len(candidate):
            return Abstention("too_few_units")
        values = signed_agreement(suspect, candidate, similarity(suspect, candidate).argmax(axis=1))
        values = values[np.abs(values) > 1e-9]
        if values.size < 2:
            return Abstention("too_few_units")
        return Outcome(evalues.signs(values), int((values > 0).sum()), values.size / 2, values.size)


class Moody(FixedPoints):
    """Not the same twice."""

    name = "moody"

    def __init__(self) -> None:
        self.calls = 0

    def measure(
        self, suspect: Units, candidate: Units, rng: np.random.Generator, weights: Weights | None = None
    ) -> Outcome | Abstention:
        self.calls += 1
        found = super().measure(suspect, candidate, rng, weights)
        return replace(found, log_e=found.log_e - self.calls) if isinstance(found, Outcome) else found


class NeverAbstains(FixedPoints):
    """Says 'no evidence' where it had nothing to look at."""

    name = "never_abstains"

    def measure(
        self, suspect: Units, candidate: Units, rng: np.random.Generator, weights: Weights | None = None
    ) -> Outcome | Abstention:
        found = super().measure(suspect, candidate, rng, weights)
        return Outcome(0.0, 0, 0.0, 0) if isinstance(found, Abstention) else found


class ClaimsSymmetry(FixedPoints):
    """A nearest match is not the same from the other side."""

    name = "claims_symmetry"
    symmetric = True


@pytest.mark.parametrize(
    ("test", "promise"),
    [
        (IdentityOnTies(), "constant_similarity"),
        (IdentityOnLivingTies(), "tied_orthogonal"),
        (IdentityOnLivingTies(), "tied_alike"),
        (FisherSum(), "enumerated/shared_contents"),
        (ReadsIndices(), "independent"),
        (ReadsRows(), "storage_order"),
        (ReadsSigns(), "reads_no_signs"),
        (KeepsNoBlocks(), "enumerated/blocks_of_two"),
        (ForgetsWeights(), "enumerated/copied_blocks"),
        (ReadsOwnSigns(), "null/independent"),
        (CountsClonesTwice(), "enumerated/clones"),
        (Moody(), "determinism"),
        (NeverAbstains(), "abstains"),
        (ClaimsSymmetry(), "symmetric"),
    ],
    ids=lambda x: type(x).__name__ if not isinstance(x, str) else x,
)
def test_broken_tests_are_caught(test: ExactTest, promise: str) -> None:
    report = check_test(test, draws=DRAWS, only=promise)
    assert not report.passed
    assert any(promise in check.name for check in report.failures), str(report)
    assert "FAIL" in str(report)


def test_only_tied_similarities_tell_on_a_matcher_that_drops_equal_units() -> None:
    def failed(test: ExactTest) -> set[str]:
        return {check.name.split("/")[1] for check in check_test(test, draws=DRAWS).failures}

    # Neither counts copied blocks once; that apart, they differ in how they break ties.
    assert failed(Broken()) == {"copied_blocks"}
    assert failed(IdentityOnLivingTies()) == {"copied_blocks", "tied_orthogonal", "tied_alike"}


@pytest.mark.parametrize("name", ["tied_orthogonal", "tied_alike"])
@pytest.mark.parametrize("kind", ["ffn", "residual"])
def test_tied_contents_are_distinct_and_equally_similar(name: str, kind: str) -> None:
    build = next(a for a in ADVERSARIES if a.name == name).build
    case = build(np.random.default_rng(1), 24, kind)
    scores = similarity(case.suspect, case.candidate)
    assert len(case.suspect.alive()) == len(case.candidate.alive()) == 24
    assert (scores == scores[0, 0]).all()
    assert len(np.unique(case.suspect.content, axis=0)) == 24


def test_something_that_is_no_test_is_named_so() -> None:
    class Nothing:
        name = "nothing"

    report = check_test(cast(ExactTest, Nothing()))
    assert [c.name for c in report.failures] == ["interface"]
    assert "measure" in report.failures[0].detail


def test_the_report_is_the_same_each_time() -> None:
    assert check_test(FixedPoints(), draws=9, seed=3, only="null/ties") == check_test(
        FixedPoints(), draws=9, seed=3, only="null/ties"
    )
