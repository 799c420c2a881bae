"""Beside the layers: which of several tensors of one name a loader reads (ADR 0023)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from filiation.anatomy.model import Inference
from filiation.anatomy.names import is_plain
from filiation.anatomy.tables import Hit, Path
from filiation.anatomy.towers import Tower
from filiation.anatomy.unread import stated_families

_BY_ROOT = ("embedding", "final_norm")
"""Parts that stand where the layer list stands; a head stands above it in some families."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A tensor beside a tower's layers: what the table says it is, and how far down the tower's root it stands."""

    path: Path
    name: str
    hit: Hit
    depth: int


def unread_beside(tower: Tower, claims: Sequence[Claim], *, is_gguf: bool) -> tuple[str, ...]:
    """Return the names of the claims that loaders do not read: others of the same name stand in the usual place."""
    alike: dict[tuple[object, ...], list[Claim]] = defaultdict(list)
    for claim in claims:
        if not claim.path[-1].endswith("_scale"):
            alike[claim.hit.name, claim.hit.rule.roles, claim.hit.bias, claim.hit.number].append(claim)
    read = {claim.name for same in alike.values() for claim in _read(same)}
    if not is_gguf and _has_no_norm_bias(tower):
        read -= {c.name for c in claims if c.hit.bias and c.hit.rule.roles[0].endswith("norm")}
    return tuple(c.name for same in alike.values() for c in same if c.name not in read)


def _read(same: Sequence[Claim]) -> Sequence[Claim]:
    usual = [c for c in same if c.path[-1] in ("weight", "bias") and is_plain(c.path)] or same
    if len(usual) == 1 or usual[0].hit.rule.roles[0] not in _BY_ROOT:
        return usual
    deepest = max(c.depth for c in usual)
    return [c for c in usual if c.depth == deepest]


def _has_no_norm_bias(tower: Tower) -> bool:
    """Whether the config names a family whose norms have no biases, such as those that do not subtract the mean."""
    return any(
        not family.has_norm_biases and family.built is not None and family.built.biases is not None
        for family in stated_families(tower.config, tower.family.component)
    )


def told(names: Sequence[str], component: str) -> Inference:
    """Return what is said of them."""
    first, *others = names
    more = f" and {len(others)} more are" if others else " is"
    return Inference(
        f"{first}{more} stored and not loaded", f"{component} has that part under another name, or has it not"
    )
