"""What the test "same model?" concludes from what it saw, and the records it becomes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filiation.behaviour.agreement import Paired, rate, sign_p
from filiation.behaviour.dilution import Prompt, is_seen, smallest_share
from filiation.behaviour.permutation import TwoSample
from filiation.behaviour.recording import applied, share_row
from filiation.behaviour.records import Found, ProbeTest
from filiation.evidence import Effect, Evidence, Outcome, Place

if TYPE_CHECKING:
    from filiation.behaviour.same_model import Setting

NAME = "same_model"
_POINTS = 200
_DUST = 1e-12


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
        margin: the reference against its own second answers; ``stable`` is the p-value of that on the fixed number.
        fixed: how many prompts of the number fixed beforehand were answered; ``None`` where asking stopped earlier.
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
    stable: float
    fixed: int | None
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
    paired: Paired


def found(setting: Setting, facts: Facts) -> Found:
    """Return the outcome with its records, the one that carries it first."""
    smallest = None if facts.crossed else _smallest(setting, facts)
    verdict = _judge(setting, facts, smallest)
    records = [_betting(setting, facts), _permutation(setting, facts), _alike(setting, facts, verdict)]
    by_permutation = not facts.crossed and _permutation_rejects(setting, facts)
    if verdict.outcome is Outcome.SUPPORTED:
        records = [records[2], *records[:2]]
    elif by_permutation:
        records = [records[1], records[0], records[2]]
    against = None if by_permutation else facts.log10_wealth
    carries = {Outcome.SUPPORTED: verdict.alike, Outcome.CONTRADICTED: against}
    records += [_paired(setting, verdict.paired)] if verdict.reason == "agrees_less" else []
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
        return _Judgement(outcome, reason, p, margin, alike, paired)

    paired = _against_itself(facts)
    if setting.second is None and facts.stable <= setting.alpha:
        return as_(Outcome.UNDECIDED, "reference_unstable")
    if p <= setting.alpha and not setting.settings_known:
        return as_(Outcome.UNDECIDED, "settings_unknown")
    if p <= setting.alpha:
        beyond = facts.distance.distance > margin
        return as_(Outcome.CONTRADICTED) if beyond else as_(Outcome.UNDECIDED, "within_margin")
    if paired.p <= setting.alpha:
        return as_(Outcome.UNDECIDED, "agrees_less")
    # "No difference seen" by pairs that could see none is worth nothing.
    if smallest is None or smallest.value > setting.share:
        return as_(Outcome.UNDECIDED, "too_few_pairs")
    if alike >= -math.log10(setting.alpha):
        return as_(Outcome.SUPPORTED)
    return as_(Outcome.UNDECIDED, "budget_too_small" if facts.exhausted else "not_alike_enough")


def _permutation_rejects(setting: Setting, facts: Facts) -> bool:
    """Whether the permutation alone rejects, at its half of the level."""
    return facts.exact is not None and 2.0 * facts.exact.p <= setting.alpha


def _against_itself(facts: Facts) -> Paired:
    """Hold the suspect's agreement with the reference against the reference's own, prompt by prompt (sign test).

    The p is exact where the reference's two answers to one request are independent, and on the number of prompts fixed
    beforehand, if asking came so far. A cache in front of the reference breaks the former, so a small p speaks against
    "alike" and is no contradiction.
    """
    twice = [p for p in facts.pairs[: facts.fixed] if p.again is not None]
    itself = sum(p.again == p.reference != p.suspect for p in twice)
    suspect = sum(p.suspect == p.reference != p.again for p in twice)
    return Paired("itself", itself, suspect, sign_p(itself, suspect))


def _paired(setting: Setting, paired: Paired) -> Evidence:
    n = paired.only_claimed + paired.only_control
    return applied(
        setting.id() + "/by=paired",
        NAME,
        statistic_name="only_itself",
        statistic=float(paired.only_claimed),
        expected=n / 2,
        n=n,
        p_value=paired.p,
        shows="agrees_less",
        cannot_show=("setting",),
    )


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
        shows="answers_differ_permuted" if _permutation_rejects(setting, facts) else "distance",
        cannot_show=("setting",),
    )


def _alike(setting: Setting, facts: Facts, verdict: _Judgement) -> Evidence:
    fixed = [pair for pair in facts.pairs if pair.again is not None]
    return applied(
        setting.id() + "/by=alike",
        NAME,
        statistic_name="agreement",
        statistic=sum(p.suspect == p.reference for p in fixed) / len(fixed),
        expected=sum(p.again == p.reference for p in fixed) / len(fixed),
        n=min(count for _, count in facts.alike.values()),
        log10_e=verdict.alike,
        effect=_agreements(facts),
        shows="alike" if verdict.outcome is Outcome.SUPPORTED else "alike_unclear",
        cannot_show=("close_relative", "small_fraction"),
    )


def _distance(name: str, test: TwoSample) -> Effect:
    return _beyond(name, test, 0.0)


def _beyond(name: str, test: TwoSample, margin: float) -> Effect:
    value, low, high = (_whole(x - margin) for x in (test.distance, test.low, test.high))
    return Effect(name, value, low, high, "total_variation")


def _whole(value: float) -> float:
    """Return 0 for what sums in another order leave of it."""
    return 0.0 if abs(value) < _DUST else value


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
    return (
        _distance("distance", facts.distance),
        _distance("margin", facts.margin),
        _beyond("beyond_margin", facts.distance, margin),
        *_agreements(facts),
    )


def _replacement(setting: Setting, pair: Pair) -> str:
    """The answer that stands for another model's: a control's, else one that the reference never gives."""
    return pair.controls[setting.controls[0]] if setting.controls else "\0"


def would_show(setting: Setting, pairs: Sequence[Pair]) -> bool:
    """Whether ``setting.share`` of the answers swapped would have been seen in so many pairs."""
    return is_seen(_twice(setting, pairs), setting.share, len(pairs), setting.alpha / 2.0, setting.seed)


def _twice(setting: Setting, pairs: Sequence[Pair]) -> list[Prompt]:
    return [
        Prompt(p.cell, p.reference, p.again, _replacement(setting, p)) for p in pairs if p.again is not None
    ]


def _smallest(setting: Setting, facts: Facts) -> Effect | None:
    share = smallest_share(_twice(setting, facts.pairs), len(facts.pairs), setting.alpha / 2.0, setting.seed)
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
        "only_itself": verdict.paired.only_claimed,
        "only_suspect": verdict.paired.only_control,
        "p_paired": verdict.paired.p,
        "replacement": setting.controls[0] if setting.controls else "never_given",
        "failures": dict(facts.failures),
        "exhausted": facts.exhausted,
    }
