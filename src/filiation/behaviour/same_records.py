"""What the test "same model?" concludes from what it saw, and the records it becomes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filiation.behaviour.agreement import rate
from filiation.behaviour.dilution import Prompt, smallest_share
from filiation.behaviour.permutation import TwoSample
from filiation.behaviour.recording import applied, share_row
from filiation.behaviour.records import Found, ProbeTest
from filiation.evidence import Effect, Evidence, Outcome, Place

if TYPE_CHECKING:
    from filiation.behaviour.same_model import Setting

NAME = "same_model"
_HALF = 0.5
_POINTS = 200


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt's answers: the reference's, the suspect's, the reference's second one, the controls'.

    ``again`` is ``None`` in the further part, where only the bet goes on.
    """

    cell: str
    reference: str
    suspect: str
    again: str | None
    controls: Mapping[str, str]
    request: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen.

    Attributes:
        pairs: every prompt that all endpoints answered.
        exact: the permutation test on the number of prompts fixed beforehand; ``None`` where asking stopped earlier.
        distance: the same on all pairs, for the effect.
        margin: the reference against its own second answers.
        crossed: at which pair the bet won.
        log10_wealth, trail: the bet's wealth at its end and after each pair; ``log_best`` its largest, natural.
        alike: per control (``""`` without one) the decimal log-wealth for the same model and its number of prompts.
    """

    pairs: tuple[Pair, ...]
    requests: int
    failures: Mapping[str, int]
    exhausted: bool
    distance: TwoSample
    exact: TwoSample | None
    margin: TwoSample
    crossed: int | None
    log10_wealth: float
    log_best: float
    trail: tuple[float, ...]
    alike: Mapping[str, tuple[float, int]]


@dataclass(frozen=True, slots=True)
class _Judgement:
    outcome: Outcome
    reason: str | None
    p: float
    margin: float
    alike: float


def found(setting: Setting, facts: Facts) -> Found:
    """Return the outcome with its records, the one that carries it first."""
    smallest = None if facts.crossed else _smallest(setting, facts)
    verdict = _judge(setting, facts, smallest)
    records = [_betting(setting, facts), _permutation(setting, facts), _alike(setting, facts, verdict.alike)]
    if verdict.outcome is Outcome.SUPPORTED:
        records = [records[2], *records[:2]]
    carries = {Outcome.SUPPORTED: verdict.alike, Outcome.CONTRADICTED: facts.log10_wealth}
    test = ProbeTest(
        name=NAME,
        evidence=records[0].id,
        outcome=verdict.outcome,
        reason=verdict.reason,
        p=verdict.p,
        log10_e=carries.get(verdict.outcome),
        effect=_effects(facts, verdict.margin),
        smallest_effect=smallest,
        against=setting.reference,
        requests=facts.requests,
        controls=setting.controls,
        figures=_figures(setting, facts, verdict),
    )
    return Found(test, tuple(records))


def _judge(setting: Setting, facts: Facts, smallest: Effect | None) -> _Judgement:
    """Apply the rule of docs/probe/same-model.md. Either side of the level is half of it: two tests may reject."""
    by_bet = min(1.0, math.exp(-facts.log_best))
    by_permutation = facts.exact.p if facts.exact is not None else 1.0
    p = min(1.0, 2.0 * min(by_bet, by_permutation))
    margin = max(0.0, facts.margin.distance) if setting.second is not None else 0.0
    alike = min(log10 for log10, _ in facts.alike.values())

    def as_(outcome: Outcome, reason: str | None = None) -> _Judgement:
        return _Judgement(outcome, reason, p, margin, alike)

    if setting.second is None and facts.margin.p <= setting.alpha:
        return as_(Outcome.UNDECIDED, "reference_unstable")
    if p <= setting.alpha:
        beyond = facts.distance.distance > margin
        return as_(Outcome.CONTRADICTED) if beyond else as_(Outcome.UNDECIDED, "within_margin")
    if (
        smallest is None or smallest.value > _HALF
    ):  # "no difference seen" by pairs that could see none is worth nothing
        return as_(Outcome.UNDECIDED, "too_few_pairs")
    if alike >= -math.log10(setting.alpha):
        return as_(Outcome.SUPPORTED)
    return as_(Outcome.UNDECIDED, "budget_too_small" if facts.exhausted else "not_alike_enough")


def _betting(setting: Setting, facts: Facts) -> Evidence:
    return applied(
        setting.id() + "/by=betting",
        NAME,
        statistic_name="betting_pairs",
        statistic=float(facts.crossed or len(facts.pairs)),
        n=len(facts.trail),
        log10_e=facts.log10_wealth,
        effect=(_distance("distance", facts.distance),),
        places=(Place(request=facts.pairs[len(facts.trail) - 1].request),),
        shows="answers_differ" if facts.crossed else "no_difference_seen",
        cannot_show=("setting", "small_fraction"),
    )


def _permutation(setting: Setting, facts: Facts) -> Evidence:
    test = facts.exact or facts.distance
    return applied(
        setting.id() + "/by=permutation",
        NAME,
        statistic_name="total_variation",
        statistic=test.observed,
        expected=test.by_chance,
        n=test.strata,
        p_value=None if facts.exact is None else test.p,
        effect=(_distance("distance", test), _distance("margin", facts.margin)),
        shows="distance",
        cannot_show=("setting",),
    )


def _alike(setting: Setting, facts: Facts, log10_e: float) -> Evidence:
    fixed = [pair for pair in facts.pairs if pair.again is not None]
    return applied(
        setting.id() + "/by=alike",
        NAME,
        statistic_name="agreement",
        statistic=sum(p.suspect == p.reference for p in fixed) / len(fixed),
        expected=sum(p.again == p.reference for p in fixed) / len(fixed),
        n=min(count for _, count in facts.alike.values()),
        log10_e=log10_e,
        effect=_agreements(facts),
        shows="alike",
        cannot_show=("close_relative", "small_fraction"),
    )


def _distance(name: str, test: TwoSample) -> Effect:
    return Effect(name, test.distance, test.low, test.high, "total_variation")


def _agreements(facts: Facts) -> tuple[Effect, ...]:
    fixed = [pair for pair in facts.pairs if pair.again is not None]
    named = [
        rate("agreement_suspect", sum(p.suspect == p.reference for p in fixed), len(fixed)),
        rate("agreement_itself", sum(p.again == p.reference for p in fixed), len(fixed)),
    ]
    for role in sorted(fixed[0].controls):
        agreed = sum(p.controls[role] == p.reference for p in fixed)
        named.append(rate(f"agreement_{role}", agreed, len(fixed)))
    return tuple(named)


def _effects(facts: Facts, margin: float) -> tuple[Effect, ...]:
    excess = facts.distance.distance - margin
    return (
        _distance("distance", facts.distance),
        _distance("margin", facts.margin),
        Effect(
            "beyond_margin",
            excess,
            facts.distance.low - margin,
            facts.distance.high - margin,
            "total_variation",
        ),
        *_agreements(facts),
    )


def _replacement(setting: Setting, pair: Pair) -> str:
    """The answer that stands for another model's: a control's, else one that the reference never gives."""
    return pair.controls[setting.controls[0]] if setting.controls else "\0"


def _smallest(setting: Setting, facts: Facts) -> Effect | None:
    prompts = [
        Prompt(p.cell, p.reference, p.again, _replacement(setting, p))
        for p in facts.pairs
        if p.again is not None
    ]
    share = smallest_share(prompts, len(facts.pairs), setting.alpha / 2.0, setting.seed)
    return None if share is None else Effect("swapped_fraction", share)


def _thinned(trail: Sequence[float]) -> list[list[float]]:
    """Return the wealth over pairs at some hundred places, the last one always: what a drawing can show."""
    step = max(1, len(trail) // _POINTS)
    kept = [*range(0, len(trail) - 1, step), len(trail) - 1]
    return [[n + 1, round(trail[n], 4)] for n in kept]


def _drawn(setting: Setting, facts: Facts) -> list[dict[str, Any]]:
    names = (setting.suspect, setting.second or setting.reference, *sorted(setting.controls))
    rows = zip(names, _agreements(facts), strict=True)
    return [share_row(effect, name, control=name in setting.controls) for name, effect in rows]


def _figures(setting: Setting, facts: Facts, verdict: _Judgement) -> dict[str, Any]:
    return {
        "pairs": len(facts.pairs),
        "asked_twice": facts.margin.strata,
        "crossed": facts.crossed,
        "wealth": _thinned(facts.trail),
        "decision_log10": math.log10(2.0 / setting.alpha),
        "agreement": _drawn(setting, facts),
        "alike": {role or "itself": {"log10_e": e, "prompts": n} for role, (e, n) in facts.alike.items()},
        "alike_log10_e": verdict.alike,
        "replacement": setting.controls[0] if setting.controls else "never_given",
        "failures": dict(facts.failures),
        "exhausted": facts.exhausted,
    }
