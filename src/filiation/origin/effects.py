"""What units, layers and norms contribute to what a model computes (ADR 0017).

Whoever holds both files can add to a model what changes nothing: layers whose outputs are nearly zero, neurons that
never fire, rows over channels that nobody writes. What has no effect must neither make nor break a verdict. So second
moments are carried through the model, from the token rows through all that is written into the residual stream, as if
everything in it were independent: then a unit's effect is how strongly it fires times the length of what it writes.
The figures are rough, and say without running the model what weighs little. They enter no e-value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import erf

import numpy as np

from filiation.origin.basis import IDENTITY
from filiation.origin.gather import Side, token_rows
from filiation.origin.pairing import Plan, experts_of
from filiation.origin.scale import Values, wide
from filiation.origin.sorting import middle
from filiation.origin.units import EQUAL, Doubles, Floats, unit_rows

#: Share of a model's usual effect below which a branch does nothing to speak of. Trained models of 64 and 96 channels:
#: feed-forward networks .54 and more, attention .07 and more (.04 after 25 steps); what was silenced .00001 and less.
IDLE = 0.01
#: Share of its partner's (of what is usual, where that is less) that a branch must do to be compared with it. Children
#: and parents .55 and more, models of one initialisation .54 and more.
AS_MUCH = 0.25
#: Least usual effect of one kind of branch beside that of both kinds together.
BRANCH_COUNTS = 0.02
#: Most token rows that the moments begin with.
TOKENS = 4096
#: How many times longer than is usual a token row, or what is written for one, may be, and count in full.
LOUDER = 2.0


@dataclass(frozen=True, eq=False)
class Effects:
    """What one component's branches and units contribute.

    Attributes:
        ffn, attention: by layer, the root mean square of what the branch writes. Layers that could not be measured
            are missing.
        units: by layer and expert, each neuron's effect ``(units,)``; ``values`` by layer, each value channel's.
        moments: by layer, the second moment ``(d, d)`` of what its feed-forward network is given, in the model's own
            channels; its trace is ``d``. ``sizes`` by layer, the mean square of the stream before that norm.
    """

    ffn: Mapping[int, float]
    attention: Mapping[int, float]
    units: Mapping[tuple[int, int | None], Doubles]
    values: Mapping[int, Doubles]
    moments: Mapping[int, Floats]
    sizes: Mapping[int, float]

    def share(self, layer: int, branch: str) -> float | None:
        """Return what a branch (``ffn``, ``attn``) does beside what is usual in the model; None where unknown."""
        kind = self.ffn if branch == "ffn" else self.attention
        if layer not in kind:
            return None
        both = usual([*self.ffn.values(), *self.attention.values()])
        return kind[layer] / max(usual(list(kind.values())), BRANCH_COUNTS * both, 1e-30)

    def idle(self, layer: int) -> bool:
        """Return whether no branch of a layer does anything to speak of."""
        shares = [self.share(layer, branch) for branch in ("ffn", "attn")]
        known = [x for x in shares if x is not None]
        return bool(known) and max(known) < IDLE


def as_much(mine: float | None, theirs: float | None) -> bool:
    """Return whether two branches can be compared by what they do; True where it is not known of both."""
    if mine is None or theirs is None:
        return True
    weaker, stronger = sorted((mine, theirs))
    return weaker >= IDLE and weaker >= AS_MUCH * min(1.0, stronger)


def usual(effects: list[float]) -> float:
    """Return the usual effect: the median, each effect weighed by its root.

    However many layers without effect were added, the others are what is usual; a single layer of great effect is not.
    """
    values = np.sort(np.asarray(effects, np.float64))
    weights = np.sqrt(values)
    if not weights.sum():
        return 0.0
    return float(values[np.searchsorted(np.cumsum(weights), weights.sum() / 2)])


def of_model(side: Side, plan: Plan) -> Effects | None:
    """Return the effects of one model; None where it is not read whole."""
    if not plan.whole:
        return None
    own = replace(side, basis=IDENTITY)
    key = ("effects", side.is_suspect, side.component, side.shut)
    return side.cache.once(key, lambda: _Carried(own, plan).through())


class _Carried:
    """Second moments on their way through a model."""

    def __init__(self, side: Side, plan: Plan) -> None:
        self._side, self._geometry = side, side.geometry
        self._moment = _of_tokens(side, plan)
        self._ffn: dict[int, float] = {}
        self._attention: dict[int, float] = {}
        self._units: dict[tuple[int, int | None], Doubles] = {}
        self._values: dict[int, Doubles] = {}
        self._moments: dict[int, Floats] = {}
        self._sizes: dict[int, float] = {}

    def through(self) -> Effects:
        for layer in range(self._geometry.n_layers):
            self._attend(layer)
            given = self._given()
            self._moments[layer] = given.astype(np.float32)
            self._sizes[layer] = float(np.trace(self._moment)) / len(given)
            self._feed(layer, given)
        return Effects(self._ffn, self._attention, self._units, self._values, self._moments, self._sizes)

    def _given(self) -> Doubles:
        """Return the moment of what a branch is given, scaled as norms do."""
        moment = self._moment
        if self._geometry.norm == "layer":
            moment = moment - moment.mean(axis=0)
            moment = moment - moment.mean(axis=1, keepdims=True)
        trace = float(np.trace(moment))
        return moment * (len(moment) / trace) if trace > 0 else np.eye(len(moment))

    def _attend(self, layer: int) -> None:
        g = self._geometry
        v, o = self._side.reader("v", layer), self._side.writer("o", layer)
        if v is None or o is None or not g.n_heads or not g.n_kv_heads or not g.d_head:
            return
        if len(v) != g.n_kv_heads * g.d_head or len(o) != g.n_heads * g.d_head:
            return
        fires = spread(v, self._given())
        by_head = np.repeat(fires.reshape(g.n_kv_heads, g.d_head), g.n_heads // g.n_kv_heads, axis=0)
        written = (o * by_head.reshape(-1, 1)).astype(np.float32)
        lengths = np.einsum("ij,ij->i", written, written, dtype=np.float64)
        grouped = lengths.reshape(g.n_kv_heads, -1, g.d_head).sum(axis=1)
        self._values[layer] = np.sqrt(grouped.reshape(-1))
        self._attention[layer] = self._add(layer, "attn", written)

    def _feed(self, layer: int, given: Doubles) -> None:
        experts = experts_of(self._side, layer)
        written = [rows for e in experts if (rows := self._written(layer, e, given)) is not None]
        if written:
            rows = np.concatenate(written) if len(written) > 1 else written[0]
            self._ffn[layer] = self._add(
                layer, "ffn", np.multiply(rows, len(written) ** -0.5, dtype=np.float32)
            )

    def _written(self, layer: int, expert: int | None, given: Doubles) -> Floats | None:
        """Return what each neuron writes, as long as it is on average."""
        side = self._side
        up, down = side.reader("up", layer, expert), side.writer("down", layer, expert)
        if up is None or down is None or len(up) != len(down):
            return None
        gate = side.reader("gate", layer, expert)
        if gate is None:
            fires = rectified(spread(up, given), offset(side, "up", layer, expert, len(up)))
        else:
            fires = rectified(spread(gate, given), offset(side, "gate", layer, expert, len(gate)))
            fires = fires * np.hypot(spread(up, given), offset(side, "up", layer, expert, len(up)))
        rows = np.multiply(down, fires[:, None], dtype=np.float32)
        rows, clones = together(rows, up if gate is None else gate, None if gate is None else up)
        # A unit that was split counts no more than it did before.
        lengths = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
        self._units[layer, expert] = np.sqrt(lengths / clones)
        return rows

    def _add(self, layer: int, branch: str, written: Floats) -> float:
        """Add what a branch writes; return how much it is, as a root mean square over the channels."""
        written = wide(written)
        moment = (written.T @ written).astype(np.float64)
        position = self._geometry.norm_position
        gain = None if position == "pre" else self._side.gain(f"post_{branch}_norm", layer)
        if gain is not None and gain.shape == (len(moment),) and position in ("sandwich", "output"):
            trace = float(np.trace(moment))
            moment = moment * (len(moment) / trace if trace > 0 else 0.0) * np.outer(gain, gain)
        effect = float(np.sqrt(np.trace(moment) / len(moment)))
        self._moment = self._moment + moment
        if position == "post":
            self._moment = self._given() * (1.0 if gain is None else np.outer(gain, gain))
        return effect


def _of_tokens(side: Side, plan: Plan) -> Doubles:
    """Return the second moment of token rows; that of anything, where they are no rows of the residual stream."""
    part = side.anatomy.part("embedding", component=side.component)
    n = 0 if part is None else part.shape[0]
    start = int(plan.rng("effects/tokens").integers(0, max(1, n - TOKENS + 1)))
    rows = token_rows(side, np.arange(start, min(n, start + TOKENS)))
    if rows is None or not len(rows):
        return np.eye(side.geometry.d_model)
    rows = capped(wide(rows))
    return (rows.T @ rows).astype(np.float64) / len(rows)


def capped(rows: Values) -> Values:
    """Return rows ``(n, d)`` of which no few are far longer than the rest.

    Rows of tokens that are never used can be as long as one likes, and would be all that a moment speaks of.
    """
    sizes = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    most = LOUDER * float(middle(sizes))
    if most <= 0 or float(sizes.max()) <= most:
        return rows
    return (rows * (most / np.maximum(sizes, most))[:, None]).astype(rows.dtype)


def offset(side: Side, role: str, layer: int, expert: int | None, n: int) -> Doubles:
    """Return what a reader's units are given whatever the input is: their bias, and that of the norm before."""
    bias = side.matrix(f"{role}.bias", layer, expert)
    given = np.zeros(n) if bias is None or bias.shape != (n,) else bias.astype(np.float64)
    return given + shifted(side, role, layer, expert, n)


def shifted(side: Side, role: str, layer: int, expert: int | None, n: int) -> Doubles:
    """Return what a reader's units are given through the bias of the norm before them."""
    shift = side.matrix(f"{_norm_before(side, role, layer)}.bias", _layer_before(side, role, layer))
    rows = None if shift is None else side.matrix(role, layer, expert)
    if shift is None or rows is None or rows.shape != (n, *shift.shape):
        return np.zeros(n)
    return (rows @ shift).astype(np.float64)


def _norm_before(side: Side, role: str, layer: int) -> str:
    attends = role in {"q", "k", "v"}
    if side.geometry.norm_position == "post":
        return "post_attn_norm" if not attends else "post_ffn_norm" if layer else "embedding_norm"
    parallel = side.geometry.norm_position == "pre" and side.gain("ffn_norm", layer) is None
    return "attn_norm" if attends or parallel else "ffn_norm"


def _layer_before(side: Side, role: str, layer: int) -> int | None:
    if side.geometry.norm_position != "post" or role not in {"q", "k", "v"}:
        return layer
    return layer - 1 if layer else None


def spread(rows: Floats, moment: Floats | Doubles) -> Doubles:
    """Return the root mean square of each row's product with inputs of this second moment (of each channel's)."""
    rows = wide(rows)
    if moment.ndim == 1:
        return np.sqrt(np.einsum("ij,j->i", np.square(rows), moment, dtype=np.float64))
    squares = np.einsum("ij,ij->i", rows @ moment.astype(rows.dtype), rows, dtype=np.float64)
    return np.sqrt(np.maximum(squares, 0.0))


def together(written: Floats, first: Floats, second: Floats | None) -> tuple[Floats, Doubles]:
    """Return what units write where those that read the same are taken together, and how many read so.

    What clones write may cancel. Each is given its share of what they write together, which leaves the second moment
    of all as it is.

    Args:
        written: ``(units, d)``, scaled by how strongly each unit fires.
        first: what fires them, equal in clones; ``second`` may differ between clones in length and sign.
    """
    normed = unit_rows(first)
    probe = np.random.default_rng(0).standard_normal(first.shape[1])
    seen = normed.astype(np.float64) @ probe
    order = np.argsort(seen, kind="stable")
    near = np.flatnonzero(np.diff(seen[order]) < 1e-4)
    one, other = order[near], order[near + 1]
    equal = np.einsum("ij,ij->i", normed[one], normed[other], dtype=np.float64) > 1 - EQUAL
    sign = np.ones(len(one))
    if second is not None:
        sign = np.einsum("ij,ij->i", unit_rows(second[one]), unit_rows(second[other]), dtype=np.float64)
        equal &= np.abs(sign) > 1 - EQUAL
    clones = np.ones(len(written))
    if not equal.any():
        return written, clones
    written = written.copy()
    starts = np.ones(len(order), np.bool_)
    starts[near[equal] + 1] = False
    turned = np.ones(len(order))
    turned[near[equal] + 1] = np.sign(sign[equal])
    for rows in np.split(np.arange(len(order)), np.flatnonzero(starts)[1:]):
        if len(rows) > 1:
            signs = np.cumprod(np.where(np.arange(len(rows)) == 0, 1.0, turned[rows]))[:, None]
            total = (written[order[rows]] * signs).sum(axis=0)
            written[order[rows]] = total * signs / len(rows) ** 0.5
            clones[order[rows]] = len(rows)
    return written, clones


def rectified(deviation: Doubles, mean: Doubles) -> Doubles:
    """Return the root mean square of the positive part of normal numbers: how strongly units of a rectifier fire."""
    ratio = mean / np.maximum(deviation, 1e-30)
    below = np.array([0.5 * (1 + erf(x / 2**0.5)) for x in np.clip(ratio, -40, 40)])
    bell = np.exp(-0.5 * np.square(np.clip(ratio, -40, 40))) / np.sqrt(2 * np.pi)
    square = (np.square(mean) + np.square(deviation)) * below + mean * deviation * bell
    return np.sqrt(np.maximum(square, 0.0))
