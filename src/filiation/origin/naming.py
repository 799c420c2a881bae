"""Names can lie: contents are looked at under the other names that shapes allow (ADR 0019).

Whoever holds a file can exchange the names of two tensors of one shape, or of a matrix and a transposed one. The exact
tests keep to the names that the files give, so nothing is chosen among e-values. Where their labels agree and contents
do not, it is asked which of the candidate's matrices each of the suspect's holds rows like, and contents and gains are
measured again under those names. Effect sizes alone are measured twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations

import numpy as np

from filiation.anatomy.model import Anatomy, Part
from filiation.errors import BudgetError
from filiation.origin import history as histories
from filiation.origin.cache import ReadCache
from filiation.origin.cosines import WEIGHT_COSINE
from filiation.origin.examine import Examination
from filiation.origin.gather import Side
from filiation.origin.history import GAIN_CORRELATION, History, Shared
from filiation.origin.pairing import Pairing, Plan, expert_pairs
from filiation.origin.partners import WHOLE_LAYERS, affordable
from filiation.origin.parts import DECIDE_AT
from filiation.origin.scale import wide
from filiation.origin.units import Doubles, Floats, unit_rows

#: Matrices of one feed-forward network: rows of neurons, and (transposed) what they write.
FFN = ("gate", "up", "down")
NORMS = ("attn_norm", "post_attn_norm", "ffn_norm", "post_ffn_norm")
#: By how much the correlations of a layer's gains must add up to more under other names: two norms, each by the line.
CLEARLY = 2 * GAIN_CORRELATION
#: Rows of a matrix that are looked for in another.
ROWS = 64

#: For each role, the role whose tensor is taken for it.
Taken = Mapping[str, str]


def measured(examination: Examination, plan: Plan) -> tuple[Examination, History | None]:
    """Return the examination and its effect sizes, both under the names that contents speak for.

    The examination's tests and their figures are those of the names given; only the models in its pairings, from
    which contents are read, carry the other names. Where the budget does not allow to measure anything of a pairing,
    that is said: nobody looked whether its units hold the same.
    """
    try:
        return _measured(examination, plan)
    except BudgetError:
        notes = tuple(dict.fromkeys((*examination.notes, "budget_spent")))
        return replace(examination, notes=notes), histories.unread()


def _measured(examination: Examination, plan: Plan) -> tuple[Examination, History | None]:
    found = histories.of(examination, plan)
    best = examination.best
    if found is None or best is None or examination.log10_e < DECIDE_AT:
        return examination, found
    examination, found = _networks(examination, found, plan)
    return _norms(examination, found, plan)


def models(examination: Examination, views: tuple[Anatomy, Anatomy]) -> tuple[Anatomy, Anatomy]:
    """Return the models as the examination names their parts; ``views`` where it paired nothing."""
    best = examination.best
    return (best.pairing.suspect.anatomy, best.pairing.candidate.anatomy) if best else views


def _networks(examination: Examination, found: History, plan: Plan) -> tuple[Examination, History]:
    """Look at feed-forward networks that hold something else under the other names of their matrices."""
    assert examination.best is not None
    pairing = examination.best.pairing
    apart = [i for i, _ in pairing.layers if found.contents.get(i, 1.0) < WEIGHT_COSINE]
    looked_at = affordable(pairing, plan, FFN, apart if plan.whole else apart[:WHOLE_LAYERS])
    taken = {pair[0]: taken for pair in looked_at if (taken := _other_names(pairing, pair, plan))}
    if not plan.whole and taken:
        first = next(iter(taken.values()))
        same = len(taken) == len(looked_at) and all(t == first for t in taken.values())
        taken = dict.fromkeys(apart, first) if same else {}
    if not taken:
        return examination, found
    other = _with_names(examination, taken)
    again = histories.of(other, plan)
    if again is None:
        return examination, found
    alike = [i for i in taken if again.contents.get(i, 0.0) >= WEIGHT_COSINE]
    if not alike and (found.shared, again.shared) == (Shared.LABELS_ONLY, Shared.INITIALISATION):
        alike = list(taken)  # a shared start, which partners show
    if not alike:
        return examination, found
    if len(alike) < len(taken):
        other = _with_names(examination, {i: taken[i] for i in alike})
        again = histories.of(other, plan) or again
    told = sorted({role for i in alike for role, of in taken[i].items() if role != of}, key=FFN.index)
    return other, replace(again, exchanged=tuple(told), unnamed=frozenset(alike))


def _norms(examination: Examination, found: History, plan: Plan) -> tuple[Examination, History]:
    """Look at gains that disagree, over contents that agree, under the other names of the layer's norms."""
    assert examination.best is not None
    if found.shared is not Shared.INITIALISATION or (found.weight_cosine or 0.0) < WEIGHT_COSINE:
        return examination, found
    pairing = examination.best.pairing
    taken = {pair[0]: taken for pair in pairing.layers if (taken := _other_norms(pairing, pair))}
    if not taken:
        return examination, found
    other = _with_names(examination, taken)
    again = histories.of(other, plan)
    if again is None or again.shared is not Shared.TRAINING:
        return examination, found
    told = {role for t in taken.values() for role, of in t.items() if role != of}
    exchanged = (*found.exchanged, *sorted(told, key=NORMS.index))
    return other, replace(again, exchanged=exchanged, unnamed=found.unnamed)


def _other_names(pairing: Pairing, pair: tuple[int, int], plan: Plan) -> Taken | None:
    """Return the names under which a network's matrices are most like the candidate's; None if those given."""
    mine, theirs = expert_pairs(pairing, pair)[0]
    own = _matrices(pairing.suspect, pair[0], mine)
    other = _matrices(pairing.candidate, pair[1], theirs)
    roles = [role for role in FFN if role in own and role in other]
    if len(roles) < 2 or any(own[r].shape[1] != other[r].shape[1] for r in roles):
        return None
    rng = plan.rng(f"names/{pair}")
    chosen = rng.permutation(min(len(m) for m in own.values()))[:ROWS]
    likeness = np.array([[_likeness(own[a][chosen], other[b]) for b in roles] for a in roles])
    best = _best(likeness)
    return None if best is None else {role: roles[best[n]] for n, role in enumerate(roles)}


def _other_norms(pairing: Pairing, pair: tuple[int, int]) -> Taken | None:
    """Return the names under which the gains of a layer correlate clearly better; None if those given do."""
    s, c = pairing.suspect, pairing.candidate
    if s.basis.matrix is not None:
        return None
    gains = {role: (s.gain(role, pair[0]), c.gain(role, pair[1])) for role in NORMS}
    carried = {
        role: (s.carry(a[None])[0], c.carry(b[None])[0])
        for role, (a, b) in gains.items()
        if a is not None and b is not None and a.ndim == b.ndim == 1
    }
    roles = [
        r for r, (a, b) in carried.items() if a.shape == b.shape and wide(a).std() > 0 and wide(b).std() > 0
    ]
    if len(roles) < 2:
        return None
    correlations = np.array(
        [[np.corrcoef(np.abs(carried[a][0]), np.abs(carried[b][1]))[0, 1] for b in roles] for a in roles]
    )
    best = _best(correlations, CLEARLY)
    return None if best is None else {role: roles[best[n]] for n, role in enumerate(roles)}


def _best(likeness: Doubles, clearly: float = 0.0) -> tuple[int, ...] | None:
    """Return which row is taken for each column so that they are most alike; None where rows stay where they are."""
    places = range(len(likeness))
    score = {
        rows: sum(float(likeness[row, n]) for n, row in enumerate(rows)) for rows in permutations(places)
    }
    best = max(score, key=lambda rows: score[rows])
    given = tuple(places)
    return None if best == given or score[best] < score[given] + clearly else best


def _likeness(mine: Floats, theirs: Floats) -> float:
    """Return how like the nearest of ``theirs`` each of ``mine`` is, whatever their order and signs."""
    return float(np.abs(unit_rows(mine) @ unit_rows(theirs).T).max(axis=1).mean())


def _matrices(side: Side, layer: int, expert: int | None) -> dict[str, Floats]:
    """Return the matrices of a network by role, one row a neuron, in the common basis."""
    found: dict[str, Floats] = {}
    for role in FFN:
        rows = side.matrix(role, layer, expert)
        if rows is not None:
            found[role] = side.carry(np.ascontiguousarray(rows.T) if role == "down" else rows)
    return found


def _with_names(examination: Examination, taken: Mapping[int, Taken]) -> Examination:
    def renamed(pairing: Pairing) -> Pairing:
        side = pairing.suspect
        anatomy = exchanged(side.anatomy, side.component, taken)
        return replace(pairing, suspect=replace(side, anatomy=anatomy, cache=cache))

    cache = ReadCache()  # what was worked out under the names given is not to be found under these
    stages = tuple(replace(s, pairing=renamed(s.pairing)) for s in examination.stages)
    return replace(examination, stages=stages)


def exchanged(anatomy: Anatomy, component: str, taken: Mapping[int, Taken]) -> Anatomy:
    """Return the same anatomy with parts of these layers under each other's names, where shapes allow it."""

    def named(part: Part) -> Part:
        names = None if part.layer is None else taken.get(part.layer)
        return part if names is None or part.component != component else _under(part, anatomy, names)

    return replace(anatomy, parts=tuple(named(p) for p in anatomy.parts))


def _under(part: Part, anatomy: Anatomy, taken: Taken) -> Part:
    role, dot, bias = part.role.partition(".")
    source = anatomy.part(taken.get(role, role) + dot + bias, part.layer, part.expert, part.component)
    if source is None or source.role == part.role:
        return part
    if source.shape == part.shape and (role == "down") == (taken[role] == "down"):
        return replace(source, role=part.role, axes=part.axes)
    if bias or source.shape[::-1] != part.shape or source.view.rows is not None:
        return part
    view = replace(source.view, transpose=not source.view.transpose)
    blocked = tuple(1 - axis for axis in source.blocked)
    return replace(source, role=part.role, axes=part.axes, shape=part.shape, view=view, blocked=blocked)
