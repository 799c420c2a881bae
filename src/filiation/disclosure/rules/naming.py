"""L4: the naming rule, tested on the model's own name: repository, configuration and GGUF; ``publisher/`` left out."""

from __future__ import annotations

from collections.abc import Iterator

from filiation.disclosure import names, registry
from filiation.disclosure.context import Context, Debt
from filiation.disclosure.model import RuleResult
from filiation.disclosure.rules.answers import (
    CANNOT_TELL,
    CONTRADICTED,
    MISSING,
    NOT_APPLICABLE,
    SATISFIED,
    of_debt,
    settle,
)
from filiation.evidence import Claim

_NAMES = ("repository_name", "given_name", "config_name", "gguf_name", "card_name")
_BESIDE = "card_title"


def name(context: Context) -> Iterator[RuleResult]:
    """L4: what the name must begin with or hold, by licence."""
    for debt in settle("L4", context, "name"):
        if isinstance(debt, RuleResult):
            yield _later(context, debt)
        elif not context.is_model:
            yield of_debt("L4", debt, NOT_APPLICABLE, "no_model_name", None, part=_part(debt))
        elif debt.parent.relation == "identical":
            yield of_debt("L4", debt, NOT_APPLICABLE, "unchanged_copy", None, part=_part(debt))
        else:
            yield _tested(context, debt)


def _part(debt: Debt) -> str:
    return (debt.obligation.part if debt.obligation else None) or ""


def _tested(context: Context, debt: Debt) -> RuleResult:
    part, rule = _part(debt), (debt.obligation.rule if debt.obligation else None) or "starts_with"
    said = [c for c in context.said(*_NAMES) if names.own(c.text)]
    if not said:  # of a local folder only the folder's name is known; a title is taken where nothing else is
        said = [c for c in context.said(_BESIDE) if names.own(c.text)]
    if not said:
        example = names.suggestion(context.repository.name, part, rule)
        values = {"part": part, "how": rule, "example": example}
        return of_debt("L4", debt, CANNOT_TELL, "name_not_known", None, **values)
    fits = [names.meets(c.text, part, rule) for c in said]
    values = {"part": part, "how": rule, "names": ", ".join(dict.fromkeys(names.own(c.text) for c in said))}
    if fits and all(fits):
        place = next((c.place for c in said if c.place.file), None)
        return of_debt("L4", debt, SATISFIED, f"name_{rule}", place, **values)
    odd: Claim | None = next((c for c, fit in zip(said, fits, strict=True) if not fit), None)
    place = odd.place if odd and odd.place.file else None
    if any(fits):
        return of_debt("L4", debt, CONTRADICTED, "names_disagree", place, **values)
    return of_debt("L4", debt, MISSING, f"name_not_{rule}", place, **values)


def _later(context: Context, result: RuleResult) -> RuleResult:
    """Say so where a later version of the licence has a naming rule that did not hold on the day of derivation."""
    parent = next((p for p in context.parents if p.name == result.parent), None)
    if parent is None or parent.day is None or result.reason not in {"not_asked", "not_in_force"}:
        return result
    for licence in registry.known([result.licence or ""]):
        for later in registry.family(licence):
            begins = later.valid_from
            if (
                later.asks("name")
                and begins is not None
                and begins > parent.day
                and _covers(later.id, parent.name)
            ):
                values = {
                    **result.values,
                    "later": later.name,
                    "since": begins.isoformat(),
                    "when": str(parent.day),
                }
                return RuleResult(
                    "L4",
                    NOT_APPLICABLE,
                    "name_rule_came_later",
                    place=result.place,
                    clause=f"{later.id} {later.asks('name')[0].clause}",
                    licence=later.id,
                    parent=parent.name,
                    values=values,
                )
    return result


def _covers(ident: str, model: str) -> bool:
    """Whether a licence came to govern this very model."""
    return any(x.id == ident for x in registry.of_model(model, None))
