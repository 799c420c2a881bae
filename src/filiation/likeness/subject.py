"""What every published statistic is given, and the record it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from filiation.evidence import Background, Effect, Evidence, Location, RestsOn, Scale, Status, Wing
from filiation.origin.gather import Side
from filiation.origin.pairing import Pairing, Plan, TokenRows


@dataclass(frozen=True, eq=False)
class Subject:
    """Two components, their best pairing, and how much may be read (``rows`` of a matrix; None: all of it)."""

    pairing: Pairing
    plan: Plan
    tokens: TokenRows | None
    number: int
    rows: int | None
    layers: tuple[tuple[int, int], ...]

    @property
    def sides(self) -> tuple[Side, Side]:
        """Suspect and candidate in the common basis."""
        return self.pairing.suspect, self.pairing.candidate

    @property
    def component(self) -> str:
        """The component that is compared."""
        return self.pairing.suspect.component


@dataclass(frozen=True)
class Measured:
    """One statistic: a value with its background, or why there is none; ``curves`` are for the report's figure."""

    value: float | None
    n: int = 0
    reason: str | None = None
    effects: tuple[Effect, ...] = ()
    curves: tuple[Mapping[str, Any], ...] = field(default=())
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    false_positive_rate: float | None = None


class Statistic(Protocol):
    """A published similarity statistic."""

    name: str
    statistic_name: str

    @property
    def background(self) -> Background | None:
        """What unrelated pairs show, None where nobody has measured it."""
        ...

    def measure(self, subject: Subject) -> Measured:
        """Measure it on the subject's pairing."""
        ...


def record(
    statistic: Statistic, measured: Measured, subject: Subject, beside: Background | None = None
) -> Evidence:
    """Return the evidence record: calibrated where a background is known, never exact.

    Args:
        beside: a background for this pair, in place of the statistic's own.
    """
    words = [f"likeness.{statistic.name}", subject.component]
    words += [f"{k}={v}" for k, v in sorted(measured.parameters.items())]
    words += [f"candidate={subject.number}"] if subject.number else []
    background = beside or statistic.background
    if beside is None and background is not None and measured.false_positive_rate is not None:
        background = Background(
            background.description,
            background.n_pairs,
            background.quantiles,
            background.source,
            background.n_families,
            measured.false_positive_rate,
        )
    status = Status.APPLIED if measured.value is not None else Status.NOT_MEASURED
    return Evidence(
        id="/".join(words),
        wing=Wing.LIKENESS,
        question=f"question.{statistic.name}",
        part=Location(subject.component),
        status=status,
        reason=measured.reason,
        scale=Scale.CALIBRATED,
        test=statistic.name,
        statistic_name=statistic.statistic_name,
        statistic=measured.value,
        n=measured.n or None,
        effect=measured.effects,
        background=background if status is Status.APPLIED else None,
        rests_on=RestsOn.NONE,
        candidate=subject.number,
        shows=f"shows.{statistic.name}",
        cannot_show=("cannot_show.similar_recipe",),
    )


def spread_layers(pairs: Sequence[tuple[int, int]], most: int) -> tuple[tuple[int, int], ...]:
    """Return up to ``most`` layer pairs, evenly spread over depth."""
    if len(pairs) <= most:
        return tuple(pairs)
    step = (len(pairs) - 1) / (most - 1)
    return tuple(pairs[round(i * step)] for i in range(most))
