"""What a test on an endpoint found: its outcome, its numbers, and the evidence record it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from filiation.evidence import Effect, Evidence, Outcome


@dataclass(frozen=True, slots=True)
class ProbeTest:
    """One test of ``filiation probe``, as published under ``tests``.

    Attributes:
        name: ``same_model``, ``tokenizer``, ``output_layer``, ``derived``, ``distilled``, ``identity``,
            ``exclusive_data``, ``shared_mistakes``.
        evidence: the id of its main evidence record.
        outcome: what the data say of the relation that the test asks for.
        reason: phrase key, why it was not measured or stayed undecided.
        p: an exact p-value, where the test has one; ``log10_e`` likewise.
        effect: effect sizes with their intervals.
        smallest_effect: the smallest effect that the budget could have seen, where the outcome is undecided.
        against: the role or name of the model that it asks about; the walk fills it in.
        requests: how many requests it used.
        controls: the controls it was held against, by role or name.
        figures: what the report draws: counts, wealth, agreement, residuals. Plain JSON types.
    """

    name: str
    evidence: str
    outcome: Outcome
    reason: str | None = None
    p: float | None = None
    log10_e: float | None = None
    effect: tuple[Effect, ...] = ()
    smallest_effect: Effect | None = None
    against: str | None = None
    requests: int = 0
    controls: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Found:
    """What a test returns: its row, and every evidence record (the main one first)."""

    test: ProbeTest
    evidence: tuple[Evidence, ...]
