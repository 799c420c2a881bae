"""Room likeness: published similarity statistics, each beside what it shows on unrelated pairs.

People will ask for them, so they are computed and put in their place: a similarity statistic has no null
distribution that holds for models of one recipe, and none of them moves the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from filiation.errors import BudgetError
from filiation.evidence import Background, Evidence
from filiation.likeness.cka import UnbiasedCka
from filiation.likeness.embeddings import EmbeddingGeometry
from filiation.likeness.gains import NormCorrelation
from filiation.likeness.measured import background
from filiation.likeness.neurons import NeuronMatch
from filiation.likeness.sigma import SigmaCurve
from filiation.likeness.spectra import Spectra
from filiation.likeness.subject import Measured, Statistic, Subject, record, spread_layers
from filiation.origin.examine import Examination
from filiation.origin.pairing import Plan, TokenRows

STATISTICS: tuple[Statistic, ...] = (
    SigmaCurve(),
    NormCorrelation(),
    Spectra(),
    UnbiasedCka(),
    NeuronMatch(),
    EmbeddingGeometry(),
)

#: Rows of a matrix that a sampled comparison reads for a standard deviation (an error of about 0.6 % for 2,048
#: columns), and the most layers that are decomposed.
SAMPLED_ROWS = 8
MOST_LAYERS = 6
#: What a sampled comparison measures, and what is left where every read is a request.
SAMPLED = frozenset({"sigma_curve", "norm_correlation", "neuron_match", "embedding_geometry"})
FRUGAL = frozenset({"norm_correlation", "neuron_match"})
#: Whose published background is no distribution over trained models (none, one pair, a simulation): what filiation
#: measured itself stands in its place.
UNPUBLISHED = frozenset({"norm_correlation", "neuron_match", "embedding_geometry"})
#: What reads matrices that no other step reads again, and does not keep them.
UNREMEMBERED = frozenset({"sigma_curve"})


@dataclass(frozen=True)
class Likeness:
    """The published statistics of one pair: records, and the curves the report draws."""

    evidence: tuple[Evidence, ...]
    curves: tuple[Mapping[str, Any], ...]


def measure(
    examination: Examination | None, plan: Plan, tokens: TokenRows | None, *, full: bool, number: int
) -> Likeness:
    """Measure every published statistic on the best pairing of a component; what cannot be measured says why."""
    best = None if examination is None else examination.best
    if best is None:
        return Likeness((), ())
    subject = Subject(
        best.pairing,
        plan,
        tokens,
        number,
        None if plan.whole or full else SAMPLED_ROWS,
        spread_layers(best.pairing.layers, MOST_LAYERS if plan.whole or full else 2),
    )
    beside = full and not plan.whole
    outcomes = list(zip(STATISTICS, _side_by_side(subject) if beside else _in_turn(subject), strict=True))
    return Likeness(
        tuple(record(s, m, subject, _beside(s, m, subject)) for s, m in outcomes),
        tuple({**curve, "number": number} for _, m in outcomes for curve in m.curves),
    )


def _beside(statistic: Statistic, measured: Measured, subject: Subject) -> Background | None:
    own = statistic.name in UNPUBLISHED
    return background(statistic.name, subject, measured.value) if own else None


def _in_turn(subject: Subject) -> list[Measured]:
    return [_affordable(s, subject) for s in STATISTICS]


def _side_by_side(subject: Subject) -> list[Measured]:
    """Measure on large models what reads around the sides' memory of what was read, while the others use that.

    The memory is one thread's, so what it holds, and what is read once more, is the same at every run.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, thread_name_prefix="filiation-likeness") as pool:
        apart = {s.name: pool.submit(_affordable, s, subject) for s in STATISTICS if s.name in UNREMEMBERED}
        found = {s.name: _affordable(s, subject) for s in STATISTICS if s.name not in UNREMEMBERED}
        found |= {name: future.result() for name, future in apart.items()}
    return [found[s.name] for s in STATISTICS]


def _affordable(statistic: Statistic, subject: Subject) -> Measured:
    """Measure, unless whole matrices would have to be read for it: a sample's bytes go to the exact tests."""
    if subject.plan.budget is not None and statistic.name not in FRUGAL:
        return Measured(None, reason="kept_for_exact_tests")
    if subject.rows is not None and statistic.name not in SAMPLED:
        return Measured(None, reason="needs_full_read")
    try:
        with np.errstate(all="ignore"):  # what comes of constant matrices is told below
            measured = statistic.measure(subject)
    except BudgetError:
        return Measured(None, reason="budget_spent")
    numbers = [e.value for e in measured.effects]
    numbers += [] if measured.value is None else [measured.value]
    return measured if all(math.isfinite(x) for x in numbers) else Measured(None, reason="nothing_varies")


__all__ = ["STATISTICS", "Likeness", "Statistic", "Subject", "measure"]
