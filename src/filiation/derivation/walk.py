"""The walk: align every paired layer, measure what is left, and say what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from filiation.anatomy.model import Anatomy
from filiation.derivation.frame import LayerFrame, frame_layer
from filiation.derivation.launder import launder_steps
from filiation.derivation.measure import Measured
from filiation.derivation.measuring import measure_all
from filiation.derivation.mixtures import mixture_steps
from filiation.derivation.path import Pairs, affordable, guessed, sampled_pairs, whole_path
from filiation.derivation.reading import Case
from filiation.derivation.records import Derived, evidence_for, ordered
from filiation.derivation.refine import refine
from filiation.derivation.residual import from_basis
from filiation.derivation.settings import settings_step
from filiation.derivation.storage import storage_steps
from filiation.derivation.structure import (
    Agreement,
    Half,
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
from filiation.origin.evalues import LOG10
from filiation.origin.examine import LAYER_CARRIES, Examination, Stage
from filiation.origin.infull import Alike
from filiation.origin.labelset import Tested, combine
from filiation.origin.ledger import Ledger
from filiation.origin.pairing import Pairing, Plan, TokenRows

#: The half of a layer that a label set of this role speaks of.
_HALF = {"ffn": "ffn", "values": "attention", "heads": "attention"}

NO_PART = "derivation.no_part_agrees"


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
    ledger = Ledger(plan.budget)
    suspect, candidate = ledger.hold(suspect), ledger.hold(candidate)
    examination = _held(examination, suspect, candidate)
    found = ledger.attempt(
        lambda: _derive(suspect, candidate, examination, plan, tokens, ledger, full=full, number=number),
        Derived((), (), ()),
    )
    if not ledger.spent:
        return found
    # What was not looked at does not disagree.
    notes = tuple(note for note in found.notes if note != NO_PART)
    return replace(found, notes=(*notes, "budget_spent"))


def _held(examination: Examination, suspect: Anatomy, candidate: Anatomy) -> Examination:
    """Return the examination with these models in the pairings of its stages."""

    def sides(pairing: Pairing) -> Pairing:
        mine, theirs = (
            replace(pairing.suspect, anatomy=suspect),
            replace(pairing.candidate, anatomy=candidate),
        )
        return replace(pairing, suspect=mine, candidate=theirs)

    return replace(
        examination, stages=tuple(replace(s, pairing=sides(s.pairing)) for s in examination.stages)
    )


def _derive(
    suspect: Anatomy,
    candidate: Anatomy,
    examination: Examination,
    plan: Plan,
    tokens: TokenRows | None,
    ledger: Ledger,
    *,
    full: bool,
    number: int,
) -> Derived:
    stage = examination.best
    if stage is None:
        return Derived((), (), (), ("derivation.nothing_paired",))
    if _suspect_is_wider(stage.pairing) or _suspect_is_deeper(stage.pairing):
        return _turned_round(suspect, candidate, examination, plan, tokens, ledger, full=full, number=number)
    work = _prepare(stage, _looked_at(examination), plan, tokens, ledger, full=full, number=number)
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
    with the one that would continue the path; ``pairs`` the layers that were looked at here. ``apart``: no basis is
    common, so nothing that is laid side by side says anything.
    """

    case: Case
    path: Pairs
    guessed: Pairs
    pairs: Pairs
    frames: tuple[LayerFrame, ...]
    inner: tuple[Measured, ...]
    outer: tuple[Measured, ...]
    carrying: frozenset[Half] = frozenset()
    cut_short: bool = False
    apart: bool = False

    @property
    def complete(self) -> bool:
        """Whether every layer of the suspect was looked at, and no part was left out for the byte budget."""
        every_layer = len(self.pairs) >= self.case.suspect.geometry.n_layers
        return self.case.whole and every_layer and not self.cut_short

    @property
    def unmatched(self) -> frozenset[Half]:
        """The halves of layers of which a low cosine says nothing.

        Their units or heads are not in place and were not looked for elsewhere, or carry the candidate's labels.
        """
        blocks = ((f.pair[0], b) for f in self.frames for b in f.ffn.frames)
        rough = self.case.rough  # blurs contents: what is not found may still be there
        found = {(layer, "ffn") for layer, b in blocks if b.agreement is None and (rough or not b.whole)}
        found |= {
            (f.pair[0], "attention")
            for f in self.frames
            if f.attention is None or (rough and f.attention.agreement is None)
        }
        return frozenset(found | self.carrying)

    @property
    def known_path(self) -> bool:
        """Whether it is known for each layer of the suspect where it comes from."""
        return len(self.path) + len(self.guessed) >= self.case.suspect.geometry.n_layers


def _prepare(
    stage: Stage,
    looked: frozenset[int],
    plan: Plan,
    tokens: TokenRows | None,
    ledger: Ledger,
    *,
    full: bool,
    number: int,
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
    path = whole_path(case)
    beyond = guessed(case, path, looked)
    pairs = tuple(sorted((*path, *beyond))) if case.whole else sampled_pairs(path, beyond, plan)
    pairs, wanted = (pairs if case.whole else affordable(case, pairs)), pairs
    ledger.spent |= len(pairs) < len(wanted)
    framed = [ledger.attempt(lambda p=p: frame_layer(case, p), None) for p in pairs]
    frames = [f for f in framed if f is not None]
    refined = ledger.attempt(lambda: refine(case, frames), (case, frames))
    case, frames = ledger.attempt(lambda: with_tokens(refined[0]), refined[0]), refined[1]
    pairs = tuple(f.pair for f in frames)
    inner, outer = measure_all(case, frames, ledger)
    carrying, cut_short, apart = _carrying(stage), ledger.spent, stage.without_basis
    return _Work(case, path, beyond, pairs, tuple(frames), inner, outer, carrying, cut_short, apart)


def _carrying(stage: Stage) -> frozenset[Half]:
    """Return the halves of the suspect's layers that carry the candidate's labels by the exact tests."""
    halves: dict[Half, list[Tested]] = {}
    for tested in stage.blocks:
        layer, half = tested.subject.part.layer, _HALF.get(tested.subject.part.role or "")
        if tested.applied and layer is not None and half is not None:
            halves.setdefault((layer, half), []).append(tested)
    return frozenset(h for h, found in halves.items() if combine(found) >= LAYER_CARRIES * LOG10)


def _tell(work: _Work, suspect: Anatomy, candidate: Anatomy, number: int) -> Derived:
    case = work.case
    layers = agreements(work.inner, work.unmatched)
    contents = _contents(work)
    if work.apart or not _any_inherited(layers, work.outer):
        return Derived((), (), (), (NO_PART,), contents)
    inserted = silent_copies(case, work.path)
    foreign = frozenset(i for i, a in layers.items() if a.wholly_foreign)
    pairs = tuple(sorted((*work.path, *work.guessed)))
    inherited = [
        m for m in (*work.inner, *work.outer) if _is_inherited(m, layers) and m.layer not in inserted
    ]
    steps = [
        *layer_steps(case, pairs, inserted, foreign, complete=work.known_path),
        *width_steps(case, work.frames, foreign),
        *mixture_steps(case, work.frames, work.inner, foreign),
        *launder_steps(case, work.frames, (*work.outer, *work.inner), foreign),
        *value_steps(
            inherited,
            complete=work.complete,
            rough=case.rough,
        ),
    ]
    steps += [
        s
        for s in (
            _grafted(work, layers, candidate),
            vocabulary_step(case, work.outer, body_kept=_body_kept(work, layers)),
        )
        if s is not None
    ]
    steps += _global_steps(work, suspect, candidate, dtypes=all(s.kind != "requantised" for s in steps))
    if not steps and _all_equal(work):
        steps.append(Derivation("identical", {"tensors": len(work.outer) + len(work.inner)}))
    final = ordered(Derivation(s.kind, s.numbers, number) for s in steps)
    notes = () if case.whole else ("derivation.sampled",)
    notes += ("derivation.reversed",) if any(s.numbers.get("reversed") for s in final) else ()
    deltas = tuple(m.delta() for m in (*work.outer, *work.inner))
    return Derived(final, deltas, evidence_for(final, case.component), notes, contents)


def _contents(work: _Work) -> dict[int, Alike]:
    """Return how alike the units of each layer are that was read whole, by their gate and up rows.

    Layers whose units were not looked for where they went are left out.
    """
    unknown = {f.pair[0] for f in work.frames for b in f.ffn.frames if b.agreement is None and not b.whole}
    found: dict[int, list[Alike]] = {}
    for m in work.inner:
        if m.layer is not None and m.row_cosine is not None and m.layer not in unknown:
            found.setdefault(m.layer, []).append(Alike(m.row_cosine, m.match.mine.shape[0]))
    return {
        layer: Alike(float(np.mean([a.cosine for a in rows])), max(a.units for a in rows))
        for layer, rows in sorted(found.items())
    }


def _all_equal(work: _Work) -> bool:
    """Return whether every part of the suspect was compared whole and is equal."""
    measured = (*work.outer, *work.inner)
    parts = [p for p in work.case.suspect.anatomy.parts if p.component == work.case.component]
    wanted = [p for p in parts if p.role not in ("buffer", "tied_head")]
    return work.complete and len(measured) == len(wanted) and all(m.equal == 1.0 for m in measured)


def _any_inherited(layers: dict[int, Agreement], outer: Sequence[Measured]) -> bool:
    """Return whether anything that was laid beside the candidate's agrees."""
    if any(len(a.foreign) < sum(v is not None for v in (a.attention, a.ffn)) for a in layers.values()):
        return True
    return any(agrees(m) for m in outer)


def _body_kept(work: _Work, layers: dict[int, Agreement]) -> bool:
    """Return whether both halves of every layer come from the candidate, as far as they were looked at."""
    kept = all(a.attention is not None and a.ffn is not None and not a.foreign for a in layers.values())
    return bool(layers) and kept and work.known_path and not work.guessed


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
    ledger: Ledger,
    *,
    full: bool,
    number: int,
) -> Derived:
    """Derive with the roles exchanged, where the suspect is the larger model; every step says ``reversed``."""
    stage = examination.best
    assert stage is not None
    turned = replace(stage, pairing=_swapped(stage.pairing))
    swapped_tokens = None if tokens is None else TokenRows(tokens.candidate, tokens.suspect, tokens.by_string)
    work = _prepare(turned, frozenset(), plan, swapped_tokens, ledger, full=full, number=number)
    found = _tell(work, candidate, suspect, number)
    steps = tuple(Derivation(s.kind, {**s.numbers, "reversed": True}, number) for s in found.steps)
    mine = dict(work.pairs)  # the candidate's layers with the suspect's
    return Derived(
        steps,
        found.deltas,
        evidence_for(steps, examination.component),
        (*found.notes, "derivation.reversed"),
        {mine[layer]: alike for layer, alike in found.contents.items() if layer in mine},
    )


def _swapped(pairing: Pairing) -> Pairing:
    basis = pairing.suspect.basis
    matrix = None if basis.matrix is None else basis.matrix.T
    turned = replace(basis, columns=basis.suspect_columns, suspect_columns=None, matrix=matrix)
    return replace(
        pairing,
        suspect=replace(pairing.candidate, basis=turned, is_suspect=True),
        candidate=replace(pairing.suspect, basis=turned, is_suspect=False),
        layers=tuple((j, i) for i, j in pairing.layers),
        shares={},
        rows={j: pairing.rows[i] for i, j in pairing.layers if i in pairing.rows},
    )
