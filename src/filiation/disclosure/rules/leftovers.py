"""D4: references left in configurations that lead to a model which is not declared, or to a file that is not there."""

from __future__ import annotations

from collections.abc import Iterator

from filiation.disclosure import names
from filiation.disclosure.context import Context
from filiation.disclosure.model import RuleResult
from filiation.disclosure.rules.answers import (
    CANNOT_TELL,
    CONTRADICTED,
    MISSING,
    NOT_APPLICABLE,
    SATISFIED,
    answer,
)
from filiation.evidence import Claim

_PATHS = ("config_name_or_path", "tokenizer_name_or_path")


def references(context: Context) -> Iterator[RuleResult]:
    """D4: each reference, the odd ones singly; one answer for all that lead where they should."""
    found = [
        *(_path(context, c) for c in context.said(*_PATHS)),
        *(_module(context, c) for c in context.said("auto_map")),
    ]
    odd = [r for r in found if r is not None]
    yield from odd
    if odd:
        return
    if found:
        first = context.said(*_PATHS, "auto_map")[0]
        yield answer("D4", SATISFIED, "references_lead", first.place)
    else:
        yield answer("D4", NOT_APPLICABLE, "no_references")


def _path(context: Context, claim: Claim) -> RuleResult | None:
    """``_name_or_path``: the model itself, a declared parent, or a local path that tells nothing."""
    own_name = names.own(claim.text)
    if not own_name or own_name in {".", ".."} or names.same(claim.text, context.repository.name):
        return None
    declared = context.said("base_model", "adapter_base", "merge_parent", "gguf_base_model", "prose_parent")
    if any(names.means(c.text, claim.text) or names.means(claim.text, c.text) for c in declared):
        return None
    if names.publisher(claim.text) is None:
        return answer("D4", CANNOT_TELL, "reference_local_path", claim.place, said=claim.text)
    return answer("D4", MISSING, "reference_undeclared", claim.place, said=claim.text)


def _module(context: Context, claim: Claim) -> RuleResult | None:
    """``auto_map``: the module must be in the repository; ``publisher/model--module`` leads to another one."""
    other, _, target = claim.text.rpartition("--")
    if other:
        declared = any(names.same(other, c.text) for c in context.said("base_model", "adapter_base"))
        itself = names.same(other, context.repository.name)
        if declared or itself:
            return None
        return answer("D4", MISSING, "reference_undeclared", claim.place, said=other)
    file = f"{target.rpartition('.')[0].replace('.', '/')}.py"
    if any(path == file or path.endswith(f"/{file}") for path in context.repository.files):
        return None
    notes = set(context.repository.notes)
    if ("", "listing_incomplete") in notes and (file, "absent") not in notes:  # a repository known by facts
        return answer("D4", CANNOT_TELL, "reference_unlisted", claim.place, said=claim.text, file=file)
    return answer("D4", CONTRADICTED, "reference_dangling", claim.place, said=claim.text, file=file)
