"""What layers are given where tokens come: a sample of the residual stream, carried through a model (ADR 0024).

Second moments (:mod:`filiation.origin.effects`) know no mean: a constant that every token row holds, or that a bias
writes, opens and shuts units for every input. So some token rows are carried through the whole model. Each attends
to one other of them, drawn once and for all; feed-forward networks write what they write. No model's code is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from filiation.anatomy.flow import Flow, flow_of
from filiation.origin.attending import looked_at, special_tokens
from filiation.origin.basis import IDENTITY
from filiation.origin.effects import TOKENS, offset
from filiation.origin.gather import Side, token_rows
from filiation.origin.network import added, written_by
from filiation.origin.pairing import Plan
from filiation.origin.units import Doubles, Floats, Integers

#: Token rows that are carried through a model.
SAMPLES = 128


@dataclass(frozen=True, eq=False)
class Passed:
    """What a layer's feed-forward network is given where token rows come, and what it writes for that.

    Attributes:
        given: ``(SAMPLES, d)``, in the model's own channels; ``written`` likewise, None where it is not known.
    """

    given: Floats
    written: Floats | None


def passed_through(side: Side, plan: Plan) -> Mapping[int, Passed] | None:
    """Return what each layer's feed-forward network is given and writes; None where the model is not read whole."""
    if not plan.whole:
        return None
    own = replace(side, basis=IDENTITY, shut=frozenset())
    return side.cache.once(("stream", side.is_suspect, side.component), lambda: _Stream(own, plan).through())


def passed_attending(side: Side, plan: Plan) -> Mapping[int, Passed] | None:
    """Return the same where every token looks at what its queries ask for, the rows that prompts begin with included.

    None where the model is not read whole, or where queries and keys are not known.
    """
    if not plan.whole or not tokens_of(side):
        return None
    own = replace(side, basis=IDENTITY, shut=frozenset())
    if looked_at(own, 0, np.zeros((1, side.geometry.d_model), np.float32)) is None:
        return None
    front = special_tokens(own, tokens_of(own))
    key = ("stream attending", side.is_suspect, side.component)
    return side.cache.once(key, lambda: _Stream(own, plan, front=front).through())


def tokens_of(side: Side) -> int:
    """Return how many token rows there are."""
    part = side.anatomy.part("embedding", component=side.component)
    return 0 if part is None else part.shape[0]


def passed_by_tokens(side: Side, plan: Plan, ids: Integers) -> Mapping[int, Passed]:
    """Return what each layer is given and writes where these tokens come, of a model as it stands."""
    return _Stream(side, plan, ids).through()


class _Stream:
    """Token rows on their way through a model."""

    def __init__(
        self, side: Side, plan: Plan, ids: Integers | None = None, front: Integers | None = None
    ) -> None:
        self._side, self._geometry, self._flow = side, side.geometry, _flow(side)
        # Rows in front are looked at, by those behind them, and say nothing of what layers are given.
        self._front = 0 if front is None else len(front)
        rng = plan.rng("stream")
        ids = _sampled(side, plan, rng) if ids is None and tokens_of(side) else ids
        ids = ids if front is None or ids is None else np.concatenate([front, ids])
        self._n = SAMPLES if ids is None else len(ids)
        self._rows, self._shift = self._begin(rng, ids)
        self._seen = rng.permutation(self._n)

    def through(self) -> dict[int, Passed]:
        found: dict[int, Passed] = {}
        for layer in range(self._geometry.n_layers):
            before = self._given()
            self._add(layer, "attn", self._attended(layer, before))
            self._add(layer, "cross", self._crossed(layer))
            given = (before if self._parallel(layer) else self._given()).astype(np.float32)
            written, n = written_by(self._side, layer, given), self._front
            found[layer] = Passed(given[n:], None if written is None else written[n:])
            self._add(layer, "ffn", written)
        return found

    def _begin(self, rng: np.random.Generator, ids: Integers | None) -> tuple[Doubles, Doubles | float]:
        """Return token rows where the first layer finds them, and what is constant in them behind a norm."""
        side = self._side
        found = None if ids is None else token_rows(side, ids)
        if found is None:
            return rng.standard_normal((self._n, self._geometry.d_model)), 0.0
        rows = self._flow.embedding * found.astype(np.float64) + self._placed(rng)
        gain = side.gain("embedding_norm", None)
        if gain is None or gain.shape != rows.shape[1:]:
            return rows, 0.0
        return self._behind(rows, gain, "embedding_norm", None)

    def _placed(self, rng: np.random.Generator) -> Doubles:
        """Return what is added to token rows by where they stand."""
        out = np.zeros((self._n, self._geometry.d_model))
        places, kinds = (self._side.matrix(role, None) for role in ("position", "token_type"))
        if places is not None and places.shape[1:] == out.shape[1:]:
            out += places[rng.integers(0, len(places), self._n)]
        return out if kinds is None or kinds.shape[1:] != out.shape[1:] else out + kinds[0]

    def _normed(self, rows: Doubles) -> Doubles:
        if self._geometry.norm == "layer":
            rows = rows - rows.mean(axis=1, keepdims=True)
        sizes = np.square(rows).mean(axis=1, keepdims=True) + self._flow.epsilon
        return rows / np.sqrt(np.maximum(sizes, 1e-60))

    def _behind(
        self, rows: Doubles, gain: Floats, role: str, layer: int | None
    ) -> tuple[Doubles, Doubles | float]:
        bias = self._side.matrix(f"{role}.bias", layer)
        shift = 0.0 if bias is None or bias.shape != gain.shape else bias.astype(np.float64)
        return self._normed(rows) * gain + shift, shift

    def _given(self) -> Doubles:
        """Return what a branch reads, before gains that are folded into readers; biases of norms are offsets there."""
        position = self._geometry.norm_position
        if position == "post":
            return self._rows - self._shift
        return self._rows if position == "output" else self._normed(self._rows)

    def _parallel(self, layer: int) -> bool:
        if self._geometry.norm_position != "pre":
            return False
        gains = [self._side.gain(f"{branch}_norm", layer) for branch in ("attn", "ffn")]
        return self._flow.parallel or (gains[1] is None and gains[0] is not None)

    def _attended(self, layer: int, given: Doubles) -> Doubles | None:
        """Return what attention writes where each token looks at one other."""
        side, g = self._side, self._geometry
        o = side.writer("o", layer)
        if o is None or not g.n_heads or not g.d_head or len(o) != g.n_heads * g.d_head:
            return None
        near = given.astype(np.float32)
        seen = self._values(layer, near)
        if seen is None:
            return None
        by_head = np.repeat(
            seen.reshape(self._n, -1, g.d_head), g.n_heads * g.d_head // seen.shape[1], axis=1
        )
        weights = looked_at(side, layer, near) if self._front else None
        if weights is None:
            written = by_head.reshape(self._n, -1)[self._seen] @ o
        else:
            mixed = np.einsum(
                "hij,jhd->ihd", weights, by_head.reshape(self._n, g.n_heads, g.d_head), optimize=True
            )
            written = mixed.reshape(self._n, -1) @ o
        bias = side.matrix("o.bias", layer)
        return written if bias is None else written + added(side, "o", layer, bias)

    def _crossed(self, layer: int) -> Doubles | None:
        """Return what attention to another tower writes for any input: its biases, and the mean of what it looks at."""
        side, g = self._side, self._geometry
        o = side.writer("cross.o", layer)
        if o is None or not g.n_heads or not g.n_kv_heads or g.n_heads % g.n_kv_heads:
            return None
        values = np.zeros(len(o) * g.n_kv_heads // g.n_heads)
        rows, bias = (side.matrix(f"cross.v{end}", layer) for end in ("", ".bias"))
        mean = self._mean_of_others()
        if rows is not None and mean is not None and rows.shape == (*values.shape, *mean.shape):
            values = values + rows @ mean
        if bias is not None and bias.shape == values.shape:
            values = values + bias
        heads = np.repeat(values.reshape(g.n_kv_heads, -1), g.n_heads // g.n_kv_heads, axis=0)
        written = heads.reshape(1, -1) @ o
        last = side.matrix("cross.o.bias", layer)
        written = written if last is None else written + added(side, "cross.o", layer, last)
        return np.repeat(written, self._n, axis=0)

    def _mean_of_others(self) -> Floats | None:
        """Return the mean of what the encoder hands over: the bias of its last norm."""
        parts = self._side.anatomy.parts
        others = (p for p in parts if p.role == "final_norm.bias" and p.component != self._side.component)
        found = next(others, None)
        return None if found is None else self._side.anatomy.read(found)

    def _values(self, layer: int, given: Floats) -> Doubles | None:
        """Return the value channels ``(SAMPLES, n)`` of every key-value head."""
        side, g = self._side, self._geometry
        if g.mla:
            return self._latent_values(layer, given)
        v = side.reader("v", layer)
        if v is None or not g.n_kv_heads or not g.d_head or len(v) != g.n_kv_heads * g.d_head:
            return None
        return given @ v.T + offset(side, "v", layer, None, len(v))

    def _latent_values(self, layer: int, given: Floats) -> Doubles | None:
        side, heads, width = self._side, self._geometry.n_heads or 0, self._geometry.d_head or 0
        into, out, gain = (side.matrix(role, layer) for role in ("kv_a", "kv_b", "kv_a_norm"))
        before = side.gain("attn_norm", layer)
        if into is None or out is None or not heads or len(out) % heads or len(out) // heads < width:
            return None
        latent = (given @ (into if before is None else into * before)[: out.shape[1]].T).astype(np.float64)
        latent = latent / np.sqrt(np.maximum(np.square(latent).mean(axis=1, keepdims=True), 1e-60))
        if gain is not None and gain.shape == latent.shape[1:]:
            latent = latent * gain
        values = out.reshape(heads, -1, out.shape[1])[:, -width:].reshape(heads * width, -1)
        return latent @ values.T

    def _add(self, layer: int, branch: str, written: Doubles | Floats | None) -> None:
        """Add what a branch writes, as norms and scales behind it let it through."""
        side, position = self._side, self._geometry.norm_position
        behind = "cross_norm" if branch == "cross" else f"post_{branch}_norm"
        gain = None if position == "pre" else side.gain(behind, layer)
        gain = gain if gain is None or gain.shape == (self._geometry.d_model,) else None
        if written is not None:
            new = np.asarray(written, np.float64)
            if gain is not None and position in ("sandwich", "output"):
                new, _ = self._behind(new, gain, behind, layer)
            # A row that overflows (of a token that is never used, or the model is none) must not take the rest along.
            new = np.where(np.isfinite(new).all(axis=1, keepdims=True), new, 0.0)
            self._rows = self._rows + self._flow.residual * new
        if position == "post" and gain is not None and (branch != "cross" or written is not None):
            self._rows, self._shift = self._behind(self._rows, gain, behind, layer)


def _sampled(side: Side, plan: Plan, rng: np.random.Generator) -> Integers:
    n = tokens_of(side)
    start = int(plan.rng("effects/tokens").integers(0, max(1, n - TOKENS + 1)))
    return np.sort(rng.integers(start, max(min(n, start + TOKENS), start + 1), SAMPLES))


def _flow(side: Side) -> Flow:
    model, g = side.anatomy.checkpoint, side.geometry
    return flow_of(model.config, model.metadata, side.component, g.d_model, g.n_layers)
