"""The rules of an audit, each a function from a context to its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from filiation.disclosure.context import Context
from filiation.disclosure.model import RuleResult, RuleStatus
from filiation.disclosure.rules import (
    agreement,
    data,
    declared,
    drift,
    leftovers,
    limits,
    naming,
    notices,
    origins,
    own,
    shipped,
)

Rule = Callable[[Context], Iterator[RuleResult]]


def _together(first: Rule, other: Rule) -> Rule:
    """Return one rule that answers what two do; that the first does not apply is said where the other is silent."""

    def both(context: Context) -> Iterator[RuleResult]:
        more = tuple(other(context))
        yield from (r for r in first(context) if not (more and r.status is RuleStatus.NOT_APPLICABLE))
        yield from more

    return both


RULES: Mapping[str, Rule] = {
    "D1": _together(declared.base_model, agreement.base_models),
    "D2": declared.relation,
    "D3": _together(declared.prose, origins.own_work),
    "D4": leftovers.references,
    "L1": _together(own.present, agreement.licences),
    "L2": own.compatible,
    "L3": notices.notice_line,
    "L4": naming.name,
    "L5": notices.display,
    "L6": shipped.licence_copy,
    "L7": shipped.changes_stated,
    "L8": shipped.holders_kept,
    "L9": limits.use_passed_on,
    "L10": limits.questions,
    "L11": data.licences,
    "T1": drift.over_time,
}
"""Every rule by its id, in the order of a report."""
