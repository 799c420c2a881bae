"""L9 and L10: use limits that must be passed on, and limits of scale or field, which only people can answer."""

from __future__ import annotations

from collections.abc import Iterator

from filiation.disclosure.context import Context, Debt
from filiation.disclosure.model import RuleResult
from filiation.disclosure.papers import Paper
from filiation.disclosure.rules.answers import (
    CANNOT_TELL,
    MISSING,
    NOT_APPLICABLE,
    SATISFIED,
    of_debt,
    settle,
)
from filiation.evidence import Place

_SAID = (
    "use restrictions", "use-based restrictions", "restricted uses", "prohibited use policy", "use restriction",
    "使用限制", "禁止使用",
)  # fmt: skip


def use_passed_on(context: Context) -> Iterator[RuleResult]:
    """L9: the use limits are passed on: under the same licence, or by a text or link in card, licence or notice."""
    for debt in settle("L9", context, "use"):
        if isinstance(debt, RuleResult):
            yield debt
        elif debt.obligation is not None and debt.obligation.rule == "pass_on":
            yield _passed(context, debt)
        else:
            yield of_debt("L9", debt, NOT_APPLICABLE, "use_not_passed_on", None)


def _passed(context: Context, debt: Debt) -> RuleResult:
    if any(context.own.may_be(x) for x in debt.versions):
        held = context.papers.licence_with([x.id for x in debt.versions])
        if held:
            return of_debt("L9", debt, SATISFIED, "use_by_same_licence", held.paper.place(1))
    link = debt.obligation.link if debt.obligation else None
    papers = [*context.papers.cards, *context.papers.notices]
    found = next((place for paper in papers if (place := _says(paper, link))), None)
    if found:
        return of_debt("L9", debt, SATISFIED, "use_said", found)
    card = context.papers.card.place(1) if context.papers.card else None
    return of_debt("L9", debt, MISSING, "use_not_said", card)


def _says(paper: Paper, link: str | None) -> Place | None:
    address = link.removeprefix("https://").rstrip("/") if link else None
    for words in (*([address] if address else []), *_SAID):
        line = paper.line_of(words)
        if line is not None:
            return paper.place(line)
    return None


def questions(context: Context) -> Iterator[RuleResult]:
    """L10: limits that no repository can show; each is asked as a question."""
    for debt in settle("L10", context, "scale", "field", "region"):
        if isinstance(debt, RuleResult):
            yield debt
        elif debt.obligation is not None:
            yield of_debt("L10", debt, CANNOT_TELL, "question", None, asks=_asks(debt))


def _asks(debt: Debt) -> dict[str, str]:
    return dict(debt.obligation.asks) if debt.obligation else {}
