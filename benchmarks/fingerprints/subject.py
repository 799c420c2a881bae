"""What a published method is given: the canonical matrices of a model, whatever its file looks like.

The readers of `filiation` find and unpack the matrices (fused, renamed, quantised, other formats), so that a method is
measured and not the loader it once came with. Nothing is canonicalised beyond that: no gain is folded, no basis
recovered, unless the method's paper does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation import checkpoint, vocabulary
from filiation.anatomy import Anatomy, Geometry, dissect

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Real = npt.NDArray[np.floating[Any]]
Index = npt.NDArray[np.int64]


class CannotTestError(Exception):
    """A method has nothing to work on here; the text says why. Counted apart from a wrong answer."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The language part of a model, its matrices read once each."""

    anatomy: Anatomy
    _read: dict[tuple[str, int | None, int | None], Floats | None] = field(
        default_factory=dict[tuple[str, int | None, int | None], Floats | None]
    )

    @property
    def geometry(self) -> Geometry:
        """The sizes and kinds of the language part."""
        return self.anatomy.geometry["language"]

    @property
    def settings(self) -> Mapping[str, Any]:
        """What ``config.json`` says; empty where there is none."""
        return self.anatomy.checkpoint.config or {}

    @property
    def layers(self) -> range:
        """The numbers of the layers."""
        return range(self.geometry.n_layers)

    def find(self, role: str, layer: int | None = None, expert: int | None = None) -> Floats | None:
        """Return a matrix (outputs, inputs) or a vector by role, None where the model has none."""
        key = (role, layer, expert)
        if key not in self._read:
            part = self.anatomy.part(role, layer, expert)
            self._read[key] = None if part is None else self.anatomy.read(part)
        return self._read[key]

    def need(self, role: str, layer: int | None = None) -> Floats:
        """Return a matrix by role.

        Raises:
            CannotTestError: the model has none.
        """
        found = self.find(role, layer)
        if found is None:
            raise CannotTestError(f"no {role}" + ("" if layer is None else f" in layer {layer}"))
        return found

    def grouped(self, role: str, layer: int) -> Floats:
        """Return keys or values (n_heads * d_head, d_model), each repeated for the queries that share it."""
        found, g = self.need(role, layer), self.geometry
        if not (g.n_heads and g.n_kv_heads and g.d_head) or g.mla:
            raise CannotTestError("heads are not known")
        heads = found.reshape(g.n_kv_heads, g.d_head, -1)
        return np.repeat(heads, g.n_heads // g.n_kv_heads, axis=0).reshape(g.n_heads * g.d_head, -1)


def opened(folder: str) -> Subject:
    """Open a model and name its parts."""
    anatomy = dissect(checkpoint.open(folder))
    if "language" not in anatomy.geometry:
        raise CannotTestError("no language part")
    return Subject(anatomy)


def shared_rows(one: Subject, other: Subject) -> tuple[Index, Index]:
    """Return the embedding rows of the tokens that both vocabularies have; equal numbers where one has none.

    Both of shape (shared,), in the order of the first model's rows.
    """
    rows = len(one.need("embedding")), len(other.need("embedding"))
    mine, theirs = (vocabulary.read(s.anatomy.checkpoint) for s in (one, other))
    if mine is None or theirs is None:
        same = np.arange(min(rows), dtype=np.int64)
        return same, same
    first, second = (np.asarray(ids, dtype=np.int64) for ids in vocabulary.shared_rows(mine, theirs))
    keep = (first < rows[0]) & (second < rows[1])
    order = np.argsort(first[keep], kind="stable")
    return first[keep][order], second[keep][order]
