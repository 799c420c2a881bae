"""Pairings: which layer against which, in which basis; and the label sets of one pairing, tested in reading order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from filiation.anatomy.model import Symmetry
from filiation.checkpoint.model import Checkpoint
from filiation.evidence import Location, RestsOn
from filiation.origin import gather
from filiation.origin.copies import block_weights, clusters_of, shares
from filiation.origin.gather import Side, Window, token_rows
from filiation.origin.heads import on_equal_heads
from filiation.origin.labelset import Subject, Tested, abstained, rng_for, run
from filiation.origin.randomised import Pairs, randomised
from filiation.origin.scale import wide
from filiation.origin.testing import ExactTest
from filiation.origin.units import Floats, Integers, Units


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to read. The same for both models; fixed before any weight is seen.

    ``whole``: every unit of every layer; otherwise ``units`` neurons of ``layers`` layers and ``tokens`` token rows.
    These neurons are read in ``blocks`` blocks, one where every read is a request.
    ``budget`` is the most bytes to read from each model, None where reading costs nothing; then a layer fewer is
    read, and two fewer where every read is a request. Six layers found in six sampled at random put the share of
    inherited layers at 0.6 or more (one-sided 95 %); five in five, at 0.54; four in four, at 0.47.
    """

    seed: str
    whole: bool
    units: int = 64
    layers: int = 6
    tokens: int = 256
    map_units: int = 128
    budget: int | None = None
    blocks: int = 4

    @property
    def frugal(self) -> bool:
        """Whether every read is a request: then only what the tests cannot do without is read."""
        return self.budget is not None and not self.whole

    def affords(self, opened: Checkpoint, cost: int) -> bool:
        """Return whether ``cost`` more bytes of a model may be read; where it is kept, no byte is read twice."""
        return self.budget is None or opened.kept or opened.bytes_read + cost <= self.budget

    def rng(self, purpose: str) -> np.random.Generator:
        """Return the generator for one purpose, fixed by the models' digests."""
        return rng_for(self.seed, purpose)

    def sampled_layers(self, n_layers: int) -> list[int]:
        """Return the layers to read: all, or a seeded sample in ascending order."""
        most = self.layers - self.frugal - (self.frugal and self.blocks == 1)
        if self.whole or n_layers <= most:
            return list(range(n_layers))
        return sorted(int(i) for i in self.rng("layers").permutation(n_layers)[:most])


@dataclass(frozen=True, eq=False)
class Pairing:
    """Two components, layer against layer, in a common basis.

    ``window`` are the FFN positions to test (None: all of them), ``rows`` those of single suspect layers instead, and
    ``unsigned`` the suspect layers of which only what units are matched by is read, ``weighed`` those whose units are
    weighed under a budget (None: all but the unsigned ones); ``shares`` the exponent of each suspect layer (below 1
    where layers of the suspect are copies of one another).
    """

    suspect: Side
    candidate: Side
    layers: tuple[tuple[int, int], ...]
    stage: str
    number: int = 0
    window: Window | None = None
    match_anywhere: bool = False
    norm_roles: tuple[str, ...] = gather.NORM_ROLES
    shares: Mapping[int, float] = field(default_factory=dict[int, float])
    rows: Mapping[int, gather.Rows] = field(default_factory=dict[int, gather.Rows])
    unsigned: frozenset[int] = frozenset()
    weighed: frozenset[int] | None = None

    def rows_of(self, layer: int) -> gather.Rows | None:
        """Return the FFN positions to test of a suspect layer, the same ones of its partner; None for all."""
        return self.rows.get(layer) or gather.rows_of(self.window)

    @property
    def outer_norms(self) -> tuple[str, ...]:
        """The norms outside of the layers; none where every read is a request and signs were left unread for it."""
        return () if self.unsigned else ("final_norm",)

    @property
    def basis(self) -> str:
        """The kind of the common basis."""
        return self.suspect.basis.kind

    def subject(self, symmetry: Symmetry, pair: tuple[int, int] | None, detail: str = "") -> Subject:
        """Return the subject of one label set of this pairing."""
        layer, other = pair if pair is not None else (None, None)
        part = Location(self.suspect.component, layer, ROLE[symmetry], other)
        return Subject(symmetry, part, self.stage, detail, self.number)


ROLE = {
    Symmetry.RESIDUAL_ORDER: "residual",
    Symmetry.RESIDUAL_SIGN: "residual",
    Symmetry.KV_GROUP_ORDER: "heads",
    Symmetry.QUERY_HEAD_ORDER: "heads",
    Symmetry.VALUE_ORDER: "values",
    Symmetry.VALUE_SIGN: "values",
    Symmetry.EXPERT_ORDER: "experts",
    Symmetry.FFN_ORDER: "ffn",
    Symmetry.FFN_SIGN: "ffn",
}


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Rows of tokens that both models share: ``suspect[i]`` and ``candidate[i]`` are ids of one token string.

    ``by_string`` is False where no tokenizer was found and equal ids were taken for equal tokens: a wrong guess
    costs power, never exactness.
    """

    suspect: Integers
    candidate: Integers
    by_string: bool

    def sample(self, count: int, rng: np.random.Generator) -> TokenRows:
        """Return a contiguous run of ``count`` shared tokens at a seeded offset (one range read when ids agree)."""
        if len(self.suspect) <= count:
            return self
        start = int(rng.integers(0, len(self.suspect) - count + 1))
        return TokenRows(
            self.suspect[start : start + count], self.candidate[start : start + count], self.by_string
        )


def residual_label_sets(
    pairing: Pairing, plan: Plan, tokens: TokenRows | None, tests: Sequence[ExactTest]
) -> list[Tested]:
    """Test the residual channels: order by norm gains and by embedding columns; sign by embedding columns."""
    results = [_gain_label_set(pairing, plan, tests)]
    rows = None if tokens is None else tokens.sample(plan.tokens, plan.rng("tokens"))
    views: list[tuple[Units, Units]] = []
    if rows is not None and len(rows.suspect) >= 16:
        s_rows = token_rows(pairing.suspect, rows.suspect)
        c_rows = token_rows(pairing.candidate, rows.candidate)
        if s_rows is not None and c_rows is not None:
            window = _channel_window(pairing, plan)
            views = [
                (
                    gather.embedding_units(pairing.suspect, s_rows, window),
                    gather.embedding_units(pairing.candidate, c_rows, window),
                )
            ]
    for symmetry in (Symmetry.RESIDUAL_ORDER, Symmetry.RESIDUAL_SIGN):
        subject = pairing.subject(symmetry, None, "embedding")
        results.append(guarded(pairing, subject, views, tests, plan, "no_shared_tokens"))
    return results


CHANNELS = 2048  # most residual channels compared at once: bounds memory at 32 MB a similarity matrix


def _channel_window(pairing: Pairing, plan: Plan) -> Window | None:
    width = min(pairing.suspect.geometry.d_model, pairing.candidate.geometry.d_model)
    same = pairing.suspect.geometry.d_model == pairing.candidate.geometry.d_model
    return gather.seeded_windows(width, CHANNELS, 1, plan.rng("channels"))[0] if same else None


def paired_gains(
    pairing: Pairing, counts: Callable[[tuple[int, int], str], bool] | None = None
) -> tuple[Floats, Floats]:
    """Return the gains both models have, norm by norm, ``(norms, d_s)`` and ``(norms, d_c)``; constant ones dropped.

    Args:
        counts: says of a layer pair and a role whether that norm is to be looked at; None for all.
    """
    mine, theirs = [], []
    for pair in (*pairing.layers, None):
        for role in pairing.outer_norms if pair is None else pairing.norm_roles:
            if pair is not None and counts is not None and not counts(pair, role):
                continue
            i, j = (None, None) if pair is None else pair
            a, b = pairing.suspect.gain(role, i), pairing.candidate.gain(role, j)
            if a is None or b is None or a.ndim != 1 or b.ndim != 1:
                continue
            a, b = wide(a), wide(b)
            if a.std() > 0 and b.std() > 0:
                mine.append(a)
                theirs.append(b)
    if not mine:
        return np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32)
    return np.stack(mine), np.stack(theirs)


def _gain_label_set(pairing: Pairing, plan: Plan, tests: Sequence[ExactTest]) -> Tested:
    subject = replace(pairing.subject(Symmetry.RESIDUAL_ORDER, None, "gains"), rests_on=RestsOn.CONSTANT)
    mine, theirs = paired_gains(pairing)
    views: list[tuple[Units, Units]] = []
    if len(mine) >= 3:
        s, c = gather.gain_units(mine), gather.gain_units(theirs)
        window = _channel_window(pairing, plan)
        if window is not None:
            keep = np.arange(*window)
            s, c = s.take(keep), c.take(keep)
        views = [(s, c)]
    return guarded(pairing, subject, views, tests, plan, "gains_constant_or_absent")


def guarded(
    pairing: Pairing,
    subject: Subject,
    pairs: Pairs,
    tests: Sequence[ExactTest],
    plan: Plan,
    missing: str,
    *,
    share: float = 1.0,
) -> Tested:
    """Run a label set unless its symmetry fails, nothing is there to compare, or its labels were not arbitrary."""
    # A layer that is searched whole was read whole when the pairing was chosen: its labels are not fresh.
    theirs = None if pairing.match_anywhere else pairing.candidate
    found = randomised(pairing.suspect, theirs, subject.symmetry, pairs) if pairs else missing
    if isinstance(found, str):
        return Tested(subject, 0.0, (abstained(subject, _plain_name(subject), found),), applied=False)
    chosen, turned = found
    weights = None
    if subject.symmetry in {Symmetry.VALUE_ORDER, Symmetry.VALUE_SIGN}:
        by_block = block_weights(chosen[0][0].alive(), plan.rng(f"copies/{subject.identity}"))
        weights = by_block if clusters_of(by_block) else None
    # Copies were looked for among the suspect's layers. Where the candidate is the random one, all its layers
    # are taken for copies: the product over layers becomes a geometric mean.
    exponent = share / max(1, len(pairing.layers)) if turned and subject.part.layer is not None else share
    return run(subject, chosen, tests, plan.seed, weights, exponent)


def _plain_name(subject: Subject) -> str:
    return "sign" if subject.symmetry.endswith("sign") else "order"


Builder = Callable[[Side, int], Units | None]


def block_label_sets(
    pairing: Pairing, plan: Plan, tests: Sequence[ExactTest], *, heads: bool = True
) -> list[Tested]:
    """Test every block label set of every paired layer, in reading order inside the layer."""
    results: list[Tested] = []
    attention = _attention_shares(pairing, plan) if heads else {}
    for pair in pairing.layers:
        share = layer_share(pairing, pair)
        if heads:
            results += _head_label_sets(pairing, pair, plan, tests, min(share, attention.get(pair[0], 1.0)))
        results += _ffn_label_sets(pairing, pair, plan, tests, share)
    return results


def head_label_sets(pairing: Pairing, plan: Plan, tests: Sequence[ExactTest]) -> list[Tested]:
    """Test the label sets of heads and value channels of every paired layer, and nothing of the FFNs."""
    attention = _attention_shares(pairing, plan)
    return [
        tested
        for pair in pairing.layers
        for tested in _head_label_sets(
            pairing, pair, plan, tests, min(layer_share(pairing, pair), attention.get(pair[0], 1.0))
        )
    ]


def layer_share(pairing: Pairing, pair: tuple[int, int]) -> float:
    """Return the exponent of a layer pair: less than 1 among copies, or where the candidate layer is used again."""
    return pairing.shares.get(pair[0], 1.0) / sum(other == pair[1] for _, other in pairing.layers)


def _attention_shares(pairing: Pairing, plan: Plan) -> dict[int, float]:
    """Return the exponent of each suspect layer's heads: shared or copied attention need not come with copied FFNs."""
    values = {i: gather.value_units(pairing.suspect, i, with_output=False) for i, _ in pairing.layers}
    found = {i: units for i, units in values.items() if units is not None}
    return shares(found, plan.rng(f"self/attention/{pairing.stage}"))


def _views(pairing: Pairing, pair: tuple[int, int], build: Builder) -> list[tuple[Units, Units]]:
    s, c = build(pairing.suspect, pair[0]), build(pairing.candidate, pair[1])
    return [] if s is None or c is None or s.content.shape[1] != c.content.shape[1] else [(s, c)]


def _head_label_sets(
    pairing: Pairing, pair: tuple[int, int], plan: Plan, tests: Sequence[ExactTest], share: float
) -> list[Tested]:
    seed = int(plan.rng("probe").integers(0, 2**31))
    groups = _views(pairing, pair, lambda side, i: gather.kv_group_units(side, i, seed))
    queries = _views(pairing, pair, lambda side, i: gather.query_head_units(side, i, seed))
    values = _views(pairing, pair, lambda side, i: gather.value_units(side, i))
    values = [(s, c) for s, c in values if len(s.signed) == len(c.signed) and _same_widths(s, c)]
    values = [on_equal_heads(s, c, plan.rng(f"heads/{pair}")) for s, c in values]
    return [
        guarded(pairing, pairing.subject(symmetry, pair), views, tests, plan, "no_such_units", share=share)
        for symmetry, views in (
            (Symmetry.KV_GROUP_ORDER, groups),
            (Symmetry.QUERY_HEAD_ORDER, queries),
            (Symmetry.VALUE_ORDER, values),
            (Symmetry.VALUE_SIGN, values),
        )
    ]


def _same_widths(s: Units, c: Units) -> bool:
    return all(a.shape[1] == b.shape[1] for a, b in zip(s.signed, c.signed, strict=True))


def _ffn_label_sets(
    pairing: Pairing, pair: tuple[int, int], plan: Plan, tests: Sequence[ExactTest], share: float
) -> list[Tested]:
    views = ffn_views(pairing, pair, with_down=plan.whole)
    results: list[Tested] = []
    if pairing.suspect.anatomy.part("router", pair[0], component=pairing.suspect.component) is not None:
        routers = _views(pairing, pair, gather.expert_units)
        subject = pairing.subject(Symmetry.EXPERT_ORDER, pair)
        results.append(guarded(pairing, subject, routers, tests, plan, "no_such_units", share=share))
    for symmetry in (Symmetry.FFN_ORDER, Symmetry.FFN_SIGN):
        subject = pairing.subject(symmetry, pair, _window_word(pairing.rows_of(pair[0])))
        unread = symmetry is Symmetry.FFN_SIGN and pair[0] in pairing.unsigned
        seen, missing = ([], "not_read") if unread else (views, "no_such_units")
        results.append(guarded(pairing, subject, seen, tests, plan, missing, share=share))
    return results


def _window_word(rows: gather.Rows | None) -> str:
    return "" if rows is None else "units=" + ",".join(f"{first}-{last}" for first, last in rows)


def ffn_views(pairing: Pairing, pair: tuple[int, int], with_down: bool) -> list[tuple[Units, Units]]:
    """Return the FFN units of a layer pair: one view, or one for each pair of experts that is compared."""
    bases = pairing.suspect.basis, pairing.candidate.basis
    read = pairing.rows_of(pair[0]), pair[0] in pairing.unsigned, with_down
    shut = pairing.suspect.shut, pairing.candidate.shut
    key = (pairing.suspect.component, bases, shut, pair, pairing.match_anywhere, *read)
    return pairing.suspect.cache.views(key, lambda: _ffn_views(pairing, pair, with_down))


def _ffn_views(pairing: Pairing, pair: tuple[int, int], with_down: bool) -> list[tuple[Units, Units]]:
    rows, signs = pairing.rows_of(pair[0]), pair[0] not in pairing.unsigned
    theirs_rows = None if pairing.match_anywhere else rows
    views: list[tuple[Units, Units]] = []
    for mine, theirs in expert_pairs(pairing, pair):
        s, c = (
            gather.ffn_units(side, layer, expert, read, with_down=with_down and signs, with_signs=signs)
            for side, layer, expert, read in (
                (pairing.suspect, pair[0], mine, rows),
                (pairing.candidate, pair[1], theirs, theirs_rows),
            )
        )
        if s is None or c is None or s.content.shape[1] != c.content.shape[1]:
            continue
        if pairing.match_anywhere and rows is not None and len(rows) > 1:
            s = replace(s, block=np.zeros_like(s.block))  # their partners are in no block
        if len(s.signed) != len(c.signed) or not _same_widths(s, c):
            s, c = replace(s, signed=()), replace(c, signed=())
        views.append((s, c))
    return views


def expert_pairs(pairing: Pairing, pair: tuple[int, int]) -> list[tuple[int | None, int | None]]:
    """Return which expert meets which: equal numbers where both have as many, every expert against a dense FFN."""
    mine, theirs = experts_of(pairing.suspect, pair[0]), experts_of(pairing.candidate, pair[1])
    if len(mine) == len(theirs):
        return list(zip(mine, theirs, strict=True))
    if len(mine) == 1 or len(theirs) == 1:
        return [(a, b) for a in mine for b in theirs]
    return [(a, b) for a in mine[:4] for b in theirs[:4]]


def experts_of(side: Side, layer: int) -> list[int | None]:
    """Return the layer's expert numbers, without those that are left aside, or ``[None]`` for a dense FFN."""
    numbers = [
        p.expert
        for p in side.anatomy.parts
        if p.component == side.component and p.layer == layer and p.role == "up" and p.expert is not None
        if (layer, p.expert) not in side.shut
    ]
    return sorted(numbers) if numbers else [None]  # pyright: ignore[reportReturnType]
