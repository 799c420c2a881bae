"""What the suspect is made of: layers dropped, repeated, reordered, inserted, or not the candidate's at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from filiation.derivation.measure import Measured
from filiation.derivation.reading import Case
from filiation.evidence import Derivation
from filiation.origin.scale import mean_square

#: Cosine of aligned weights below which a part does not come from the candidate. Twins of one recipe show 0.04 at
#: most; the faintest true child of the demo models 0.56.
FOREIGN = 0.1
#: Size of an inserted block's writers over those of the layer it copies, below which it is (nearly) silent.
SILENT = 0.25
#: Standard deviations of the cosine of unrelated parts that a small part must exceed to be the candidate's.
CLEAR = 6.0
ATTENTION = ("q", "k", "v", "o", "q_a", "q_b", "kv_a", "kv_b")
FFN = ("gate", "up", "down", "shared.gate", "shared.up", "shared.down")


def agrees(m: Measured) -> bool:
    """Return whether a matrix comes from the candidate: its cosine is above chance, which small parts make large."""
    if not m.is_matrix or m.cosine is None:
        return False
    return abs(m.cosine) >= max(FOREIGN, CLEAR / max(1, m.elements) ** 0.5)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Median cosine of a layer's aligned matrices: attention, feed-forward; None where nothing was compared.

    ``open``: a half was compared and did not agree, and may come from the candidate all the same.
    """

    attention: float | None
    ffn: float | None
    open: bool = False

    @property
    def foreign(self) -> tuple[str, ...]:
        """Which of the two do not come from the candidate."""
        named = (("attention", self.attention), ("ffn", self.ffn))
        return tuple(name for name, value in named if value is not None and abs(value) < FOREIGN)

    @property
    def wholly_foreign(self) -> bool:
        """Whether nothing of the layer that was compared can come from the candidate."""
        compared = [v for v in (self.attention, self.ffn) if v is not None]
        return bool(compared) and len(self.foreign) == len(compared) and not self.open


#: One half of a layer: its number, and ``attention`` or ``ffn``.
Half = tuple[int, str]


def agreements(
    measured: Sequence[Measured], unmatched: frozenset[Half] = frozenset()
) -> dict[int, Agreement]:
    """Return each compared layer's agreement.

    Args:
        unmatched: halves of layers that may come from the candidate although nothing agrees in place: their units
            were not looked for elsewhere, or an exact test found the candidate's labels on them. Of these a low
            cosine says nothing.
    """
    cosines: dict[int, dict[str, list[float]]] = {}
    for m in measured:
        group = "attention" if m.role in ATTENTION else "ffn" if m.role in FFN else None
        if m.layer is None or group is None or m.cosine is None:
            continue
        cosines.setdefault(m.layer, {}).setdefault(group, []).append(m.cosine)

    def known(layer: int, group: str) -> float | None:
        median = _median(cosines[layer].get(group))
        return None if undecided(layer, group) else median

    def undecided(layer: int, group: str) -> bool:
        median = _median(cosines[layer].get(group))
        return median is not None and abs(median) < FOREIGN and (layer, group) in unmatched

    return {
        i: Agreement(
            known(i, "attention"), known(i, "ffn"), open=undecided(i, "attention") or undecided(i, "ffn")
        )
        for i in sorted(cosines)
    }


def _median(values: Sequence[float] | None) -> float | None:
    return float(np.median(values)) if values else None


def silent_copies(case: Case, pairs: Sequence[tuple[int, int]]) -> dict[int, float]:
    """Return the suspect layers that repeat a candidate layer and write (nearly) nothing, with their relative size.

    A block that was inserted as LLaMA-Pro does (arXiv 2401.02415) is a copy whose output matrices start at zero.
    """
    partners: dict[int, list[int]] = {}
    for mine, theirs in pairs:
        partners.setdefault(theirs, []).append(mine)
    found: dict[int, float] = {}
    for theirs, copies in partners.items():
        if len(copies) < 2:
            continue
        sizes = {mine: _writers_size(case, mine, theirs) for mine in copies}
        if max((s for s in sizes.values() if s is not None), default=0.0) > SILENT:
            found |= {mine: s for mine, s in sizes.items() if s is not None and s < SILENT}
    return found


def _writers_size(case: Case, mine: int, theirs: int) -> float | None:
    ratios: list[float] = []
    for role in ("o", "down"):
        s, c = _some(case.suspect.matrix, role, mine), _some(case.candidate.matrix, role, theirs)
        if s is not None and c is not None and c.any():
            ratios.append(float(np.sqrt(mean_square(s) / mean_square(c))))
    return max(ratios) if ratios else None


def _some(read: Any, role: str, layer: int) -> Any:
    return read(role, layer, None, (0, 64))


def layer_steps(
    case: Case,
    pairs: Sequence[tuple[int, int]],
    inserted: Mapping[int, float],
    foreign: frozenset[int],
    *,
    complete: bool,
) -> list[Derivation]:
    """Return ``layers_changed`` and ``blocks_inserted``.

    Args:
        pairs: the path, suspect layer with candidate layer.
        inserted: silent copies. foreign: layers that are not the candidate's.
        complete: every layer of the suspect was looked at.
    """
    depth_s, depth_c = case.suspect.geometry.n_layers, case.candidate.geometry.n_layers
    steps: list[Derivation] = []
    partner = {i: j for i, j in pairs if i not in inserted and i not in foreign}
    if inserted:
        steps.append(
            Derivation(
                "blocks_inserted",
                {
                    "layers": len(inserted),
                    "inserted": sorted(inserted),
                    "copies_of": [dict(pairs)[i] for i in sorted(inserted)],
                    "writer_size": max(inserted.values()),
                },
            )
        )
    if not complete or not partner:
        return steps
    path = [partner.get(i) for i in range(depth_s) if i not in inserted]
    known = [j for j in path if j is not None]
    counts = {j: known.count(j) for j in set(known)}
    dropped = sorted(set(range(depth_c)) - set(known))
    # A layer that was replaced in place is no change of path; that is told as grafted.
    replaced = {i for i in foreign if i in dropped and depth_s == depth_c}
    dropped = [j for j in dropped if j not in replaced]
    repeated = sorted(j for j, n in counts.items() if n > 1)
    moved = _moved(known)
    if dropped or repeated or moved:
        numbers: dict[str, Any] = {"layers": depth_s, "from": depth_c, "to": depth_s, "path": path}
        numbers |= {
            k: v for k, v in (("dropped", dropped), ("repeated", repeated), ("reordered", moved)) if v
        }
        steps.append(Derivation("layers_changed", numbers))
    return steps


def _moved(path: Sequence[int]) -> list[int]:
    """Return the candidate layers that stand out of order, after the first use of each; repeats do not count."""
    firsts = list(dict.fromkeys(path))
    kept = _longest_increasing(firsts)
    return [j for j in firsts if j not in kept]


def _longest_increasing(values: Sequence[int]) -> set[int]:
    best: list[list[int]] = []
    for n, value in enumerate(values):
        before = [best[m] for m in range(n) if values[m] < value]
        best.append([*max(before, key=len, default=[]), value])
    return set(max(best, key=len, default=[]))


def grafted_step(
    case: Case, layers: Mapping[int, Agreement], outer: Sequence[Measured], components: Mapping[str, str]
) -> Derivation | None:
    """Return the step ``grafted`` where some parts come from the candidate and others do not.

    Whether the others were taken from elsewhere or drawn anew cannot be told from these two models.

    Args:
        components: components of the suspect other than this one -> ``absent`` from the candidate.
    """
    foreign = {i: a.foreign for i, a in layers.items() if a.foreign}
    strangers = [m.role for m in outer if m.is_matrix and m.cosine is not None and not agrees(m)]
    inherited = [i for i, a in layers.items() if not a.foreign]
    shared = [m.role for m in outer if agrees(m)]
    strangers = [r for r in strangers if r != "embedding" and r != "head"]  # told by vocabulary_changed
    half = [i for i, a in layers.items() if a.foreign and not a.wholly_foreign]
    if not (foreign or strangers or components) or not (inherited or shared or half):
        return None
    total = max(1, len(layers))
    # Where no layer is the candidate's as a whole, those of which a half is count.
    numbers: dict[str, Any] = {"inherited": inherited, "share": len(inherited or half) / total}
    whole = [i for i, a in layers.items() if a.wholly_foreign]
    if whole:
        numbers["foreign"] = whole
    for name in ("attention", "ffn"):
        only = [i for i in half if name in layers[i].foreign]
        if only:
            numbers[f"foreign_{name}"] = only
    if strangers:
        numbers["foreign_roles"] = strangers
    if shared:
        numbers["inherited_roles"] = shared
    if components:
        numbers["components"] = sorted(components)
    return Derivation("grafted", numbers)
