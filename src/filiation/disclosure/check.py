"""The rules applied, and their results as evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from filiation.disclosure import context as contexts
from filiation.disclosure.claims import claims as read_claims
from filiation.disclosure.model import Beside, Parent, RuleResult, RuleStatus
from filiation.disclosure.rules import RULES
from filiation.evidence import Claim, Duty, Evidence, Place, Scale, Status, Wing
from filiation.repository import Repository

NOT_LEGAL_ADVICE = "disclosure.not_legal_advice"
"""The phrase that every report says once."""

CANNOT_SHOW = ("disclosure.cannot_show.published_elsewhere", "disclosure.cannot_show.permission")
"""What no result of these rules can show: what is said outside the repository, and leave given in private."""


def check(
    repository: Repository,
    claims: Sequence[Claim] | None = None,
    parents: Sequence[Parent] = (),
    findings: Sequence[Parent] = (),
    beside: Sequence[Beside] = (),
) -> tuple[RuleResult, ...]:
    """Return the result of every rule, in the order of their ids; each rule answers at least once.

    Args:
        repository: the suspect's files.
        claims: what :func:`~filiation.disclosure.claims.claims` found in it; read where it is None.
        parents: parents that the caller gives (:func:`~filiation.disclosure.parents.given`).
        findings: parents that evidence shows (:func:`~filiation.disclosure.parents.from_report`,
            :func:`~filiation.disclosure.parents.from_code`).
        beside: what tokenizers and traces show, which makes nobody a parent; claims of own making are set beside it.
    """
    said = read_claims(repository) if claims is None else tuple(claims)
    made = contexts.make(repository, said, parents, findings, beside)
    return tuple(result for rule in RULES.values() for result in rule(made))


def evidence(results: Sequence[RuleResult]) -> tuple[Evidence, ...]:
    """Return each result as a record of evidence; ids count results of one rule from 1."""
    counted: dict[str, int] = {}
    found: list[Evidence] = []
    for result in results:
        counted[result.id] = counted.get(result.id, 0) + 1
        found.append(_record(result, counted[result.id]))
    return tuple(found)


_STATUS = {RuleStatus.NOT_APPLICABLE: Status.NOT_APPLICABLE, RuleStatus.CANNOT_TELL: Status.NOT_MEASURED}


def _record(result: RuleResult, number: int) -> Evidence:
    reason = f"disclosure.reason.{result.reason}"
    status = _STATUS.get(result.status, Status.APPLIED)
    return Evidence(
        id=f"disclosure.{result.id}/{number}",
        wing=Wing.DISCLOSURE,
        question=f"disclosure.rule.{result.id}",
        status=status,
        reason=reason if status is not Status.APPLIED else None,
        scale=Scale.FACT,
        test=result.id,
        places=(result.place,) if result.place else (),
        shows=reason,
        cannot_show=CANNOT_SHOW if result.owed else (),
    )


def duties(results: Sequence[RuleResult]) -> tuple[Duty, ...]:
    """Return what licences ask, with clause and place, of the results that speak of a clause."""
    return tuple(dict.fromkeys(_duties(results)))


def _duties(results: Sequence[RuleResult]) -> Iterator[Duty]:
    for result in results:
        if result.clause and result.licence and result.status is not RuleStatus.NOT_APPLICABLE:
            several = " OR " in result.licence
            where = result.clause if several else result.clause.removeprefix(f"{result.licence} ")
            yield Duty(result.licence, where, f"disclosure.rule.{result.id}", result.place or Place())
