"""A shared expert that stands alone in its layer is the layer's feed-forward network (Granite 4 without experts)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from filiation.anatomy.towers import Found, Tower

_SHARED = "shared."
_NETWORK = frozenset({"gate", "up", "down", "router"})


def as_dense(tower: Tower) -> Tower:
    """Name shared experts as plain networks in layers that have neither experts nor a network; return the tower."""
    held: dict[int | None, set[str]] = defaultdict(set)
    for each in tower.found:
        held[each.layer].update(each.hit.rule.roles)
    alone = {
        layer for layer, roles in held.items() if not roles & _NETWORK and f"{_SHARED}router" not in roles
    }
    tower.found = [_plain(each) if each.layer in alone else each for each in tower.found]
    return tower


def _plain(found: Found) -> Found:
    roles = tuple(role.removeprefix(_SHARED) for role in found.hit.rule.roles)
    if roles == found.hit.rule.roles:
        return found
    return replace(found, hit=replace(found.hit, rule=replace(found.hit.rule, roles=roles)))
