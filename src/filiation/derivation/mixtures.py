"""Mixtures of experts: made from a dense model (arXiv 2212.05055), or turned into one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from filiation.derivation.ffn import FfnFrame
from filiation.derivation.frame import LayerFrame
from filiation.derivation.measure import Measured
from filiation.derivation.structure import FFN, FOREIGN
from filiation.evidence import Derivation


def mixture_steps(
    frames: Sequence[LayerFrame], measured: Sequence[Measured], foreign: frozenset[int]
) -> list[Derivation]:
    """Return ``moe_upcycled`` or ``moe_extracted`` where one model is dense and the other a mixture."""
    kept = [f for f in frames if f.pair[0] not in foreign]
    up = [f for f in kept if f.ffn.suspect and not f.ffn.candidate]
    out = [f for f in kept if f.ffn.candidate and not f.ffn.suspect]
    cosines = _by_expert(measured)
    steps = [_upcycled(up, cosines)] if up else []
    steps += [_extracted(out, cosines)] if out else []
    return [step for step in steps if step is not None]


def _by_expert(measured: Sequence[Measured]) -> dict[tuple[int | None, int | None], float]:
    """Return the mean cosine of each feed-forward block's matrices, by suspect layer and expert."""
    found: dict[tuple[int | None, int | None], list[float]] = {}
    for m in measured:
        if m.role in FFN and not m.role.startswith("shared.") and m.cosine is not None:
            found.setdefault((m.layer, m.match.mine.expert), []).append(m.cosine)
    return {key: float(np.mean(values)) for key, values in found.items()}


def _upcycled(
    frames: Sequence[LayerFrame], cosines: dict[tuple[int | None, int | None], float]
) -> Derivation | None:
    experts = sorted({b.experts[0] for f in frames for b in f.ffn.frames if b.experts[0] is not None})
    rows: list[dict[str, Any]] = []
    for expert in experts:
        values = [cosines[f.pair[0], expert] for f in frames if (f.pair[0], expert) in cosines]
        blocks = [b for f in frames for b in f.ffn.frames if b.experts[0] == expert]
        if not values:
            continue
        mean = float(np.mean(values))
        row: dict[str, Any] = {"expert": expert, "cosine": mean, "in_place": _in_place(blocks)}
        rows.append({**row, "from": "dense" if mean >= FOREIGN else "elsewhere"})
    inherited = [r for r in rows if r["from"] == "dense"]
    if not inherited:
        return None
    return Derivation(
        "moe_upcycled",
        {
            "experts": frames[0].ffn.suspect,
            "looked_at": len(rows),
            "inherited": len(inherited),
            "cosine": float(np.mean([r["cosine"] for r in inherited])),
            "expert_map": rows,
            "layers": [f.pair[0] for f in frames],
        },
    )


def _in_place(blocks: Sequence[FfnFrame]) -> float:
    units = sum(b.units for b in blocks)
    return 1.0 - sum(b.moved for b in blocks) / units if units else 0.0


#: Lead of the best expert over the next below which all experts are one block: then they were made from it.
ALIKE = 0.02


def _extracted(
    frames: Sequence[LayerFrame], cosines: dict[tuple[int | None, int | None], float]
) -> Derivation | None:
    chosen: dict[int, int] = {}
    for frame in frames:
        for block in frame.ffn.frames:
            if block.experts[1] is not None and cosines.get((frame.pair[0], None), 0.0) >= FOREIGN:
                chosen[frame.pair[0]] = block.experts[1]
    if not chosen:
        return None
    cosine = float(np.mean([cosines[layer, None] for layer in chosen]))
    leads = [f.ffn.lead for f in frames if f.pair[0] in chosen and f.ffn.lead is not None]
    if leads and float(np.median(leads)) < ALIKE:
        # Every expert agrees with the dense block: the candidate's experts began as copies of what the suspect has.
        numbers = {"experts": frames[0].ffn.candidate, "cosine": cosine, "layers": sorted(chosen)}
        return Derivation("moe_upcycled", {**numbers, "reversed": True})
    return Derivation(
        "moe_extracted",
        {
            "experts": frames[0].ffn.candidate,
            "expert_map": [{"layer": layer, "expert": expert} for layer, expert in sorted(chosen.items())],
            "cosine": cosine,
        },
    )
