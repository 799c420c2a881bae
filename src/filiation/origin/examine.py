"""The exact examination of one component of two models: cheap direct reads first, then alignment, then bases.

Every stage is an e-value of its own. They are averaged with weights fixed beforehand; a stage that was not run
counts as zero (evidence contract, section 3.6), so stopping early is allowed and going on is paid for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from filiation.anatomy.model import Anatomy, Symmetry
from filiation.origin import basis as bases
from filiation.origin import evalues, gather
from filiation.origin.basis_free import basis_free_label_sets, disjoint_ranges
from filiation.origin.cache import ReadCache
from filiation.origin.cosines import contents_agree
from filiation.origin.gather import Side, Window
from filiation.origin.labelset import Tested, combine
from filiation.origin.layers import (
    LayerMap,
    beside,
    contents,
    layer_map,
    layer_shares,
    unpatterned,
    whole_map,
)
from filiation.origin.ledger import Ledger
from filiation.origin.pairing import (
    Pairing,
    Plan,
    TokenRows,
    block_label_sets,
    head_label_sets,
    residual_label_sets,
)
from filiation.origin.prefetch import prefetch
from filiation.origin.recovered import (
    MOST_ROTATED,
    ROWS_PER_CHANNEL,
    Recovered,
    layers_by_contents,
    layers_by_values,
)
from filiation.origin.stages import LAYER_CARRIES, RESIDUAL_AGREES, STAGES, Examination, Stage
from filiation.origin.testing import ExactTest
from filiation.origin.tokenrows import SharedRows, read_rows
from filiation.origin.windows import places

__all__ = ["CLEAR_BASIS", "LAYER_CARRIES", "RESIDUAL_AGREES", "STAGES", "Examination", "Stage", "examine"]

#: Mean |correlation| of matched embedding columns from which on no rotation is looked for.
CLEAR_BASIS = 0.8
#: Shared tokens from which on a basis is looked for by their rows.
FEW_TOKENS = 32


@dataclass
class _Walk:
    """The state of one examination while it goes on."""

    suspect: Anatomy
    candidate: Anatomy
    component: str
    plan: Plan
    tokens: TokenRows | None
    tests: Sequence[ExactTest]
    number: int
    stages: list[Stage] = field(default_factory=list[Stage])
    maps: list[LayerMap] = field(default_factory=list[LayerMap])
    residual: tuple[Tested, ...] = ()
    shares: dict[int, float] = field(default_factory=dict[int, float])
    notes: list[str] = field(default_factory=list[str])
    caches: tuple[ReadCache, ReadCache] = field(default_factory=lambda: (ReadCache(), ReadCache()))

    def sides(self, basis: bases.Basis) -> tuple[Side, Side]:
        return (
            Side(self.suspect, self.component, basis, is_suspect=True, cache=self.caches[0]),
            Side(self.candidate, self.component, basis, is_suspect=False, cache=self.caches[1]),
        )

    def affordable(self, cost: int) -> bool:
        """Return whether reading ``cost`` more bytes of each model stays inside the budget; note it if not."""
        if all(self.plan.affords(x.checkpoint, cost) for x in (self.suspect, self.candidate)):
            return True
        self.note_budget()
        return False

    def note_budget(self) -> None:
        """Note that the budget stopped something."""
        if "budget_spent" not in self.notes:
            self.notes.append("budget_spent")

    @property
    def same_width(self) -> bool:
        s, c = self.sides(bases.IDENTITY)
        return s.geometry.d_model == c.geometry.d_model

    def windows(self) -> tuple[Window | None, Window | None]:
        """Return the window the layer map reads and the one that tests what it chose: disjoint positions."""
        s, _ = self.sides(bases.IDENTITY)
        width = s.ffn_width
        size = width // 2 if self.plan.whole else min(self.plan.map_units, width // 2)
        if size < 8:
            return None, None
        found = gather.seeded_windows(width, size, 2, self.plan.rng("windows"))
        return (found[0], found[1]) if len(found) == 2 else (None, None)

    def add(self, name: str, why: str, pairing: Pairing, considered: int, *, heads: bool) -> Stage:
        blocks = tuple(block_label_sets(pairing, self.plan, self.tests, heads=heads))
        return self.keep(name, why, pairing, blocks, considered)

    def keep(
        self,
        name: str,
        why: str,
        pairing: Pairing,
        blocks: tuple[Tested, ...],
        considered: int,
        found: Recovered | None = None,
    ) -> Stage:
        read = self.suspect.checkpoint.bytes_read + self.candidate.checkpoint.bytes_read
        stage = Stage(name, why, pairing, self.residual, blocks, considered, read, found)
        self.stages.append(stage)
        return stage


def examine(
    suspect: Anatomy,
    candidate: Anatomy,
    component: str,
    plan: Plan,
    tokens: TokenRows | None,
    tests: Sequence[ExactTest],
    number: int = 0,
) -> Examination:
    """Examine one component that both models have.

    Stages, each run only when the ones before did not settle at least half of the layers: ``direct`` (same layer
    numbers, same channels), ``aligned`` (layers matched by content), ``rebased`` (channels matched as well),
    ``rotated`` (a rotation of the residual stream fitted on shared token rows), ``basis_free`` (neurons described
    by inner products inside their own model).

    A stage whose reads would pass the plan's budget is given up; the next ones are tried. The models in the pairings
    keep that budget: what is read of them later raises :class:`~filiation.errors.BudgetError` instead of passing it.
    """
    ledger = Ledger(plan.budget)
    held = ledger.hold(suspect), ledger.hold(candidate)
    walk = _Walk(*held, component, plan, tokens, tests, number)
    if walk.same_width and (_within(walk, ledger, _direct) or _within(walk, ledger, _aligned)):
        return _finished(walk)
    if tokens is None or not _within(walk, ledger, _rebased):
        _within(walk, ledger, _basis_free)
    return _finished(walk)


def _within(walk: _Walk, ledger: Ledger, step: Callable[[_Walk], bool]) -> bool:
    """Return whether a step settles it; one that the budget does not allow does not, and what it read is no stage."""
    settled = ledger.attempt(lambda: step(walk), otherwise=False)
    if ledger.spent:
        walk.note_budget()
    return settled


def _finished(walk: _Walk) -> Examination:
    cannot = None
    if not any(t.applied for s in walk.stages for t in (*s.residual, *s.blocks)):
        cannot = _why_untested(walk)
        cannot = "budget_too_small" if "budget_spent" in walk.notes else cannot
    return Examination(
        walk.component, tuple(walk.stages), tuple(walk.maps), cannot, tuple(walk.notes), walk.tokens
    )


def _why_untested(walk: _Walk) -> str:
    if walk.same_width:
        return "no_testable_units"
    some = walk.tokens is not None and len(walk.tokens.suspect) >= FEW_TOKENS
    return "different_widths_no_layers" if some else "different_widths_no_shared_tokens"


def _direct(walk: _Walk) -> bool:
    """Compare layer i with layer i in the given channels; return whether that settles it."""
    s, c = walk.sides(bases.IDENTITY)
    same_depth = s.geometry.n_layers == c.geometry.n_layers
    layers = walk.plan.sampled_layers(s.geometry.n_layers) if same_depth else []
    rows = 2 * walk.plan.units * len(layers) + walk.plan.tokens
    if not walk.affordable(2 * rows * c.geometry.d_model):
        return False
    norms = gather.FRUGAL_NORM_ROLES if walk.plan.frugal else gather.NORM_ROLES
    pairing = Pairing(s, c, tuple((i, i) for i in layers), "direct", walk.number, norm_roles=norms)
    read = places(s, c, layers, walk.plan)
    pairing = replace(pairing, rows=read.rows, unsigned=read.unsigned)
    prefetch(pairing, walk.plan, walk.tokens)
    walk.residual = tuple(residual_label_sets(_gain_pairing(pairing), walk.plan, walk.tokens, walk.tests))
    if layers:
        # Layers of which other units are read share no label, whatever they are copies of.
        if not read.disjoint:
            walk.shares = layer_shares(s, layers, next(iter(read.rows.values()), None), walk.plan.rng("self"))
        pairing = replace(pairing, shares=walk.shares)
    stage = walk.add("direct", "stage.direct", pairing, len(layers), heads=walk.plan.whole)
    if not layers or len(stage.carrying()) < len(layers):
        return False
    # A slight rotation leaves labels in place and carries what units hold elsewhere: then other bases are tried.
    return contents_agree(pairing, walk.plan)


def _gain_pairing(pairing: Pairing) -> Pairing:
    """Return the pairing that residual tests read gains from: layer numbers as far as both models have them."""
    if pairing.layers:
        return pairing
    depth = min(pairing.suspect.geometry.n_layers, pairing.candidate.geometry.n_layers)
    return replace(pairing, layers=tuple((i, i) for i in range(min(depth, 8))))


def _same_ffn_width(s: Side, c: Side) -> bool:
    return s.ffn_width > 0 and s.ffn_width == c.ffn_width


def _aligned(walk: _Walk) -> bool:
    """Match layers by content in the given channels, on one window of neurons; test the path on another.

    Where the residual channels agree and the blocks do not, the units may have been put in another order: then
    their signs are looked at as well, which no order changes, and after them the labels inside the heads.
    """
    scrambled = combine(walk.residual) >= RESIDUAL_AGREES * evalues.LOG10
    if _match_layers(walk, bases.IDENTITY, "aligned", "stage.aligned", ("order", "sign")[: 1 + scrambled]):
        return True
    return scrambled and all(s.name != "aligned" for s in walk.stages) and _heads(walk)


def _heads(walk: _Walk) -> bool:
    """Test heads and value channels of layers in place, which a sampled direct stage leaves out.

    Models of another depth have no layers in place: theirs are paired by what they hold, and no label is read for it.
    """
    s, c = walk.sides(bases.IDENTITY)
    same_depth = s.geometry.n_layers == c.geometry.n_layers
    if walk.plan.whole and same_depth:
        return False
    layers = walk.plan.sampled_layers(s.geometry.n_layers)
    if not walk.affordable(_cost_of_heads(s, len(layers) if same_depth else c.geometry.n_layers)):
        return False
    pairing = Pairing(s, c, layers_by_contents(s, c, layers, walk.plan), "aligned", walk.number)
    blocks = tuple(head_label_sets(pairing, walk.plan, walk.tests))
    return walk.keep("aligned", "stage.aligned", pairing, blocks, len(layers)).covers_half()


def _rebased(walk: _Walk) -> bool:
    """Match residual channels by shared token rows: a signed permutation or injection, then a rotation."""
    s, c = walk.sides(bases.IDENTITY)
    if walk.tokens is None:
        return False
    rows = _basis_rows(walk)
    if not walk.affordable(4 * rows * max(s.geometry.d_model, c.geometry.d_model)):
        return False
    wanted = walk.tokens.sample(rows, walk.plan.rng("basis tokens"))
    shared = read_rows(s, c, wanted) if len(wanted.suspect) >= FEW_TOKENS else None
    if shared is None:
        return False
    signed = s.anatomy.holds(Symmetry.RESIDUAL_SIGN, s.component).holds
    found = shared.signed_permutation(walk.plan.rng("basis"), signed=signed)
    settled = _match_layers(walk, found, "rebased", "stage.rebased", ("order", "sign"))
    settled = settled or _in_basis(walk, found, shared, "rebased")
    if settled and found.agreement >= CLEAR_BASIS:
        return True
    # Where the channels are clearly those of the other model, a rotation would only blur them.
    clear = any(x.recovered is not None for x in walk.stages)
    if clear or len(shared) < 2 * min(x.geometry.d_model for x in (s, c)):
        return settled
    turned = shared.rotation()
    settled = _match_layers(walk, turned, "rotated", "stage.rotated", ("order", "sign"))
    return settled or _in_basis(walk, turned, shared, "rotated")


def _basis_rows(walk: _Walk) -> int:
    """Return how many shared token rows a basis is fitted on: more where they are small enough to judge it by."""
    width = walk.sides(bases.IDENTITY)[0].geometry.d_model
    each = 3 if walk.plan.frugal or width > MOST_ROTATED else ROWS_PER_CHANNEL
    return max(walk.plan.tokens, each * width)


def _in_basis(walk: _Walk, basis: bases.Basis, shared: SharedRows, stage: str) -> bool:
    """Where the embeddings agree in a basis and no FFN label shows a path there, test the heads in it.

    Layers are paired by number, or by what their values hold: no label of the heads was read for it. The stage is
    kept whatever they show, so that effect sizes are measured in the basis that the embeddings agree in. Where the
    residual channels agree as they are, the stage before looked at the heads in them.
    """
    if any(s.name == stage for s in walk.stages) or combine(walk.residual) >= RESIDUAL_AGREES * evalues.LOG10:
        return False
    found = shared.recovered(basis, walk.plan.rng("basis channels"))
    if found is None or not found.clear:
        return False
    # No path by order or by sign: the neurons have lost both, or are another model's.
    walk.notes.append("signs_destroyed" if basis.matrix is None else "dense_rotation")
    s, c = walk.sides(basis)
    layers = walk.plan.sampled_layers(s.geometry.n_layers)
    paired = layers_by_values(s, c, layers) if walk.affordable(_cost_of_heads(c, len(layers))) else ()
    pairing = Pairing(s, c, paired, stage, walk.number)
    blocks = tuple(head_label_sets(pairing, walk.plan, walk.tests)) if paired else ()
    # Its neurons are to be found wherever they went: some of the suspect's, among all of the candidate's.
    window = walk.windows()[1]
    pairing = replace(pairing, window=window, match_anywhere=True)
    return walk.keep(stage, f"stage.{stage}", pairing, blocks, len(layers), found).covers_half()


def _cost_of_heads(side: Side, layers: int) -> int:
    heads = (side.geometry.n_heads or 0) * (side.geometry.d_head or 0)
    return 2 * 4 * heads * side.geometry.d_model * layers


def _match_layers(walk: _Walk, basis: bases.Basis, stage: str, why: str, ways: tuple[str, ...]) -> bool:
    """Draw layer maps on one window until one shows a path; test that path on the other window."""
    s, c = walk.sides(basis)
    choose, check = walk.windows()
    if choose is None or check is None:
        return False
    best: tuple[LayerMap, tuple[tuple[int, int], ...]] | None = None
    # Unequal widths leave ascending order as the only order label.
    in_order = "order" if _same_ffn_width(s, c) else "ascent"
    for way in (in_order if w == "order" else w for w in ways):
        layers = _map_layers(walk, s, c, way)
        if layers is None:
            break
        drawn = _draw(walk, s, c, choose, way, layers)
        walk.maps.append(replace(drawn, stage=stage))
        path = drawn.path()
        if path and (best is None or len(path) > len(best[1])):
            best = (drawn, path)
        if best is not None and 2 * len(best[1]) >= len(drawn.suspect_layers):
            break
    if best is None:
        return False
    drawn, path = best
    anywhere = drawn.by != "order"
    shares = layer_shares(s, [i for i, _ in path], check, walk.plan.rng(f"self/{stage}"))
    pairing = Pairing(s, c, path, stage, walk.number, check, match_anywhere=anywhere, shares=shares)
    considered = len(drawn.suspect_layers)
    return walk.add(stage, why, pairing, considered, heads=walk.plan.whole).covers_half()


Layers = tuple[Sequence[int], Sequence[int]]


def _map_layers(walk: _Walk, s: Side, c: Side, way: str) -> Layers | None:
    """Return which layers of each model a map compares: all, or a sample where whole matrices must be read."""
    everything = range(s.geometry.n_layers), range(c.geometry.n_layers)
    if walk.plan.whole or way == "order":
        cost = 0 if walk.plan.whole else 4 * walk.plan.map_units * c.geometry.d_model * c.geometry.n_layers
        return everything if walk.affordable(cost) else None
    sampled = walk.plan.sampled_layers(s.geometry.n_layers)
    layers = (sampled, sampled) if s.geometry.n_layers == c.geometry.n_layers else everything
    return layers if walk.affordable(4 * c.ffn_width * c.geometry.d_model * len(layers[1])) else None


def _draw(walk: _Walk, s: Side, c: Side, choose: Window, way: str, layers: Layers) -> LayerMap:
    signs, purpose = way == "sign", f"map/{way}/{s.basis.kind}"
    mine = contents(s, layers[0], choose, signs=signs)
    if way == "order":
        return layer_map(mine, contents(c, layers[1], choose), way, walk.plan.rng(purpose))
    # Whole layers of the candidate: one at a time, so that memory holds one.
    return beside([whole_map(mine, c, j, way, walk.plan.rng(f"{purpose}/{j}")) for j in layers[1]])


def _basis_free(walk: _Walk) -> bool:
    """Compare layer with layer by inner products inside each model: no common basis, no shared tokens."""
    s, c = walk.sides(bases.IDENTITY)
    ranges = disjoint_ranges(s.ffn_width, walk.plan.rng("basis free")) if _same_ffn_width(s, c) else None
    if ranges is None or s.geometry.n_layers != c.geometry.n_layers:
        return False
    layers = walk.plan.sampled_layers(s.geometry.n_layers)
    if not walk.affordable(4 * 3 * s.ffn_width * s.geometry.d_model * len(layers)):
        return False
    # Anchors and tested units are compared across the layer, so a pattern of clones must be looked for across it:
    # a clone among the anchors would tell a unit's place.
    considered = len(layers)
    layers = [i for i in layers if unpatterned(s, i) or unpatterned(c, i)]
    shares = layer_shares(s, layers, ranges.check, walk.plan.rng("self/basis_free"))
    pairing = Pairing(s, c, tuple((i, i) for i in layers), "basis_free", walk.number, shares=shares)
    blocks = tuple(basis_free_label_sets(pairing, walk.plan, walk.tests, ranges))
    return walk.keep("basis_free", "stage.basis_free", pairing, blocks, considered).covers_half()
