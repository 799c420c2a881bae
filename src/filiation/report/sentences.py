"""One piece of evidence in words: what it is called, where it is, what was found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from filiation.evidence import Evidence, Wing
from filiation.report.numbers import MISSING, clean, count, decimal
from filiation.report.wording import Phrases

KINDS = ("residual", "ffn", "value", "kv_group", "query_head", "expert")
Z = "z"


def kind_of(test: str) -> str:
    """Return which label set a test reads, from its name: ``ffn_order`` reads ``ffn``."""
    for kind in KINDS:
        if test.startswith(f"{kind}_"):
            return kind
    if test == "basis_free_order":
        return "ffn"
    return "history" if "history" in test else "other"


@cache
def _forms() -> tuple[tuple[str, str, bool], ...]:
    """Return of each exact test its name, what its statistic is called, and whether that counts units."""
    from filiation.origin import TESTS

    return tuple((t.name, t.statistic_name, t.counts_units) for t in TESTS)


def form_of(test: str) -> str | None:
    """Return the form of a test's finding: the name of its statistic, None for other evidence."""
    return next((statistic for name, statistic, _ in _forms() if test.endswith(f"_{name}")), None)


def is_counted(form: str | None) -> bool:
    """Whether a form counts units out of ``n``."""
    return any(statistic == form and counts for _, statistic, counts in _forms())


def canonical(test: str) -> str:
    """Return the name under which the phrase files know a test: ``ffn_order_x`` is ``ffn_x``."""
    return re.sub(r"_(?:order|sign)_([a-z]+)$", r"_\1", test)


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


def is_likeness(evidence: Evidence) -> bool:
    """Whether this is a similarity statistic, which belongs beside its background."""
    return evidence.wing is Wing.LIKENESS


def counts(e: Evidence) -> bool:
    """Whether the verdict counts an exact record: not, where it belongs to a part that the verdict does not name."""
    from filiation.origin.labelset import COUNTED_AS

    return not any(effect.name == COUNTED_AS and effect.value == 0 for effect in e.effect)


def why_aside(e: Evidence) -> str | None:
    """Return why a record stands outside of the sum (a phrase key), None for one that stands in it.

    A weak record of a part that is not named counts for nothing and stands in its row all the same: to take some of
    the layers of a row away would make the others look better than they are.
    """
    from filiation.origin.counted import NOT_NAMED

    why = (e.shows or "").partition(".")[2]
    return why if not counts(e) and why != NOT_NAMED else None


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


def layers_text(phrases: Phrases, numbers: str) -> str:
    """Return the wording of layers such as ``7`` or ``0-3, 7``."""
    numbers = clean(numbers).strip().replace("-", "–")
    if numbers.isdigit():
        return phrases.say("where", "label_layer", layer=numbers)
    return phrases.say("where", "label_layers", layers=numbers)


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
    if form == Z:
        return phrases.say("plain", Z, **(values | {"x": f"{e.statistic:,.1f}".replace("-", "−")}))
    if form is not None and is_counted(form) and e.n is not None and e.expected is not None:
        return phrases.say("plain", form, **values)
    values["x"] = f"{e.statistic:,.3g}" if abs(e.statistic) < 1000 else count(e.statistic)
    return phrases.say("plain", "value" if e.expected is None else "value_expected", **values).strip()


def _effect(value: float) -> str:
    return decimal(value, 2) if abs(value) < 10 else f"{value:,.3g}".replace("-", "−")


def _effects(phrases: Phrases, e: Evidence) -> str:
    """Name every effect size, for tests whose finding is several numbers."""
    named = [f"{phrases.name('statistic', effect.name)} {_effect(effect.value)}" for effect in e.effect]
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
    if form is not None and is_counted(form) and complete:
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
        f"in_all_{Z}" if form == Z else "in_all_other",
        layers=layers,
        unit=unit(phrases, test),
        name=phrases.name("statistic", name) if name else name_of_test(phrases, test),
        range=_range(phrases, min(statistics), max(statistics)),
    )


def _range(phrases: Phrases, low: float, high: float) -> str:
    first, last = (f"{value:,.3g}".replace("-", "−") for value in (low, high))
    return first if first == last else phrases.say("ui", "range", low=first, high=last)


def question_text(phrases: Phrases, e: Evidence) -> str:
    """Return what a test asks."""
    known = phrases.find("test", canonical(e.test), "question") or phrases.resolve(e.question, "question")
    return known or clean(e.question)


def role_name(phrases: Phrases, role: str) -> str:
    """Return what a role is called; a bias or a shared expert keeps its suffix or prefix."""
    if known := phrases.find("role", role):
        return known
    if role.startswith("shared."):
        own, shared = role_name(phrases, role.removeprefix("shared.")), phrases.name("role", "shared")
        return phrases.say("ui", "with_detail", text=own, detail=shared)
    stem, _, suffix = role.rpartition(".")
    return (
        f"{role_name(phrases, stem)} ({phrases.name('role', suffix)})"
        if stem
        else clean(role).replace("_", " ")
    )


def limit_text(phrases: Phrases, key: str) -> str:
    """Return the wording of a limit, note or reason; a key that no file knows is shown as it is."""
    return phrases.resolve(key, "limit", "cannot_show", "note", "reason") or clean(key)


def reason_text(phrases: Phrases, reason: str | None) -> str:
    """Return the wording of a reason; one that is no key is a sentence already."""
    if not reason:
        return MISSING
    return phrases.resolve(reason, "reason", "limit", "note") or phrases.reworded(reason) or clean(reason)


def inference_text(phrases: Phrases, what: str, basis: str) -> str:
    """Return what was worked out of a model's parts, and from what: roles keep their short names, as tensors do."""
    said, why = (worked_out(phrases, text) or clean(text) for text in (what, basis))
    return phrases.say("ui", "with_detail", text=said, detail=why)


def worked_out(phrases: Phrases, text: str) -> str | None:
    """Return the wording of what the anatomy says that it worked out: a part of a name, or a known sentence."""
    if named := re.fullmatch(r"(\S+) is (\S+(?: and \S+)*)", text):
        return phrases.say("ui", "taken_as", path=clean(named[1]), roles=clean(named[2]))
    return phrases.reworded(text, "worked_out")


def sentence(text: str) -> str:
    """Return cleaned text that begins with a capital, as a line of its own should."""
    text = clean(text)
    return text[:1].upper() + text[1:]
