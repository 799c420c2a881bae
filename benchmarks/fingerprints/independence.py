"""CSW and MATCH, the order tests of "Independence Tests for Language Models" (arXiv 2502.12292).

Both end in a p-value, returned here as -log10 p. CSW's is exact for models trained apart, MATCH's is not. No threshold
documented for either as a test of two models; the authors' localised testing accepts a pair of layers at 1e-6, which
is taken as the line for both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.fingerprints import texts
from benchmarks.fingerprints.forward import Trace, trace
from benchmarks.fingerprints.subject import CannotTestError, Index, Real, Subject

LINE = 6.0
PASSAGES = 64


def csw(one: Subject, other: Subject) -> float:
    """Return -log10 of Fisher's p over layers: do the rows of ``up`` (units, d_model) pair up in their order?

    Raises:
        CannotTestError: the models differ in depth, width or units, or have no dense ``up``.
    """
    if len(one.layers) != len(other.layers):
        raise CannotTestError("the models differ in depth")
    return fisher([in_order(one.need("up", layer), other.need("up", layer)) for layer in one.layers])


def in_order(a: Real, b: Real) -> float:
    """Return ln p that the best one-to-one matching of the rows of two matrices is no better ordered than chance.

    Raises:
        CannotTestError: the shapes differ.
    """
    if a.shape != b.shape:
        raise CannotTestError("the feed-forward matrices differ in shape")
    return spearman(matched(a, b), np.arange(len(a)))


def match(one: Subject, other: Subject) -> float:
    """Return -log10 p that gates and ups (tokens, units) of the same text pick partners independently of each other.

    Both models read the same 64 sentences. Layers of one depth are paired by number and joined by Fisher's rule. Of
    models that differ in depth every pair of layers is tested, and the smallest p times the number of pairs is taken
    (the authors accept pairs of layers there, and give no p for the whole).

    Raises:
        CannotTestError: there is no gated dense feed-forward, or a model cannot be run here. The authors' way around
            the first, training a gated one to imitate it, is not re-implemented.
    """
    mine, theirs = activations(one, other)
    if not mine.gate or not theirs.gate:
        raise CannotTestError("no dense gated feed-forward")
    if len(mine.gate) == len(theirs.gate):
        return fisher([partners(mine, theirs, layer, layer) for layer in range(len(mine.gate))])
    pairs = [(i, j) for i in range(len(mine.gate)) for j in range(len(theirs.gate))]
    least = min(partners(mine, theirs, i, j) for i, j in pairs)
    return max(0.0, -(least + math.log(len(pairs))) / math.log(10))


def activations(one: Subject, other: Subject) -> tuple[Trace, Trace]:
    """Return what both models make of the same tokens; gates and ups of all passages' tokens, (tokens, units)."""
    passages = texts.rows(one, other, PASSAGES)
    sides = [a for a, _ in passages], [b for _, b in passages]
    return _activations(one, sides[0]), _activations(other, sides[1])


def _activations(model: Subject, passages: Sequence[Index]) -> Trace:
    traces = [(trace(model, batch.tokens), batch.own.reshape(-1)) for batch in texts.batches(passages)]
    layers = range(len(traces[0][0].gate))
    gate = tuple(np.concatenate([t.gate[layer][own] for t, own in traces]) for layer in layers)
    up = tuple(np.concatenate([t.up[layer][own] for t, own in traces]) for layer in layers)
    return Trace((), gate, up)


def partners(mine: Trace, theirs: Trace, i: int, j: int) -> float:
    """Return ln p that the partners by gate and those by up, layer ``i`` against layer ``j``, are unrelated."""
    by_gate, by_up = (matched(a[i].T, b[j].T) for a, b in ((mine.gate, theirs.gate), (mine.up, theirs.up)))
    both = (by_gate >= 0) & (by_up >= 0)
    return spearman(by_gate[both], by_up[both]) if both.sum() >= 3 else 0.0


def matched(a: Real, b: Real) -> Index:
    """Return, for each row of a (m, k), its row of b (n, k) in the one-to-one matching of the largest cosines.

    Where b has fewer rows some of a have no partner, which is -1.
    """
    from scipy.optimize import linear_sum_assignment

    unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b)]
    rows, columns = linear_sum_assignment(unit[0] @ unit[1].T, maximize=True)
    found = np.full(len(a), -1, dtype=np.int64)
    found[rows] = columns
    return found


def spearman(a: Index, b: Index) -> float:
    """Return ln p, two-sided, of Spearman's rank correlation of a and b, both (n,), by its t approximation.

    Worked out as a logarithm, where the p itself would be 0, and never below that of one order among all, 1/n!.
    """
    from scipy.special import betainc, betaln, hyp2f1
    from scipy.stats import rankdata

    n = len(a)
    rho = float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
    floor = -math.lgamma(n + 1)
    x, half = 1 - rho * rho, (n - 2) / 2
    if x <= 0:
        return floor
    p = float(betainc(half, 0.5, x))
    if p > 1e-250:
        return max(floor, math.log(p))
    # The incomplete beta function near 0: x^a / (a B(a, b)) times a hypergeometric factor close to 1.
    factor = math.log(float(hyp2f1(half, 0.5, half + 1, x)))
    return max(floor, half * math.log(x) - math.log(half) - float(betaln(half, 0.5)) + factor)


def fisher(logs: Sequence[float]) -> float:
    """Return -log10 of Fisher's joint p of independent p-values given as ln p.

    -2 sum ln p follows chi-square with two degrees of freedom each; its tail is a finite sum, added up as logarithms.
    """
    half = -sum(logs)
    if half <= 0:
        return 0.0
    terms = [k * math.log(half) - math.lgamma(k + 1) for k in range(len(logs))]
    largest = max(terms)
    tail = largest + math.log(sum(math.exp(term - largest) for term in terms))
    return max(0.0, (half - tail) / math.log(10))
