"""How the combined evidence adds up: what each kind of label added at the stage the figure rests on, and what was paid.

The same arithmetic as :func:`filiation.origin.labelset.combine`, from the records alone: tests on one label set are
averaged, then its views; label sets are insured and multiplied; half of the bet lies on their mean; stages are averaged
with weights fixed beforehand. So a reader can add up what a report prints.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from filiation.evidence import Evidence, Scale, Status, Wing
from filiation.report.groups import STRONG, SUGGESTIVE, strength
from filiation.report.numbers import bans, decimal
from filiation.report.sentences import (
    canonical,
    counts,
    form_of,
    is_counted,
    kind_of,
    name_of_test,
    parameters,
    sentence,
    summary_text,
    why_aside,
)
from filiation.report.wording import Phrases

HALF = math.log10(2.0)
_NO_STAGE = ""


@dataclass(frozen=True, slots=True)
class SumRow:
    """What the labels of one kind (``symmetry``) added: all label sets of the kind together, in bans.

    ``found``: what was seen, a text for each view (norm gains, token embeddings); ``each``: the range over layers.
    Of a row that stands aside, ``shows`` says why it is not counted and ``log10_e`` what it comes to by itself.
    """

    symmetry: str
    name: str
    found: tuple[str, ...]
    each: str | None
    log10_e: float
    figure: str
    shows: str | None
    evidence: tuple[Evidence, ...]

    @property
    def strength(self) -> str:
        """The phrase key of the amount; where every unit agrees, too few of them are no sign of strangers."""
        counted = [e for e in self.evidence if e.n and is_counted(form_of(e.test))]
        all_agree = bool(counted) and all(e.statistic == e.n for e in counted)
        return "undecided" if all_agree and self.log10_e < SUGGESTIVE else strength(self.log10_e)


@dataclass(frozen=True, slots=True)
class Sum:
    """The rows of one component of one candidate at one stage, and how they make its combined evidence.

    All in bans. ``added``: the rows together. ``mean``: the mean over all label sets. ``log10_e``: the component's
    evidence over all stages. ``others``: what the other stages found, by their names. ``aside``: labels that agree
    and that the verdict does not count, because contents deny them or because they can be copied.
    """

    candidate: int
    component: str
    stage: str
    rows: tuple[SumRow, ...]
    label_sets: int
    mean: float
    log10_e: float
    others: tuple[tuple[str, float], ...]
    aside: tuple[SumRow, ...] = ()

    @property
    def added(self) -> float:
        """The rows together."""
        return math.fsum(row.log10_e for row in self.rows)

    @property
    def rests_on_mean(self) -> bool:
        """Whether the mean over the label sets carries more than their sum: few of many sets agree, or none does.

        A single label set is worth a factor of two more than it adds, which is no matter of few and many.
        """
        explained = self.label_sets == 1 and self.added >= self.log10_e
        return self.mean > self.added and not explained

    @property
    def before_payment(self) -> float:
        """What is left of after paying: the sum of the rows, or the mean where that is more."""
        return self.mean if self.rests_on_mean else self.added

    @property
    def paid(self) -> float:
        """How much the choices cost: of the stage, and between the sum and the mean."""
        return self.before_payment - self.log10_e

    @property
    def most_paid(self) -> float:
        """The most that the choices can cost: a half of the bet, and the weight of the stage."""
        return HALF - math.log10(_weight(self.stage))


def _weight(stage: str) -> float:
    from filiation.origin.examine import STAGES

    return STAGES.get(stage, 1.0)


def sums(phrases: Phrases, evidence: Iterable[Evidence]) -> tuple[Sum, ...]:
    """Return how the exact evidence adds up, one record for each candidate and component that was tested."""
    found: dict[tuple[int, str], list[Evidence]] = {}
    for e in evidence:
        if (
            e.wing is Wing.ORIGIN
            and e.scale is Scale.EXACT
            and e.status is Status.APPLIED
            and e.log10_e is not None
        ):
            found.setdefault((e.candidate, e.part.component), []).append(e)
    ordered = sorted(found.items(), key=lambda item: (item[0][0], item[0][1] != "language", item[0][1]))
    return tuple(_sum(phrases, *key, records) for key, records in ordered)


def _sum(phrases: Phrases, candidate: int, component: str, records: Sequence[Evidence]) -> Sum:
    stages = {stage: _Stage(rows) for stage, rows in _by_stage(records).items()}
    combined = _log_sum((s.log10_e, _weight(name)) for name, s in stages.items())
    # Of the stages that found as much as all together, the one whose weighted figure is largest.
    enough = [s for s in stages if stages[s].log10_e >= combined - 1e-9]
    best = max(enough, key=lambda s: stages[s].log10_e + math.log10(_weight(s)))
    others = tuple((phrases.name("stage", s), stages[s].log10_e) for s in stages if s != best)
    return Sum(
        candidate=candidate,
        component=component,
        stage=best,
        rows=tuple(_row(phrases, kind, sets) for kind, sets in stages[best].kinds.items()),
        aside=tuple(_aside(phrases, stages[best].sets.values())),
        label_sets=len(stages[best].sets),
        mean=stages[best].mean,
        log10_e=combined,
        others=others,
    )


def _by_stage(records: Sequence[Evidence]) -> dict[str, list[Evidence]]:
    """Return each stage's records; the residual channels' labels are read once and enter every stage."""
    stages = list(dict.fromkeys(parameters(e)[0].get("stage", _NO_STAGE) for e in records))
    of_blocks = [s for s in stages if any(not _of_channels(e) and _stage_of(e) == s for e in records)]
    return {
        stage: [e for e in records if _of_channels(e) or _stage_of(e) == stage]
        for stage in of_blocks or stages[:1]
    }


def _stage_of(e: Evidence) -> str:
    return parameters(e)[0].get("stage", _NO_STAGE)


def _of_channels(e: Evidence) -> bool:
    return kind_of(e.test) == "residual"


class _Stage:
    """One stage's label sets, and what they amount to."""

    def __init__(self, records: Sequence[Evidence]) -> None:
        self.sets: dict[str, list[Evidence]] = {}
        for e in records:
            self.sets.setdefault(e.label_set or e.id, []).append(e)
        self.kinds: dict[str, list[list[Evidence]]] = {}
        for members in self.sets.values():
            shown = [e for e in members if why_aside(e) is None]
            if shown:
                self.kinds.setdefault(_symmetry(members[0]), []).append(members)
        self.added = math.fsum(_entered(members) for members in self.sets.values())
        self.mean = _log_mean([_of_set(members) for members in self.sets.values()])
        self.log10_e = _log_mean([self.added, self.mean])


def _symmetry(e: Evidence) -> str:
    return e.symmetry or canonical(e.test)


def _of_set(members: Sequence[Evidence], *, every: bool = False) -> float:
    """Return one label set's evidence: its tests are averaged in each view, then the views.

    A view that does not count is 0 in that average, unless ``every`` one is asked for.
    """
    views: dict[str, list[float]] = {}
    for e in members:
        views.setdefault(_view(e), []).append((e.log10_e or 0.0) if every or counts(e) else -math.inf)
    return _log_mean([_log_mean(values) for values in views.values()])


def _view(e: Evidence) -> str:
    """Return what sets one tested view of a label set apart from another: its identity without the test's name."""
    return e.id.partition("/")[2]


def _entered(members: Sequence[Evidence]) -> float:
    """Return what a label set adds to the product: insured, and as much of it as it counts where it is a copy."""
    from filiation.origin.labelset import COUNTED_AS

    counted = [e for e in members if counts(e)]
    if not counted:
        return 0.0
    shares = [effect.value for e in counted for effect in e.effect if effect.name == COUNTED_AS]
    return min(shares, default=1.0) * _log_mean([0.0, _of_set(members)])


def _log_mean(values: Sequence[float]) -> float:
    return _log_sum((value, 1.0 / len(values)) for value in values)


def _log_sum(terms: Iterable[tuple[float, float]]) -> float:
    """Return ``log10`` of the weighted sum of powers of ten; of 0 it is minus infinity."""
    listed = list(terms)
    top = max(value for value, _ in listed)
    if top == -math.inf:
        return top
    return top + math.log10(math.fsum(weight * 10.0 ** (value - top) for value, weight in listed))


def _aside(phrases: Phrases, sets: Iterable[Sequence[Evidence]]) -> Iterator[SumRow]:
    """Yield what the verdict does not count, a row for each kind of label and reason: what it comes to by itself."""
    found: dict[tuple[str, str], list[list[Evidence]]] = {}
    for members in sets:
        reasons: dict[str, list[Evidence]] = {}
        for e in members:
            if why := why_aside(e):
                reasons.setdefault(why, []).append(e)
        for why, records in reasons.items():
            found.setdefault((_symmetry(records[0]), why), []).append(records)
    for (symmetry, why), rows in found.items():
        figures = [_of_set(records, every=True) for records in rows]
        yield _worded(phrases, symmetry, rows, figures, phrases.find("shows", why))


def _row(phrases: Phrases, symmetry: str, sets: Sequence[Sequence[Evidence]]) -> SumRow:
    shown = [[e for e in members if why_aside(e) is None] for members in sets]
    figures = [_entered(members) for members in sets]
    return _worded(phrases, symmetry, shown, figures, phrases.find("test", symmetry, "shows"))


def _worded(
    phrases: Phrases,
    symmetry: str,
    sets: Sequence[Sequence[Evidence]],
    figures: Sequence[float],
    shows: str | None,
) -> SumRow:
    total = math.fsum(figures)
    records = tuple(e for members in sets for e in members)
    return SumRow(
        symmetry=symmetry,
        name=name_of_test(phrases, symmetry),
        found=tuple(_found(phrases, records)),
        each=_each(phrases, figures),
        log10_e=total,
        figure=decimal(total, 1),
        shows=shows,
        evidence=records,
    )


def _found(phrases: Phrases, records: Sequence[Evidence]) -> Iterator[str]:
    """Yield what was seen, a sentence for each view: by the test that counts units where one ran, else by the first.

    Where that test saw nothing and another one did, the other is told as well: the figure rests on it.
    """
    views: dict[str, dict[str, list[Evidence]]] = {}
    for e in records:
        detail = ", ".join(phrases.resolve(word, "detail", "role") or word for word in _details(e))
        views.setdefault(detail, {}).setdefault(e.test, []).append(e)
    for detail, tests in views.items():
        test = next((t for t in tests if is_counted(form_of(t))), next(iter(tests)))
        told = [test]
        strongest = max(tests, key=lambda name: _together(tests[name]))
        if _together(tests[test]) < SUGGESTIVE and _together(tests[strongest]) >= STRONG:
            told.append(strongest)
        summaries = (summary_text(phrases, name, tests[name]) for name in told)
        text = sentence(phrases.say("ui", "list_semicolon").join(summaries))
        yield phrases.say("ui", "label_colon", label=sentence(detail), value=text) if detail else text


def _together(records: Iterable[Evidence]) -> float:
    return math.fsum(e.log10_e or 0.0 for e in records)


def _details(e: Evidence) -> list[str]:
    """Return what was read (``gains``); the tests without a common basis name their stage twice."""
    named, details = parameters(e)
    return [word for word in details if word != named.get("stage")]


def _each(phrases: Phrases, figures: Sequence[float]) -> str | None:
    if len(figures) < 2:
        return None
    first, last = (decimal(value, 1) for value in (min(figures), max(figures)))
    both = last if first == last else phrases.say("ui", "range", low=first, high=last)
    return phrases.say("ui", "each_layer", range=both)


def sum_text(phrases: Phrases, total: Sum) -> str:
    """Return how the rows make the combined evidence, in one line."""
    return phrases.say(
        "ui",
        "adds_up_mean" if total.rests_on_mean else "adds_up",
        sum=decimal(total.added, 1),
        mean=decimal(total.mean, 1),
        sets=total.label_sets,
        paid=decimal(total.paid, 1),
        most=decimal(total.most_paid, 1),
        stage=phrases.name("stage", total.stage) if total.stage else "",
        bans=bans(total.log10_e),
    )


def stages_text(phrases: Phrases, total: Sum) -> str | None:
    """Return at which stage the rows were found and what the others found, in one line; None where one was enough."""
    if not total.others:
        return None
    listed = phrases.say("ui", "list_semicolon").join(f"{name} {bans(value)}" for name, value in total.others)
    told = (
        phrases.say("ui", "sum_stage", stage=phrases.name("stage", total.stage)),
        phrases.say("ui", "other_stages", listed=listed),
    )
    return phrases.say("ui", "sentence_join").join(told)


def lines(phrases: Phrases, total: Sum, found: Sequence[Sum]) -> tuple[str, ...]:
    """Return what stands below the rows of ``total``, which is one of those that were ``found``."""
    several = sum(other.candidate == total.candidate for other in found) > 1
    averaged = phrases.say("ui", "components_averaged") if several else None
    return tuple(filter(None, (sum_text(phrases, total), stages_text(phrases, total), averaged)))
