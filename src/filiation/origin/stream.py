"""What layers are given where tokens come: a sample of the residual stream, carried through a model (ADR 0024).

Second moments (:mod:`filiation.origin.effects`) know no mean: a constant that every token row holds, or that a bias
writes, opens and shuts units for every input. So some token rows are carried through the whole model. Each attends
to one other of them, drawn once and for all; feed-forward networks write what they write. No model's code is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from filiation.anatomy.flow import Flow, flow_of
from filiation.origin.basis import IDENTITY
from filiation.origin.effects import TOKENS, offset
from filiation.origin.gather import Side, token_rows
from filiation.origin.network import added, written_by
from filiation.origin.pairing import Plan
from filiation.origin.units import Doubles, Floats

#: Token rows that are carried through a model.
SAMPLES = 128


def given_to_layers(side: Side, plan: Plan) -> Mapping[int, Floats] | None:
    """Return what each layer's feed-forward network is given, ``(SAMPLES, d)`` in the model's own channels.

    None where the model is not read whole.
    """
    if not plan.whole:
        return None
    own = replace(side, basis=IDENTITY)
    return side.cache.once(("stream", side.is_suspect, side.component), lambda: _Stream(own, plan).through())


class _Stream:
    """Token rows on their way through a model."""

    def __init__(self, side: Side, plan: Plan) -> None:
        self._side, self._geometry, self._flow = side, side.geometry, _flow(side)
        rng = plan.rng("stream")
        self._rows, self._shift = self._begin(plan, rng)
        self._seen = rng.permutation(SAMPLES)

    def through(self) -> dict[int, Floats]:
        found: dict[int, Floats] = {}
        for layer in range(self._geometry.n_layers):
            before = self._given()
            self._add(layer, "attn", self._attended(layer, before))
            found[layer] = (before if self._parallel(layer) else self._given()).astype(np.float32)
            self._add(layer, "ffn", written_by(self._side, layer, found[layer]))
        return found

    def _begin(self, plan: Plan, rng: np.random.Generator) -> tuple[Doubles, Doubles | float]:
        """Return token rows where the first layer finds them, and what is constant in them behind a norm."""
        side = self._side
        part = side.anatomy.part("embedding", component=side.component)
        n = 0 if part is None else part.shape[0]
        start = int(plan.rng("effects/tokens").integers(0, max(1, n - TOKENS + 1)))
        ids = np.sort(rng.integers(start, max(min(n, start + TOKENS), start + 1), SAMPLES))
        found = token_rows(side, ids) if n else None
        if found is None:
            return rng.standard_normal((SAMPLES, self._geometry.d_model)), 0.0
        rows = self._flow.embedding * found.astype(np.float64) + self._placed(rng)
        gain = side.gain("embedding_norm", None)
        if gain is None or gain.shape != rows.shape[1:]:
            return rows, 0.0
        return self._behind(rows, gain, "embedding_norm", None)

    def _placed(self, rng: np.random.Generator) -> Doubles:
        """Return what is added to token rows by where they stand."""
        out = np.zeros((SAMPLES, self._geometry.d_model))
        places, kinds = (self._side.matrix(role, None) for role in ("position", "token_type"))
        if places is not None and places.shape[1:] == out.shape[1:]:
            out += places[rng.integers(0, len(places), SAMPLES)]
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
        seen = self._values(layer, given)
        if seen is None:
            return None
        by_head = np.repeat(
            seen.reshape(SAMPLES, -1, g.d_head), g.n_heads * g.d_head // seen.shape[1], axis=1
        )
        written = by_head.reshape(SAMPLES, -1)[self._seen] @ o
        bias = side.matrix("o.bias", layer)
        return written if bias is None else written + added(side, bias)

    def _values(self, layer: int, given: Doubles) -> Doubles | None:
        """Return the value channels ``(SAMPLES, n)`` of every key-value head."""
        side, g = self._side, self._geometry
        if g.mla:
            return self._latent_values(layer, given)
        v = side.reader("v", layer)
        if v is None or not g.n_kv_heads or not g.d_head or len(v) != g.n_kv_heads * g.d_head:
            return None
        return given @ v.T + offset(side, "v", layer, None, len(v))

    def _latent_values(self, layer: int, given: Doubles) -> Doubles | None:
        side, heads, width = self._side, self._geometry.n_heads or 0, self._geometry.d_head or 0
        into, out, gain = (side.matrix(role, layer) for role in ("kv_a", "kv_b", "kv_a_norm"))
        before = side.gain("attn_norm", layer)
        if into is None or out is None or not heads or len(out) % heads or len(out) // heads < width:
            return None
        latent = given @ (into if before is None else into * before)[: out.shape[1]].T
        latent = latent / np.sqrt(np.maximum(np.square(latent).mean(axis=1, keepdims=True), 1e-60))
        if gain is not None and gain.shape == latent.shape[1:]:
            latent = latent * gain
        values = out.reshape(heads, -1, out.shape[1])[:, -width:].reshape(heads * width, -1)
        return latent @ values.T

    def _add(self, layer: int, branch: str, written: Doubles | Floats | None) -> None:
        """Add what a branch writes, as norms and scales behind it let it through."""
        side, position = self._side, self._geometry.norm_position
        gain = None if position == "pre" else side.gain(f"post_{branch}_norm", layer)
        gain = gain if gain is None or gain.shape == (self._geometry.d_model,) else None
        if written is not None:
            scale = side.matrix(f"{branch}_scale", layer)
            new = np.asarray(written if scale is None else written * scale, np.float64)
            if gain is not None and position in ("sandwich", "output"):
                new, _ = self._behind(new, gain, f"post_{branch}_norm", layer)
            # A row that overflows (of a token that is never used, or the model is none) must not take the rest along.
            new = np.where(np.isfinite(new).all(axis=1, keepdims=True), new, 0.0)
            self._rows = self._rows + self._flow.residual * new
        if position == "post" and gain is not None:
            self._rows, self._shift = self._behind(self._rows, gain, f"post_{branch}_norm", layer)


def _flow(side: Side) -> Flow:
    model, g = side.anatomy.checkpoint, side.geometry
    return flow_of(model.config, model.metadata, side.component, g.d_model, g.n_layers)
