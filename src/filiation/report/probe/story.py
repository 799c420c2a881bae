"""What a probe's report says, once, for every renderer. A renderer decides how things look; it words nothing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from filiation.endpoint.model import Capabilities, EndpointRecord
from filiation.endpoint.sheets import SHEET
from filiation.evidence import Outcome, ProbeRelation, ProbeVerdict
from filiation.probing.records import ProbeReport
from filiation.report.figures import Figures
from filiation.report.numbers import MISSING, bans, clean, count
from filiation.report.probe.findings import TestView, records_of, view_of
from filiation.report.probe.naming import model_name, named, p_text, sentences
from filiation.report.sentences import sentence
from filiation.report.wording import Phrases

_LAYER_ALONE = "output_layer_alone"
_OF_KINSHIP = (ProbeRelation.DERIVATIVE, ProbeRelation.TRAINED_ON_OUTPUTS)
_SAID_ALREADY = frozenset({_LAYER_ALONE, "nothing_measured"})
"""Reasons of a verdict that its sentence says itself."""


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
    kept: str
    spent: Figures
    versions: Figures


def tell(report: ProbeReport, phrases: Phrases) -> ProbeStory:
    """Word a report."""
    records = records_of(report)
    views = [view_of(test, records[test.evidence], report, phrases) for test in report.tests]
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
        kept=phrases.say("probe", "ui", "sheet_text" if _is_by_hand(report) else "replay_text"),
        spent=_spent(report, phrases),
        versions=tuple((clean(k), clean(v)) for k, v in report.tool.items()),
    )


def command_line(report: ProbeReport) -> str:
    """Return the command that computes this report again from its log; no key stands in it."""
    log, suspect = report.command.get("log"), report.models.suspect
    words = ["filiation", "probe", "--replay", clean(log) if log else "LOG.jsonl"]
    if _is_by_hand(report):
        sheet = clean(suspect.locator.removeprefix("sheet:"))
        words = ["filiation", "probe", "--answers", sheet, "--model", clean(suspect.model)]
    return " ".join(shlex.quote(word) for word in words)


def _is_by_hand(report: ProbeReport) -> bool:
    """Whether all answers come from a sheet: then there is no log, and no seed that a log committed to."""
    return report.models.suspect.dialect == SHEET and not report.models.others


def _answer(report: ProbeReport, phrases: Phrases) -> Answer:
    verdict = report.verdict
    against_nobody = verdict.relation is ProbeRelation.NONE_FOUND and verdict.against is None
    names = {
        "suspect": clean(report.models.suspect.model),
        "other": model_name(report, verdict.against, phrases),
        "tests": phrases.say("ui", "list_comma").join(
            phrases.name_at("probe", "test", name) for name in verdict.rests_on
        ),
        "tokenizer": _tokenizer(report, phrases),
    }
    renamed = {"tokenizer_alone": "tokenizer_named"} if against_nobody else {}
    why = [
        phrases.say("probe", "reason", renamed.get(key, key), **names)
        for key in verdict.reasons
        if key not in _SAID_ALREADY
    ]
    key = "shared_output_layer" if _LAYER_ALONE in verdict.reasons else verdict.relation.value
    key = "none_against" if against_nobody else key
    name = phrases.name_at("probe", "relation", key)
    if verdict.relation is ProbeRelation.DIFFERENT and "second" not in {r.role for r in report.models.others}:
        key = "different_itself"
    said = phrases.say("probe", "says", key, **names)
    return Answer(
        verdict.relation.value,
        name,
        sentences(phrases, said, *why),
        phrases.say("probe", "means", key, **names),
        _heads(verdict, report, phrases),
        tuple(sentence(_resolved(phrases, key)) for key in verdict.attention),
    )


def _tokenizer(report: ProbeReport, phrases: Phrases) -> str:
    """Return the name of the tokenizer that was found."""
    found = next((t.figures.get("named") for t in report.tests if t.name == "tokenizer"), None)
    return named(str(found), report, phrases) if found else MISSING


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


def _endpoint(record: EndpointRecord, phrases: Phrases) -> EndpointView:
    role, _, number = record.role.rpartition("-") if record.role[-1].isdigit() else (record.role, "", "")
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


def _spent(report: ProbeReport, phrases: Phrases) -> Figures:
    spent = report.spent
    if _is_by_hand(report):
        sheet = (phrases.say("probe", "ui", "sheet_sha256"), report.log_sha256)
        return (phrases.say("probe", "ui", "questions"), count(spent.requests)), sheet
    rows: Sequence[tuple[str, str]] = (
        (phrases.say("probe", "ui", "requests"), count(spent.requests)),
        (phrases.say("probe", "ui", "tokens_in"), count(spent.prompt_tokens)),
        (phrases.say("probe", "ui", "tokens_out"), count(spent.completion_tokens)),
        (phrases.say("probe", "ui", "seed"), clean(report.commitment.seed)),
        (phrases.say("probe", "ui", "seed_sha256"), report.commitment.sha256),
        (phrases.say("probe", "ui", "log_sha256"), report.log_sha256),
    )
    return tuple(rows)
