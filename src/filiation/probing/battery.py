"""Which tests a request asks for, each with its setting; a test that lacks something says so itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from filiation.behaviour import (
    controls,
    derived,
    distilled,
    exclusive,
    hidden_width,
    identity,
    mistakes,
    output_layer,
    same_model,
    tokenizer,
)
from filiation.behaviour.recording import not_measured
from filiation.behaviour.records import Found
from filiation.endpoint.model import Asker
from filiation.endpoint.sheets import SHEET
from filiation.probing.materials import Materials
from filiation.probing.request import TESTS, Request

BY_HAND = ("same_model", "derived", "exclusive_data", "shared_mistakes", "identity")
"""Tests that need no more of the suspect than short texts, so that a person can put the questions to a chat site."""


def run(
    asker: Asker, request: Request, materials: Materials, tell: Callable[[str], None]
) -> tuple[Found, ...]:
    """Run every test that was asked for, cheapest first, and fill in of which model each speaks.

    Raises:
        AccessDeniedError: an endpoint refuses the key.
    """
    found: list[Found] = []
    for name in request.tests or TESTS:
        tell(name)
        if name in BY_HAND or not _is_by_hand(asker):
            one = _TESTS[name](asker, request, materials)
        else:
            one = not_measured(name, f"behaviour.{name}/asked=by_hand", "by_hand")
        # A test knows best of whom it speaks: a parent that was chosen among several, a reference that counted.
        against = one.test.against or _against(name, request, materials)
        found.append(replace(one, test=replace(one.test, against=against)))
    return tuple(found)


def _is_by_hand(asker: Asker) -> bool:
    return asker.records["suspect"].dialect == SHEET


def _against(name: str, request: Request, materials: Materials) -> str | None:
    """Return the role of the model that a test speaks of."""
    parent = next((p.role for p in request.parties() if p.role.startswith("parent")), None)
    other = "reference" if request.reference is not None else parent
    roles: Mapping[str, str | None] = {
        "same_model": "reference" if request.reference is not None else None,
        "tokenizer": materials.expected,
        "output_layer": None if materials.head is None else materials.head[0],
        "derived": parent,
        "distilled": None if request.teacher is None else "teacher",
        "shared_mistakes": other,
        "exclusive_data": other,
    }
    return roles.get(name)


def _roles(request: Request, prefix: str) -> tuple[str, ...]:
    return tuple(p.role for p in request.parties() if p.role == prefix or p.role.startswith(f"{prefix}-"))


def _same(asker: Asker, request: Request, materials: Materials) -> Found:
    setting = same_model.Setting(
        request.seed,
        second=None if request.second is None else "second",
        controls=_roles(request, "control"),
        pairs=request.pairs,
        most=max(request.most, request.pairs),
    )
    if _is_by_hand(asker):
        # A sheet cannot grow, and its few questions tell more where they are of few kinds: one language. Whole answers
        # come back, so that the first words of the others must be whole too.
        setting = replace(
            setting, most=request.pairs, languages=("en",), tokens=12, temperature=None, settings_known=False
        )
    if request.languages:
        setting = replace(setting, languages=request.languages)
    return same_model.run(asker, setting)


def _tokenizer(asker: Asker, request: Request, materials: Materials) -> Found:
    setting = tokenizer.Setting(
        materials.tokenizers,
        materials.unusable,
        materials.expected,
        reference=None if request.reference is None else "reference",
        seed=request.seed,
    )
    return tokenizer.run(asker, setting)


def _layer(asker: Asker, request: Request, materials: Materials) -> Found:
    if materials.head is None:
        id = f"behaviour.output_layer/candidate=none/seed={request.seed}"
        alone = not_measured("output_layer", id, "no_candidate_head")
        return hidden_width.beside(asker, alone, hidden_width.Setting(request.seed, request.vectors))
    _, head = materials.head
    return output_layer.run(
        asker, output_layer.Setting(head, materials.heads, seed=request.seed, rank_prompts=request.vectors)
    )


def _derived(asker: Asker, request: Request, materials: Materials) -> Found:
    shared = standings(request, materials)
    setting = derived.Setting(
        request.seed,
        parents=_roles(request, "parent"),
        controls=_roles(request, "control"),
        standings=shared,
        prompts=request.prompts,
    )
    found = derived.run(asker, setting)
    suggested = _suggested(request) if controls.wanting(shared, setting.controls) else []
    if not suggested:
        return found
    return replace(found, test=replace(found.test, figures={**found.test.figures, "suggested": suggested}))


def _suggested(request: Request) -> list[dict[str, Any]]:
    """Return public models that could serve as controls of the (first) parent, where that one is known."""
    names = {p.role: p.model for p in request.parties()}
    parents = _roles(request, "parent")
    taken = {controls.find(names[role]) for role in _roles(request, "control")}
    rows = controls.suggest(names[parents[0]]) if parents else ()
    return [
        {
            "name": row.model.name,
            "same_tokenizer": row.standing.same_tokenizer,
            "same_generation": row.standing.same_generation,
        }
        for row in rows
        if row.model not in taken
    ]


def standings(request: Request, materials: Materials) -> dict[str, controls.Standing]:
    """Return what each control shares with the parent, as far as it is known or was measured."""
    names = {p.role: p.model for p in request.parties()}
    parents = _roles(request, "parent")
    first = controls.find(names[parents[0]]) if parents else None
    found: dict[str, controls.Standing] = {}
    for role in _roles(request, "control"):
        known = controls.standing(first, controls.find(names[role]))
        found[role] = replace(known, same_tokenizer=True) if role in materials.siblings else known
    return found


def _distilled(asker: Asker, request: Request, materials: Materials) -> Found:
    setting = distilled.Setting(
        request.seed,
        base=None if request.base is None else "base",
        controls=_roles(request, "teacher-control"),
        words=request.prompts,
    )
    return distilled.run(asker, setting)


def _exclusive(asker: Asker, request: Request, materials: Materials) -> Found:
    if materials.items is None:
        return not_measured("exclusive_data", "behaviour.exclusive_data/items=none", "no_items")
    items, digest = materials.items
    return exclusive.run(asker, exclusive.Setting(items, digest, controls=_roles(request, "control")))


def _mistakes(asker: Asker, request: Request, materials: Materials) -> Found:
    if materials.choices is None:
        return not_measured("shared_mistakes", "behaviour.shared_mistakes/items=none", "no_items")
    items, digest = materials.choices
    other = _against("shared_mistakes", request, materials) or "reference"
    return mistakes.run(asker, mistakes.Setting(items, digest, other=other, pool=_roles(request, "control")))


def _identity(asker: Asker, request: Request, materials: Materials) -> Found:
    return identity.run(asker, identity.Setting(told=request.model))


_TESTS: Mapping[str, Callable[[Asker, Request, Materials], Found]] = {
    "same_model": _same,
    "tokenizer": _tokenizer,
    "output_layer": _layer,
    "derived": _derived,
    "distilled": _distilled,
    "exclusive_data": _exclusive,
    "shared_mistakes": _mistakes,
    "identity": _identity,
}


def attention(found: Sequence[Found]) -> tuple[str, ...]:
    """Return phrase keys of claims that the tokenizer contradicts; they carry no weight."""
    by_name = {f.test.name: f for f in found}
    if not {"identity", "tokenizer"} <= set(by_name):
        return ()
    key = identity.contradiction(by_name["identity"], by_name["tokenizer"])
    return () if key is None else (key,)
