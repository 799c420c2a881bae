"""Projectors: what stands between a tower of another kind and the language model; their own names are their roles."""

from __future__ import annotations

from collections import Counter

from filiation.anatomy.model import Part
from filiation.anatomy.roles import axes_of
from filiation.anatomy.tables import Hit, Path, Rule
from filiation.anatomy.towers import Found, component_of


def projector_hit(path: Path) -> Hit:
    """A projector keeps its own names as roles, from the word that says it is one: ``merger.mlp.0``."""
    start = next(i for i in range(len(path)) if component_of(path[i : i + 1]) == "projector")
    role = path[start:-1] if path[-1] in ("weight", "bias") and start < len(path) - 1 else path[start:]
    return Hit(Rule((".".join(role),)), path[-1] == "bias")


def projector_parts(found: list[Found]) -> list[Part]:
    """Name projector parts by what follows the word for a projector, so that a renamed one keeps its roles.

    Where two projectors have a part of one name, both keep their words.
    """
    long = [item.hit.rule.roles[0] + (".bias" if item.hit.bias else "") for item in found]
    short = [role.partition(".")[2] if role.partition(".")[2] not in ("", "bias") else role for role in long]
    clashes = {role for role, count in Counter(short).items() if count > 1}
    return [
        Part("projector", b if a in clashes else a, None, None, item.info.name, item.info.shape, axes)
        for item, a, b in zip(found, short, long, strict=True)
        for axes in (axes_of("", len(item.info.shape)),)
    ]
