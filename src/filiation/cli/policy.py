"""The policy a comparison has to meet in CI: which relations, how much evidence, how much inheritance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filiation.cli.policy_file import read_table
from filiation.evidence import Relation, Report, Verdict
from filiation.report.numbers import bans, share
from filiation.report.wording import Phrases

MET, VIOLATED, INCONCLUSIVE = 0, 1, 3
#: Beside the relations: no finding either way.
OPEN = "inconclusive"
_OPEN_RELATIONS = frozenset({Relation.SUGGESTIVE, Relation.CANNOT_TEST})
RELATIONS = (*(str(r).replace("_", "-") for r in Relation), OPEN)
_KEYS = ("fail_if", "fail_unless", "max_log10_e", "max_inherited_share")
_EXAMPLE = '[policy]  fail_if = ["common-origin", "shared-parts"]'


@dataclass(frozen=True)
class Policy:
    """What must not be found, what must be found, and two ceilings.

    ``common-origin`` includes ``identical``: equal weights have one origin.

    Attributes:
        fail_if: relations that violate the policy; ``inconclusive`` stands for suggestive and cannot-test.
        fail_unless: when not empty, the only relations that meet the policy.
        max_log10_e: the most evidence of common origin that is tolerated, whatever the relation.
        max_inherited_share: the largest inherited share that is tolerated, from 0 to 1.
    """

    fail_if: frozenset[str] = frozenset()
    fail_unless: frozenset[str] = frozenset()
    max_log10_e: float | None = None
    max_inherited_share: float | None = None


@dataclass(frozen=True)
class Outcome:
    """The exit code the policy asks for, and what to tell the reader."""

    code: int
    messages: tuple[str, ...]


def read_policy(path: Path) -> Policy:
    """Read a ``[policy]`` table from a TOML file.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is no TOML, has no policy table, or a key or value that no policy has.
    """
    table = read_table(path, "policy", _KEYS, _EXAMPLE)
    for key in ("max_log10_e", "max_inherited_share"):
        value = table.keys.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise table.wrong(f"'{key}' must be a number.")
        if value is not None and not math.isfinite(value):
            raise table.wrong(f"'{key}' must be a finite number.")
    return Policy(
        frozenset(table.names("fail_if", RELATIONS, "relation")),
        frozenset(table.names("fail_unless", RELATIONS, "relation")),
        table.keys.get("max_log10_e"),
        table.keys.get("max_inherited_share"),
    )


def with_relations(policy: Policy, fail_if: Sequence[str]) -> Policy:
    """Return the policy with the relations of ``--fail-if`` added."""
    return replace(policy, fail_if=policy.fail_if | frozenset(fail_if))


def judge(report: Report, policy: Policy, phrases: Phrases) -> Outcome:
    """Hold the verdict on every candidate against the policy; a violation outweighs an open question."""
    if policy == Policy():
        return Outcome(MET, ())
    from filiation.report.story import verdicts

    violations: list[str] = []
    open_questions: list[str] = []
    for verdict in verdicts(report):
        violations += _violations(verdict, policy, phrases)
        if OPEN in policy.fail_if and verdict.relation in _OPEN_RELATIONS:
            open_questions.append(phrases.say("policy", "inconclusive", relation=_name(phrases, verdict)))
    if violations:
        return Outcome(VIOLATED, tuple(dict.fromkeys(violations)))
    if open_questions:
        return Outcome(INCONCLUSIVE, tuple(dict.fromkeys(open_questions)))
    return Outcome(MET, (phrases.say("policy", "met"),))


def _name(phrases: Phrases, verdict: Verdict) -> str:
    return phrases.name("relation", str(verdict.relation))


def _violations(verdict: Verdict, policy: Policy, phrases: Phrases) -> list[str]:
    relation = str(verdict.relation).replace("_", "-")
    found: list[str] = []
    if _named_by(relation, policy.fail_if):
        found.append(phrases.say("policy", "relation_forbidden", relation=_name(phrases, verdict)))
    if policy.fail_unless and not _meets(verdict, relation, policy.fail_unless):
        required = ", ".join(sorted(policy.fail_unless))
        found.append(
            phrases.say("policy", "relation_required", relation=_name(phrases, verdict), required=required)
        )
    if policy.max_log10_e is not None and (verdict.log10_e or 0.0) > policy.max_log10_e:
        found.append(
            phrases.say(
                "policy", "too_strong", bans=bans(verdict.log10_e), limit=bans(float(policy.max_log10_e))
            )
        )
    inherited = verdict.inherited_share
    if policy.max_inherited_share is not None and (inherited or 0.0) > policy.max_inherited_share:
        limit = share(float(policy.max_inherited_share))
        found.append(phrases.say("policy", "too_much_inherited", share=share(inherited), limit=limit))
    return found


def _meets(verdict: Verdict, relation: str, required: frozenset[str]) -> bool:
    return _named_by(relation, required) or (OPEN in required and verdict.relation in _OPEN_RELATIONS)


def _named_by(relation: str, listed: frozenset[str]) -> bool:
    """Whether a list of relations names this one; whoever asks for a common origin means equal models too."""
    return relation in listed or (relation == "identical" and "common-origin" in listed)
