"""Mixtures of experts: made from a dense model (arXiv 2212.05055), or turned into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from filiation.derivation.ffn import FfnFrame, match_ffn
from filiation.derivation.frame import LayerFrame
from filiation.derivation.measure import Measured
from filiation.derivation.reading import Case
from filiation.derivation.structure import FFN, FOREIGN
from filiation.evidence import Derivation


def mixture_steps(
    case: Case, frames: Sequence[LayerFrame], measured: Sequence[Measured], foreign: frozenset[int]
) -> list[Derivation]:
    """Return ``moe_upcycled`` or ``moe_extracted`` where one model is dense and the other a mixture.

    Of two mixtures, ``grafted`` where some experts come from the candidate and others do not.
    """
    kept = [f for f in frames if f.pair[0] not in foreign]
    up = [f for f in kept if f.ffn.suspect and not f.ffn.candidate]
    out = [f for f in kept if f.ffn.candidate and not f.ffn.suspect]
    cosines = _by_expert(measured)
    steps = [_upcycled(up, cosines)] if up else []
    steps += [_extracted(out, cosines)] if out else []
    both = [f for f in kept if f.ffn.suspect and f.ffn.candidate]
    steps += [_other_experts(case, both, cosines)] if both and case.whole else []
    return [step for step in steps if step is not None]


def _other_experts(
    case: Case, frames: Sequence[LayerFrame], cosines: Mapping[tuple[int | None, int | None], float]
) -> Derivation | None:
    """Return ``grafted`` for experts that agree with none of the candidate's, however their units are ordered."""
    looked, others = 0, dict[int, list[int]]()
    for frame in frames:
        for block in frame.ffn.frames:
            expert = block.experts[0]
            if block.prefix or expert is None:
                continue
            looked += 1
            low = abs(cosines.get((frame.pair[0], expert), 1.0)) < FOREIGN
            if low and block.agreement is None and not _found_elsewhere(case, frame, expert):
                others.setdefault(expert, []).append(frame.pair[0])
    count = sum(len(layers) for layers in others.values())
    if not 0 < count < looked:
        return None
    return Derivation(
        "grafted",
        {
            "share": 1.0 - count / looked,
            "experts": frames[0].ffn.suspect,
            "foreign_experts": [{"expert": e, "layers": layers} for e, layers in sorted(others.items())],
        },
    )


def _found_elsewhere(case: Case, frame: LayerFrame, expert: int) -> bool:
    """Return whether an expert agrees with any of the candidate's in its layer, or was not read whole to see it."""
    tried = [match_ffn(case, frame.pair, (expert, other)) for other in range(frame.ffn.candidate)]
    return any(block is None or block.agreement is not None or not block.whole for block in tried)


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


#: How far towards the other experts a dense block may lie and still be one of them: halfway between the two answers.
ONE_OF_THEM = 0.25


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
    between = [f.ffn.between for f in frames if f.pair[0] in chosen and f.ffn.between is not None]
    where = {"between": float(np.median(between))} if between else {}
    if between and where["between"] > ONE_OF_THEM:
        # Every expert lies around the dense block: the candidate's experts began as copies of what the suspect has.
        numbers = {"experts": frames[0].ffn.candidate, "cosine": cosine, "layers": sorted(chosen)}
        return Derivation("moe_upcycled", {**numbers, **where, "reversed": True})
    return Derivation(
        "moe_extracted",
        {
            "experts": frames[0].ffn.candidate,
            "expert_map": [{"layer": layer, "expert": expert} for layer, expert in sorted(chosen.items())],
            "cosine": cosine,
            **where,
        },
    )
