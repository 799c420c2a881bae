"""What a layer's feed-forward network writes for given inputs, experts as they are chosen (ADR 0022).

The weights are multiplied out as they stand: nothing of a model's own code is run.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from filiation.anatomy.activation import UNKNOWN
from filiation.anatomy.config import own_settings
from filiation.origin.activations import activation, xielu
from filiation.origin.chosen import expert_weights, routing
from filiation.origin.effects import offset
from filiation.origin.gather import Side
from filiation.origin.level import level
from filiation.origin.pairing import experts_of
from filiation.origin.units import Floats

SHARED = "shared."
#: Parameters of xIELU as it begins; alphas before their softplus.
_FRESH = {"alpha_p": 0.2034, "alpha_n": -1.0502, "beta": 0.5, "eps": -1e-6}


def written_by(side: Side, layer: int, inputs: Floats) -> Floats | None:
    """Return what a layer's network writes ``(n, d)`` for inputs ``(n, d)`` in the common basis; None if unknown."""
    experts = experts_of(side, layer)
    if experts == [None]:
        return _dense(side, layer, None, inputs)
    everyone = experts_of(replace(side, shut=frozenset()), layer)
    weights = expert_weights(side, layer, inputs, everyone)
    scaled = routing(side, corrected=False).on_inputs
    written: Floats | None = np.zeros(inputs.shape, np.float32)
    for expert in experts:
        counts = weights[:, everyone.index(expert)]
        written = _with_expert(side, (layer, expert), inputs, counts, written, scaled=scaled)
        if written is None:
            return None
    always = None if (layer, None) in side.shut else _shared(side, layer, inputs)
    return written + always if always is not None and always.shape == written.shape else written


def written_by_expert(
    side: Side, layer: int, expert: int | None, inputs: Floats, *, favoured: bool = False
) -> tuple[Floats, Floats] | None:
    """Return how much of each input is let through to one expert ``(n,)``, and what it adds ``(n, d)``.

    None where it is not known.

    Args:
        expert: its number, of which the share among all experts is returned; None for the one that every input passes.
        favoured: it is chosen wherever this is a near thing.
    """
    if expert is None:
        always = _shared(side, layer, inputs)
        return None if always is None else (_opened(side, layer, inputs)[:, 0], always)
    everyone = experts_of(side, layer)
    weights = expert_weights(side, layer, inputs, everyone, expert if favoured else None)
    counts, total = weights[:, everyone.index(expert)], np.maximum(weights.sum(axis=1), np.float32(1e-30))
    scaled = routing(side, corrected=False).on_inputs
    nothing = np.zeros(inputs.shape, np.float32)
    found = _with_expert(side, (layer, expert), inputs, counts, nothing, scaled=scaled)
    return None if found is None else (np.divide(counts, total, dtype=np.float32), found)


def _shared(side: Side, layer: int, inputs: Floats) -> Floats | None:
    always = _dense(side, layer, None, inputs, SHARED)
    return None if always is None else always * _opened(side, layer, inputs)


def _with_expert(
    side: Side,
    where: tuple[int, int | None],
    inputs: Floats,
    weights: Floats,
    written: Floats,
    *,
    scaled: bool,
) -> Floats | None:
    """Return what is written with what one expert adds to the inputs that it works on; None where it is unknown."""
    works = np.flatnonzero(weights)
    given, counts = inputs[works], weights[works, None]
    found = _dense(side, *where, given * counts if scaled else given)
    if found is None or found.shape[1] != written.shape[1]:
        return None
    written[works] += found if scaled else found * counts
    return written


def _opened(side: Side, layer: int, inputs: Floats) -> Floats:
    """Return how much the experts that every input passes count ``(n, 1)``: Qwen2-MoE has a gate before them."""
    gate = side.reader(f"{SHARED}router", layer)
    if gate is None or gate.shape != (1, inputs.shape[1]):
        return np.ones((len(inputs), 1), np.float32)
    shift = offset(side, f"{SHARED}router", layer, None, 1).astype(np.float32)
    return np.divide(1, 1 + np.exp(-np.clip(inputs @ gate.T + shift, -80, 80)), dtype=np.float32)


def _dense(side: Side, layer: int, expert: int | None, inputs: Floats, kind: str = "") -> Floats | None:
    # One matrix is held at a time: they are as wide as the model.
    fed = _fed(side, f"{kind}up", layer, expert, inputs)
    gated = _fed(side, f"{kind}gate", layer, expert, inputs)
    if fed is None or (gated is not None and gated.shape != fed.shape):
        return None
    fires = fired(side, layer, fed, gated)
    if fires is None:
        return None
    fires = _normed_inside(side, layer, fires)
    down = side.writer(f"{kind}down", layer, expert)
    if down is None or len(down) != fires.shape[1]:
        return None
    written = np.matmul(fires, down, dtype=np.float32)
    bias = side.matrix(f"{kind}down.bias", layer, expert)
    return written if bias is None else written + added(side, "down", layer, bias)


def fired(side: Side, layer: int, fed: Floats, gated: Floats | None) -> Floats | None:
    """Return how strongly units fire ``(n, units)`` that are given this; None where the activation is not known.

    Args:
        gated: what their gates are given, None where there are none.
    """
    word = side.geometry.activation
    if word == "xielu":
        alphas = _stored(side, layer)
        return xielu(fed, *alphas) if gated is None else xielu(gated, *alphas) * fed
    act = activation(word, gated=gated is not None)
    if act is None or gated is None or side.geometry.up_is_odd:
        return None if act is None else act(fed) if gated is None else act(gated) * fed
    limit = _limit(side)
    return act(np.minimum(gated, limit)) * (np.clip(fed, -limit, limit) + 1)


def knows_activation(side: Side) -> bool:
    """Return whether it is known which activation a model's networks have."""
    return side.geometry.activation != UNKNOWN


def _stored(side: Side, layer: int) -> tuple[float, ...]:
    """Return the parameters of a layer's xIELU, those of a fresh one where they are not stored."""
    stored = side.anatomy.checkpoint
    ends = {
        name: next((n for n in stored.tensors if n.endswith(f".{layer}.mlp.act_fn.{name}")), None)
        for name in _FRESH
    }
    return tuple(
        usual if ends[name] is None else float(np.ravel(stored.read(ends[name] or ""))[0])
        for name, usual in _FRESH.items()
    )


def _limit(side: Side) -> np.float32:
    """Return at what gpt-oss clamps what its units are given."""
    checkpoint = side.anatomy.checkpoint
    said = own_settings(checkpoint.config, checkpoint.metadata, side.component).get("swiglu_limit")
    is_number = isinstance(said, (int, float)) and not isinstance(said, bool) and said > 0
    return np.float32(said if is_number else 7.0)


def added(side: Side, role: str, layer: int, bias: Floats) -> Floats:
    """Return a writer's bias ``(d,)`` as its rows are: scaled as they are, and carried to the common basis."""
    if bias.shape != (side.geometry.d_model,):
        return np.zeros(1, np.float32)
    scale = side.scale_behind(role, layer)
    rows = (bias if scale is None else bias * scale)[None].astype(np.float32)
    return side.carry(level(rows) if side.levelled else rows)[0]


def _normed_inside(side: Side, layer: int, fires: Floats) -> Floats:
    """Return what units write by, behind the norm that some models have there (BitNet)."""
    gain = side.matrix("ffn_sub_norm", layer)
    if gain is None or gain.shape != fires.shape[1:]:
        return fires
    sizes = np.sqrt(np.square(fires, dtype=np.float64).mean(axis=1, keepdims=True))
    return (fires / np.maximum(sizes, 1e-30) * gain).astype(np.float32)


def _fed(side: Side, role: str, layer: int, expert: int | None, inputs: Floats) -> Floats | None:
    """Return what a reader's units are given for such inputs ``(n, units)``."""
    rows = side.reader(role, layer, expert)
    if rows is None:
        return None
    fed, shift = inputs @ rows.T, offset(side, role, layer, expert, len(rows))
    return fed + shift.astype(np.float32) if shift.any() else fed
