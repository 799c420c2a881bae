"""Measuring one matched part: how far it is from its prediction, and what kind of difference that is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from filiation.derivation.lattice import Lattice, find_lattice
from filiation.derivation.matched import Blocks, Matched
from filiation.derivation.records import Delta
from filiation.derivation.rounding import FLOATS, rounding_level
from filiation.origin.scale import Values, mean_square, over, tamed, wide
from filiation.origin.units import Doubles, Floats

#: Rows of the block that rank, spectrum and lattices are read from.
SAMPLE_ROWS = 128
SAMPLE_COLUMNS = 2048
#: Elements from which on a quarter of that block does.
SMALL = 1 << 18
#: Part of the difference's energy that its numerical rank must hold.
RANK_ENERGY = 0.95
#: Quotient of neighbouring singular values that ends a spectrum.
CLIFF = 3.0
#: Singular values below this share of the largest are lost in float32 products.
DIGITS = 1e-3


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The shape of a difference on a sampled block.

    Attributes:
        rank: numerical rank, and ``of``: the largest it could be. ``cliff``: the spectrum ends at the rank, with
            rounding behind it.
        tail: share of the energy beyond the rank.
        edge: largest singular value over that of white noise of the same level (arXiv 1011.1713): about 1 for noise.
        kurtosis: of the elements; 3 for a Gaussian.
        unevenness: variance of the row energies over that of white noise: about 1 for noise.
    """

    rank: int
    of: int
    cliff: bool
    tail: float
    edge: float
    kurtosis: float
    unevenness: float

    @property
    def low(self) -> bool:
        """Whether the rank is low: at most half of what it could be before a cliff, a quarter without one."""
        return self.of >= 8 and self.rank <= (self.of // 2 if self.cliff else self.of // 4)


@dataclass(frozen=True, eq=False)
class Measured:
    """One matched part, measured. Sums run over every element that was read.

    ``floor`` is the relative difference that storing the prediction in the suspect's type would make by itself.
    ``zeros`` and ``zeros_before`` are shares of elements; ``kept_equal`` the share of non-zero elements that are
    equal, ``cut`` the mean magnitude of what was zeroed over that of the rest; ``pairs`` the share of groups of
    four consecutive inputs with at least two zeros. ``lattice`` is the suspect's, ``undone`` the one that the
    candidate's file names, with the suspect's values as what was rounded. ``row_cosine`` is the mean cosine of its rows
    with their counterparts, where every row was read for it: a few long rows make the other cosine, not this one.
    """

    match: Matched
    relative: float | None
    cosine: float | None
    equal: float
    elements: int
    floor: float
    zeros: float
    zeros_before: float
    kept_equal: float
    kept_relative: float
    cut: float | None
    pairs: float
    spectrum: Spectrum | None
    lattice: Lattice | None
    undone: Lattice | None
    row_cosine: float | None = None

    @property
    def role(self) -> str:
        """The part's role."""
        return self.match.mine.role

    @property
    def layer(self) -> int | None:
        """The suspect's layer."""
        return self.match.mine.layer

    @property
    def is_matrix(self) -> bool:
        """Whether the part is a matrix (of weights; embeddings count)."""
        return len(self.match.mine.shape) >= 2

    @property
    def changed(self) -> bool:
        """Whether it differs by more than storing and computing explain."""
        return self.relative is not None and self.equal < 1 and self.relative > 3 * self.floor

    def delta(self) -> Delta:
        """Return the public record."""
        mine, theirs = self.match.mine, self.match.theirs
        # The last bits of a computed prediction depend on the machine: a report must not.
        computed = self.match.moved and self.equal < 1
        return Delta(
            tensor=mine.tensor,
            component=mine.component,
            role=mine.role,
            layer=mine.layer,
            candidate_layer=theirs.layer,
            relative_delta=0.0 if computed and not self.changed else self.relative,
            cosine=self.cosine,
            rank=self.spectrum.rank
            if self.spectrum is not None and self.spectrum.low and self.changed
            else None,
            equal=None if computed else self.equal,
            elements=self.elements,
            expert=mine.expert,
            candidate_expert=theirs.expert,
        )


@dataclass
class _Sums:
    """Running sums over blocks, in float64. Zeros are counted where the first values hold any."""

    difference: float = 0.0
    candidate: float = 0.0
    product: float = 0.0
    kept_difference: float = 0.0
    kept: float = 0.0
    equal: int = 0
    zeros: int = 0
    zeros_before: int = 0
    equal_zeros: int = 0
    elements: int = 0
    sparse: bool | None = None

    def add(self, s: Floats, p: Floats) -> None:
        """Add a block, in pieces that stay in the processor's cache."""
        a, b = s.reshape(-1), p.reshape(-1)
        if self.sparse is None:
            self.sparse = bool((a[:_PIECE] == 0).mean() > SOME_ZEROS)
        for start in range(0, a.size, _PIECE):
            self._add(a[start : start + _PIECE], b[start : start + _PIECE])

    def _add(self, a: Floats, b: Floats) -> None:
        self.elements += a.size
        self.candidate += _dot(b, b)
        self.product += _dot(a, b)
        differ = int(np.count_nonzero(a != b))
        self.equal += a.size - differ
        if differ:
            d = a - b
            self.difference += _dot(d, d)
        if self.sparse:
            self._add_zeros(a, b)

    @property
    def suspect(self) -> float:
        """Energy of the suspect's values."""
        return max(0.0, self.difference + 2 * self.product - self.candidate)

    def _add_zeros(self, a: Floats, b: Floats) -> None:
        kept = a != 0
        self.zeros += a.size - int(np.count_nonzero(kept))
        self.zeros_before += b.size - int(np.count_nonzero(b))
        self.equal_zeros += int(np.count_nonzero(~kept & (b == 0)))
        d = (a - b)[kept]
        self.kept_difference += _dot(d, d)
        self.kept += _dot(b[kept], b[kept])


@dataclass
class _Rows:
    """The cosine of each row with its counterpart, added up; zero rows agree with nothing."""

    total: float = 0.0
    count: int = 0

    def add(self, s: Floats, p: Floats) -> None:
        """Add a block of whole rows."""
        s, p = wide(s), wide(p)
        lengths = np.sqrt(np.vecdot(s, s).astype(np.float64) * np.vecdot(p, p))
        self.total += float(over(np.vecdot(s, p), lengths).sum())
        self.count += len(s)

    @property
    def mean(self) -> float | None:
        """The mean over all rows; None where there was none."""
        return self.total / self.count if self.count else None


_PIECE = 1 << 16
#: Terms of one product sum: so few that no BLAS splits them over threads, which would make sums depend on the load.
_TERMS = 1 << 13
#: Size of a sum beside which what float32 cannot hold of its terms is nothing.
_HELD = 1e-25


def _dot(a: Values, b: Values) -> float:
    """Return the sum of products, added up in float64 over pieces."""
    whole = a.size // _TERMS * _TERMS
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(
            np.vecdot(a[:whole].reshape(-1, _TERMS), b[:whole].reshape(-1, _TERMS)).sum(dtype=np.float64)
        )
        total += float(np.vecdot(a[whole:], b[whole:]))
    # Looked at afterwards, since large models are added up here: float32 may have overflowed, or held next to nothing.
    if _HELD < abs(total) < np.inf or a.dtype != np.float32:
        return total
    return _dot(a.astype(np.float64), b.astype(np.float64))


#: Share of zeros among the first values from which on zeros are counted.
SOME_ZEROS = 0.01


def measure(
    match: Matched,
    rng: np.random.Generator,
    *,
    rows: int | None = None,
    window: tuple[int, int] | None = None,
    lattices: bool = True,
    by_row: bool = False,
) -> Measured:
    """Measure a match: all of it, or ``rows`` rows at a seeded offset.

    Args:
        window: the rows to measure instead of a seeded run (rows that were read already).
        lattices: look whether the suspect lies on a quantisation lattice (a stored one is always looked at).
        by_row: measure the cosine of every row too.
    """
    large = int(np.prod(match.mine.shape)) > SMALL
    sample = SAMPLE_ROWS // 2 if large else SAMPLE_ROWS
    chosen = window or _sample_window(_row_count(match), rng, rows or sample)
    block = _Block(chosen, SAMPLE_COLUMNS // (2 if large else 1))
    sums, alike = _Sums(), _Rows()
    sampled = rows is not None or window is not None
    first = True
    for start, s, p in _window_of(match, *block.window) if sampled else match.blocks():
        match = replace(match, hidden=True) if first and match.hides(s, p) else match
        first = False
        s, p = match.seen(s, p) if match.hidden else (s, p)
        sums.add(s, p)
        block.take(start, s, p)
        if by_row:
            alike.add(s, p)
    found = _finish(match, sums, *block.arrays(), lattices=lattices)
    return replace(found, row_cosine=alike.mean)


def _window_of(match: Matched, start: int, stop: int) -> Blocks:
    yield start, *match.window(start, stop)


def _row_count(match: Matched) -> int:
    if match.rows is not None:
        return len(match.rows[0])
    return match.mine.shape[0] if len(match.mine.shape) > 1 else 1


def _sample_window(n: int, rng: np.random.Generator, rows: int) -> tuple[int, int]:
    start = int(rng.integers(0, max(1, n - rows + 1)))
    return start, min(n, start + rows)


class _Block:
    """Collects the rows of one window while blocks go by."""

    def __init__(self, window: tuple[int, int], columns: int) -> None:
        self.window = window
        self._columns = columns
        self._s: list[Floats] = []
        self._p: list[Floats] = []

    def take(self, start: int, s: Floats, p: Floats) -> None:
        low, high = max(self.window[0] - start, 0), self.window[1] - start
        if high > low and low < len(s):
            self._s.append(np.array(s[low:high, : self._columns]))
            self._p.append(np.array(p[low:high, : self._columns]))

    def arrays(self) -> tuple[Floats, Floats]:
        if not self._s:
            empty = np.zeros((0, 0), np.float32)
            return empty, empty
        return np.concatenate(self._s), np.concatenate(self._p)


def _finish(match: Matched, sums: _Sums, s: Floats, p: Floats, *, lattices: bool) -> Measured:
    candidate, suspect, n = np.sqrt(sums.candidate), np.sqrt(sums.suspect), max(1, sums.elements)
    relative = float(np.sqrt(max(sums.difference, 0.0)) / candidate) if candidate > 0 else None
    dtype = match.suspect.checkpoint.tensors[match.mine.tensor].dtype
    differs = sums.equal < sums.elements
    is_matrix = len(match.mine.shape) >= 2 and s.size > 0
    wanted = is_matrix and differs and not match.hidden and (lattices or dtype not in FLOATS)
    stored = match.as_stored(s, p) if is_matrix and differs else (s, p)
    theirs = match.candidate.checkpoint.tensors[match.theirs.tensor].dtype
    packed = theirs not in FLOATS and theirs != dtype and not match.moved
    floor = rounding_level(p, dtype, computed=match.moved) if differs else 0.0
    spread = floor * float(np.sqrt(mean_square(p))) if differs and p.size else 0.0
    return Measured(
        match=match,
        relative=relative,
        cosine=float(sums.product / (candidate * suspect)) if candidate > 0 and suspect > 0 else None,
        equal=sums.equal / n,
        elements=sums.elements,
        floor=floor,
        zeros=sums.zeros / n,
        zeros_before=sums.zeros_before / n,
        kept_equal=(sums.equal - sums.equal_zeros) / max(1, sums.elements - sums.zeros),
        kept_relative=float(np.sqrt(sums.kept_difference / sums.kept))
        if sums.kept > 0
        else (relative or 0.0),
        cut=_cut(s, p) if sums.zeros else None,
        pairs=_half_of_four(s) if sums.zeros else 0.0,
        spectrum=spectrum_of(_without_zeroed(s, p), spread) if is_matrix and differs else None,
        lattice=find_lattice(*tamed(*stored), dtype) if wanted else None,
        undone=find_lattice(*tamed(p, s), theirs) if is_matrix and differs and packed else None,
    )


def _without_zeroed(s: Floats, p: Floats) -> Floats:
    """Return the difference with elements that the suspect holds as zero left out, where zeros abound."""
    difference = s - p
    zeroed = (s == 0) & (p != 0)
    return np.where(zeroed, 0.0, difference).astype(np.float32) if zeroed.mean() > 0.02 else difference


def _cut(s: Floats, p: Floats) -> float | None:
    """Return the mean magnitude of what was zeroed over the mean magnitude of what was kept, before the zeroing."""
    zeroed = (s == 0) & (p != 0)
    kept = s != 0
    if not zeroed.any() or not kept.any():
        return None
    size = np.abs(p)
    mean = float(size[kept].mean())
    return float(size[zeroed].mean()) / mean if mean > 0 else None


def _half_of_four(s: Floats) -> float:
    """Return the share of groups of four consecutive inputs that hold at least two zeros (2:4 sparsity)."""
    width = s.shape[1] // 4 * 4 if s.size else 0
    if not width:
        return 0.0
    zeros = (s[:, :width].reshape(len(s), -1, 4) == 0).sum(axis=2)
    return float((zeros >= 2).mean())


def spectrum_of(difference: Floats, noise: float = 0.0) -> Spectrum | None:
    """Return the shape of a difference block.

    Args:
        noise: standard deviation of rounding noise, which rank does not count.
    """
    m, n = difference.shape
    if min(m, n) < 4 or not difference.any():
        return None
    difference = wide(difference)
    gram = difference @ difference.T if m <= n else difference.T @ difference
    energies = np.maximum(np.linalg.eigvalsh(gram.astype(np.float64))[::-1], 0.0)
    square = np.square(difference)
    second = float(square.mean(dtype=np.float64))
    fourth = float(np.square(square / second).mean(dtype=np.float64))  # the mean is zero for all that matters
    rank, cliff = _rank(energies, noise, m, n)
    return Spectrum(
        rank=rank,
        of=min(m, n),
        cliff=cliff,
        tail=float(energies[rank:].sum() / energies.sum()),
        edge=float(np.sqrt(energies[0] / second) / (np.sqrt(m) + np.sqrt(n))),
        kurtosis=fourth,
        unevenness=float((square / second).mean(axis=1, dtype=np.float64).var() * n / max(fourth - 1, 1e-9)),
    )


def _rank(energies: Doubles, noise: float, m: int, n: int) -> tuple[int, bool]:
    """Return where the spectrum ends: at a cliff behind which rounding is left, or at the edge of rounding noise.

    Merged adapters end in a cliff. A full update may begin with one (a dominant direction), so what lies behind
    it must be little, or no more than rounding makes.
    """
    roots = np.maximum(np.sqrt(energies), DIGITS * float(np.sqrt(energies[0])))
    drops = roots[:-1] / roots[1:]
    at = int(drops[: max(1, len(roots) // 2)].argmax())
    behind = float(energies[at + 1 :].sum())
    little = max((1 - RANK_ENERGY) * float(energies.sum()), 2 * noise**2 * m * n)
    if drops[at] >= CLIFF and behind <= little:
        return at + 1, True
    floor = max(1.1 * noise * (np.sqrt(m) + np.sqrt(n)), 2 * DIGITS * float(roots[0]))
    return max(1, int((roots > floor).sum())), False
