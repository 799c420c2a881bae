"""What a report of a comparison must look like beyond its records: the command, the models, the walk's own keys.

:class:`filiation.evidence.Report` leaves these open, because other commands fill them otherwise. What is read from
a file has to be what the renderers and ``verify`` rely on; anything else is a malformed report, not a crash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any

from pydantic import Field, StringConstraints, TypeAdapter

from filiation.evidence import ModelRecord, Verdict

Layers = list[int]
Grid = list[list[float | None]]
#: A locator or a name: something, and no character that no file system or address takes.
Named = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]+$")]


@dataclass(frozen=True)
class Command:
    """How ``filiation compare`` was called."""

    suspect: Named
    candidates: Annotated[list[Named], Field(min_length=1)]
    full: bool = False
    budget: Annotated[int, Field(ge=1)] | None = None
    base: Named | None = None
    seed: Named | None = None


@dataclass(frozen=True)
class Models:
    """What was opened."""

    suspect: ModelRecord
    candidates: list[ModelRecord]


@dataclass(frozen=True)
class _Stage:
    name: str
    why: str = ""
    bytes_read: int = 0
    log10_e: float | None = None
    candidate: int = 0
    component: str | None = None


@dataclass(frozen=True)
class _LayerMap:
    suspect_layers: Layers
    candidate_layers: Layers
    log10_e: Grid
    matched: Grid | None = None
    units: float | None = None
    candidate: int = 0
    component: str | None = None
    by: str | None = None
    stage: str | None = None


@dataclass(frozen=True)
class _Pairing:
    layers: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    basis: str | None = None
    candidate: int = 0
    component: str | None = None


@dataclass(frozen=True)
class _Inherited:
    role: str
    state: str
    layer: int | None = None
    candidate_layer: int | None = None
    log10_e: float | None = None
    matched: float | None = None
    n: float | None = None
    expected: float | None = None
    cosine: float | None = None
    candidate: int = 0
    component: str | None = None


@dataclass(frozen=True)
class _Curve:
    name: str
    suspect: list[float | None]
    candidate: list[float | None]
    number: int = 0


@dataclass(frozen=True)
class _Delta:
    tensor: str
    role: str | None = None
    layer: int | None = None
    relative_delta: float | None = None
    rank: int | None = None


@dataclass(frozen=True)
class _Architecture:
    added: list[str] = field(default_factory=list[str])
    removed: list[str] = field(default_factory=list[str])
    changed: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


@dataclass(frozen=True)
class _Extra:
    bytes_read: int | None = None
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    stages: list[_Stage] = field(default_factory=list[_Stage])
    layer_map: list[_LayerMap] = field(default_factory=list[_LayerMap])
    pairing: list[_Pairing] = field(default_factory=list[_Pairing])
    inheritance: list[_Inherited] = field(default_factory=list[_Inherited])
    curves: list[_Curve] = field(default_factory=list[_Curve])
    deltas: list[_Delta] = field(default_factory=list[_Delta])
    architecture: _Architecture | None = None


@cache
def _adapter(shape: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def check_extra(extra: Mapping[str, Any]) -> None:
    """Hold the walk's own keys against what the renderers rely on.

    Raises:
        pydantic.ValidationError: one is of another type.
    """
    _validate(_Extra, extra)


def check_models(models: Mapping[str, Any]) -> None:
    """Hold the models of a comparison against their record.

    Raises:
        pydantic.ValidationError: one is of another type.
    """
    _validate(Models, models)


def command_of(command: Mapping[str, Any]) -> Command:
    """Return how ``filiation compare`` was called.

    Raises:
        pydantic.ValidationError: it does not say so.
    """
    return _validate(Command, command)


def _validate(shape: type[Any], value: Mapping[str, Any]) -> Any:
    # As JSON, because only there strictness (no "3" for 3, no 1 for true) still takes mappings for records.
    return _adapter(shape).validate_json(json.dumps(value), strict=True)
