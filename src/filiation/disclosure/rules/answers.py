"""Small makers of results, so that a rule reads as what it checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from filiation.disclosure.context import Context, Debt
from filiation.disclosure.model import RuleResult, RuleStatus
from filiation.evidence import Place

SATISFIED = RuleStatus.SATISFIED
MISSING = RuleStatus.MISSING
CONTRADICTED = RuleStatus.CONTRADICTED
NOT_APPLICABLE = RuleStatus.NOT_APPLICABLE
CANNOT_TELL = RuleStatus.CANNOT_TELL


def answer(
    rule: str, status: RuleStatus, reason: str, place: Place | None = None, **values: Any
) -> RuleResult:
    """Return a result; ``parent``, ``licence`` and ``clause`` among the values become its fields."""
    return RuleResult(
        rule,
        status,
        reason,
        place=place,
        clause=values.pop("clause", None),
        licence=values.get("licence"),
        parent=values.get("parent"),
        values=values,
    )


def spot(place: Place | None) -> str:
    """Return a place as it stands in a sentence: file and line."""
    if place is None or place.file is None:
        return "-"
    return place.file if place.line is None else f"{place.file}:{place.line}"


def of_debt(
    rule: str, debt: Debt, status: RuleStatus, reason: str, place: Place | None, **values: Any
) -> RuleResult:
    """Return a result that speaks of one obligation."""
    return answer(
        rule,
        status,
        reason,
        place,
        clause=debt.clause,
        licence=debt.ident,
        parent=debt.parent.name,
        licence_name=" / ".join(x.name for x in debt.versions) if debt.licence else "",
        **values,
    )


def settle(rule: str, context: Context, *kinds: str) -> Iterator[Debt | RuleResult]:
    """Yield the debts that must be looked for, and the results of those that need not.

    Where a parent's licence asks several kinds or none, "not asked" is said once per parent and licence.
    """
    asked: list[Debt] = [d for kind in kinds for d in context.debts(kind)]
    live = {(d.parent.name, d.licence.id) for d in asked if d.licence and d.settled is None}
    seen: set[tuple[str, str | None, str]] = set()
    for debt in asked:
        if debt.settled is None:
            yield debt
            continue
        key = (debt.parent.name, debt.licence.id if debt.licence else None, debt.settled[1])
        idle = debt.settled[1] == "not_asked" and debt.licence and (debt.parent.name, debt.licence.id) in live
        if key not in seen and not idle:
            seen.add(key)
            yield debt.result(rule)
    if not context.parents:
        yield answer(rule, NOT_APPLICABLE, "no_parent")
    elif not asked:
        yield answer(rule, NOT_APPLICABLE, "nothing_owed")
