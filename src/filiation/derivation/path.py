"""Which layers of the suspect are laid beside which of the candidate: all of the path, or a sample that can be paid."""

from __future__ import annotations

import numpy as np

from filiation.derivation.reading import Case
from filiation.origin.gather import Side
from filiation.origin.pairing import Plan

#: Layers that a sampled reading looks at; half of that where every read is a request.
SAMPLED_LAYERS = 3

Pairs = tuple[tuple[int, int], ...]


def whole_path(case: Case) -> Pairs:
    """Return the path over all layers: one in place that sampled layers stands for all of them."""
    pairing = case.pairing
    depth = case.suspect.geometry.n_layers
    in_place = all(i == j for i, j in pairing.layers) and depth == case.candidate.geometry.n_layers
    sampled = pairing.stage == "direct" or pairing.match_anywhere
    if case.whole and in_place and sampled and not case.plan.whole:
        return tuple((i, i) for i in range(depth))
    return pairing.layers


def guessed(case: Case, path: Pairs, looked: frozenset[int]) -> Pairs:
    """Return layers that were looked for and not found, with the candidate's layer that would continue the path."""
    partner = dict(path)
    found: list[tuple[int, int]] = []
    for i in sorted(looked - set(partner)):
        before = next((partner[k] + i - k for k in range(i - 1, -1, -1) if k in partner), i)
        found.append((i, min(max(before, 0), case.candidate.geometry.n_layers - 1)))
    return tuple(found)


def affordable(case: Case, pairs: Pairs) -> Pairs:
    """Return as many pairs as the budget allows, where units or channels moved and whole matrices must be read."""
    budget = case.plan.budget
    if budget is None or (case.residual.trivial and not case.pairing.match_anywhere):
        return pairs
    spent = max(s.anatomy.checkpoint.bytes_read for s in (case.suspect, case.candidate))
    costs = [max(_layer_bytes(case.suspect, i), _layer_bytes(case.candidate, j)) for i, j in pairs]
    total = np.cumsum([spent, *costs])[1:]
    return tuple(p for p, cost in zip(pairs, total, strict=True) if cost <= budget)


def _layer_bytes(side: Side, layer: int) -> int:
    tensors = side.anatomy.checkpoint.tensors
    names = {p.tensor for p in side.anatomy.parts if p.component == side.component and p.layer == layer}
    return sum(tensors[name].nbytes for name in names)


def _sampled(path: Pairs, plan: Plan) -> Pairs:
    most = SAMPLED_LAYERS // 2 if plan.frugal else SAMPLED_LAYERS
    if len(path) <= most:
        return path
    chosen = np.linspace(0, len(path) - 1, most + 2).round().astype(int)[1:-1]
    return tuple(path[int(i)] for i in chosen)


def sampled_pairs(path: Pairs, guessed: Pairs, plan: Plan) -> Pairs:
    """Return the pairs that a sampled reading looks at: of the path, and of the layers that have no partner in it."""
    beyond = () if plan.frugal else _sampled(guessed, plan)
    return tuple(sorted((*_sampled(path, plan), *beyond)))
