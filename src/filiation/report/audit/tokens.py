"""The comparison of two tokenizers, worded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from filiation.auditing.records import AuditReport, TokenizerComparison
from filiation.report.audit.words import percent, shown, worded
from filiation.report.figures import Figures
from filiation.report.numbers import MISSING, clean, count
from filiation.report.wording import Phrases


@dataclass(frozen=True, slots=True)
class TokenizerView:
    """How the suspect's tokenizer is related to that of one reference."""

    reference: str
    relation: str
    relation_name: str
    shows: str
    facts: Figures


def tokenizer(found: TokenizerComparison, report: AuditReport, phrases: Phrases) -> TokenizerView:
    """Word one comparison."""
    relation = str(found.relation)
    facts = _same_file(found, phrases) if "same_file" in found.numbers else _facts(found, phrases)
    if "not_measured" in found.numbers and "same_file" not in found.numbers:
        facts = _unmeasured(found, phrases)
    return TokenizerView(
        clean(report.models.references[found.reference].name),
        relation,
        phrases.name_at("tokenizer", "relation", relation),
        phrases.find("shows", f"tokenizer_{relation}") or "",
        tuple((phrases.say("audit", "tokenizer", key), value) for key, value in facts),
    )


def _say(phrases: Phrases, key: str, **values: object) -> str:
    return phrases.say("audit", "tokenizer", key, **values)


def _same_file(found: TokenizerComparison, phrases: Phrases) -> Iterator[tuple[str, str]]:
    values = {"file": clean(found.numbers["same_file"]), "identity": clean(found.numbers.get("identity"))}
    yield "same_file", _say(phrases, "same_file_value", **values)


def _unmeasured(found: TokenizerComparison, phrases: Phrases) -> Iterator[tuple[str, str]]:
    reasons: Mapping[str, str] = found.numbers["not_measured"]
    for side, why in reasons.items():
        yield "not_measured", worded(phrases, f"reason.{why}_{side}")


def _facts(found: TokenizerComparison, phrases: Phrases) -> Iterator[tuple[str, str]]:
    n: Mapping[str, Any] = found.numbers
    if "shared" not in n:
        return
    yield "files", f"{clean(n['suspect_file'])} ↔ {clean(n['reference_file'])}"
    yield (
        "tokens",
        _say(
            phrases,
            "tokens_value",
            suspect=count(n["suspect_tokens"]),
            reference=count(n["reference_tokens"]),
            shared=count(n["shared"]),
            of_suspect=percent(n["of_suspect"]),
            of_reference=percent(n["of_reference"]),
        ),
    )
    shares = {"share": percent(n["equal_ids_share"]), "order": percent(n["order"])}
    yield "ids", _say(phrases, "ids_value", count=count(n["equal_ids"]), **shares)
    for key in ("merges", "added", "encodings"):
        yield key, _part(n[key], f"shows.tokenizer_{key}", phrases)
    yield "steps", _steps(n["steps"], phrases)
    if found.explanation:
        texts = [worded(phrases, f"shows.tokenizer_{e.kind}", name=e.name) for e in found.explanation]
        yield "explained", " ".join(texts)
    if n.get("beyond_ancestor"):
        beyond = n["beyond_ancestor"]
        yield (
            "beyond",
            _say(phrases, "beyond_value", shared=count(beyond["shared"]), name=clean(beyond["name"])),
        )


def _part(part: Mapping[str, Any], key: str, phrases: Phrases) -> str:
    if "not_measured" in part:
        return worded(phrases, f"reason.{part['not_measured']}")
    return worded(phrases, key, **part)


def _steps(steps: Mapping[str, Any], phrases: Phrases) -> str:
    if "not_measured" in steps:
        return worded(phrases, f"reason.{steps['not_measured']}")
    comma = phrases.say("ui", "list_comma")
    texts = [f"{clean(k)}: {phrases.name_at('audit', 'status', str(v))}" for k, v in steps.items()]
    return comma.join(texts) or shown(phrases, MISSING)
