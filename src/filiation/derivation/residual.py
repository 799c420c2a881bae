"""How the suspect's residual channels lie in the candidate's, and carrying the candidate's rows over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filiation.origin.basis import Basis
from filiation.origin.matching import assign
from filiation.origin.units import Doubles, Floats, Integers

#: Share of a channel's energy that one channel of the other model must carry for a map to be a permutation.
ONE_TO_ONE = 0.8


@dataclass(frozen=True, eq=False)
class Residual:
    """Carries what the candidate holds in its residual channels into the suspect's.

    ``kind`` is ``identity``, ``permuted`` (``columns[i]`` is the candidate's channel for the suspect's ``i``, with
    ``signs[i]``), ``injected`` (the same, into a wider candidate) or ``rotated`` (``matrix`` is ``(d_s, d_c)`` with
    orthonormal rows: suspect rows times it give candidate rows).
    """

    kind: str = "identity"
    columns: Integers | None = None
    signs: Floats | None = None
    matrix: Floats | None = None

    @property
    def trivial(self) -> bool:
        """Whether channels are where they were."""
        return self.kind == "identity"

    def carry(self, rows: Floats) -> Floats:
        """Carry ``(..., d_c)`` into the suspect's channels, ``(..., d_s)``."""
        if self.matrix is not None:
            return (rows @ self.matrix.T).astype(np.float32)
        if self.columns is None:
            return rows
        carried = rows[..., self.columns]
        return carried if self.signs is None else (carried * self.signs).astype(np.float32)

    def carry_gain(self, gain: Floats) -> Floats | None:
        """Carry a norm's gain ``(d_c,)``; it has no sign. None after a rotation, which no gain survives."""
        if self.matrix is not None:
            return None
        return gain if self.columns is None else gain[self.columns]


IN_PLACE = Residual()


def from_basis(basis: Basis) -> Residual:
    """Return the map that a stage of the examination found; a permutation that moves nothing is the identity."""
    if basis.matrix is not None:
        return Residual("rotated", matrix=basis.matrix)
    if basis.columns is None:
        return IN_PLACE
    return _permuted(basis.columns, basis.signs, basis.kind == "injection")


def _permuted(columns: Integers, signs: Floats | None, injected: bool) -> Residual:
    still = np.array_equal(columns, np.arange(len(columns))) and (signs is None or bool((signs > 0).all()))
    if still and not injected:
        return IN_PLACE
    return Residual("injected" if injected else "permuted", columns, signs)


def refined(
    rough: Residual, cross: Doubles, mine: Doubles, theirs: Doubles, rng: np.random.Generator
) -> Residual:
    """Fit the map anew on matched rows of the blocks, which are many more than the shared token rows.

    Args:
        cross: ``sum of s_row' c_row`` over matched rows, ``(d_s, d_c)``.
        mine, theirs: energies of the suspect's and the candidate's channels over those rows.
    """
    scale = np.sqrt(np.outer(np.maximum(mine, 1e-300), np.maximum(theirs, 1e-300)))
    correlation = cross / scale
    injected = cross.shape[0] < cross.shape[1]
    if rough.matrix is not None:
        left, _, right = np.linalg.svd(cross, full_matrices=False)
        turned = left @ right
        if injected or not _one_to_one(turned):
            return Residual("rotated", matrix=turned.astype(np.float32))
    columns = assign(np.abs(correlation), rng)
    chosen = correlation[np.arange(len(columns)), columns]
    if rough.trivial:
        return _flipped(correlation)
    return _permuted(columns, np.where(chosen < 0, -1.0, 1.0).astype(np.float32), injected)


def _one_to_one(matrix: Doubles) -> bool:
    """Return whether an orthogonal matrix is a signed permutation in nearly every row."""
    return bool(np.quantile(np.square(matrix).max(axis=1), 0.1) > ONE_TO_ONE)


#: Correlation of a channel with its own number that is clear, and share of channels that must have it in place.
CLEAR, MOST = 0.3, 0.5


def _flipped(correlation: Doubles) -> Residual:
    """Return the identity, with the signs that clearly negative channels ask for among channels in place."""
    own = np.diag(correlation)
    negative = own < -CLEAR
    if not negative.any() or float((own > CLEAR).mean()) < MOST:
        return IN_PLACE
    return _permuted(np.arange(len(own)), np.where(negative, -1.0, 1.0).astype(np.float32), injected=False)


def is_hadamard(matrix: Floats) -> bool:
    """Return whether all entries have one magnitude: a (randomised) Hadamard rotation, as QuaRot uses."""
    size = np.abs(matrix) * np.sqrt(matrix.shape[1])
    return bool(np.abs(size - 1).mean() < 0.1)
