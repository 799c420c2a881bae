"""The rotation nearest to a matrix: its orthogonal factor. Of a matrix that is not square, the nearest isometry.

A decomposition into singular values takes eight times the memory of its matrix: 540 MB for 4,096 channels. Wide
matrices are driven to their orthogonal factor in place instead, by Newton's iteration with the scaling of Higham
(SIAM J. Sci. Stat. Comput. 7, 1986), which holds two of them and gives the same rotation up to rounding.
"""

from __future__ import annotations

import numpy as np

from filiation.origin.units import Floats

#: Residual channels up to which a matrix is decomposed in float64, and up to which it is decomposed at all.
PRECISE, DECOMPOSED = 1024, 2048
#: Most steps (eight are usual), and the change relative to the matrix below which one polishing step is enough: what
#: is left of a step is its square, and the inverse of a large matrix is no better than 1e-4 in float32.
_STEPS, _ARRIVED = 30, 1e-3
_ROWS = 256


def nearest_rotation(matrix: Floats) -> Floats:
    """Return the orthogonal factor of a matrix; a wide one is overwritten.

    Where it is not square the rows of the factor are orthonormal, or its columns: whichever are fewer.
    """
    if max(matrix.shape) > DECOMPOSED and matrix.shape[0] != matrix.shape[1]:
        return _nearest_isometry(matrix)
    if len(matrix) <= PRECISE:
        left, _, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
        return (left @ right).astype(np.float32)
    if len(matrix) > DECOMPOSED and _iterate(matrix):
        return matrix
    from scipy.linalg import svd

    one, _, other = svd(matrix, full_matrices=False, overwrite_a=True, check_finite=False)
    return one @ other


def _nearest_isometry(matrix: Floats) -> Floats:
    """Return the factor of a wide matrix that is not square, from that of a square one beside orthonormal rows.

    The matrix is overwritten: its transpose is in the order of columns that LAPACK asks for.
    """
    from scipy.linalg import qr, rq

    if matrix.shape[0] < matrix.shape[1]:
        narrow, square = qr(matrix.T, mode="economic", overwrite_a=True, check_finite=False)
        factor = narrow @ nearest_rotation(np.ascontiguousarray(square))
    else:
        square, narrow = rq(matrix.T, mode="economic", overwrite_a=True, check_finite=False)
        factor = nearest_rotation(np.ascontiguousarray(square)) @ narrow
    return np.asarray(factor.T, np.float32)


def _iterate(matrix: Floats) -> bool:
    """Drive a matrix to its orthogonal factor; return False where it is singular.

    No step changes the orthogonal factor, so what is left then can still be decomposed.
    """
    x = matrix.T  # in the order of columns that LAPACK asks for; its factor is the transposed one
    for _ in range(_STEPS):
        inverse = _inverse(x)
        if inverse is None:
            return False
        scale = (_norms(inverse) / _norms(x)) ** 0.25
        moved = _averaged(x, inverse, scale)
        del inverse
        if moved <= _ARRIVED:
            _polish(matrix)
            return True
    return False


def _inverse(x: Floats) -> Floats | None:
    from scipy.linalg.lapack import sgetrf, sgetri  # pyright: ignore[reportUnknownVariableType]

    factors, pivots, failed = sgetrf(x, overwrite_a=False)
    if failed:
        return None
    inverse, failed = sgetri(factors, pivots, lwork=64 * len(x), overwrite_lu=True)
    return None if failed else inverse


def _norms(x: Floats) -> float:
    """Return the product of the largest column and row sums of absolute values."""
    rows, largest = np.zeros(len(x)), 0.0
    for start in range(0, len(x), _ROWS):
        some = np.abs(x[:, start : start + _ROWS])
        rows += some.sum(axis=1, dtype=np.float64)
        largest = max(largest, float(some.sum(axis=0, dtype=np.float64).max()))
    return largest * float(rows.max())


def _averaged(x: Floats, inverse: Floats, scale: float) -> float:
    """Replace ``x`` by the mean of itself, scaled, and its inverse transposed; return how far it moved, relatively."""
    moved = size = 0.0
    for start in range(0, len(x), _ROWS):
        some = slice(start, start + _ROWS)
        after = np.float32(0.5 * scale) * x[:, some] + np.float32(0.5 / scale) * inverse[some].T
        moved += float(np.square(after - x[:, some]).sum(dtype=np.float64))
        size += float(np.square(after).sum(dtype=np.float64))
        x[:, some] = after
    return float(np.sqrt(moved / size)) if size > 0 else np.inf


def _polish(x: Floats) -> None:
    """Replace ``x`` by ``x (3 - x'x) / 2``: orthogonal to the last digit where it nearly was."""
    gram: Floats = x.T @ x
    np.multiply(gram, np.float32(-0.5), out=gram)
    gram[np.diag_indices(len(gram))] += np.float32(1.5)
    for start in range(0, len(x), _ROWS):
        some = slice(start, start + _ROWS)
        x[some] = x[some] @ gram
