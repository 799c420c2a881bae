"""Evidence sorted for a reader: by candidate, component, kind of label set and test, with plain-language rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from filiation.evidence import Evidence, Scale, Status, Wing
from filiation.report.numbers import MISSING, clean, count, ranges
from filiation.report.wording import Phrases

KINDS = ("residual", "ffn", "value", "kv_group", "query_head", "expert")
FORMS = ("order", "subsequence", "sign", "diagonal")
_COUNTED = ("order", "subsequence", "sign")
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
    """All rows of one test in one view at one stage of the walk: a summary and the range of their ``log10 e``.

    ``detail`` is what was read (norm gains, token embeddings), ``stage`` the stage where the walk had more than one.
    """

    test: str
    name: str
    detail: str | None
    stage: str | None
    question: str
    plain: str
    low: float | None
    high: float | None
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


@dataclass(frozen=True, slots=True)
class Untested:
    """Tests that did not run for one reason, with the layers it holds for."""

    candidate: int
    component: str
    test: str
    name: str
    where: str
    reason: str


def kind_of(test: str) -> str:
    """Return which label set a test reads, from its name: ``ffn_order`` reads ``ffn``."""
    for kind in KINDS:
        if test.startswith(f"{kind}_"):
            return kind
    if test == "basis_free_order":
        return "ffn"
    return "history" if "history" in test else "other"


def form_of(test: str) -> str | None:
    """Return the form of a test: order, subsequence, sign, diagonal, or None."""
    return next((form for form in FORMS if test.removesuffix("_in_place").endswith(f"_{form}")), None)


def canonical(test: str) -> str:
    """Return the name under which the phrase files know a test: ``ffn_order_diagonal`` is ``ffn_diagonal``."""
    return re.sub(r"_(?:order|sign)_(diagonal|subsequence)$", r"_\1", test)


def name_of_test(phrases: Phrases, test: str) -> str:
    """Return what a test is called."""
    known = phrases.find("test", test, "name") or phrases.find("test", canonical(test), "name")
    return known or clean(test).replace("_", " ")


def parameters(e: Evidence) -> tuple[dict[str, str], list[str]]:
    """Split an evidence id into its named parameters and what else it names (``gains``, ``embeddings``)."""
    words = e.id.split("/")[1:]
    named = dict(word.split("=", 1) for word in words if "=" in word)
    known = {e.part.component, e.test, e.symmetry}
    return named, [word for word in words if "=" not in word and word not in known]


def strength(log10_e: float | None) -> str:
    """Return the phrase key of an amount of evidence, by the contract's lines at 6 and 2."""
    if log10_e is None:
        return "untested"
    return "strong" if log10_e >= STRONG else "suggestive" if log10_e >= SUGGESTIVE else "none"


def is_likeness(evidence: Evidence) -> bool:
    """Whether this is a similarity statistic, which belongs beside its background."""
    return evidence.wing is Wing.LIKENESS


def unit(phrases: Phrases, test: str) -> str:
    """Return what a test's units are called."""
    return phrases.say("kind", kind_of(test), "unit")


def expected_text(phrases: Phrases, expected: float | None) -> str:
    """Return how many are expected by chance; exactly one is written as a word where the language does."""
    return phrases.say("ui", "count_one") if expected == 1 else count(expected)


def place(phrases: Phrases, evidence: Evidence, style: str = "label_") -> str:
    """Return where a piece of evidence is: as a label, or (style ``""``) as part of a sentence."""
    part = evidence.part
    values = {"layer": part.layer, "candidate_layer": part.candidate_layer, "expert": part.expert}
    moved = part.candidate_layer is not None and part.candidate_layer != part.layer
    key = "model" if part.layer is None else "pair" if moved else "layer"
    text = phrases.say("where", f"{style}{key}", **values)
    if part.expert is None:
        return text
    expert = phrases.say("where", f"{style}expert", place=text, **values)
    return expert if style else text + expert


def plain_text(phrases: Phrases, e: Evidence) -> str:
    """Return what one piece of evidence found, in plain language."""
    where = place(phrases, e, style="")
    if e.statistic is None:
        return phrases.say("plain", "nothing", where=where).strip()
    if form_of(e.test) is None and len(e.effect) > 1:
        return _effects(phrases, e)
    values = {
        "x": count(e.statistic) if e.n is not None else f"{e.statistic:,.2f}",
        "n": count(e.n),
        "unit": unit(phrases, e.test),
        "where": where,
        "expected": expected_text(phrases, e.expected),
        "name": phrases.name("statistic", e.statistic_name)
        if e.statistic_name
        else name_of_test(phrases, e.test),
    }
    form = form_of(e.test)
    if form == "diagonal":
        return phrases.say("plain", "diagonal", **(values | {"x": f"{e.statistic:,.1f}"}))
    if form in _COUNTED and e.n is not None and e.expected is not None:
        return phrases.say("plain", form, **values)
    values["x"] = f"{e.statistic:,.3g}" if abs(e.statistic) < 1000 else count(e.statistic)
    return phrases.say("plain", "value" if e.expected is None else "value_expected", **values).strip()


def _effects(phrases: Phrases, e: Evidence) -> str:
    """Name every effect size, for tests whose finding is several numbers."""
    named = [f"{phrases.name('statistic', effect.name)} {effect.value:.3g}" for effect in e.effect]
    return phrases.say("ui", "list_semicolon").join(named)


def summary_text(phrases: Phrases, test: str, rows: Iterable[Evidence]) -> str:
    """Return what a test found over all its rows, in plain language."""
    measured = [e for e in rows if e.statistic is not None]
    if len(measured) == 1:
        return plain_text(phrases, measured[0])
    if not measured:
        return MISSING
    statistics = [e.statistic for e in measured if e.statistic is not None]
    form, layers = form_of(test), len({e.part.layer for e in measured})
    complete = all(e.n is not None and e.expected is not None for e in measured)
    if form in _COUNTED and complete:
        return phrases.say(
            "plain",
            f"in_all_{form}",
            layers=layers,
            unit=unit(phrases, test),
            x=count(sum(statistics)),
            n=count(sum(e.n or 0 for e in measured)),
            expected=expected_text(phrases, sum(e.expected or 0 for e in measured)),
        )
    name = measured[0].statistic_name
    return phrases.say(
        "plain",
        "in_all_diagonal" if form == "diagonal" else "in_all_other",
        layers=layers,
        unit=unit(phrases, test),
        name=phrases.name("statistic", name) if name else name_of_test(phrases, test),
        range=_range(phrases, min(statistics), max(statistics)),
    )


def _range(phrases: Phrases, low: float, high: float) -> str:
    first, last = f"{low:,.3g}", f"{high:,.3g}"
    return first if first == last else phrases.say("ui", "range", low=first, high=last)


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
    """Return what tells groups apart: the test, what was read, and the stage where there is more than one."""
    stages = {parameters(e)[0].get("stage") for e in evidence if e.status is Status.APPLIED} - {None}

    def view(e: Evidence) -> View:
        named, details = parameters(e)
        words = [phrases.resolve(detail, "detail", "role") or clean(detail) for detail in details]
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
    high = max(strengths, default=None)
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
        high=high,
        strength=strength(high) if rows[0].scale is Scale.EXACT else str(rows[0].scale),
        shows=_shown(phrases, test, shows),
        cannot_show=tuple(limit_text(phrases, key) for key in limits),
        rows=tuple(_row(phrases, e) for e in sorted(rows, key=_place_rank)),
    )


def question_text(phrases: Phrases, e: Evidence) -> str:
    """Return what a test asks."""
    known = phrases.find("test", canonical(e.test), "question") or phrases.resolve(e.question, "question")
    return known or clean(e.question)


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


def role_name(phrases: Phrases, role: str) -> str:
    """Return what a role is called; a bias or a shared expert keeps its suffix or prefix."""
    if known := phrases.find("role", role):
        return known
    stem, _, suffix = role.rpartition(".")
    return f"{role_name(phrases, stem)} ({clean(suffix)})" if stem else clean(role).replace("_", " ")


def limit_text(phrases: Phrases, key: str) -> str:
    """Return the wording of a limit, note or reason; a key that no file knows is shown as it is."""
    return phrases.resolve(key, "limit", "cannot_show", "note", "reason") or clean(key)


def reason_text(phrases: Phrases, reason: str | None) -> str:
    """Return the wording of a reason; one that is no key is a sentence already."""
    if not reason:
        return MISSING
    return phrases.resolve(reason, "reason", "limit", "note") or phrases.reworded(reason) or clean(reason)


def sentence(text: str) -> str:
    """Return cleaned text that begins with a capital, as a line of its own should."""
    text = clean(text)
    return text[:1].upper() + text[1:]


def _layers_text(phrases: Phrases, layers: list[int]) -> str:
    if not layers:
        return phrases.say("where", "label_model")
    if len(set(layers)) == 1:
        return phrases.say("where", "label_layer", layer=layers[0])
    return phrases.say("where", "label_layers", layers=ranges(layers))


def untested(phrases: Phrases, evidence: Iterable[Evidence]) -> tuple[Untested, ...]:
    """Return what did not run, one entry per test and reason, with the layers it holds for."""
    found: dict[tuple[int, str, str, str], list[int]] = {}
    for e in evidence:
        if e.status is not Status.APPLIED:
            layers = found.setdefault((e.candidate, e.part.component, e.test, e.reason or ""), [])
            if e.part.layer is not None:
                layers.append(e.part.layer)
    return tuple(
        Untested(
            candidate=candidate,
            component=component,
            test=test,
            name=name_of_test(phrases, test),
            where=_layers_text(phrases, layers),
            reason=reason_text(phrases, reason),
        )
        for (candidate, component, test, reason), layers in found.items()
    )
