"""L6 to L8: the parent's licence text is shipped, changed files say so, copyright lines of matched code are kept."""

from __future__ import annotations

from collections.abc import Iterator

from filiation.disclosure.context import Context, Debt
from filiation.disclosure.headers import Head, missing_holders, read_head
from filiation.disclosure.model import Basis, CodeFinding, Parent, RuleResult
from filiation.disclosure.own import lookup
from filiation.disclosure.rules.answers import (
    CANNOT_TELL,
    MISSING,
    NOT_APPLICABLE,
    SATISFIED,
    answer,
    of_debt,
    settle,
)
from filiation.evidence import Place
from filiation.repository import Repository

_CHANGED = frozenset({"same_after_renaming", "refactored"})
_TAKEN = frozenset({"identical", "same_after_renaming"})


def licence_copy(context: Context) -> Iterator[RuleResult]:
    """L6: the text of the parent's licence among the files. A link is no copy."""
    for debt in settle("L6", context, "copy", "licence_link"):
        if isinstance(debt, RuleResult):
            yield debt
            continue
        idents = {x.id for x in debt.versions}
        held = context.papers.licence_with(idents)
        linked = any(idents & set(x.found.ids) for x in context.papers.licences if x.found.basis == "mention")
        if held:
            yield of_debt("L6", debt, SATISFIED, "copy_shipped", held.paper.place(1))
        elif debt.obligation is not None and debt.obligation.kind == "licence_link":
            yield _link(context, debt, linked)
        elif debt.licence is not None and not debt.licence.fingerprints and context.papers.licences:
            yield of_debt(
                "L6", debt, CANNOT_TELL, "copy_not_recognisable", context.papers.licences[0].paper.place(1)
            )
        elif (head := _named_in_heads(context, debt)) is not None:
            yield of_debt("L6", debt, CANNOT_TELL, "copy_named_in_heads", head)
        else:
            yield of_debt("L6", debt, MISSING, "copy_only_linked" if linked else "copy_missing", None)


def _named_in_heads(context: Context, debt: Debt) -> Place | None:
    """Where the heads of matched code keep their copyright lines and name the licence: code alone, no weights."""
    parent = debt.parent
    if parent.by_weights or parent.by_outputs or debt.licence is None or not parent.code:
        return None
    for finding in parent.code:
        head = _head(context.repository, finding.suspect_file)
        named = lookup(head.licence.text) if head is not None and head.licence is not None else ()
        if debt.licence not in named or holders(context, parent, finding).status is not SATISFIED:
            return None
    return holders(context, parent, parent.code[0]).place


def _link(context: Context, debt: Debt, linked: bool) -> RuleResult:
    """Creative Commons: the licence named as the repository's own, or a link to it, is enough."""
    links = debt.licence.links if debt.licence else ()
    for card in context.papers.cards:
        line = next((n for link in links if (n := card.line_of(link.partition("://")[2])) is not None), None)
        if line is not None:
            return of_debt("L6", debt, SATISFIED, "licence_linked", card.place(line))
    if linked or (debt.licence is not None and context.own.may_be(debt.licence)):
        return of_debt("L6", debt, SATISFIED, "licence_linked", context.own.place)
    return of_debt("L6", debt, MISSING, "licence_not_linked", None)


def changes_stated(context: Context) -> Iterator[RuleResult]:
    """L7: changed code files say so in their heads; for weights, the card or a notice says what was done."""
    for debt in settle("L7", context, "changes"):
        if isinstance(debt, RuleResult):
            yield debt
            continue
        if debt.parent.by_weights or debt.parent.by_outputs:
            yield _card_says(context, debt)
        if Basis.CODE in debt.parent.basis:
            yield from _heads_say(context, debt)


def _card_says(context: Context, debt: Debt) -> RuleResult:
    from filiation.disclosure import names

    if debt.parent.relation == "identical":
        return of_debt("L7", debt, NOT_APPLICABLE, "unchanged_copy", None)
    said = [c for c in context.said("prose_parent") if names.means(c.text, debt.parent.name)]
    said += [c for c in context.said("prose_parent") if names.means(debt.parent.name, c.text)]
    if said:
        return of_debt("L7", debt, SATISFIED, "change_in_card", said[0].place)
    card = context.papers.card.place(1) if context.papers.card else None
    return of_debt("L7", debt, MISSING, "change_not_in_card", card, file="")


def _heads_say(context: Context, debt: Debt) -> Iterator[RuleResult]:
    changed = [f for f in debt.parent.code if f.level in _CHANGED]
    if not changed:
        yield of_debt("L7", debt, NOT_APPLICABLE, "no_changed_file", None)
    for finding in changed:
        head = _head(context.repository, finding.suspect_file)
        if head is None:
            yield of_debt("L7", debt, CANNOT_TELL, "file_not_at_hand", None, file=finding.suspect_file)
        elif head.changed:
            place = _at(context.repository, finding.suspect_file, head.changed[0].line)
            yield of_debt("L7", debt, SATISFIED, "change_in_head", place, file=finding.suspect_file)
        else:
            place = _at(context.repository, finding.suspect_file, 1)
            yield of_debt("L7", debt, MISSING, "change_not_stated", place, file=finding.suspect_file)


def _head(repository: Repository | None, path: str | None) -> Head | None:
    if repository is None or path is None or not repository.readable(path):
        return None
    return read_head(repository.text(path))


def _at(repository: Repository, path: str, line: int) -> Place:
    return Place(file=path, line=line, digest=repository.files[path].sha256)


def holders_kept(context: Context) -> Iterator[RuleResult]:
    """L8: the copyright lines of the reference's files, in files that match after renaming or better."""
    pairs = [(p, f) for p in context.parents for f in p.code]
    taken = [(p, f) for p, f in pairs if f.level in _TAKEN]
    if not taken:
        yield answer("L8", NOT_APPLICABLE, "no_matched_code")
    for parent, finding in taken:
        yield holders(context, parent, finding)


def holders(context: Context, parent: Parent, finding: CodeFinding) -> RuleResult:
    """Return whether one matched file keeps the copyright lines of its counterpart."""
    theirs = finding.reference_holders
    if theirs is None and (head := _head(parent.repository, finding.reference_file)) is not None:
        theirs = tuple(h.text for h in head.holders)
    mine, place = finding.suspect_holders, None
    if (head := _head(context.repository, finding.suspect_file)) is not None:
        mine = tuple(h.text for h in head.holders) if mine is None else mine
        place = _at(context.repository, finding.suspect_file, head.holders[0].line if head.holders else 1)
    asked = [(x, o) for x in context.code_terms(parent).licences for o in x.asks("keep_notices")]
    values = {"parent": parent.name, "file": finding.suspect_file, "clause": None, "holders": ""}
    if asked:
        values |= {"licence": asked[0][0].id, "clause": f"{asked[0][0].id} {asked[0][1].clause}"}
    if theirs is None or mine is None:
        return answer("L8", CANNOT_TELL, "heads_not_at_hand", place, **values)
    if not theirs:
        return answer("L8", NOT_APPLICABLE, "reference_names_nobody", place, **values)
    lost = missing_holders(theirs, mine)
    values["holders"] = "; ".join(lost or theirs)
    if lost:
        return answer("L8", MISSING, "holders_removed", place, **values)
    return answer("L8", SATISFIED, "holders_kept", place, **values)
