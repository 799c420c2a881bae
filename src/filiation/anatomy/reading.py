"""A tower as loaders read it: what lies beyond its config, and what they drop, is left out before it is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from filiation.anatomy.counted import layers_built
from filiation.anatomy.loaded import cut
from filiation.anatomy.names import Stack
from filiation.anatomy.tables import Family
from filiation.anatomy.towers import INFERRED, Clues, Tower, component_of, raise_towers
from filiation.anatomy.unread import dropped, stated_families, without_unread
from filiation.checkpoint.model import TensorInfo

Tensors = Mapping[str, TensorInfo]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A tower of what is loaded; the tensors of layers beyond the config; those that loaders drop from its layers."""

    tower: Tower
    beyond: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def as_loaded(tower: Tower, tensors: Tensors, clues: Clues) -> Loaded:
    """Leave out what loaders do not read, of the towers that they read.

    These are layers beyond the config's number (ADR 0021), and tensors inside layers that its family has not (0023).
    """
    if ":" in tower.component:
        return Loaded(tower)
    component, before = tower.component, tower.stack
    beyond: tuple[str, ...] = ()
    count = layers_built(tower, is_gguf=clues.architecture is not None)
    stack, layers = cut(before, None if count is None else count.layers, tower.family)
    if count is not None and layers:
        again = _raised_again(tower, stack, tensors, clues)
        if again is not None:
            beyond = tuple(name for n in layers for name in before.layers[n].values())
            tower = again
    families = _read_as(tower, clues)
    stack, unread = without_unread(tower, families)
    again = _raised_again(tower, stack, tensors, clues) if unread else None
    if again is None:
        unread = ()
    else:
        tower = again
        tower.notes.append(dropped(unread, component, families))
    if beyond and count is not None:
        tower.notes.append(count.told(layers, component))
    return Loaded(tower, beyond, unread)


def _read_as(tower: Tower, clues: Clues) -> tuple[Family, ...]:
    """Return the families whose loaders the config names, as far as it is known what they build."""
    if clues.architecture is None:
        return stated_families(tower.config, tower.family.component)
    return (tower.family,) if tower.family.built is not None else ()


def _raised_again(tower: Tower, stack: Stack, tensors: Tensors, clues: Clues) -> Tower | None:
    """Name fewer tensors anew: what is not loaded may not say what the rest is called either."""
    raised = raise_towers([stack], tensors, clues)
    again = raised[0] if raised else recovered(stack, tensors, clues)
    if again is None:
        return None
    again = completed(again, tensors, clues)
    again.component = tower.component
    return again


def recovered(stack: Stack, tensors: Tensors, clues: Clues) -> Tower | None:
    """Return a tower whose names were inferred; None where they cannot be, or are a projector's."""
    if component_of(stack.container) == "projector":
        return None
    from filiation.anatomy.recover import recover

    return recover(stack, tensors, clues)


def completed(tower: Tower, tensors: Tensors, clues: Clues) -> Tower:
    """Infer what the tower's table does not know; where that is most of it, try without the table."""
    if not tower.stray or tower.family.name == INFERRED:
        return tower
    from filiation.anatomy.recover import complete

    complete(tower, tensors, clues.shapes)
    other = recovered(tower.stack, tensors, clues) if tower.stray and not tower.known else None
    return other if other is not None and len(other.stray) < len(tower.stray) else tower
