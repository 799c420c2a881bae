"""Merges: the suspect as a sum of several candidates, by least squares with weights that add up to one.

The regression is on task vectors (differences of the candidates from the first of them), after the idea of arXiv
2607.10617: they are nearly orthogonal where the candidates themselves are nearly equal. A merge that elects elements
(TIES, arXiv 2306.01708) is no weighted sum: many of its elements are one parent's own, bit for bit, and others
another's, which no training makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from filiation.anatomy.model import Anatomy, Part
from filiation.derivation.rounding import stored_as
from filiation.derivation.structure import ATTENTION, FFN
from filiation.evidence import Derivation
from filiation.origin.examine import Examination
from filiation.origin.ledger import Ledger
from filiation.origin.pairing import Plan
from filiation.origin.units import Doubles, Floats

#: Gain over the best single candidate, beyond what a sibling of all of them would show, from which a merge is claimed.
MARGIN = 0.15
#: Gain beyond a sibling's from which it cannot be told whether there was a merge.
DOUBT = 0.05
#: Weight below which a candidate is not a parent.
LEAST_WEIGHT = 0.05
#: Correlation of task vectors from which their weights cannot be told apart well.
COLLINEAR = 0.95
ROWS = 64
#: Spacing of neighbouring values of each float kind, relative to their size.
SPACING = {"BF16": 2.0**-8, "F16": 2.0**-11, "F32": 2.0**-23}
#: Spacings by which candidates must differ in an element for it to be one's own: another model hits it by chance in a
#: thirtieth of them. Share of such elements from which a candidate gave them, and how many must be told apart at all.
CLEARLY_APART, LEAST_SHARE, LEAST_TOLD = 16, 0.1, 4096
_ROLES = (*ATTENTION, *FFN)


@dataclass
class Normal:
    """The normal equations of one regression, summed up block by block in float64.

    ``gram[i, j]`` and ``target[i]`` are over ``x_i - x_0`` and ``y - x_0``; ``single[i]`` is ``|y - x_i|^2``.
    ``told`` counts the elements in which all candidates are clearly apart, ``equal[i]`` those of them that are equal
    to candidate ``i``.
    """

    count: int
    gram: Doubles = field(init=False)
    target: Doubles = field(init=False)
    energy: float = 0.0
    single: Doubles = field(init=False)
    size: float = 0.0
    told: int = 0
    equal: Doubles = field(init=False)

    def __post_init__(self) -> None:
        self.gram = np.zeros((self.count - 1, self.count - 1))
        self.target = np.zeros(self.count - 1)
        self.single = np.zeros(self.count)
        self.equal = np.zeros(self.count)

    def add(self, y: Floats, xs: Sequence[Floats], dtype: str = "F32") -> None:
        """Add one block; ``dtype`` is how the suspect stores it."""
        self._count_equal(y, xs, dtype)
        base = xs[0].astype(np.float64).reshape(-1)
        tasks = np.stack([x.reshape(-1) - base for x in xs[1:]])
        rest = y.reshape(-1) - base
        self.gram += tasks @ tasks.T
        self.target += tasks @ rest
        self.energy += float(rest @ rest)
        self.size += float(base @ base)
        self.single += np.array(
            [float(np.square(y.reshape(-1) - x.reshape(-1).astype(np.float64)).sum()) for x in xs]
        )

    def _count_equal(self, y: Floats, xs: Sequence[Floats], dtype: str) -> None:
        if dtype not in SPACING:
            return
        size, spacing = np.abs(y), SPACING[dtype]
        pairs = [(a, b) for n, a in enumerate(xs) for b in xs[n + 1 :]]
        apart = np.minimum.reduce([np.abs(a - b) for a, b in pairs]) > CLEARLY_APART * spacing * size
        self.told += int(apart.sum())
        for n, x in enumerate(xs):
            # Adding a difference to what it was taken from may miss by the last bits of float32.
            same = np.abs(stored_as(x, dtype) - y) <= 4 * SPACING["F32"] * size
            self.equal[n] += int((same & apart).sum())

    def shares(self) -> Doubles:
        """Return the share of elements that are each candidate's own, zeros where too few can be told apart."""
        enough = self.told >= LEAST_TOLD
        return self.equal / self.told if enough else np.zeros(self.count)

    def merge(self, other: Normal) -> None:
        """Add another's sums."""
        self.told += other.told
        self.equal += other.equal
        self.gram += other.gram
        self.target += other.target
        self.energy += other.energy
        self.single += other.single
        self.size += other.size

    def weights(self) -> Doubles:
        """Return the weights of all candidates; they add up to one."""
        ridge = 1e-9 * max(float(np.trace(self.gram)), 1e-300)
        rest = np.linalg.solve(self.gram + ridge * np.eye(len(self.gram)), self.target)
        return np.concatenate([[1.0 - rest.sum()], rest])

    def residual(self) -> float:
        """Return the squared distance that the best weights leave."""
        rest = self.weights()[1:]
        return max(0.0, self.energy - 2 * float(rest @ self.target) + float(rest @ self.gram @ rest))

    def collinearity(self) -> float:
        """Return the largest correlation of two task vectors, 0 with a single one."""
        scale = np.sqrt(np.maximum(np.diag(self.gram), 1e-300))
        correlation = np.abs(self.gram / np.outer(scale, scale)) - np.eye(len(self.gram))
        return float(correlation.max(initial=0.0))


def decompose(
    suspect: Anatomy,
    candidates: Sequence[Anatomy],
    examinations: Sequence[Sequence[Examination]],
    plan: Plan,
    *,
    numbers: Sequence[int] | None = None,
    component: str = "language",
) -> Derivation | None:
    """Return ``merged`` (or ``cannot_tell``) where a sum of the candidates explains the suspect better than any one.

    Args:
        examinations: of each candidate, one a component.
        numbers: the candidates' numbers in the report.

    Candidates that lie in another basis, order or depth than the suspect are left out; at least two must remain.
    """
    names = list(numbers) if numbers is not None else list(range(len(candidates)))
    usable = [n for n, found in enumerate(examinations) if _is_direct(found, component)]
    usable = [n for n in usable if _same_shapes(suspect, candidates[n], component)]
    if len(usable) < 2:
        return None
    ledger = Ledger(plan.budget)
    chosen = [ledger.hold(candidates[n]) for n in usable]
    sums = ledger.attempt(lambda: _sums(ledger.hold(suspect), chosen, component, plan), {})
    if not sums:
        return None
    total = Normal(len(chosen))
    for part in sums.values():
        total.merge(part)
    return _told(total, sums, [names[n] for n in usable])


def _is_direct(examinations: Sequence[Examination], component: str) -> bool:
    stage = next((x.best for x in examinations if x.component == component), None)
    if stage is None or stage.pairing.basis != "identity":
        return False
    return all(i == j for i, j in stage.pairing.layers)


def _same_shapes(suspect: Anatomy, candidate: Anatomy, component: str) -> bool:
    mine, theirs = suspect.geometry.get(component), candidate.geometry.get(component)
    if mine is None or theirs is None:
        return False
    return (mine.d_model, mine.n_layers, mine.d_ff) == (theirs.d_model, theirs.n_layers, theirs.d_ff)


def _sums(
    suspect: Anatomy, candidates: Sequence[Anatomy], component: str, plan: Plan
) -> Mapping[tuple[int, str], Normal]:
    """Return the normal equations of each layer's attention and feed-forward matrices."""
    layers = plan.sampled_layers(suspect.geometry[component].n_layers)
    if not plan.whole:
        layers = layers[:2]
    found: dict[tuple[int, str], Normal] = {}
    for part in suspect.parts:
        if part.component != component or part.layer not in layers or part.role not in _ROLES:
            continue
        theirs = [c.part(part.role, part.layer, part.expert, component) for c in candidates]
        parts = [p for p in theirs if p is not None and p.shape == part.shape]
        if len(parts) < len(candidates):
            continue
        group = "attention" if part.role in ATTENTION else "ffn"
        normal = found.setdefault((part.layer, group), Normal(len(candidates)))
        for y, xs in _blocks(suspect, part, candidates, parts, plan):
            normal.add(y, xs, suspect.checkpoint.tensors[part.tensor].dtype)
    return found


def _blocks(
    suspect: Anatomy, part: Part, candidates: Sequence[Anatomy], parts: Sequence[Part], plan: Plan
) -> Iterator[tuple[Floats, list[Floats]]]:
    rows = part.shape[0]
    if plan.whole:
        size = max(1, (1 << 20) // max(1, int(np.prod(part.shape[1:]))))
        windows = [(a, min(a + size, rows)) for a in range(0, rows, size)]
    else:
        start = int(plan.rng(f"merge/{part.role}/{part.layer}").integers(0, max(1, rows - ROWS + 1)))
        windows = [(start, min(start + ROWS, rows))]
    for a, b in windows:
        yield suspect.read(part, a, b), [c.read(p, a, b) for c, p in zip(candidates, parts, strict=True)]


def sibling_gain(count: int) -> float:
    """Return the gain that a sibling of ``count`` equally distant children of one base shows without being a merge.

    The mean of the candidates approaches the base they share, which is nearer to the suspect than any of them.
    """
    return 1.0 - (1.0 + 1.0 / count) / 2.0


def _told(total: Normal, sums: Mapping[tuple[int, str], Normal], names: Sequence[int]) -> Derivation | None:
    weights, residual = total.weights(), total.residual()
    best = float(total.single.min())
    if best <= 1e-12 * total.size:
        return None  # the suspect is one of the candidates
    gain = 1.0 - residual / best
    parents = [n for n, w in zip(names, weights, strict=True) if abs(w) >= LEAST_WEIGHT]
    shares = total.shares()
    elected = int((shares >= LEAST_SHARE).sum()) >= 2
    if len(parents) < 2 and not elected:
        return None
    collinearity = total.collinearity()
    numbers: dict[str, Any] = {
        "weights": {str(n): float(w) for n, w in zip(names, weights, strict=True)},
        "residual": residual / total.energy if total.energy > 0 else 0.0,
        "relative_delta": float(np.sqrt(residual / total.size)) if total.size > 0 else 0.0,
        "gain": gain,
        "gain_of_a_sibling": sibling_gain(len(names)),
        "collinearity": collinearity,
        "collinearity_warning": collinearity > COLLINEAR,
        "layers": [
            {"layer": layer, "part": group, "weights": [float(w) for w in normal.weights()]}
            for (layer, group), normal in sorted(sums.items())
        ],
    }
    numbers["method"] = _method(weights, sums)
    if elected and numbers["method"] != "by_layer":
        own = {str(n): float(share) for n, share in zip(names, shares, strict=True)}
        return Derivation("merged", {**numbers, "method": "by_element", "shares": own})
    if gain >= sibling_gain(len(names)) + MARGIN:
        return Derivation("merged", numbers)
    if gain >= sibling_gain(len(names)) + DOUBT:
        return Derivation("cannot_tell", {"candidates": ["merged", "sibling"], **numbers})
    return None


def _method(weights: Doubles, sums: Mapping[tuple[int, str], Normal]) -> str:
    """Return ``linear`` (one weight everywhere), ``by_layer`` (whole layers of one parent), or ``varying``."""
    each = np.stack([normal.weights() for normal in sums.values()])
    if float(np.abs(each - weights).max()) < 0.05:
        return "linear"
    return "by_layer" if bool((each.max(axis=1) > 0.95).all()) else "varying"
