"""What a comparison adds to a report beside its evidence: maps, curves, stages, as records.

The walk writes plain mappings into :attr:`filiation.evidence.Report.extra`; here they become typed. What is absent
or malformed is left out: a report of another command simply has no map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from filiation.evidence import Derivation, Relation, Report, Verdict, plain

#: Cosine of matched weights from which on contents are said to agree: the line of shared training.
CONTENTS_AGREE = 0.5


@dataclass(frozen=True, slots=True)
class LayerMap:
    """``log10_e[i][j]``: evidence that layer ``suspect_layers[i]`` matches ``candidate_layers[j]``; None: not read.

    ``chosen``: the pairing ``pairs`` was found on this map; others were drawn on the way to it. ``stage`` drew it.
    """

    candidate: int
    component: str
    suspect_layers: tuple[int, ...]
    candidate_layers: tuple[int, ...]
    log10_e: tuple[tuple[float | None, ...], ...]
    matched: tuple[tuple[int | None, ...], ...]
    units: int | None
    pairs: tuple[tuple[int, int], ...]
    basis: str | None
    chosen: bool = True
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class Inherited:
    """One cell of the inheritance map: a role in a layer of the suspect (``layer`` None: the whole model)."""

    candidate: int
    component: str
    layer: int | None
    candidate_layer: int | None
    role: str
    state: str
    log10_e: float | None
    matched: int | None
    n: int | None
    expected: float | None
    cosine: float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """A value per layer, for both models; the two may differ in depth. None: not measured at that layer.

    ``number`` says which candidate it is.
    """

    name: str
    suspect: tuple[float | None, ...]
    candidate: tuple[float | None, ...]
    number: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the walk: what was read and why."""

    name: str
    why: str
    bytes_read: int
    log10_e: float | None


@dataclass(frozen=True, slots=True)
class Delta:
    """How far one tensor moved: ``|S - C| / |C|`` and the rank of the difference where it is low."""

    tensor: str
    role: str | None
    layer: int | None
    relative_delta: float | None
    rank: int | None


def _rows(report: Report, key: str) -> Iterator[Mapping[str, Any]]:
    found = plain(report.extra.get(key, ()))
    if isinstance(found, Sequence) and not isinstance(found, str):
        for row in cast("Sequence[Any]", found):
            if isinstance(row, Mapping):
                yield cast("Mapping[str, Any]", row)


def layer_maps(report: Report) -> tuple[LayerMap, ...]:
    """Return the layer maps, for each component the one that carries the pairing first.

    Where layers were paired by their numbers no map was needed; then the inheritance map says what each pair showed.
    """
    drawn: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for row in _rows(report, "layer_map"):
        drawn.setdefault(_component(row), []).append(row)
    pairings = {_component(row): row for row in _rows(report, "pairing")}
    maps: list[LayerMap] = []
    for key in dict.fromkeys([*pairings, *drawn]):
        pairing = pairings.get(key, {})
        found = [_layer_map(row, pairing) for row in drawn.get(key, ())]
        best = max(found, key=_on_path, default=None)
        if best is None or (best.pairs and _on_path(best) <= 0):
            best = _from_inheritance(report, key, _layer_map(pairing, pairing))
        maps.append(best)
        maps += [replace(m, pairs=(), chosen=False) for m in found if m is not best]
    return tuple(maps)


def _component(row: Mapping[str, Any]) -> tuple[int, str]:
    return row.get("candidate", 0), row.get("component") or "language"


def _on_path(drawn: LayerMap) -> float:
    """How much evidence a map shows on the pairs that were chosen; without pairs, its strongest cell."""
    cells = {
        (i, j): value
        for i, line in zip(drawn.suspect_layers, drawn.log10_e, strict=False)
        for j, value in zip(drawn.candidate_layers, line, strict=False)
        if value is not None
    }
    if not drawn.pairs:
        return max(cells.values(), default=0.0)
    return sum(cells.get(pair, 0.0) for pair in drawn.pairs)


def _from_inheritance(report: Report, key: tuple[int, str], pairing: LayerMap) -> LayerMap:
    """Return a map whose cells are the pairs that were tested: the strongest part of each, all others not read."""
    cells: dict[tuple[int, int], float] = {}
    for cell in inheritance(report):
        if (cell.candidate, cell.component) == key and cell.layer is not None and cell.log10_e is not None:
            pair = (cell.layer, cell.layer if cell.candidate_layer is None else cell.candidate_layer)
            cells[pair] = max(cells.get(pair, cell.log10_e), cell.log10_e)
    if not cells:
        return pairing
    mine = tuple(range(max(i for i, _ in cells) + 1))
    theirs = tuple(range(max(j for _, j in cells) + 1))
    values = tuple(tuple(cells.get((i, j)) for j in theirs) for i in mine)
    return replace(pairing, suspect_layers=mine, candidate_layers=theirs, log10_e=values)


def _layer_map(row: Mapping[str, Any], pairing: Mapping[str, Any]) -> LayerMap:
    return LayerMap(
        candidate=row.get("candidate", 0),
        component=row.get("component") or "language",
        suspect_layers=tuple(row.get("suspect_layers", ())),
        candidate_layers=tuple(row.get("candidate_layers", ())),
        log10_e=tuple(tuple(line) for line in row.get("log10_e", ())),
        matched=tuple(tuple(line) for line in row.get("matched") or ()),
        units=row.get("units"),
        pairs=tuple((int(a), int(b)) for a, b in pairing.get("layers", ())),
        basis=pairing.get("basis"),
        stage=row.get("stage"),
    )


def inheritance(report: Report) -> tuple[Inherited, ...]:
    """Return every cell of the inheritance map."""
    return tuple(
        Inherited(
            candidate=row.get("candidate", 0),
            component=row.get("component") or "language",
            layer=row.get("layer"),
            candidate_layer=row.get("candidate_layer"),
            role=str(row.get("role", "")),
            state=_state(row),
            log10_e=row.get("log10_e"),
            matched=row.get("matched"),
            n=row.get("n"),
            expected=row.get("expected"),
            cosine=row.get("cosine"),
        )
        for row in _rows(report, "inheritance")
    )


def _state(row: Mapping[str, Any]) -> str:
    """Return what is said of a cell.

    A part whose units all agree was not refuted, and one of few units was tested: where they are too few to decide,
    that is what is said. Labels can be arranged: a part is called inherited only where what it holds was seen to agree.
    """
    state = str(row.get("state", "not_tested"))
    if state == "inherited":
        cosine = row.get("cosine")
        return state if cosine is not None and cosine >= CONTENTS_AGREE else "labels_agree"
    all_agree = bool(row.get("n")) and row.get("matched") == row.get("n")
    too_few = row.get("reason") == "too_few_units" and row.get("log10_e") is not None
    return (
        "undecided" if (state == "not_found" and all_agree) or (state == "not_tested" and too_few) else state
    )


def curves(report: Report) -> tuple[Curve, ...]:
    """Return the curves over depth that have at least two points in either model."""
    found = [_curve(row) for row in _rows(report, "curves")]
    return tuple(c for c in found if max(len(c.suspect), len(c.candidate)) >= 2)


def _curve(row: Mapping[str, Any]) -> Curve:
    values = row.get("candidate")
    theirs = tuple(cast("list[float | None]", values)) if isinstance(values, list) else ()
    return Curve(str(row.get("name", "")), tuple(row.get("suspect", ())), theirs, row.get("number", 0))


def stages(report: Report) -> tuple[Stage, ...]:
    """Return the stages of the walk, in order."""
    return tuple(
        Stage(
            str(row.get("name", "")),
            str(row.get("why", "")),
            int(row.get("bytes_read", 0)),
            row.get("log10_e"),
        )
        for row in _rows(report, "stages")
    )


def deltas(report: Report) -> tuple[Delta, ...]:
    """Return the change of each tensor that was measured."""
    return tuple(
        Delta(
            str(row.get("tensor", "")),
            row.get("role"),
            row.get("layer"),
            row.get("relative_delta"),
            row.get("rank"),
        )
        for row in _rows(report, "deltas")
    )


def architecture(report: Report) -> Mapping[str, Any] | None:
    """Return ``{"added", "removed", "changed"}``, or None where architectures were not compared."""
    found = plain(report.extra.get("architecture"))
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else None


def verdicts(report: Report) -> tuple[Verdict, ...]:
    """Return the verdict on each candidate taken by itself, where the walk recorded them."""
    found: list[Verdict] = []
    for row in _rows(report, "verdicts"):
        relation = row.get("relation")
        if relation in set(Relation):
            found.append(
                Verdict(
                    relation=Relation(relation),
                    log10_e=row.get("log10_e"),
                    scope=tuple(row.get("scope") or ()),
                    reason=row.get("reason"),
                    candidate=row.get("candidate", 0),
                    false_positive_bound=row.get("false_positive_bound"),
                    inherited_share=row.get("inherited_share"),
                    derivation=tuple(
                        Derivation(str(d.get("kind", "")), d.get("numbers") or {}, d.get("candidate", 0))
                        for d in row.get("derivation") or ()
                    ),
                    notes=tuple(row.get("notes") or ()),
                )
            )
    return tuple(found)
