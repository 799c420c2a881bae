"""Plain tables of what the exact tests found where: for the report's maps, and for whoever reads the JSON."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

from filiation.origin.evalues import LOG10
from filiation.origin.examine import LAYER_CARRIES, Examination, Stage
from filiation.origin.history import History
from filiation.origin.labelset import Tested, combine
from filiation.origin.layers import LayerMap
from filiation.origin.verdict import EXCHANGED


def layer_map_tables(examination: Examination, number: int) -> list[dict[str, Any]]:
    """Return each layer x layer map: log10 e and matched units of every cell."""
    return [_layer_map(drawn, examination.component, number) for drawn in examination.layer_maps]


def _layer_map(drawn: LayerMap, component: str, number: int) -> dict[str, Any]:
    return {
        "candidate": number,
        "component": component,
        "by": drawn.by,
        "stage": drawn.stage or None,
        "suspect_layers": list(drawn.suspect_layers),
        "candidate_layers": list(drawn.candidate_layers),
        "log10_e": [[round(float(v), 2) for v in row] for row in drawn.log10_e],
        "matched": [[round(float(v)) for v in row] for row in drawn.matched],
        "units": drawn.units,
    }


def inheritance_table(
    examination: Examination, number: int, history: History | None = None
) -> list[dict[str, Any]]:
    """Return one row for each (layer, role) of the best stage: inherited, not found, or not tested."""
    stage = examination.best
    if stage is None:
        return []
    rows: list[dict[str, Any]] = []
    for (layer, role), members in _by_place(stage).items():
        ran = [t for t in members if t.applied]
        log10_e = combine(ran) / LOG10 if ran else None
        top = max(ran, key=lambda t: t.log_e, default=None)
        # Tested under names that are not theirs: what was not found there is not said to be missing.
        state = _state(log10_e, top)
        other_names = (
            state == "not_found" and role == "ffn" and history is not None and layer in history.unnamed
        )
        state = "not_tested" if other_names else state
        rows.append(
            {
                "candidate": number,
                "component": examination.component,
                "layer": layer,
                "candidate_layer": members[0].subject.part.candidate_layer,
                "role": role,
                "state": state,
                "reason": EXCHANGED if other_names else _why_open(log10_e, top, members),
                "log10_e": log10_e,
                "matched": None if top is None else top.matched,
                "n": None if top is None else top.n,
                "expected": None if top is None else top.expected,
                "cosine": _cosine(history, layer, role),
                "by": None if top is None else str(top.subject.symmetry),
            }
        )
    return rows


def _cosine(history: History | None, layer: int | None, role: str) -> float | None:
    """Return how alike the matched units of a place are, where that was measured."""
    if history is None or layer is None:
        return None
    return {"ffn": history.contents, "values": history.values}.get(role, {}).get(layer)


def _by_place(stage: Stage) -> dict[tuple[int | None, str], list[Tested]]:
    places: dict[tuple[int | None, str], list[Tested]] = {}
    for tested in (*stage.residual, *stage.blocks):
        key = (tested.subject.part.layer, tested.subject.part.role or "")
        if tested.applied or tested.subject.symmetry.endswith("order"):
            places.setdefault(key, []).append(tested)
    return places


def _state(log10_e: float | None, top: Tested | None) -> str:
    """Return the state of a place; too few units to reach the line even if all agree are "not tested"."""
    if log10_e is None or top is None:
        return "not_tested"
    if log10_e >= LAYER_CARRIES:
        return "inherited"
    return "not_found" if _attainable(top) >= LAYER_CARRIES else "not_tested"


def _why_open(log10_e: float | None, top: Tested | None, members: Sequence[Tested]) -> str | None:
    """Return why a place counts as not tested: the reason of its tests, or ``too_few_units``; None where it was."""
    if _state(log10_e, top) != "not_tested":
        return None
    if top is not None:
        return "too_few_units"
    reasons = {e.reason for t in members for e in t.evidence if e.reason is not None}
    return min(reasons, default="no_such_units")


def _attainable(top: Tested) -> float:
    """Return about the largest log10 e that this many units can show: ``n!`` orders a block, ``2^n`` signs."""
    if top.n is None or top.subject.symmetry.endswith("sign"):
        return (top.n or 0) * math.log10(2.0)
    blocks = max(1.0, top.expected or 1.0)
    return blocks * math.lgamma(top.n / blocks + 1) / LOG10


def stage_tables(
    examinations: Sequence[Examination], number: int, left_out: Mapping[str, Container[str]]
) -> list[dict[str, Any]]:
    """Return each stage: why it was run, what had been read by its end, and its e-value.

    ``left_out``: by component, the identities of the label sets that the verdict does not count.
    """
    return [
        {
            "candidate": number,
            "component": x.component,
            "name": s.name,
            "why": s.why,
            "basis": s.pairing.basis,
            "layers": [list(p) for p in s.pairing.layers],
            "bytes_read": s.bytes_read,
            "log10_e": combine([*s.residual, *s.blocks], left_out.get(x.component, ())) / LOG10,
        }
        for x in examinations
        for s in x.stages
    ]


def pairing_tables(examinations: Sequence[Examination], number: int) -> list[dict[str, Any]]:
    """Return the pairing of the best stage of each component."""
    return [
        {
            "candidate": number,
            "component": x.component,
            "layers": [list(p) for p in x.best.pairing.layers],
            "basis": x.best.pairing.basis,
            "basis_agreement": x.best.pairing.suspect.basis.agreement,
        }
        for x in examinations
        if x.best is not None
    ]
