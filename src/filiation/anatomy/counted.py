"""How many layers loaders build of a tower: by the keys that its code reads, else what its config's class has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from filiation.anatomy.config import types_of
from filiation.anatomy.families import base_of, of_architecture, of_type, squashed
from filiation.anatomy.loaded import left_out, stated
from filiation.anatomy.model import Inference
from filiation.anatomy.tables import Family
from filiation.anatomy.towers import Tower


@dataclass(frozen=True, slots=True)
class Count:
    """A number of layers; ``usual_of`` is the model type whose config's class has it where a config is silent."""

    layers: int
    usual_of: str | None = None

    def told(self, beyond: tuple[int, ...], component: str) -> Inference:
        """Return what is said of layers beyond it."""
        said = left_out(beyond, component, self.layers)
        if self.usual_of is None:
            return said
        basis = f"the config says no number for {component}; {self.usual_of} has {self.layers} layers then"
        return Inference(said.what, basis)


def layers_built(tower: Tower, *, is_gguf: bool) -> Count | None:
    """Return how many layers loaders build of a tower, None where nobody says.

    A T5's decoder has as many as its encoder where only that number is given; a Llama whose config says nothing has
    32, and passes over ``n_layer``. Where the model type and the architectures name different ones it is the least.
    GGUF files always say it.
    """
    counts = () if is_gguf else tuple(_counts(tower))
    if counts:
        return min(counts, key=lambda count: count.layers)
    said = stated(tower.config, tower.family)
    return None if said is None else Count(said)


def _counts(tower: Tower) -> Iterator[Count]:
    for word in types_of(tower.config):
        same = [f for f in of_type(word) or of_architecture(word) if f.component == tower.family.component]
        named = [family for family in same if family.name == tower.family.name] or same
        for family in named[:1]:
            said, usual = stated(tower.config, family.under(tower.config)), _usual(word, family)
            if said is not None:
                yield Count(said)
            elif usual is not None:
                yield usual


def _usual(word: str, family: Family) -> Count | None:
    """Return what the config's class of a model type, or of a class of models, has."""
    for kind, layers in family.layers.items():
        if word == kind or base_of(word) == squashed(kind):
            return Count(layers, kind)
    return None
