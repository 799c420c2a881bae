"""The walk: align every paired layer, measure what is left, and say what happened."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from filiation.anatomy.model import Anatomy, Part
from filiation.derivation.frame import LayerFrame, frame_layer, layer_matches, outer_matches
from filiation.derivation.launder import launder_steps
from filiation.derivation.matched import Matched
from filiation.derivation.measure import Measured, measure
from filiation.derivation.mixtures import mixture_steps
from filiation.derivation.reading import Case
from filiation.derivation.records import Derived, evidence_for, ordered
from filiation.derivation.refine import refine
from filiation.derivation.residual import from_basis
from filiation.derivation.settings import settings_step
from filiation.derivation.storage import storage_steps
from filiation.derivation.structure import (
    Agreement,
    agreements,
    agrees,
    grafted_step,
    layer_steps,
    silent_copies,
)
from filiation.derivation.tokens import vocabulary_step, with_tokens
from filiation.derivation.values import value_steps
from filiation.derivation.width import width_steps
from filiation.evidence import Derivation
from filiation.origin.basis import IDENTITY
from filiation.origin.examine import Examination, Stage
from filiation.origin.gather import Side
from filiation.origin.pairing import Pairing, Plan, TokenRows

#: Layers and rows of each matrix that a sampled reading looks at; half of that where every read is a request.
SAMPLED_LAYERS, SAMPLED_ROWS = 3, 32

#: Where every read is a request, the rows that the exact tests read are measured and no others.
READ_ALREADY = ("gate", "up")

Pairs = tuple[tuple[int, int], ...]


def derive(
    suspect: Anatomy,
    candidate: Anatomy,
    examination: Examination,
    plan: Plan,
    tokens: TokenRows | None,
    *,
    full: bool,
    number: int = 0,
) -> Derived:
    """Say how one component of the suspect came from the candidate's, given that they share an origin.

    The candidate's weights are moved into the suspect's frame (layers, channels, heads, units, scales), and what is
    left between the two is measured: every tensor when ``full`` or the plan is to read whole models, otherwise
    windows of a few layers.

    Args:
        examination: of the component; its best stage gives layers and basis.
        tokens: rows of shared tokens, for the language component.
        number: the candidate's number in the report.
    """
    stage = examination.best
    if stage is None:
        return Derived((), (), (), ("derivation.nothing_paired",))
    if _suspect_is_wider(stage.pairing) or _suspect_is_deeper(stage.pairing):
        return _turned_round(suspect, candidate, examination, plan, tokens, full=full, number=number)
    work = _prepare(stage, _looked_at(examination), plan, tokens, full=full, number=number)
    return _tell(work, suspect, candidate, number)


def _suspect_is_wider(pairing: Pairing) -> bool:
    """Return whether the suspect has more channels, neurons or query heads: then the candidate may be its child."""
    mine, theirs = pairing.suspect.geometry, pairing.candidate.geometry
    sizes = [(mine.d_model, theirs.d_model), (mine.n_heads, theirs.n_heads)]
    if mine.n_experts == theirs.n_experts:
        sizes.append((pairing.suspect.ffn_width, pairing.candidate.ffn_width))
    return any((a or 0) > (b or 0) > 0 for a, b in sizes)


def _suspect_is_deeper(pairing: Pairing) -> bool:
    """Return whether every layer of the candidate is one of the suspect's, in order, and the suspect has more."""
    depth = pairing.candidate.geometry.n_layers
    used = [j for _, j in sorted(pairing.layers)]
    return pairing.suspect.geometry.n_layers > depth > 0 and used == list(range(depth))


def _looked_at(examination: Examination) -> frozenset[int]:
    """Return the suspect layers that the map behind the best stage looked for in the candidate."""
    stage = examination.best
    layers = () if stage is None else stage.pairing.layers
    drawn = next((m for m in reversed(examination.layer_maps) if m.path() == layers), None)
    return frozenset() if drawn is None or not layers else frozenset(drawn.suspect_layers)


@dataclass(frozen=True, eq=False)
class _Work:
    """What was aligned and measured.

    ``path`` is the whole path as the examination found it, ``guessed`` the layers it left without a partner, each
    with the one that would continue the path; ``pairs`` the layers that were looked at here.
    """

    case: Case
    path: Pairs
    guessed: Pairs
    pairs: Pairs
    frames: tuple[LayerFrame, ...]
    inner: tuple[Measured, ...]
    outer: tuple[Measured, ...]

    @property
    def complete(self) -> bool:
        """Whether every layer of the suspect was looked at."""
        return self.case.whole and len(self.pairs) >= self.case.suspect.geometry.n_layers

    @property
    def unmatched(self) -> frozenset[int]:
        """The layers with feed-forward units that are not in place and were not looked for elsewhere."""
        blocks = ((f.pair[0], b) for f in self.frames for b in f.ffn.frames)
        return frozenset(layer for layer, b in blocks if b.agreement is None and not b.whole)

    @property
    def known_path(self) -> bool:
        """Whether it is known for each layer of the suspect where it comes from."""
        return len(self.path) + len(self.guessed) >= self.case.suspect.geometry.n_layers


def _prepare(
    stage: Stage, looked: frozenset[int], plan: Plan, tokens: TokenRows | None, *, full: bool, number: int
) -> _Work:
    pairing = stage.pairing
    case = Case(
        replace(pairing.suspect, basis=IDENTITY),
        replace(pairing.candidate, basis=IDENTITY),
        pairing,
        plan,
        tokens,
        plan.whole or full,
        number,
        from_basis(pairing.suspect.basis),
    )
    path = _whole_path(case)
    guessed = _guessed(case, path, looked)
    pairs = tuple(sorted((*path, *guessed))) if case.whole else _affordable(case, _sampled(path, plan))
    case, frames = refine(case, [frame_layer(case, p) for p in pairs])
    case = with_tokens(case)
    inner, outer = _measure_all(case, frames)
    return _Work(case, path, guessed, pairs, tuple(frames), inner, outer)


def _whole_path(case: Case) -> Pairs:
    """Return the path over all layers: one in place that sampled layers stands for all of them."""
    pairing = case.pairing
    depth = case.suspect.geometry.n_layers
    in_place = all(i == j for i, j in pairing.layers) and depth == case.candidate.geometry.n_layers
    sampled = pairing.stage == "direct" or pairing.match_anywhere
    if case.whole and in_place and sampled and not case.plan.whole:
        return tuple((i, i) for i in range(depth))
    return pairing.layers


def _guessed(case: Case, path: Pairs, looked: frozenset[int]) -> Pairs:
    """Return layers that were looked for and not found, with the candidate's layer that would continue the path."""
    partner = dict(path)
    found: list[tuple[int, int]] = []
    for i in sorted(looked - set(partner)):
        before = next((partner[k] + i - k for k in range(i - 1, -1, -1) if k in partner), i)
        found.append((i, min(max(before, 0), case.candidate.geometry.n_layers - 1)))
    return tuple(found)


def _affordable(case: Case, pairs: Pairs) -> Pairs:
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


def _worth_sampling(part: Part, plan: Plan) -> bool:
    if len(part.shape) < 2:
        return False
    return part.role in READ_ALREADY or not plan.frugal


def _measure_all(
    case: Case, frames: Sequence[LayerFrame]
) -> tuple[tuple[Measured, ...], tuple[Measured, ...]]:
    """Measure every part; whether values lie on a lattice is looked at in two layers first."""
    wanted = [
        [m for m in layer_matches(case, frame) if case.whole or _worth_sampling(m.mine, case.plan)]
        for frame in frames
    ]
    probes = sorted({0, len(frames) // 2}) if frames else []
    first = _measure_some(case, [m for n in probes for m in wanted[n]], lattices=True)
    seen = any(m.lattice is not None for m in first)
    rest = _measure_some(
        case, [m for n, matches in enumerate(wanted) if n not in probes for m in matches], lattices=seen
    )
    sampled = () if case.frugal else ("embedding",)
    outer = [m for m in outer_matches(case) if case.whole or m.mine.role in sampled]
    inner = sorted((*first, *rest), key=lambda m: m.layer or 0)
    return tuple(inner), tuple(_measure_some(case, outer, lattices=True))


def _measure_some(case: Case, matches: Sequence[Matched], *, lattices: bool) -> list[Measured]:
    """Measure parts; large models' two at a time, since reading and adding up leave the interpreter free."""
    rows = None if case.whole else SAMPLED_ROWS

    def one(match: Matched) -> Measured:
        rng = case.rng(f"rows/{match.mine.tensor}/{match.mine.role}")
        window = case.pairing.window if case.frugal else None
        return measure(match, rng, rows=rows, window=window, lattices=lattices)

    if not case.whole or case.plan.whole:
        return [one(m) for m in matches]
    with ThreadPoolExecutor(2, thread_name_prefix="filiation-measure") as pool:
        return list(pool.map(one, matches))


def _tell(work: _Work, suspect: Anatomy, candidate: Anatomy, number: int) -> Derived:
    case = work.case
    layers = agreements(work.inner, work.unmatched)
    if not _any_inherited(layers, work.outer):
        return Derived((), (), (), ("derivation.no_part_agrees",))
    inserted = silent_copies(case, work.path)
    foreign = frozenset(i for i, a in layers.items() if a.wholly_foreign)
    pairs = tuple(sorted((*work.path, *work.guessed)))
    if not case.whole:
        layers |= {i: Agreement(0.0, 0.0) for i, _ in work.guessed}
        foreign |= {i for i, _ in work.guessed}
    inherited = [
        m for m in (*work.inner, *work.outer) if _is_inherited(m, layers) and m.layer not in inserted
    ]
    steps = [
        *layer_steps(case, pairs, inserted, foreign, complete=work.known_path),
        *width_steps(case, work.frames, foreign),
        *mixture_steps(work.frames, work.inner, foreign),
        *launder_steps(case, work.frames, (*work.outer, *work.inner), foreign),
        *value_steps(
            inherited,
            complete=work.complete,
            rough=case.residual.matrix is not None and not case.whole,
        ),
    ]
    steps += [
        s for s in (_grafted(work, layers, candidate), vocabulary_step(case, work.outer)) if s is not None
    ]
    steps += _global_steps(work, suspect, candidate, dtypes=all(s.kind != "requantised" for s in steps))
    if not steps and _all_equal(work):
        steps.append(Derivation("identical", {"tensors": len(work.outer) + len(work.inner)}))
    final = ordered(Derivation(s.kind, s.numbers, number) for s in steps)
    notes = () if case.whole else ("derivation.sampled",)
    notes += ("derivation.reversed",) if any(s.numbers.get("reversed") for s in final) else ()
    deltas = tuple(m.delta() for m in (*work.outer, *work.inner))
    return Derived(final, deltas, evidence_for(final, case.component), notes)


def _all_equal(work: _Work) -> bool:
    """Return whether every part of the suspect was compared whole and is equal."""
    measured = (*work.outer, *work.inner)
    parts = [p for p in work.case.suspect.anatomy.parts if p.component == work.case.component]
    wanted = [p for p in parts if p.role not in ("buffer", "tied_head")]
    return work.complete and len(measured) == len(wanted) and all(m.equal == 1.0 for m in measured)


def _any_inherited(layers: dict[int, Agreement], outer: Sequence[Measured]) -> bool:
    if any(
        len(a.foreign) < 2 and (a.attention is not None or a.ffn is not None) and not a.wholly_foreign
        for a in layers.values()
    ):
        return True
    return any(agrees(m) for m in outer)


def _is_inherited(m: Measured, layers: dict[int, Agreement]) -> bool:
    """Return whether a part comes from the candidate: by its own cosine, for vectors by its layer's."""
    if m.is_matrix:
        return agrees(m) and (m.cosine or 0.0) > 0
    return m.layer is None or (m.layer in layers and not layers[m.layer].foreign)


def _grafted(work: _Work, layers: dict[int, Agreement], candidate: Anatomy) -> Derivation | None:
    others = {
        c: "absent"
        for c in work.case.suspect.anatomy.components
        if c != work.case.component and c not in candidate.components
    }
    first = next((c for c in work.case.suspect.anatomy.components if c in candidate.components), None)
    return grafted_step(work.case, layers, work.outer, others if first == work.case.component else {})


def _global_steps(work: _Work, suspect: Anatomy, candidate: Anatomy, *, dtypes: bool) -> list[Derivation]:
    """Return what is said once for the whole model, with its first shared component: storage, names, settings."""
    component = work.case.component
    pairs = [(m.match.mine, m.match.theirs) for m in (*work.outer, *work.inner)]
    steps = storage_steps(suspect, candidate, pairs, dtypes=dtypes)
    changed = settings_step(suspect, candidate, component)
    return [*steps, *([changed] if changed is not None else [])]


def _turned_round(
    suspect: Anatomy,
    candidate: Anatomy,
    examination: Examination,
    plan: Plan,
    tokens: TokenRows | None,
    *,
    full: bool,
    number: int,
) -> Derived:
    """Derive with the roles exchanged, where the suspect is the larger model; every step says ``reversed``."""
    stage = examination.best
    assert stage is not None
    turned = replace(stage, pairing=_swapped(stage.pairing))
    swapped_tokens = None if tokens is None else TokenRows(tokens.candidate, tokens.suspect, tokens.by_string)
    work = _prepare(turned, frozenset(), plan, swapped_tokens, full=full, number=number)
    found = _tell(work, candidate, suspect, number)
    steps = tuple(Derivation(s.kind, {**s.numbers, "reversed": True}, number) for s in found.steps)
    return Derived(
        steps, found.deltas, evidence_for(steps, examination.component), (*found.notes, "derivation.reversed")
    )


def _swapped(pairing: Pairing) -> Pairing:
    basis = pairing.suspect.basis
    turned = replace(basis, columns=basis.suspect_columns, suspect_columns=None)
    return replace(
        pairing,
        suspect=replace(pairing.candidate, basis=turned, is_suspect=True),
        candidate=replace(pairing.suspect, basis=turned, is_suspect=False),
        layers=tuple((j, i) for i, j in pairing.layers),
        shares={},
    )


def joined(found: Sequence[Derived]) -> Derived:
    """Return the derivations of several components as one; steps told twice are kept once."""
    steps: list[Derivation] = []
    for derived in found:
        steps += [s for s in derived.steps if s not in steps]
    return Derived(
        ordered(steps),
        tuple(d for x in found for d in x.deltas),
        tuple({e.id: e for x in found for e in x.evidence}.values()),
        tuple(dict.fromkeys(n for x in found for n in x.notes)),
    )
