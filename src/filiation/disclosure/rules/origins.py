"""D3, the other way round: what the card says of a model's own making, set beside what was found.

"Trained from scratch" beside weights of somebody else's, "our own tokenizer" beside an equal one: the two are told in
one sentence, and which of them is wrong is left to the reader.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from filiation.disclosure import names
from filiation.disclosure.context import Context
from filiation.disclosure.model import Basis, Parent, RuleResult
from filiation.disclosure.ownwork import by_template
from filiation.disclosure.rules.answers import CANNOT_TELL, CONTRADICTED, answer, spot
from filiation.disclosure.rules.declared import declared_or_inferred
from filiation.evidence import Claim

_WHOLE = ("prose_scratch", "prose_own_model")
#: By the relation of two tokenizers: what it says to a claim of an own tokenizer, and how it is told beside others.
_TOKENIZER = {
    "same": (CONTRADICTED, "origin_tokenizer_same", "origin_beside_tokenizer_same"),
    "reordered": (CONTRADICTED, "origin_tokenizer_reordered", "origin_beside_tokenizer_reordered"),
    "extended": (CANNOT_TELL, "origin_tokenizer_extended", "origin_beside_tokenizer_extended"),
    "pruned": (CANNOT_TELL, "origin_tokenizer_pruned", "origin_beside_tokenizer_pruned"),
}
#: The same by the level of matched code.
_CODE = {
    "identical": (CONTRADICTED, "origin_code_identical", "origin_beside_code_identical"),
    "same_after_renaming": (
        CONTRADICTED,
        "origin_code_same_after_renaming",
        "origin_beside_code_same_after_renaming",
    ),
    "refactored": (CANNOT_TELL, "origin_code_refactored", "origin_beside_code_refactored"),
    "shares_ancestor": (CANNOT_TELL, "origin_code_shares_ancestor", "origin_beside_code_shares_ancestor"),
}


def own_work(context: Context) -> Iterator[RuleResult]:
    """Yield, for each kind of such a claim, what speaks against it, what stands beside it, or that nothing does."""
    for subject in (*_WHOLE, "prose_own_tokenizer", "prose_own_code"):
        claim = next(iter(context.said(subject)), None)
        if claim is None:
            continue
        found = [*_found(context, claim)]
        yield from found
        if not found:
            yield answer("D3", CANNOT_TELL, "origin_open", claim.place, said=claim.text)


def _found(context: Context, claim: Claim) -> Iterator[RuleResult]:
    if claim.subject in _WHOLE:
        yield from _weights(context, claim)
        yield from _beside_whole(context, claim)
    elif claim.subject == "prose_own_tokenizer":
        for each in (b for b in context.beside if b.head == "tokenizer" and b.relation in _TOKENIZER):
            status, reason, _ = _TOKENIZER[each.relation]
            yield _result(claim, status, reason, each.reference)
        for each in (b for b in context.beside if b.head == "public_tokenizer"):
            yield _result(claim, CONTRADICTED, "origin_tokenizer_public", each.reference)
    else:
        yield from _code(context, claim, alone=True)


def _weights(context: Context, claim: Claim) -> Iterator[RuleResult]:
    """Yield the parents by weights; for one that only the repository itself names, where it does so."""
    for parent in (p for p in context.parents if p.by_weights):
        if Basis.WEIGHTS in parent.basis:
            reason = "origin_same_weights" if parent.relation == "identical" else "origin_weights"
            yield _result(claim, CONTRADICTED, reason, parent.name)
        elif Basis.GIVEN in parent.basis:
            yield _result(claim, CONTRADICTED, "origin_given", parent.name)
        elif not _itself(context, parent):
            status, reason = CONTRADICTED, "origin_declared"
            if declared_or_inferred(context) == "quantized":
                status, reason = CANNOT_TELL, "origin_of_packed"
            elif by_template(claim.text):
                status, reason = CANNOT_TELL, "origin_of_template"
            yield _result(claim, status, reason, parent.name, where=spot(parent.place))


def _itself(context: Context, parent: Parent) -> bool:
    return names.same(parent.name, context.repository.name)


def _beside_whole(context: Context, claim: Claim) -> Iterator[RuleResult]:
    """Code, tokenizer and traces say nothing of how weights were made: they are told, and nothing follows."""
    yield from _code(context, claim, alone=False)
    for each in (b for b in context.beside if b.head == "tokenizer" and b.relation in _TOKENIZER):
        yield _result(claim, CANNOT_TELL, _TOKENIZER[each.relation][2], each.reference)
    for each in (b for b in context.beside if b.head == "traces"):
        yield _result(claim, CANNOT_TELL, "origin_beside_traces", each.reference, count=each.count)


def _code(context: Context, claim: Claim, *, alone: bool) -> Iterator[RuleResult]:
    """Yield the matched file of each code base; a claim of own code meets it head on, a claim of weights does not."""
    for parent in (p for p in context.parents if any(f.level in _CODE for f in p.code)):
        match = min((f for f in parent.code if f.level in _CODE), key=lambda f: list(_CODE).index(f.level))
        status, against, beside = _CODE[match.level]
        values = {"file": match.suspect_file, "other": match.reference_file or ""}
        yield _result(
            claim, status if alone else CANNOT_TELL, against if alone else beside, parent.name, **values
        )


def _result(claim: Claim, status: Any, reason: str, parent: str, **values: Any) -> RuleResult:
    return answer("D3", status, reason, claim.place, said=claim.text, parent=parent, **values)
