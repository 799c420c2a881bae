"""Whether a test keeps what an exact test promises: the public suite for a test that was written elsewhere.

A test is exact when its e-value has mean at most 1 over the arrangements of the suspect's labels that H0 makes equally
likely, whatever else the two models share. :func:`check_test` draws such arrangements for pairs that try to
mislead (:mod:`filiation.origin.adversaries`), goes through all of them where the units are few, and looks for what
the test may not read. It cannot prove exactness; a failure is a counter-example.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from filiation.origin.adversaries import ADVERSARIES, SIGN_FREE, Adversary, arrangements, flipped
from filiation.origin.testing import KINDS_WITH_ORDER, Abstention, ExactTest, Outcome
from filiation.origin.units import Units, relabelled

#: Levels at which the false-positive rate is looked at, and how unlikely a chance failure of one check is.
LEVELS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001)
CHANCE = 1e-7
#: E-values are cut here before their mean is taken, so that its error can be estimated.
CAP = 100.0
UNITS = 24
#: Pairs whose arrangements are all gone through.
PAIRS = 6


@dataclass(frozen=True, slots=True)
class Check:
    """One promise: its name, whether it was kept, and the figures."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class ConformanceReport:
    """What the suite found out about one test."""

    test: str
    checks: tuple[Check, ...]
    draws: int
    seed: int

    @property
    def passed(self) -> bool:
        """Whether every promise was kept."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The promises that were broken."""
        return tuple(c for c in self.checks if not c.passed)

    def __str__(self) -> str:
        found = [f"{'ok  ' if c.passed else 'FAIL'} {c.name}: {c.detail}" for c in self.checks]
        return "\n".join(
            [f"{self.test}: {len(self.checks) - len(self.failures)} of {len(self.checks)} kept", *found]
        )


def check_test(
    test: ExactTest, *, draws: int = 200, seed: int = 0, only: str | None = None
) -> ConformanceReport:
    """Put a test through the conformance suite.

    Args:
        test: the test; see :class:`~filiation.origin.testing.ExactTest`.
        draws: arrangements drawn for each adversary. More find smaller excesses.
        seed: fixes every draw; the report is the same each time.
        only: run the checks whose name contains this, to look into a failure.

    Example:
        >>> from filiation.origin import FixedPoints
        >>> check_test(FixedPoints(), draws=20, only="shared_contents").passed
        True
    """
    checks = [_interface(test)]
    if checks[0].passed:
        bench = _Bench(test, draws, seed)
        checks += [check(bench) for name, check in _promises(bench) if only is None or only in name]
    return ConformanceReport(str(getattr(test, "name", type(test).__name__)), tuple(checks), draws, seed)


@dataclass(frozen=True, slots=True)
class _Bench:
    """The test, and how to run it; an abstention counts as e = 1."""

    test: ExactTest
    draws: int
    seed: int

    def rng(self, *words: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *words])

    def measure(
        self, suspect: Units, candidate: Units, seed: int = 0, adversary: Adversary | None = None
    ) -> Outcome | Abstention:
        weights = None if adversary is None else adversary.weights
        return self.test.measure(suspect, candidate, self.rng(7, seed), weights)

    def log_e(
        self, suspect: Units, candidate: Units, seed: int = 0, adversary: Adversary | None = None
    ) -> float:
        found = self.measure(suspect, candidate, seed, adversary)
        return found.log_e if isinstance(found, Outcome) else 0.0

    def kinds(self) -> list[str]:
        """One kind with contents that do not flip and one with contents that do, as far as the test takes them."""
        plain = sorted(self.test.kinds - SIGN_FREE)
        free = sorted(self.test.kinds & SIGN_FREE)
        return plain[:1] + free[:1]


_Promise = tuple[str, Callable[["_Bench"], Check]]


def _promises(bench: _Bench) -> Iterator[_Promise]:
    """Yield every promise by name, the cheap ones first."""
    yield "determinism", _determinism
    yield "abstains", _abstains
    yield "outcomes", _runs_on_kinds
    yield "storage_order", _storage_order
    if bench.test.labels == "order":
        yield "reads_no_signs", _reads_no_signs
    if bench.test.symmetric:
        yield "symmetric", _symmetric
    for adversary in ADVERSARIES:
        for kind in bench.kinds():
            for manner, check in (("null", _null_rate), ("enumerated", _every_arrangement)):
                name = f"{manner}/{adversary.name}/{kind}"
                yield name, partial(check, adversary=adversary, kind=kind, name=name)


def _interface(test: object) -> Check:
    wanted = ("name", "labels", "kinds", "sizes", "symmetric", "statistic_name", "counts_units", "measure")
    missing = [w for w in wanted if not hasattr(test, w)]
    wrong = []
    if isinstance(test, ExactTest):
        wrong += ["labels"] if test.labels not in {"order", "sign"} else []
        wrong += ["sizes"] if test.sizes not in {"equal", "unequal", "any"} else []
        wrong += ["kinds"] if not test.kinds or test.kinds - KINDS_WITH_ORDER else []
    detail = (
        f"missing: {missing}; not understood: {wrong}" if missing or wrong else "all attributes are there"
    )
    return Check("interface", not missing and not wrong, detail)


def _pair(bench: _Bench, name: str, kind: str, word: int) -> tuple[Units, Units]:
    case = next(a for a in ADVERSARIES if a.name == name).build(bench.rng(1, word), UNITS, kind)
    return case.suspect, case.candidate


def _sized(bench: _Bench) -> str:
    """The plain structure of the sizes that the test is for."""
    return "unequal_sizes" if bench.test.sizes == "unequal" else "shared_contents"


def _determinism(bench: _Bench) -> Check:
    for kind in bench.kinds():
        suspect, candidate = _pair(bench, _sized(bench), kind, 0)
        before = [u.content.tobytes() + u.position.tobytes() for u in (suspect, candidate)]
        first, second = (bench.measure(suspect, candidate) for _ in range(2))
        if first != second:
            return Check("determinism", False, f"two runs with one seed differ: {first} and {second}")
        if before != [u.content.tobytes() + u.position.tobytes() for u in (suspect, candidate)]:
            return Check("determinism", False, "the test wrote into its input")
    return Check("determinism", True, "equal input and seed give the equal outcome")


def _abstains(bench: _Bench) -> Check:
    kind = bench.kinds()[0]
    suspect, candidate = _pair(bench, _sized(bench), kind, 0)
    nothing = np.zeros(0, np.int64)
    dead = replace(
        suspect, content=np.zeros_like(suspect.content), signed=tuple(0 * s for s in suspect.signed)
    )
    cases = {
        "no units": (suspect.take(nothing), candidate),
        "no units of the candidate": (suspect, candidate.take(nothing)),
        "zero units only": (dead, candidate),
    }
    if bench.test.labels == "sign":
        cases["no signed contents"] = (replace(suspect, signed=()), replace(candidate, signed=()))
    for name, (s, c) in cases.items():
        found = bench.measure(s, c)
        if not isinstance(found, Abstention) or not found.reason:
            return Check("abstains", False, f"{name}: expected an abstention with a reason, got {found}")
    return Check("abstains", True, f"with a reason on {', '.join(cases)}")


def _runs_on_kinds(bench: _Bench) -> Check:
    for kind in sorted(bench.test.kinds):
        found = bench.measure(*_pair(bench, _sized(bench), kind, 0))
        if isinstance(found, Outcome) and not _sound(found):
            return Check("outcomes", False, f"{kind}: not a finite outcome: {found}")
    return Check("outcomes", True, f"finite on {', '.join(sorted(bench.test.kinds))}")


def _sound(outcome: Outcome) -> bool:
    """Whether the numbers may stand in a record; an e-value may be 0 (log e of minus infinity)."""
    finite = all(math.isfinite(x) for x in (outcome.statistic, outcome.expected))
    return finite and outcome.log_e < math.inf and outcome.n >= 0


def _storage_order(bench: _Bench) -> Check:
    """The position is what a unit carries, not the row it is handed over in."""
    for kind in bench.kinds():
        suspect, candidate = _pair(bench, _sized(bench), kind, 0)
        plain = bench.log_e(suspect, candidate)
        rng = bench.rng(2)
        mixed = [u.take(rng.permutation(len(u))) for u in (suspect, candidate)]
        other = bench.log_e(mixed[0], mixed[1])
        if not math.isclose(plain, other, rel_tol=1e-6, abs_tol=1e-6):
            return Check("storage_order", False, f"{kind}: log e {plain:.6g}, with rows mixed {other:.6g}")
    return Check("storage_order", True, "rows may come in any order")


def _reads_no_signs(bench: _Bench) -> Check:
    """A sign test may follow an order test only if the order test did not read the signs."""
    rng = bench.rng(3)
    for kind in bench.kinds():
        suspect, candidate = _pair(bench, _sized(bench), kind, 0)
        plain = bench.log_e(suspect, candidate)
        signs = rng.choice(np.array([-1, 1], np.float32), len(suspect))
        other = bench.log_e(flipped(suspect, signs), candidate)
        if plain != other:
            return Check(
                "reads_no_signs", False, f"{kind}: log e {plain:.6g}, with signs drawn anew {other:.6g}"
            )
    return Check("reads_no_signs", True, "signs drawn anew leave an order test as it is")


def _symmetric(bench: _Bench) -> Check:
    for kind in bench.kinds():
        for word in range(5):
            suspect, candidate = _pair(bench, "independent", kind, word)
            there, back = bench.log_e(suspect, candidate), bench.log_e(candidate, suspect)
            if not math.isclose(there, back, rel_tol=1e-6, abs_tol=1e-6):
                return Check(
                    "symmetric", False, f"{kind}: log e {there:.6g} one way and {back:.6g} the other"
                )
    return Check("symmetric", True, "the same both ways")


def _null_rate(bench: _Bench, *, adversary: Adversary, kind: str, name: str) -> Check:
    """Draw arrangements of many pairs: e-values exceed 1/a at most a share a of the time, and have mean at most 1."""
    logs = np.zeros(bench.draws)
    for draw in range(bench.draws):
        rng = bench.rng(4, draw)
        case = adversary.build(rng, UNITS, kind)
        suspect = case.expand(relabelled(case.suspect, rng))
        logs[draw] = bench.log_e(suspect, case.candidate, draw, adversary)
    if np.isnan(logs).any() or np.isposinf(logs).any():
        return Check(name, False, "an e-value is infinite or not a number")
    for level in LEVELS:
        hits = int((logs >= -math.log(level) - 1e-9).sum())
        if hits > _most(bench.draws, level):
            return Check(name, False, f"e >= {1 / level:g} in {hits} of {bench.draws} draws")
    cut = np.minimum(np.exp(np.minimum(logs, 50.0)), CAP)
    return _mean_check(name, cut, f"of {bench.draws} draws, cut at {CAP:g}")


def _most(draws: int, level: float) -> int:
    """Return the number of hits that chance exceeds with probability below :data:`CHANCE`."""
    from scipy.stats import binom

    return int(binom.isf(CHANCE, draws, level))


def _mean_check(name: str, e_values: npt.NDArray[np.float64], of_what: str) -> Check:
    mean = float(e_values.mean())
    error = float(e_values.std(ddof=1) / math.sqrt(len(e_values))) if len(e_values) > 1 else 0.0
    return Check(name, mean <= 1 + 5 * error + 1e-6, f"mean e {mean:.4f} +- {error:.4f} {of_what}")


def _every_arrangement(bench: _Bench, *, adversary: Adversary, kind: str, name: str) -> Check:
    """Go through all arrangements of a few units; what is left to chance is how the test breaks ties."""
    means: list[float] = []
    for draw in range(PAIRS):
        case = adversary.build(bench.rng(5, draw), adversary.smallest, kind)
        every = arrangements(case.suspect, bench.test.labels)
        logs = [bench.log_e(case.expand(s), case.candidate, draw, adversary) for s in every]
        means.append(float(np.exp(np.array(logs)).mean()))
    return _mean_check(name, np.array(means), f"over all arrangements of {adversary.smallest} units")
