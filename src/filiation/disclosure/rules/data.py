"""L11: licences of the datasets that the card names, and of the models whose outputs they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from filiation.disclosure import registry
from filiation.disclosure.context import Context
from filiation.disclosure.model import Licence, RuleResult
from filiation.disclosure.parents import known_datasets
from filiation.disclosure.rules.answers import (
    CANNOT_TELL,
    CONTRADICTED,
    NOT_APPLICABLE,
    SATISFIED,
    answer,
)
from filiation.evidence import Claim


def licences(context: Context) -> Iterator[RuleResult]:
    """L11: one answer for each dataset and each thing to say of it."""
    named = context.said("datasets", "gguf_dataset")
    if not named:
        yield answer("L11", NOT_APPLICABLE, "no_datasets")
    for claim in named:
        found = known_datasets(claim.text)
        if not found:
            yield answer("L11", CANNOT_TELL, "dataset_unknown", claim.place, dataset=claim.text)
        for entry in found:
            yield from _dataset(context, claim, entry)


def _dataset(context: Context, claim: Claim, entry: Mapping[str, Any]) -> Iterator[RuleResult]:
    said = False
    for licence in registry.known([entry.get("licence", "")]):
        said = True
        yield _own_terms(context, claim, licence)
    for terms in registry.known(entry.get("terms", ())):
        said = True
        for ask in terms.asks("other_models"):
            yield _result(claim, terms, CANNOT_TELL, "question", ask.clause, asks=dict(ask.asks))
    for model in entry.get("outputs_of", ()):
        for licence in registry.of_model(model, None):
            if licence.kind != "api_terms":
                said = True
                yield from _outputs(context, claim, licence)
    if not said:
        yield answer("L11", CANNOT_TELL, "dataset_unknown", claim.place, dataset=claim.text)


def _own_terms(context: Context, claim: Claim, licence: Licence) -> RuleResult:
    """A dataset's non-commercial term under a permissive tag of the model is dropped, not passed on."""
    if licence.kind in {"non_commercial", "research"}:
        if context.own.permissive:
            return _result(claim, licence, CONTRADICTED, "dataset_terms_dropped", licence.relicense_clause)
        return _result(claim, licence, CANNOT_TELL, "dataset_non_commercial", licence.relicense_clause)
    return _result(claim, licence, SATISFIED, "dataset_allows", licence.relicense_clause)


def _outputs(context: Context, claim: Claim, licence: Licence) -> Iterator[RuleResult]:
    """Outputs of a model whose licence forbids using them for other models, or allows it at a price."""
    for ask in licence.asks("other_models"):
        if ask.rule != "banned":
            yield _result(claim, licence, SATISFIED, "outputs_allowed", ask.clause)
            continue
        heirs = {x.id for p in context.parents if p.by_weights for x in context.model_terms(p).licences}
        kept = licence.id in heirs
        status, reason = (SATISFIED, "outputs_same_family") if kept else (CONTRADICTED, "outputs_banned")
        yield _result(claim, licence, status, reason, ask.clause)


def _result(
    claim: Claim, licence: Licence, status: Any, reason: str, where: str | None, **values: Any
) -> RuleResult:
    return answer(
        "L11",
        status,
        reason,
        claim.place,
        licence=licence.id,
        licence_name=licence.name,
        dataset=claim.text,
        clause=f"{licence.id} {where}" if where else None,
        **values,
    )
