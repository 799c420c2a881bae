"""The records of the wing: a trace, and all that were found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from filiation.evidence import Evidence, Place


@dataclass(frozen=True, slots=True)
class Trace:
    """One fact about the suspect's repository that points beyond it.

    Attributes:
        kind: what sort of trace; one of :data:`KINDS`.
        place: where in the suspect's repository.
        shows: key of the phrase that says what it shows.
        numbers: what was counted or read, JSON types only.
        reference: number of the reference it is shared with; None where it needs no reference.
        cannot_show: keys of the phrases that say what it leaves open.
    """

    kind: str
    place: Place
    shows: str
    numbers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reference: int | None = None
    cannot_show: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TracesFound:
    """Every trace, in the order of :data:`KINDS` and of the paths, and each also as evidence.

    ``not_examined`` says, as pairs of path and phrase key, what could not be looked at, and why.
    """

    traces: tuple[Trace, ...]
    evidence: tuple[Evidence, ...]
    not_examined: tuple[tuple[str, str], ...] = ()


KINDS = (
    "same_weights",
    "same_file",
    "same_common_files",
    "equal_json",
    "tensor_names",
    "tensor_shapes",
    "total_bytes",
    "config_values",
    "added_tokens",
    "dangling_reference",
    "foreign_reference",
    "compiled_leftover",
    "shared_commits",
    "commit_order",
)
"""Every kind of trace, the ones that leave least open first."""
