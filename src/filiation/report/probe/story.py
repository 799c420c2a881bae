"""What a probe's report says, once, for every renderer. A renderer decides how things look; it words nothing."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from filiation.behaviour.records import ProbeTest
from filiation.endpoint.model import Capabilities, EndpointRecord
from filiation.evidence import Effect, Evidence, Outcome, ProbeRelation, ProbeVerdict
from filiation.probing.records import ProbeReport
from filiation.report.figures import Figures
from filiation.report.numbers import MISSING, bans, clean, count, figure
from filiation.report.sentences import sentence
from filiation.report.wording import Phrases

_LAYER_ALONE = "output_layer_alone"
_OF_KINSHIP = (ProbeRelation.DERIVATIVE, ProbeRelation.TRAINED_ON_OUTPUTS)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the report says first."""

    relation: str
    name: str
    sentence: str
    means: str
    heads: Figures
    attention: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EndpointView:
    """One endpoint: a heading and its facts."""

    heading: str
    facts: Figures


@dataclass(frozen=True, slots=True)
class TestView:
    """One test: its outcome in words, what was found, its numbers, and what it cannot show."""

    name: str
    outcome: str
    outcome_name: str
    question: str
    found: str
    numbers: Figures
    cannot_show: tuple[str, ...]
    key: str
    figures: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ProbeStory:
    """Everything a renderer shows, in the order in which it is shown."""

    language: str
    title: str
    answer: Answer
    suspect: EndpointView
    others: tuple[EndpointView, ...]
    measured: tuple[TestView, ...]
    left: tuple[TestView, ...]
    limits: tuple[str, ...]
    command: str
    spent: Figures
    versions: Figures


def tell(report: ProbeReport, phrases: Phrases) -> ProbeStory:
    """Word a report."""
    by_id = {e.id: e for e in report.evidence}
    views = [_test(test, by_id.get(test.evidence), report, phrases) for test in report.tests]
    silent = Outcome.NOT_MEASURED.value
    return ProbeStory(
        language=phrases.language,
        title=phrases.say("probe", "title", name=clean(report.models.suspect.model)),
        answer=_answer(report, phrases),
        suspect=_endpoint(report.models.suspect, phrases),
        others=tuple(_endpoint(record, phrases) for record in report.models.others),
        measured=tuple(v for v in views if v.outcome != silent),
        left=tuple(v for v in views if v.outcome == silent),
        limits=tuple(phrases.say("probe", "limit", key) for key in report.limits),
        command=command_line(report),
        spent=_spent(report, phrases),
        versions=tuple((clean(k), clean(v)) for k, v in report.tool.items()),
    )


def command_line(report: ProbeReport) -> str:
    """Return the command that computes this report again from its log; no key stands in it."""
    given = report.command
    log = given.get("log")
    words = ["filiation", "probe", "--replay", clean(log) if log else "LOG.jsonl"]
    return " ".join(shlex.quote(word) for word in words)


def _answer(report: ProbeReport, phrases: Phrases) -> Answer:
    verdict = report.verdict
    names = {
        "suspect": clean(report.models.suspect.model),
        "other": _model_name(report, verdict.against, phrases),
        "tests": phrases.say("ui", "list_comma").join(
            phrases.name_at("probe", "test", name) for name in verdict.rests_on
        ),
    }
    why = [phrases.say("probe", "reason", key, **names) for key in verdict.reasons if key != _LAYER_ALONE]
    key = "shared_output_layer" if _LAYER_ALONE in verdict.reasons else verdict.relation.value
    said = phrases.say("probe", "says", key, **names)
    return Answer(
        verdict.relation.value,
        phrases.name_at("probe", "relation", key),
        _sentences(phrases, said, *why),
        phrases.say("probe", "means", key, **names),
        _heads(verdict, report, phrases),
        tuple(sentence(_resolved(phrases, key)) for key in verdict.attention),
    )


def _resolved(phrases: Phrases, key: str) -> str:
    return phrases.find("probe", "attention", key) or phrases.resolve(key, "behaviour") or clean(key)


def _heads(verdict: ProbeVerdict, report: ProbeReport, phrases: Phrases) -> Figures:
    outcomes = [t.outcome for t in report.tests]
    counts = [
        phrases.say("probe", "ui", "outcomes_of", outcome=phrases.say("probe", "outcome", o.value), count=n)
        for o in Outcome
        if (n := outcomes.count(o))
    ]
    rows = [(phrases.say("probe", "ui", "tests"), phrases.say("ui", "list_comma").join(counts))]
    if verdict.p is not None and verdict.relation in _OF_KINSHIP:
        rows.append((phrases.say("probe", "ui", "p"), p_text(verdict.p)))
    if verdict.log10_e is not None and verdict.relation in _OF_KINSHIP:
        rows.append((phrases.say("ui", "log10_e"), bans(verdict.log10_e)))
    rows.append((phrases.say("probe", "ui", "requests"), count(report.spent.requests)))
    return tuple(rows)


def p_text(p: float) -> str:
    """Return a p-value as text, never smaller than it is."""
    if p <= 0:
        return "0"
    if p >= 0.001:
        return f"{min(1.0, p + 0.0005):.3f}" if p < 1 else "1"
    mantissa, power = f"{p:.1e}".split("e")
    return f"{mantissa} · 10^{int(power)}".replace("10^-", "10^-")


def _model_name(report: ProbeReport, against: str | None, phrases: Phrases) -> str:
    """What the model that a verdict speaks of is called: by the endpoint, the checkpoint, or its role."""
    if against is None:
        return phrases.say("probe", "ui", "another")
    roles = [role for role, key in report.models.identity.items() if key == against] or [against]
    for role in roles:
        for record in report.models.others:
            if record.role == role:
                return clean(record.model)
        if role in report.models.checkpoints:
            return clean(report.models.checkpoints[role].name)
    return clean(roles[0])


def _endpoint(record: EndpointRecord, phrases: Phrases) -> EndpointView:
    role, _, number = record.role.partition("-")
    heading = phrases.say("probe", "role", role)
    returned = [m for m in record.returned_models if m != record.model]
    rows = [
        (phrases.say("probe", "ui", "model"), clean(record.model)),
        (phrases.say("ui", "locator"), clean(record.locator)),
        (phrases.say("probe", "ui", "dialect"), clean(record.dialect)),
        (phrases.say("probe", "ui", "capabilities"), _capabilities(record.capabilities, phrases)),
    ]
    if returned:
        rows.append((phrases.say("probe", "ui", "returned"), ", ".join(clean(m) for m in returned)))
    return EndpointView(f"{heading} {number}".strip(), tuple(rows))


def _capabilities(found: Capabilities, phrases: Phrases) -> str:
    def say(key: str, **values: object) -> str:
        return phrases.say("probe", "capability", key, **values)

    parts = [say(k) for k in ("chat", "completions", "usage", "reasoning") if getattr(found, k)]
    if found.top_logprobs is None:
        parts.append(say("no_logprobs"))
    else:
        parts.append(
            say("all_logprobs") if found.top_logprobs == -1 else say("top_logprobs", count=found.top_logprobs)
        )
    for name in ("token_logprob_ids", "prompt_logprobs", "prompt_ids", "seed", "n", "include_usage"):
        support = getattr(found, name)
        if support != "unknown":
            parts.append(say(str(support), name=say(name)))
    parts += [phrases.name_at("probe", "note", key) for key in found.notes]
    return phrases.say("ui", "list_comma").join(parts)


def _test(test: ProbeTest, main: Evidence | None, report: ProbeReport, phrases: Phrases) -> TestView:
    key = main.shows if main is not None and test.outcome is not Outcome.NOT_MEASURED else None
    values = _values(test, main, report, phrases)
    found = _say_key(phrases, key, values) if key else ""
    why = _say_key(phrases, test.reason, values) if test.reason else ""
    cannot = main.cannot_show if main is not None else ()
    return TestView(
        phrases.name_at("probe", "test", test.name),
        test.outcome.value,
        phrases.say("probe", "outcome", test.outcome.value),
        phrases.say("probe", "question", test.name, other=values["against"]),
        _sentences(phrases, found, why) or MISSING,
        _numbers(test, report, phrases),
        tuple(_say_key(phrases, k, values) for k in cannot),
        test.name,
        test.figures,
    )


def _sentences(phrases: Phrases, *parts: str) -> str:
    """Return clauses as sentences: a capital in front, a full stop behind."""
    stop, space = phrases.say("probe", "ui", "stop"), phrases.say("ui", "sentence_join")
    ended = (part if part.endswith((".", "。", "?", "？")) else part + stop for part in filter(None, parts))
    return space.join(sentence(part) for part in ended)


def _named(value: str, report: ProbeReport, phrases: Phrases) -> str:
    """Return what a role, or a control that a test made for itself, is called."""
    if value.startswith("row_permuted"):
        return phrases.say("probe", "ui", "row_permuted_plain")
    roles = {record.role for record in report.models.others} | set(report.models.checkpoints)
    return (
        _model_name(report, report.models.identity.get(value, value), phrases)
        if value in roles
        else clean(value)
    )


def _listed(names: Sequence[str], report: ProbeReport, phrases: Phrases) -> str:
    """Return names with commas, equal ones once, with their number."""
    called = Counter(_named(name, report, phrases) for name in names)
    parts = (name if n == 1 else f"{name} ({n})" for name, n in called.items())
    return phrases.say("ui", "list_comma").join(parts)


def _say_key(phrases: Phrases, key: str, values: Mapping[str, object]) -> str:
    known = phrases.find("behaviour", *key.split(".")) or phrases.resolve(key, "behaviour")
    if known is None:
        known = phrases.find("probe", "reason", key)
    return phrases.fill(known, **values) if known else clean(key).replace("_", " ")


def _values(
    test: ProbeTest, main: Evidence | None, report: ProbeReport, phrases: Phrases
) -> dict[str, object]:
    values: dict[str, object] = {
        "against": _model_name(report, test.against, phrases),
        "requests": count(test.requests),
        "controls": _listed(test.controls, report, phrases) or MISSING,
        "p": MISSING if test.p is None else p_text(test.p),
        "log10_e": bans(test.log10_e),
    }
    for effect in (*test.effect, *((test.smallest_effect,) if test.smallest_effect else ())):
        values.setdefault(effect.name, figure(effect.value))
    for name, value in test.figures.items():
        if isinstance(value, str):
            values.setdefault(name, _named(value, report, phrases))
        elif isinstance(value, int | float):
            values.setdefault(name, figure(value))
    if main is not None:
        values |= {"n": count(main.n), "statistic": figure(main.statistic), "expected": figure(main.expected)}
    return values


def _numbers(test: ProbeTest, report: ProbeReport, phrases: Phrases) -> Figures:
    rows = [(_effect_name(phrases, e), _effect(e)) for e in test.effect]
    if test.smallest_effect is not None:
        label = phrases.say("probe", "ui", "smallest", name=_effect_name(phrases, test.smallest_effect))
        rows.append((label, _effect(test.smallest_effect)))
    if test.p is not None:
        rows.append((phrases.say("probe", "ui", "p"), p_text(test.p)))
    if test.log10_e is not None:
        rows.append((phrases.say("ui", "log10_e"), bans(test.log10_e)))
    if test.controls:
        rows.append((phrases.say("probe", "ui", "controls"), _listed(test.controls, report, phrases)))
    if test.requests:
        rows.append((phrases.say("probe", "ui", "requests"), count(test.requests)))
    return tuple(rows)


def _effect_name(phrases: Phrases, effect: Effect) -> str:
    return phrases.name_at("behaviour", "effect", effect.name)


def _effect(effect: Effect) -> str:
    unit = f" {effect.unit}" if effect.unit else ""
    value = f"{figure(effect.value)}{unit}"
    if effect.low is None and effect.high is None:
        return value
    low, high = (
        ("−∞" if effect.low is None else figure(effect.low)),
        ("∞" if effect.high is None else figure(effect.high)),
    )
    return f"{value} ({low} – {high})"


def _spent(report: ProbeReport, phrases: Phrases) -> Figures:
    spent = report.spent
    rows: Sequence[tuple[str, str]] = (
        (phrases.say("probe", "ui", "requests"), count(spent.requests)),
        (phrases.say("probe", "ui", "tokens_in"), count(spent.prompt_tokens)),
        (phrases.say("probe", "ui", "tokens_out"), count(spent.completion_tokens)),
        (phrases.say("probe", "ui", "seed"), clean(report.commitment.seed)),
        (phrases.say("probe", "ui", "seed_sha256"), report.commitment.sha256),
        (phrases.say("probe", "ui", "log_sha256"), report.log_sha256),
    )
    return tuple(rows)
