"""The policy an audit has to meet in CI: which rules, which findings, how much may be owed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filiation.cli.policy import INCONCLUSIVE, MET, OPEN, VIOLATED, Outcome
from filiation.cli.policy_file import read_table

if TYPE_CHECKING:
    from filiation.auditing import AuditReport
    from filiation.report.wording import Phrases

STATUSES = ("owed", "missing", "contradicted")
LEVELS = ("identical", "same-after-renaming", "refactored", "shares-ancestor")
NOTICES = "notices-removed"
TOKENIZER = tuple(f"tokenizer-{r}" for r in ("same", "extended", "pruned", "reordered", "retrained"))
TRACES = (
    "same-weights", "same-file", "equal-json", "tensor-names", "config-values", "added-tokens", "dangling-reference",
    "foreign-reference", "compiled-leftover", "shared-commits",
)  # fmt: skip
RULES = ("D1", "D2", "D3", "D4", *(f"L{n}" for n in range(1, 12)), "T1")
CONDITIONS = (*STATUSES, OPEN, *RULES, *LEVELS, NOTICES, *TOKENIZER, *TRACES)
_KEYS = ("fail_if", "ignore", "max_owed")
_ENDS = ".。?？"
_EXAMPLE = '[audit]  fail_if = ["contradicted", "L4", "notices-removed"]'


@dataclass(frozen=True)
class AuditPolicy:
    """What must not be found.

    Attributes:
        fail_if: conditions that violate the policy; ``inconclusive`` asks for exit code 3 where a rule cannot tell, and
            so does a rule that is named here and cannot tell.
        ignore: rules that are never counted.
        max_owed: how many results may be missing or contradicted; None where there is no such bound.
    """

    fail_if: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()
    max_owed: int | None = None


def read_policy(path: Path) -> AuditPolicy:
    """Read an ``[audit]`` table from a TOML file; the ``[policy]`` table of a comparison may stand beside it.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is no TOML, has no such table, or a key or value that no policy has.
    """
    table = read_table(path, "audit", _KEYS, _EXAMPLE)
    limit = table.keys.get("max_owed")
    if limit is not None and (type(limit) is not int or limit < 0):
        raise table.wrong("'max_owed' must be a whole number, 0 or more.")
    return AuditPolicy(
        frozenset(table.names("fail_if", CONDITIONS, "condition")),
        frozenset(table.names("ignore", RULES, "rule")),
        limit,
    )


def with_conditions(policy: AuditPolicy, fail_if: Sequence[str]) -> AuditPolicy:
    """Return the policy with the conditions of ``--fail-if`` added."""
    return replace(policy, fail_if=policy.fail_if | frozenset(fail_if))


def judge(report: AuditReport, policy: AuditPolicy, phrases: Phrases) -> Outcome:
    """Hold an audit against the policy; a violation outweighs what cannot be told."""
    found = [
        *_rules(report, policy, phrases),
        *_code(report, policy, phrases),
        *_shared(report, policy, phrases),
    ]
    if found:
        said = (phrases.say("audit", "policy", "violated", what=what.rstrip(_ENDS)) for what in found)
        return Outcome(VIOLATED, tuple(dict.fromkeys(said)))
    asked = [r for r in report.rules if r.status == "cannot_tell" and _is_asked(r.id, policy)]
    if asked:
        said = (_rule(r, phrases).rstrip(_ENDS) for r in asked)
        return Outcome(
            INCONCLUSIVE, tuple(phrases.say("audit", "policy", "open", what=what) for what in said)
        )
    return Outcome(MET, () if policy == AuditPolicy() else (phrases.say("audit", "policy", "met"),))


def _is_asked(rule: str, policy: AuditPolicy) -> bool:
    """Whether an open question about a rule is one that the policy asks: a rule that it names, or any."""
    return rule not in policy.ignore and bool({OPEN, rule} & policy.fail_if)


def _rules(report: AuditReport, policy: AuditPolicy, phrases: Phrases) -> Iterator[str]:
    owed = [r for r in report.rules if r.owed and r.id not in policy.ignore]
    for rule in owed:
        if {"owed", str(rule.status), rule.id} & policy.fail_if:
            yield _rule(rule, phrases)
    if policy.max_owed is not None and len(owed) > policy.max_owed:
        yield phrases.say("audit", "policy", "too_many", count=len(owed), limit=policy.max_owed)


def _rule(rule: Any, phrases: Phrases) -> str:
    from filiation.report.audit.story import reason_of

    status = phrases.name_at("disclosure", "status", str(rule.status))
    return phrases.say(
        "audit", "policy", "rule", rule=rule.id, status=status, reason=reason_of(rule, phrases)
    )


def _code(report: AuditReport, policy: AuditPolicy, phrases: Phrases) -> Iterator[str]:
    levels = {f.file: str(f.level).replace("_", "-") for f in report.source.files}
    for file, level in levels.items():
        if level in policy.fail_if:
            name = phrases.name_at("source", "level", level.replace("-", "_"))
            yield phrases.say("audit", "policy", "level", file=file, level=name)
    for head in report.source.headers:
        lost = head.removed and levels.get(head.file) in LEVELS[:3]
        if NOTICES in policy.fail_if and lost:
            yield phrases.say("audit", "policy", "notices", file=head.file)


def _shared(report: AuditReport, policy: AuditPolicy, phrases: Phrases) -> Iterator[str]:
    for kind, count in report.verdict.traces.items():
        if kind.replace("_", "-") in policy.fail_if:
            name = phrases.name_at("test", kind, "name")
            yield phrases.say("audit", "policy", "traces", kind=name, count=count)
    relation = str(report.tokenizer.relation)
    if f"tokenizer-{relation}" in policy.fail_if:
        name = phrases.name_at("tokenizer", "relation", relation)
        yield phrases.say("audit", "policy", "tokenizer", relation=name)
