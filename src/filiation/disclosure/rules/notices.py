"""L3 and L5: the notice line in its file, and the phrase that must be displayed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from filiation.disclosure import names
from filiation.disclosure.context import Context, Debt
from filiation.disclosure.model import RuleResult
from filiation.disclosure.papers import Paper
from filiation.disclosure.rules.answers import CANNOT_TELL, MISSING, SATISFIED, of_debt, settle
from filiation.disclosure.text import line_key
from filiation.evidence import Place


def notice_line(context: Context) -> Iterator[RuleResult]:
    """L3: the exact line of this version in a notice file (years and marks forgiven), or the parent's own notices."""
    for debt in settle("L3", context, "notice", "notice_file", "credit"):
        if isinstance(debt, RuleResult):
            yield debt
        elif debt.obligation is not None and debt.obligation.line:
            yield _line(context, debt, debt.obligation.line)
        elif debt.obligation is not None and debt.obligation.kind == "credit":
            yield _credit(context, debt)
        else:
            yield _parents_notices(context, debt)


def _line(context: Context, debt: Debt, line: str) -> RuleResult:
    place = holds(context.papers.notices, line)
    if place:
        return of_debt("L3", debt, SATISFIED, "notice_kept", place, line=line)
    other = holds(context.papers.cards, line)
    if other:
        return of_debt("L3", debt, MISSING, "notice_elsewhere", other, line=line)
    first = context.papers.notices[0].place(1) if context.papers.notices else None
    return of_debt("L3", debt, MISSING, "notice_missing", first, line=line)


def _credit(context: Context, debt: Debt) -> RuleResult:
    """Creative Commons: credit is given where a sentence names the parent as the source."""
    said = context.said("prose_parent", "prose_outputs")
    found = next((c for c in said if names.means(c.text, debt.parent.name)), None)
    if found:
        return of_debt("L3", debt, SATISFIED, "credit_given", found.place)
    card = context.papers.card.place(1) if context.papers.card else None
    return of_debt("L3", debt, MISSING, "credit_missing", card)


def holds(papers: Sequence[Paper], wanted: str) -> Place | None:
    """Return where one of the papers holds a line, whatever its breaks, years and marks."""
    key = line_key(wanted)
    head = " ".join(key.split()[:4])
    for paper in papers:
        if key and f" {key} " in f" {line_key(paper.text)} ":
            lines = enumerate(paper.text.splitlines(), 1)
            return paper.place(next((n for n, text in lines if head in line_key(text)), 1))
    return None


def _parents_notices(context: Context, debt: Debt) -> RuleResult:
    """Apache 4(d): what stands in the parent's NOTICE must stand in ours."""
    source = debt.parent.repository
    if source is None:
        return of_debt("L3", debt, CANNOT_TELL, "parent_not_at_hand", None, line="")
    from filiation.disclosure.papers import read_papers

    notices = read_papers(source).notices
    wanted = [
        line for paper in notices for line in paper.text.splitlines() if len(line_key(line).split()) > 2
    ]
    if not wanted:
        return of_debt("L3", debt, SATISFIED, "parent_has_no_notice", None, line="")
    ours = [*context.papers.notices, *context.papers.cards]
    lost = [line for line in wanted if holds(ours, line) is None]
    place = context.papers.notices[0].place(1) if context.papers.notices else None
    if lost:
        return of_debt("L3", debt, MISSING, "notice_missing", place, line=lost[0].strip()[:300])
    return of_debt("L3", debt, SATISFIED, "notice_kept", place, line=wanted[0].strip()[:300])


def display(context: Context) -> Iterator[RuleResult]:
    """L5: the phrase in the documentation. A licence text that quotes it does not display it."""
    for debt in settle("L5", context, "display"):
        if isinstance(debt, RuleResult):
            yield debt
        elif debt.obligation is not None:
            yield _shown(context, debt, debt.obligation.phrases)


def _shown(context: Context, debt: Debt, phrases: Sequence[str]) -> RuleResult:
    papers = [*context.papers.cards, *context.papers.notices]
    found = next((p for phrase in phrases if (p := holds(papers, phrase))), None)
    if found:
        return of_debt("L5", debt, SATISFIED, "phrase_shown", found, phrase=phrases[0])
    card = context.papers.card.place(1) if context.papers.card else None
    return of_debt("L5", debt, MISSING, "phrase_missing", card, phrase=phrases[0])
