"""Evidence sorted for a reader: by candidate, component, kind of label set and test, with plain-language rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from filiation.evidence import Evidence, Scale, Status, Wing
from filiation.report.numbers import bans, clean, ranges
from filiation.report.sentences import (
    KINDS,
    canonical,
    expected_text,
    is_likeness,
    kind_of,
    layers_text,
    limit_text,
    name_of_test,
    parameters,
    place,
    plain_text,
    question_text,
    reason_text,
    sentence,
    summary_text,
    why_aside,
)
from filiation.report.wording import Phrases

STRONG, SUGGESTIVE = 6.0, 2.0
#: Test, what was read, stage: rows that may be told together.
View = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One piece of evidence, worded: ``where`` it is, what was found in ``plain`` language, its strength."""

    where: str
    plain: str
    expected: str
    strength: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class TestGroup:
    """All rows of one test in one view at one stage of the walk: a summary and their ``log10 e`` together.

    ``detail`` is what was read (norm gains, token embeddings), ``stage`` the stage where the walk had more than one.
    ``together``, in words ``bans``, is of all rows: layers are different labels, whose e-values multiply. ``low`` and
    ``high`` are the extremes of one row, ``each`` the same in words where there are several layers.
    """

    test: str
    name: str
    detail: str | None
    stage: str | None
    question: str
    plain: str
    low: float | None
    high: float | None
    together: float | None
    each: str | None
    bans: str
    strength: str
    shows: str | None
    cannot_show: tuple[str, ...]
    rows: tuple[Row, ...]

    __test__ = False  # pytest: not a test class

    @property
    def view(self) -> str | None:
        """What sets this group apart from others of its test, in words."""
        return " · ".join(filter(None, (self.detail, self.stage))) or None


@dataclass(frozen=True, slots=True)
class KindGroup:
    """The tests that read one kind of label set."""

    candidate: int
    component: str
    kind: str
    name: str
    tests: tuple[TestGroup, ...]

    @property
    def rows(self) -> int:
        """How many rows its tests have in all."""
        return sum(len(test.rows) for test in self.tests)

    @property
    def without_sum(self) -> tuple[TestGroup, ...]:
        """The tests whose finding is no amount of evidence, and so enters no sum: traces of training."""
        return tuple(test for test in self.tests if test.together is None)


@dataclass(frozen=True, slots=True)
class Untested:
    """Tests that did not run for one reason, with the layers it holds for."""

    candidate: int
    component: str
    test: str
    name: str
    where: str
    reason: str


def strength(log10_e: float | None) -> str:
    """Return the phrase key of an amount of evidence, by the contract's lines at 6 and 2."""
    if log10_e is None:
        return "untested"
    return "strong" if log10_e >= STRONG else "suggestive" if log10_e >= SUGGESTIVE else "none"


def together(rows: Iterable[Evidence]) -> float | None:
    """Return the ``log10 e`` of several rows: averaged over rows of one label set, multiplied over label sets."""
    sets: dict[str, list[float]] = {}
    for e in rows:
        if e.log10_e is not None:
            sets.setdefault(e.label_set or e.id, []).append(e.log10_e)
    return sum(_log_mean(values) for values in sets.values()) if sets else None


def _log_mean(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log10(sum(10.0 ** (value - top) for value in values) / len(values))


def _each(phrases: Phrases, rows: Sequence[Evidence], strengths: Sequence[float]) -> str | None:
    """Return what one layer shows, where the figure beside it is of several."""
    if len({e.part.layer for e in rows if e.log10_e is not None}) < 2:
        return None
    first, last = bans(min(strengths)), bans(max(strengths))
    low_to_high = last if first == last else phrases.say("ui", "range", low=first, high=last)
    return phrases.say("ui", "each_layer", range=low_to_high)


def groups(phrases: Phrases, evidence: Iterable[Evidence]) -> tuple[KindGroup, ...]:
    """Return the applied evidence, grouped; tests and stages in the order of the records.

    Likeness stands beside its background and derivation is told as what happened, so neither is here.
    """
    found: dict[tuple[int, str, str], dict[View, list[Evidence]]] = {}
    evidence = list(evidence)
    view = _views(phrases, evidence)
    for e in evidence:
        if e.status is Status.APPLIED and e.wing is not Wing.DERIVATION and not is_likeness(e):
            key = (e.candidate, e.part.component, kind_of(e.test))
            found.setdefault(key, {}).setdefault(view(e), []).append(e)
    return tuple(
        KindGroup(
            candidate=candidate,
            component=component,
            kind=kind,
            name=phrases.name("kind", kind),
            tests=tuple(_test_group(phrases, view_, rows) for view_, rows in tests.items()),
        )
        for (candidate, component, kind), tests in sorted(found.items(), key=lambda item: _rank(item[0]))
    )


def _views(phrases: Phrases, evidence: Sequence[Evidence]) -> Callable[[Evidence], View]:
    """Return what tells groups apart: the test, what was read, why it is not counted, and the stage if several."""
    stages = {parameters(e)[0].get("stage") for e in evidence if e.status is Status.APPLIED} - {None}

    def view(e: Evidence) -> View:
        named, details = parameters(e)
        words = [phrases.resolve(detail, "detail", "role") or clean(detail) for detail in details]
        # The tests without a common basis name their stage twice.
        words = [word for word, detail in zip(words, details, strict=True) if detail not in stages]
        aside = why_aside(e)
        words += [phrases.find("aside", aside) or clean(aside)] if aside else []
        words += [layers_text(phrases, named["layers"])] if "layers" in named else []
        stage = phrases.name("stage", named["stage"]) if len(stages) > 1 and "stage" in named else None
        return e.test, " · ".join(words) or None, stage

    return view


def _rank(key: tuple[int, str, str]) -> tuple[int, bool, str, int]:
    candidate, component, kind = key
    order = (*KINDS, "history", "other")
    return candidate, component != "language", component, order.index(kind) if kind in order else len(order)


def _test_group(phrases: Phrases, view: View, rows: list[Evidence]) -> TestGroup:
    test, detail, stage = view
    strengths = [e.log10_e for e in rows if e.log10_e is not None]
    all_rows = together(rows)
    limits = dict.fromkeys(key for e in rows for key in e.cannot_show)
    shows = next((e.shows for e in rows if e.shows), None)
    return TestGroup(
        test=test,
        name=name_of_test(phrases, test),
        detail=detail,
        stage=stage,
        question=question_text(phrases, rows[0]),
        plain=sentence(summary_text(phrases, test, rows)),
        low=min(strengths, default=None),
        high=max(strengths, default=None),
        together=all_rows,
        each=_each(phrases, rows, strengths),
        bans=bans(all_rows),
        strength=strength(all_rows) if rows[0].scale is Scale.EXACT else str(rows[0].scale),
        shows=_shown(phrases, test, shows),
        cannot_show=tuple(limit_text(phrases, key) for key in limits),
        rows=tuple(_row(phrases, e) for e in sorted(rows, key=_place_rank)),
    )


def _shown(phrases: Phrases, test: str, key: str | None) -> str | None:
    special = phrases.resolve(key, "shows") if key else None
    return special or phrases.find("test", canonical(test), "shows") or (clean(key) if key else None)


def _place_rank(e: Evidence) -> tuple[int, int, int]:
    missing = -1
    numbers = (e.part.layer, e.part.candidate_layer, e.part.expert)
    first, second, third = (missing if number is None else number for number in numbers)
    return first, second, third


def _row(phrases: Phrases, e: Evidence) -> Row:
    where = place(phrases, e)
    return Row(
        where=clean(where),
        plain=sentence(plain_text(phrases, e)),
        expected=expected_text(phrases, e.expected),
        strength=strength(e.log10_e),
        evidence=e,
    )


def _layers_text(phrases: Phrases, layers: list[int]) -> str:
    if not layers:
        return phrases.say("where", "label_model")
    if len(set(layers)) == 1:
        return phrases.say("where", "label_layer", layer=layers[0])
    return phrases.say("where", "label_layers", layers=ranges(layers))


def untested(phrases: Phrases, evidence: Iterable[Evidence]) -> tuple[Untested, ...]:
    """Return what did not run, one entry per test, reason and named tensors, with the layers it holds for."""
    found: dict[tuple[int, str, str, str, str], list[int]] = {}
    for e in evidence:
        if e.status is not Status.APPLIED:
            named = _tensors_text(phrases, e)
            layers = found.setdefault((e.candidate, e.part.component, e.test, e.reason or "", named), [])
            if e.part.layer is not None:
                layers.append(e.part.layer)
    return tuple(
        Untested(
            candidate=candidate,
            component=component,
            test=test,
            name=name_of_test(phrases, test),
            where=named or _layers_text(phrases, layers),
            reason=reason_text(phrases, reason),
        )
        for (candidate, component, test, reason, named), layers in found.items()
    )


def _tensors_text(phrases: Phrases, e: Evidence) -> str:
    """Return which tensors of which model a record speaks of, where it names them; else nothing."""
    names = [clean(place.tensor) for place in e.places if place.tensor]
    model = phrases.find("ui", f"{parameters(e)[0].get('of')}_short")
    if not names or model is None or e.n is None:
        return ""
    listed = names[:1] if e.n <= 1 else [names[0], phrases.say("ui", "more", count=e.n - 1)]
    tensors = phrases.say("ui", "list_comma").join(listed)
    text = phrases.say("ui", "tensors_of", model=model, count=e.n, names=tensors)
    if e.part.component == "language":
        return text
    return phrases.say("ui", "label_colon", label=phrases.name("component", e.part.component), value=text)
