"""What an examination found: its stages, each an e-value of its own, and the one that explains most."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from filiation.evidence import Evidence
from filiation.origin import evalues
from filiation.origin.labelset import Tested, combine
from filiation.origin.layers import LayerMap
from filiation.origin.pairing import Pairing, TokenRows
from filiation.origin.recovered import Recovered
from filiation.origin.recovered import record as basis_record

#: Prior weights of the stages; they add up to 1 and were fixed before any model was seen.
STAGES = {"direct": 0.5, "aligned": 0.2, "rebased": 0.1, "rotated": 0.1, "basis_free": 0.1}
#: log10 e at which one layer's blocks count as carrying the candidate's labels.
LAYER_CARRIES = 3.0
#: log10 e of the residual channels from which on theirs is the common basis, and blocks are looked for in it.
RESIDUAL_AGREES = 6.0


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage: what it paired and tested, why it was run, and how many bytes each model had been read by its end.

    ``recovered`` says how clearly the embeddings agree in its basis, where no label led to that basis and the blocks
    had to be paired without their feed-forward labels.
    """

    name: str
    why: str
    pairing: Pairing
    residual: tuple[Tested, ...]
    blocks: tuple[Tested, ...]
    considered: int
    bytes_read: int = 0
    recovered: Recovered | None = None

    @cached_property
    def log_e(self) -> float:
        """The stage's e-value (natural log)."""
        return combine([*self.residual, *self.blocks])

    @property
    def without_basis(self) -> bool:
        """Whether no basis is common: then nothing of the two models can be laid side by side."""
        return self.name == "basis_free" and combine(self.residual) < RESIDUAL_AGREES * evalues.LOG10

    def layer_log10_e(self) -> dict[int, float]:
        """Return, for each suspect layer that was tested, the e-value of its block label sets together."""
        return dict(self._by_layer)

    @cached_property
    def _by_layer(self) -> dict[int, float]:
        layers = {t.subject.part.layer for t in self.blocks if t.applied}
        return {
            i: combine([t for t in self.blocks if t.subject.part.layer == i]) / evalues.LOG10
            for i in sorted(x for x in layers if x is not None)
        }

    def carrying(self) -> list[int]:
        """Return the suspect layers whose blocks carry the candidate's labels."""
        return [i for i, value in self.layer_log10_e().items() if value >= LAYER_CARRIES]

    def covers_half(self) -> bool:
        """Return whether at least half of the layers that were looked at carry the candidate's labels.

        A layer that the map looked at and left without a partner counts as looked at.
        """
        return self.considered > 0 and 2 * len(self.carrying()) >= self.considered


@dataclass(frozen=True, eq=False)
class Examination:
    """Everything the exact tests found about one component; ``tokens`` are those both models have, by row.

    ``in_shared_channels``: whether another component, whose residual channels it has, has an origin in common; None
    where they are its own.
    """

    component: str
    stages: tuple[Stage, ...]
    layer_maps: tuple[LayerMap, ...] = ()
    cannot: str | None = None
    notes: tuple[str, ...] = ()
    tokens: TokenRows | None = None
    in_shared_channels: bool | None = None

    @cached_property
    def log_e(self) -> float:
        """The weighted mean of the stages' e-values (natural log); ``0`` when nothing could be tested."""
        if not self.tested:
            return 0.0
        return evalues.log_mean([s.log_e for s in self.stages], [STAGES[s.name] for s in self.stages])

    @property
    def log10_e(self) -> float:
        """The e-value in bans."""
        return self.log_e / evalues.LOG10

    @property
    def tested(self) -> bool:
        """Whether any test ran."""
        return any(t.applied for s in self.stages for t in (*s.residual, *s.blocks))

    @cached_property
    def best(self) -> Stage | None:
        """The stage that explains most layers, then one in a clear basis, then the one with most evidence or the first.

        Maps and derivations are drawn from it.
        """

        def rank(stage: Stage) -> tuple[int, bool, float, bool]:
            carrying = stage.carrying()
            clear = stage.recovered is not None and stage.recovered.clear
            return len(carrying), clear, stage.log_e if carrying else 0.0, bool(stage.pairing.layers)

        return max(self.stages, key=rank, default=None)

    @property
    def recovered(self) -> Recovered | None:
        """A clear common basis that the embeddings showed, where no label of the blocks led to it; else None."""
        found = None if self.best is None else self.best.recovered
        return found if found is not None and found.clear else None

    def evidence(self) -> tuple[Evidence, ...]:
        """Return the records of all stages; residual label sets, which stages share, once."""
        seen: dict[str, Evidence] = {}
        for stage in self.stages:
            if stage.recovered is not None and stage.recovered.clear:
                shown = basis_record(stage.recovered, self.component, stage.name, stage.pairing.number)
                seen.setdefault(shown.id, shown)
            for tested in (*stage.residual, *stage.blocks):
                for record in tested.evidence:
                    seen.setdefault(record.id, record)
        return tuple(seen.values())
