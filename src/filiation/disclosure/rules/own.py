"""L1 and L2: has the repository a licence that is readable and agrees with itself, and may it have that one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from filiation.disclosure.context import Context
from filiation.disclosure.model import Basis, Licence, Parent, RuleResult
from filiation.disclosure.own import Own
from filiation.disclosure.parents import Terms, alike
from filiation.disclosure.rules.answers import (
    CANNOT_TELL,
    CONTRADICTED,
    MISSING,
    NOT_APPLICABLE,
    SATISFIED,
    answer,
)

_FREE = frozenset({"permissive", "notice_only"})


def present(context: Context) -> Iterator[RuleResult]:
    """L1: tag, licence file and text, and whether they agree."""
    own, papers = context.own, context.papers
    text = papers.licences[0] if papers.licences else None
    card = papers.card.place(1) if papers.card else None
    hidden = next((c for c in context.said("card_unreadable") if c.text == "license"), None)
    if own.written is None and hidden is not None:
        yield answer("L1", CANNOT_TELL, "licence_unreadable", hidden.place)
    elif text is None and not any(p.by_weights or p.by_outputs for p in context.parents):
        reason = "own_work_tag" if own.written else "own_work_silent"
        yield answer("L1", NOT_APPLICABLE, reason, own.place or card, written=own.written or "")
    elif own.written is None and text is None:
        yield answer("L1", MISSING, "licence_nowhere", card)
    elif (own.written is None or own.in_prose) and text is not None:
        reason = "tag_missing" if own.shown else "tag_missing_text_unknown"
        yield answer("L1", MISSING, reason, text.paper.place(1), shown=_listed(own.shown))
    elif text is None:
        yield answer("L1", MISSING, "licence_text_missing", own.place, written=own.written)
    else:
        yield _agreement(context, own)


def _agreement(context: Context, own: Own) -> RuleResult:
    """Return whether what the card says and what the files hold are the same licence."""
    place = context.papers.licences[0].paper.place(1)
    values = {"written": own.written, "shown": _listed(own.shown)}
    if not own.known:
        named = next(iter(context.said("license_name")), None)
        vague = own.written in {"other", "unknown"} and named is None
        reason = "licence_unnamed" if vague else "licence_unknown"
        return answer("L1", MISSING if vague else CANNOT_TELL, reason, own.place, **values)
    if not own.shown:
        mention = any(x.found.basis == "mention" for x in context.papers.licences)
        return answer("L1", CANNOT_TELL, "text_only_mentions" if mention else "text_unknown", place, **values)
    held = [any(x.id in own.shown for x in group) for group in own.declared]
    if not (any(held) if own.choice else all(held)):
        return answer("L1", CONTRADICTED, "tag_and_text_differ", place, **values)
    changed = [
        p for p in own.unread if context.papers.licence_with(own.declared_ids) is not None and p == place
    ]
    if changed:
        return answer("L1", CANNOT_TELL, "text_modified", place, **values)
    holder = context.papers.licence_with(own.declared_ids)
    return answer("L1", SATISFIED, "licence_agrees", holder.paper.place(1) if holder else place, **values)


def _listed(ids: frozenset[str]) -> str:
    return ", ".join(sorted(ids))


def compatible(context: Context) -> Iterator[RuleResult]:
    """L2: the repository's licence against what the parent's licence lets a derivative have."""
    if not context.parents:
        yield answer("L2", NOT_APPLICABLE, "no_parent")
    for parent in context.parents:
        if parent.by_weights:
            yield from _against(context, parent, context.model_terms(parent))
        elif parent.by_outputs:
            yield from _outputs(context, parent, context.model_terms(parent))
        if Basis.CODE in parent.basis:
            yield from _against(context, parent, context.code_terms(parent))


def _outputs(context: Context, parent: Parent, terms: Terms) -> Iterator[RuleResult]:
    """Trained on outputs: bound only where the licence counts that as a derivative."""
    reached = tuple(x for x in terms.licences if x.output_clause)
    if reached:
        yield from _against(context, parent, Terms(reached))
        return
    status, reason = (
        (NOT_APPLICABLE, "outputs_not_reached") if terms.licences else (CANNOT_TELL, "terms_unknown")
    )
    yield answer("L2", status, reason, parent.place, parent=parent.name, licences="")


def _against(context: Context, parent: Parent, terms: Terms) -> Iterator[RuleResult]:
    latest = alike(terms.options)
    if latest is not None:
        yield _one(context, parent, latest, terms.options)
        return
    if not terms.licences:
        reason = "terms_open" if terms.options else "not_in_force" if terms.not_in_force else "terms_unknown"
        shown = ", ".join(x.name for x in (*terms.options, *terms.not_in_force))
        status = NOT_APPLICABLE if terms.not_in_force else CANNOT_TELL
        yield answer("L2", status, reason, parent.place, parent=parent.name, licences=shown)
    for licence in terms.licences:
        yield _one(context, parent, licence)


def _one(context: Context, parent: Parent, licence: Licence, versions: Sequence[Licence] = ()) -> RuleResult:
    """Answer for a licence; ``versions`` are those of which one holds, where nobody knows which."""
    own, every = context.own, versions or (licence,)
    clauses = [f"{x.id} {x.relicense_clause}" for x in every if x.relicense_clause]
    values = {
        "parent": parent.name,
        "licence": " OR ".join(x.id for x in every),
        "licence_name": " / ".join(x.name for x in every),
        "written": own.written or _listed(own.shown) or "-",
        "clause": " OR ".join(clauses) or None,
    }
    itself = any(own.may_be(x) for x in every)
    if licence.kind in _FREE or itself:
        reason = "licence_same" if itself else "parent_permissive"
        return answer("L2", SATISFIED, reason, own.place, **values)
    if own.written is None:
        return answer("L2", MISSING, "own_licence_missing", None, **values)
    if not own.known:
        return answer("L2", CANNOT_TELL, "own_licence_unknown", own.place, **values)
    if own.permissive or licence.relicense == "same":
        return answer("L2", CONTRADICTED, "terms_dropped", own.place, **values)
    return answer("L2", CANNOT_TELL, "terms_replaced", own.place, **values)
