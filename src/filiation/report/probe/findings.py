"""What one test of a probe found, worded: its outcome, further findings beside it, its numbers, its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from filiation.behaviour.records import ProbeTest
from filiation.evidence import Effect, Evidence, Outcome
from filiation.probing.records import ProbeReport
from filiation.report.figures import Figures
from filiation.report.numbers import MISSING, bans, clean, count, figure
from filiation.report.probe.naming import effect_name, listed, model_name, named, p_text, say_key, sentences
from filiation.report.wording import Phrases

_FURTHER = frozenset(
    {
        "behaviour_usage",
        "behaviour_ellipse",
        "behaviour_hidden_size",
        "behaviour_derived_rank",
        "behaviour_paired",
    }
)
"""Records beside a test's main one that are findings of their own; the others are told by its numbers."""


@dataclass(frozen=True, slots=True)
class TestView:
    """One test: its outcome in words, what was found, its numbers, and what it cannot show."""

    name: str
    outcome: str
    outcome_name: str
    question: str
    found: str
    further: tuple[str, ...]
    numbers: Figures
    cannot_show: tuple[str, ...]
    key: str
    figures: Mapping[str, Any]


def records_of(report: ProbeReport) -> Mapping[str, Sequence[Evidence]]:
    """Return the records of each test by the id of its main one, which comes first among them."""
    mains = {test.evidence for test in report.tests}
    found: dict[str, list[Evidence]] = {main: [] for main in mains}
    current: list[Evidence] = []
    for record in report.evidence:
        current = found[record.id] if record.id in mains else current
        current.append(record)
    return found


def view_of(test: ProbeTest, records: Sequence[Evidence], report: ProbeReport, phrases: Phrases) -> TestView:
    """Word one test; ``records`` are its evidence, the main one first."""
    main = records[0] if records else None
    key = main.shows if main is not None and test.outcome is not Outcome.NOT_MEASURED else None
    values = _values(test, main, report, phrases)
    found = say_key(phrases, key, values) if key else ""
    why = say_key(phrases, test.reason, values) if test.reason else ""
    further = tuple(
        _further(test, record, (found, why), report, phrases) for record in records[1:] if _tells(record)
    )
    if test.outcome is Outcome.NOT_MEASURED:
        # Its numbers are not shown: what there is stands in one paragraph.
        why, further = " ".join((sentences(phrases, why), *further, *_consider(test, phrases))).strip(), ()
    cannot = main.cannot_show if main is not None else ()
    return TestView(
        phrases.name_at("probe", "test", test.name),
        test.outcome.value,
        phrases.say("probe", "outcome", test.outcome.value),
        phrases.say("probe", "question", test.name, other=values["against"]),
        sentences(phrases, found, why) or MISSING,
        further,
        _numbers(test, report, phrases),
        tuple(say_key(phrases, k, values) for k in cannot),
        test.name,
        test.figures,
    )


def _tells(record: Evidence) -> bool:
    return record.test in _FURTHER and record.shows is not None


def _further(
    test: ProbeTest, record: Evidence, said: Sequence[str], report: ProbeReport, phrases: Phrases
) -> str:
    """Say what a record beside the main one found, and nothing twice."""
    values = _values(test, record, report, phrases)
    parts = [say_key(phrases, key, values) for key in (record.shows, record.reason) if key]
    return sentences(phrases, *(part for part in parts if part not in said))


def _values(
    test: ProbeTest, main: Evidence | None, report: ProbeReport, phrases: Phrases
) -> dict[str, object]:
    values: dict[str, object] = {
        "against": model_name(report, test.against, phrases),
        "requests": count(test.requests),
        "controls": listed(test.controls, report, phrases) or MISSING,
        "p": MISSING if test.p is None else p_text(test.p),
        "log10_e": bans(test.log10_e),
    }
    for effect in (*test.effect, *((test.smallest_effect,) if test.smallest_effect else ())):
        values.setdefault(effect.name, figure(effect.value))
    for name, value in test.figures.items():
        if isinstance(value, str):
            values.setdefault(name, named(value, report, phrases))
        elif isinstance(value, int | float):
            values.setdefault(name, figure(value))
    if main is not None:
        values |= {"n": count(main.n), "statistic": figure(main.statistic), "expected": figure(main.expected)}
        values["total"] = count(None if main.n is None else main.n + 1)
        values["p_record"] = MISSING if main.p_value is None else p_text(main.p_value)
        values |= {effect.name: figure(effect.value) for effect in main.effect}
    return values


def _numbers(test: ProbeTest, report: ProbeReport, phrases: Phrases) -> Figures:
    rows = [(effect_name(phrases, e, report), _effect(e, phrases)) for e in test.effect]
    if test.smallest_effect is not None:
        name = effect_name(phrases, test.smallest_effect, report)
        label = phrases.say("probe", "ui", "smallest", name=name)
        rows.append((label, _effect(test.smallest_effect, phrases)))
    if test.p is not None:
        rows.append((phrases.say("probe", "ui", "p"), p_text(test.p)))
    if test.log10_e is not None:
        rows.append((phrases.say("ui", "log10_e"), bans(test.log10_e)))
    if test.controls:
        label = "candidates" if test.name == "tokenizer" else "controls"
        rows.append((phrases.say("probe", "ui", label), listed(test.controls, report, phrases)))
    if test.figures.get("suggested"):
        rows.append((phrases.say("probe", "ui", "suggested"), _all_suggested(test, phrases)))
    if test.requests:
        rows.append((phrases.say("probe", "ui", "requests"), count(test.requests)))
    return tuple(rows)


def _all_suggested(test: ProbeTest, phrases: Phrases) -> str:
    found = test.figures.get("suggested") or ()
    return phrases.say("ui", "list_comma").join(_suggested(each, phrases) for each in found)


def _consider(test: ProbeTest, phrases: Phrases) -> tuple[str, ...]:
    """Say which models could be controls, where the parent is known and a control is wanted."""
    named = _all_suggested(test, phrases)
    label = phrases.say("probe", "ui", "suggested")
    return (phrases.say("probe", "ui", "label_and", label=label, value=named),) if named else ()


def _suggested(each: Mapping[str, Any], phrases: Phrases) -> str:
    """Say what a model that might serve as a control shares with the parent."""
    shared = [name for name in ("tokenizer", "generation") if each.get(f"same_{name}")]
    keys = {2: "shares_both", 1: "shares_tokenizer" if "tokenizer" in shared else "shares_time"}
    name = clean(each.get("name", ""))
    return phrases.say("probe", "ui", keys[len(shared)], name=name) if shared else name


def _effect(effect: Effect, phrases: Phrases) -> str:
    unit = "" if effect.unit is None else phrases.find("behaviour", "unit", effect.unit.replace(" ", "_"))
    unit = f" {clean(effect.unit) if unit is None else unit}".rstrip()
    value = f"{figure(effect.value)}{unit}"
    if effect.low is None and effect.high is None:
        return value
    low, high = (
        ("−∞" if effect.low is None else figure(effect.low)),
        ("∞" if effect.high is None else figure(effect.high)),
    )
    return f"{value} ({low} – {high})"
