"""The rules of an audit, each a function from a context to its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from filiation.disclosure.context import Context
from filiation.disclosure.model import RuleResult
from filiation.disclosure.rules import data, declared, drift, leftovers, limits, naming, notices, own, shipped

RULES: Mapping[str, Callable[[Context], Iterator[RuleResult]]] = {
    "D1": declared.base_model,
    "D2": declared.relation,
    "D3": declared.prose,
    "D4": leftovers.references,
    "L1": own.present,
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
