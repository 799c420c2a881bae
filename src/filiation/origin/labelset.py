"""One label set, tested: every test that understands it, averaged, as evidence records.

Tests on one label set are averaged; e-values of different label sets are multiplied in reading order (evidence
contract, section 3.6). The order in which :data:`READING_ORDER` lists the symmetries is that reading order: a test
reads only labels listed before its own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

import numpy as np

from filiation.anatomy.model import Symmetry
from filiation.evidence import Effect, Evidence, Location, RestsOn, Scale, Status, Wing
from filiation.origin import evalues
from filiation.origin.testing import Abstention, ExactTest, Outcome, Weights
from filiation.origin.units import Units

#: A test of a symmetry may read the labels of the symmetries before it, never of those after it.
READING_ORDER = (
    Symmetry.RESIDUAL_ORDER,
    Symmetry.RESIDUAL_SIGN,
    Symmetry.KV_GROUP_ORDER,
    Symmetry.QUERY_HEAD_ORDER,
    Symmetry.VALUE_ORDER,
    Symmetry.VALUE_SIGN,
    Symmetry.EXPERT_ORDER,
    Symmetry.FFN_ORDER,
    Symmetry.FFN_SIGN,
)

KIND = {
    Symmetry.RESIDUAL_ORDER: "residual",
    Symmetry.RESIDUAL_SIGN: "residual",
    Symmetry.KV_GROUP_ORDER: "kv_group",
    Symmetry.QUERY_HEAD_ORDER: "query_head",
    Symmetry.VALUE_ORDER: "value",
    Symmetry.VALUE_SIGN: "value",
    Symmetry.EXPERT_ORDER: "expert",
    Symmetry.FFN_ORDER: "ffn",
    Symmetry.FFN_SIGN: "ffn",
}

#: The effect that says as how much of a label set one of several copies counts, where that is below 1; 0 where the
#: verdict does not count it at all (:mod:`filiation.origin.counted`).
COUNTED_AS = "counted_as"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a label set belongs to: where, in which stage, and anything that sets it apart (``detail``)."""

    symmetry: Symmetry
    part: Location
    stage: str
    detail: str = ""
    candidate: int = 0
    rests_on: RestsOn = RestsOn.RANDOM

    @property
    def identity(self) -> str:
        """A stable name that encodes every parameter that changes the value."""
        words = [f"{self.symmetry}", self.part.component]
        if self.part.layer is not None:
            words.append(f"layer={self.part.layer}")
        if self.part.candidate_layer not in (None, self.part.layer):
            words.append(f"candidate_layer={self.part.candidate_layer}")
        words += [w for w in (self.detail, f"stage={self.stage}") if w]
        if self.candidate:
            words.append(f"candidate={self.candidate}")
        return "/".join(words)


@dataclass(frozen=True, slots=True)
class Tested:
    """The outcome of one label set: its e-value (natural log) and its evidence.

    ``share`` is the exponent it enters products with: below 1 where the label set is one of several copies.
    """

    subject: Subject
    log_e: float
    evidence: tuple[Evidence, ...]
    applied: bool
    matched: int | None = None
    n: int | None = None
    expected: float | None = None
    share: float = field(default=1.0)

    @property
    def log10_e(self) -> float:
        """The e-value in bans."""
        return self.log_e / evalues.LOG10


def rng_for(seed: str, identity: str) -> np.random.Generator:
    """Return the generator of one label set: fixed by the models' digests and the label set's name."""
    digest = hashlib.sha256(f"{seed}\n{identity}".encode()).digest()
    # Bytes as 32-bit words: the same seed as a list of numbers, which takes numpy far longer to read.
    return np.random.default_rng(np.frombuffer(digest, np.uint8).astype(np.uint32))


def tests_for(symmetry: Symmetry, tests: Sequence[ExactTest]) -> list[ExactTest]:
    """Return the tests that are exact under ``symmetry``."""
    labels = "sign" if symmetry.endswith("sign") else "order"
    return [t for t in tests if t.labels == labels and KIND[symmetry] in t.kinds]


def run(
    subject: Subject,
    pairs: Sequence[tuple[Units, Units]],
    tests: Sequence[ExactTest],
    seed: str,
    weights: Weights | None = None,
    share: float = 1.0,
) -> Tested:
    """Test one label set on one or several pairs of units (several views, or experts) and average.

    A pair on which no test could run counts as e = 1, so that dropping it cannot be a choice.
    """
    rng = rng_for(seed, subject.identity)
    applicable = tests_for(subject.symmetry, tests)
    unequal = any(len(s) != len(c) for s, c in pairs)
    chosen = [t for t in applicable if t.sizes in {"any", "unequal" if unequal else "equal"}]
    records, logs = [], []
    best: Outcome | None = None
    counted = False
    for test in chosen:
        outcomes = [test.measure(s, c, rng, weights) for s, c in pairs]
        ran = [o for o in outcomes if isinstance(o, Outcome)]
        if ran:
            log_e = evalues.log_mean([o.log_e if isinstance(o, Outcome) else 0.0 for o in outcomes])
            top = max(ran, key=lambda o: o.log_e)
            logs.append(log_e)
            best = top if best is None or (test.counts_units and not counted) else best
            counted = counted or test.counts_units
            records.append(_applied(subject, test, top, log_e, pairs=len(pairs), share=share))
        else:
            reasons = {o.reason for o in outcomes if isinstance(o, Abstention)}
            records.append(abstained(subject, test.name, min(reasons, default="no_units")))
    if not logs or best is None:
        return Tested(subject, 0.0, tuple(records), applied=False, share=share)
    return Tested(
        subject,
        evalues.log_mean(logs),
        tuple(records),
        applied=True,
        matched=round(best.statistic),
        n=best.n,
        expected=best.expected,
        share=share,
    )


def _applied(
    subject: Subject, test: ExactTest, outcome: Outcome, log_e: float, *, pairs: int, share: float
) -> Evidence:
    hits = outcome.statistic / outcome.n if test.counts_units else None
    effects = (Effect("share", hits, *_wilson(outcome.statistic, outcome.n)),) if hits is not None else ()
    effects += (Effect("pairs_averaged", pairs),) if pairs > 1 else ()
    # So that whoever reads the records can add them up as `combine` does.
    effects += (Effect(COUNTED_AS, share),) if share != 1.0 else ()
    return Evidence(
        id=f"origin.{test_name(subject, test.name)}/{subject.identity}",
        wing=Wing.ORIGIN,
        question=f"question.{subject.symmetry}",
        part=subject.part,
        scale=Scale.EXACT,
        test=test_name(subject, test.name),
        statistic_name=test.statistic_name,
        statistic=outcome.statistic,
        expected=outcome.expected,
        n=outcome.n,
        log10_e=log_e / evalues.LOG10,
        effect=effects,
        rests_on=subject.rests_on,
        label_set=label_set(subject),
        symmetry=str(subject.symmetry),
        candidate=subject.candidate,
        shows=f"shows.{subject.symmetry}",
        cannot_show=("cannot_show.direction", "cannot_show.shared_initialisation"),
    )


def abstained(subject: Subject, name: str, reason: str) -> Evidence:
    """Return the record of a test that did not run, with its reason (a phrase key)."""
    return Evidence(
        id=f"origin.{test_name(subject, name)}/{subject.identity}",
        wing=Wing.ORIGIN,
        question=f"question.{subject.symmetry}",
        part=subject.part,
        status=Status.NOT_APPLICABLE,
        reason=reason,
        test=test_name(subject, name),
        label_set=label_set(subject),
        symmetry=str(subject.symmetry),
        candidate=subject.candidate,
    )


def test_name(subject: Subject, name: str) -> str:
    """Return ``ffn_order``, ``ffn_order_diagonal``, ``value_sign``, ``value_sign_in_place`` ..."""
    symmetry = str(subject.symmetry)
    return symmetry if symmetry.endswith(f"_{name}") else f"{symmetry}_{name.removeprefix('sign_')}"


def label_set(subject: Subject) -> str:
    """Return the label set's name: units and labels of one model, whatever stage or view tests them."""
    part = subject.part
    where = part.component if part.layer is None else f"{part.component}/layer={part.layer}"
    return f"{where}/{subject.symmetry}"


def _wilson(hits: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share."""
    p, spread = hits / n, z * z / n
    centre = (p + spread / 2) / (1 + spread)
    half = z * math.sqrt(p * (1 - p) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def grouped(tested: Sequence[Tested], left_out: Container[str] = ()) -> dict[str, tuple[float, float]]:
    """Return, for each label set that was tested, its averaged log e-value and its share in products.

    What is left out (identities of subjects) counts as 0 in the average; a label set with nothing else is 0 with a
    share of 0.
    """
    groups: dict[str, list[Tested]] = {}
    for t in tested:
        if t.applied:
            groups.setdefault(label_set(t.subject), []).append(t)
    return {name: _averaged(members, left_out) for name, members in groups.items()}


def _averaged(members: Sequence[Tested], left_out: Container[str]) -> tuple[float, float]:
    logs = [-math.inf if t.subject.identity in left_out else t.log_e for t in members]
    log_e = evalues.log_mean(logs)
    return log_e, min(t.share for t in members) if log_e > -math.inf else 0.0


def combine(tested: Sequence[Tested], left_out: Container[str] = ()) -> float:
    """Return the log e-value of several label sets together; several views of one label set are averaged first.

    Half of the bet is on the product over all of them (each insured, so that an uninformative one costs at most
    a factor of two, and raised to its share where copies make one label set of several); the other half is
    on their mean, so that a few grafted layers among many foreign ones are still seen.

    Args:
        tested: the label sets.
        left_out: identities of subjects that are not to count in favour (:mod:`filiation.origin.counted`).
    """
    groups = list(grouped(tested, left_out).values())
    if not groups:
        return 0.0
    together = evalues.product(share * evalues.insured(log_e) for log_e, share in groups)
    return evalues.log_mean((together, evalues.log_mean([log_e for log_e, _ in groups])))
