"""Bases of the residual stream: how the suspect's channels lie in the candidate's.

Estimated from token embeddings alone (shared token rows), so that every label of the blocks stays unread. Three
kinds are tried, from the cheap to the general: the identity; a signed permutation, or an injection where widths
differ (linear assignment on absolute column correlations, after arXiv 2510.06738 and 2508.06309); a rotation
(orthogonal Procrustes), or an isometry of the narrower stream into the wider one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from filiation.origin.matching import assign
from filiation.origin.polar import PRECISE, nearest_rotation
from filiation.origin.units import Doubles, Floats, Integers

#: Token rows worked on at once.
ROWS = 256


@dataclass(frozen=True, eq=False)
class Basis:
    """Carries rows written in either model's residual channels into one common basis.

    ``kind`` is ``identity``, ``signed_permutation``, ``injection`` or ``rotation``. For the column kinds
    ``columns[i]`` is the candidate's channel for the suspect's channel ``i`` and ``signs[i]`` its sign; for a
    rotation ``matrix`` is ``(d_s, d_c)``, with orthonormal columns or rows (of whichever there are fewer). Where the
    suspect is the wider one, ``suspect_columns[j]`` is its channel for the candidate's channel ``j``. ``agreement``
    is the mean cosine of carried embedding columns.
    """

    kind: str = "identity"
    columns: Integers | None = None
    suspect_columns: Integers | None = None
    signs: Floats | None = None
    matrix: Floats | None = None
    agreement: float = 1.0

    def suspect(self, rows: Floats) -> Floats:
        """Carry ``(..., d_s)`` from the suspect's channels to the common basis."""
        if self.matrix is not None:
            return (rows @ self.matrix).astype(np.float32)
        rows = rows if self.suspect_columns is None else rows[..., self.suspect_columns]
        return rows if self.signs is None else rows * self.signs

    def candidate(self, rows: Floats) -> Floats:
        """Carry ``(..., d_c)`` from the candidate's channels to the common basis."""
        return rows if self.columns is None else rows[..., self.columns]


IDENTITY = Basis()


def column_correlation(suspect: Floats, candidate: Floats) -> Doubles:
    """Return the ``(d_s, d_c)`` correlations of embedding columns over shared token rows ``(n, d)``."""
    a, b = _standard(suspect), _standard(candidate)
    return (a.T @ b).astype(np.float64)


def _standard(matrix: Floats) -> Floats:
    centred = matrix - matrix.mean(axis=0)
    energy = np.zeros(centred.shape[1], np.float32)
    # Added up in the order of one sum over all rows, without a second matrix for the squares.
    for start in range(0, len(centred), ROWS):
        squares = np.square(centred[start : start + ROWS])
        squares[0] += energy
        energy = squares.sum(axis=0)
    norms = np.sqrt(energy)
    centred /= np.where(norms > 0, norms, np.float32(1.0))
    return centred


def signed_permutation(
    suspect: Floats, candidate: Floats, rng: np.random.Generator, signed: bool = True
) -> Basis:
    """Match residual channels by the (absolute) correlation of their embedding columns.

    Args:
        suspect, candidate: embedding rows of the shared tokens, ``(n, d_s)`` and ``(n, d_c)``.
        signed: False where LayerNorm makes the sign no symmetry.
    """
    if suspect.shape[1] > candidate.shape[1]:
        turned = signed_permutation(candidate, suspect, rng, signed)
        return replace(turned, columns=None, suspect_columns=turned.columns)
    scores = column_correlation(suspect, candidate)
    columns = assign(np.abs(scores) if signed else scores, rng)
    chosen = scores[np.arange(len(scores)), columns]
    signs = np.where(chosen < 0, -1.0, 1.0).astype(np.float32) if signed else np.ones(len(scores), np.float32)
    kind = "signed_permutation" if suspect.shape[1] == candidate.shape[1] else "injection"
    return Basis(kind, columns, signs=signs, agreement=float(np.abs(chosen).mean()))


def rotation(suspect: Floats, candidate: Floats) -> Basis:
    """Return the orthogonal map that carries the suspect's embedding rows nearest to the candidate's.

    Where the suspect is the wider one, what lies outside of the directions that the candidate's channels take in it
    is dropped; where it is the narrower one, its rows keep their lengths among more channels. The agreement is
    measured on every fourth row, which the fit did not see.
    """
    held_out = np.arange(len(suspect)) % 4 == 3
    fitted = np.flatnonzero(~held_out)
    if max(suspect.shape[1], candidate.shape[1]) <= PRECISE:
        cross = suspect[fitted].T @ candidate[fitted]
    else:
        cross = np.zeros((suspect.shape[1], candidate.shape[1]), np.float32)
        for some in np.array_split(fitted, max(1, len(fitted) // 1024)):
            cross += suspect[some].T @ candidate[some]
    matrix = nearest_rotation(cross)
    carried, target = suspect[held_out] @ matrix, candidate[held_out]
    norms = np.linalg.norm(carried, axis=1) * np.linalg.norm(target, axis=1)
    cosines = np.einsum("ij,ij->i", carried, target) / np.where(norms > 0, norms, 1.0)
    return Basis("rotation", matrix=matrix, agreement=float(cosines.mean()) if len(cosines) else 0.0)
