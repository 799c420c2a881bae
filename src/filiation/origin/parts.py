"""The parts of a component that agree: what a verdict may name, and how they are called in its scope."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from filiation.origin.examine import Stage

#: log10 e from which on labels carry a finding.
DECIDE_AT = 6.0
EMBEDDINGS, RESIDUAL, GAINS = "token embeddings", "residual", "norm gains"
IN_VALUES, IN_EXPERTS = "value channels of layers", "expert"


@dataclass(frozen=True, slots=True)
class Parts:
    """What agrees at the stage a finding rests on.

    ``carrying``: layers whose labels agree; ``held``: those of them whose contents do too; ``in_values``: those of
    them in which only the value channels do, ``in_experts`` the ones of these in which single experts do as well;
    ``views``: of the residual channels, those that pass the line. All in the order of the layers. ``columns``: what
    the residual channels were seen in. ``doubt``: why embeddings may not be named. ``spread``: the blocks agree only
    together. ``in_full``: no full reading says that most layers do not agree. ``rewritten``: layers
    whose networks compute the same with other units. ``several``: the residual channels are no labels of this
    component, so that several layers are the several label sets; ``elsewhere``: they agree in another, whose they are.
    """

    component: str
    stage: Stage
    carrying: list[int]
    held: list[int]
    in_values: list[int]
    in_experts: Mapping[int, tuple[int, ...]]
    blocks: float
    residual: float
    views: frozenset[str]
    spread: bool
    doubt: str | None
    unseen: frozenset[int]
    idle: frozenset[int]
    considered: int
    other_embeddings: bool = False
    columns: str = EMBEDDINGS
    in_full: bool = True
    rewritten: frozenset[int] = frozenset()
    several: bool = False
    elsewhere: bool = False

    @property
    def covers(self) -> bool:
        """Whether at least half of the layers that were looked at are held, and half of those that were read whole."""
        return self.in_full and self.considered > 0 and 2 * len(self.held) >= self.considered

    @property
    def layers(self) -> list[int]:
        """The layers to name, all of whose blocks agree; where they do so only together, all layers."""
        if self.spread:
            return list(self.stage.layer_log10_e())
        return [i for i in self.held if i not in self.in_values]

    @property
    def undivided(self) -> bool:
        """Whether the views of the residual channels pass the line only together: they are not told apart."""
        return self.residual >= DECIDE_AT and not self.views and self.doubt is None

    def scope(self, *, gains: bool) -> tuple[str, ...]:
        """Return the names of the parts; of ``gains`` only where nothing is concluded from them."""
        scope = [f"layers {ranges(self.layers)}"] if self.layers else []
        scope += [f"{IN_VALUES} {ranges(self.in_values)}"] if self.in_values else []
        scope += [*self._experts()]
        scope += [
            GAINS if v == "gains" else self.columns for v in sorted(self.views) if gains or v != "gains"
        ]
        scope += [RESIDUAL] if self.undivided else []
        return tuple(f"{self.component}: {part}" for part in scope)

    def _experts(self) -> Iterator[str]:
        """Yield the suspect's experts that hold what a dense network does, those of the same numbers together."""
        for numbers in sorted(set(self.in_experts.values())):
            layers = ranges([i for i, e in self.in_experts.items() if e == numbers])
            yield f"{IN_EXPERTS} {ranges(numbers)} of layers {layers}"


def ranges(numbers: Sequence[int]) -> str:
    """Return ``0-3, 7`` for 0, 1, 2, 3, 7."""
    words: list[str] = []
    start = previous = None
    for n in [*numbers, None]:
        if start is not None and (n is None or previous is None or n != previous + 1):
            words.append(f"{start}" if start == previous else f"{start}-{previous}")
            start = None
        if start is None:
            start = n
        previous = n
    return ", ".join(words)
