"""Do two layers compute the same? What their feed-forward networks write for the same inputs (ADR 0022).

Units can be added that cancel one another, be split, be silenced, be put in any order: what they hold says little
then, and what the layer computes stays. So both networks are given the same random inputs, and what they write is
correlated. No unit is matched with another. It is an effect size, and enters no e-value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from filiation.anatomy.config import experts_used
from filiation.origin.effects import Effects, of_model, offset
from filiation.origin.gather import Side
from filiation.origin.pairing import Pairing, Plan, experts_of
from filiation.origin.units import Floats

#: Inputs of each kind.
INPUTS = 128
#: Correlation from which two layers compute alike.
COMPUTES_ALIKE = 0.3
#: Mean correlation that shared training leaves; models that share their initial weights alone stay below.
TRAINED_ALIKE = 0.4
#: Mean correlation below which layers have nothing in common that they compute.
UNRELATED = 0.1
_SHARED_EXPERT = "shared."
_ROLES = frozenset({"gate", "up", "down", "router"})


def computed_alike(
    pairing: Pairing, pair: tuple[int, int], plan: Plan, *, full: bool = False
) -> float | None:
    """Return how what two feed-forward networks write correlates, over all channels and inputs; in ``[-1, 1]``.

    The inputs are normal numbers, with the second moment of what either layer is given, and with none of its own; the
    least correlation of the three counts, so that what only one of the models is ever given says nothing. None where
    the models are not read whole, or a network or the common basis is not known.

    Args:
        full: read the layers whole although the models are not. Moments are not known then; one kind of input counts.
    """
    sides = pairing.suspect, pairing.candidate
    inputs = _inputs(pairing, pair, plan, full=full)
    if inputs is None:
        return None
    mine, theirs = _written(sides, pair, inputs, at_once=full and not plan.whole)
    if mine is None or theirs is None or mine.shape != theirs.shape:
        return None
    kinds = max(1, len(inputs) // INPUTS)
    parts = zip(np.split(mine, kinds), np.split(theirs, kinds), strict=True)
    return min(_correlation(a, b) for a, b in parts)


def layers_computed(pairing: Pairing, plan: Plan, layers: Collection[int]) -> dict[int, float]:
    """Return how alike these of the suspect's layers compute, where that could be measured."""
    found = {pair[0]: computed_alike(pairing, pair, plan) for pair in pairing.layers if pair[0] in layers}
    return {i: r for i, r in found.items() if r is not None}


def otherwise(computed: Mapping[int, float]) -> dict[int, float]:
    """Return the layers that compute something else, beside others that compute as shared training leaves them."""
    mixed = max(computed.values(), default=0.0) >= TRAINED_ALIKE
    return {i: r for i, r in computed.items() if mixed and r < COMPUTES_ALIKE}


def network_bytes(side: Side, layer: int) -> int:
    """Return at most how many bytes of the file the layer's feed-forward network is, with all of its experts."""
    stored = side.anatomy.checkpoint.tensors
    parts = [p for p in side.anatomy.parts if p.layer == layer and p.component == side.component]
    return sum(stored[p.tensor].nbytes for p in parts if p.role.removeprefix(_SHARED_EXPERT) in _ROLES)


def _inputs(pairing: Pairing, pair: tuple[int, int], plan: Plan, *, full: bool) -> Floats | None:
    """Return rows ``(n, d)`` over the channels of the common basis: ``INPUTS`` of each kind."""
    sides, models, rng = (
        (pairing.suspect, pairing.candidate),
        _effects(pairing, plan),
        plan.rng(f"computed/{pair}"),
    )
    if models is None:
        widths = {side.carry(np.zeros((1, side.geometry.d_model), np.float32)).shape[1] for side in sides}
        drawn = rng.standard_normal((INPUTS // 2, max(widths)), np.float32)
        return drawn if full and len(widths) == 1 else None
    mine, theirs = (_moment(s, e, i) for s, e, i in zip(sides, models, pair, strict=True))
    if mine is None or theirs is None or mine.shape != theirs.shape:
        return None
    drawn = rng.standard_normal((INPUTS, len(mine)), np.float32)
    return np.concatenate([drawn @ _root(mine), drawn @ _root(theirs), drawn])


def _effects(pairing: Pairing, plan: Plan) -> tuple[Effects, Effects] | None:
    mine, theirs = of_model(pairing.suspect, plan), of_model(pairing.candidate, plan)
    return None if mine is None or theirs is None else (mine, theirs)


def _moment(side: Side, effects: Effects, layer: int) -> Floats | None:
    """Return the second moment ``(d, d)`` of what a layer is given, in the common basis."""
    moment = effects.moments.get(layer)
    return None if moment is None else side.carry(np.ascontiguousarray(side.carry(moment).T))


def _root(moment: Floats) -> Floats:
    """Return ``R`` of which ``R'R`` is the moment: standard normal rows times it have this second moment."""
    values, vectors = np.linalg.eigh(moment.astype(np.float64))
    return (np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T).astype(np.float32)


def _correlation(mine: Floats, theirs: Floats) -> float:
    """Return the correlation of outputs ``(n, d)``, each channel taken from its mean."""
    mine, theirs = mine - mine.mean(axis=0), theirs - theirs.mean(axis=0)
    both = np.einsum("ij,ij", mine, theirs, dtype=np.float64)
    lengths = [float(np.einsum("ij,ij", x, x, dtype=np.float64)) for x in (mine, theirs)]
    return float(both / np.sqrt(lengths[0] * lengths[1])) if min(lengths) > 0 else 0.0


def _written(
    sides: tuple[Side, Side], pair: tuple[int, int], inputs: Floats, *, at_once: bool
) -> tuple[Floats | None, Floats | None]:
    """Return what either network writes; large ones at once: each side has a memory and a file of its own."""
    if not at_once:
        return _network(sides[0], pair[0], inputs), _network(sides[1], pair[1], inputs)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, thread_name_prefix="filiation-computed") as pool:
        theirs = pool.submit(_network, sides[1], pair[1], inputs)
        return _network(sides[0], pair[0], inputs), theirs.result()


def _network(side: Side, layer: int, inputs: Floats) -> Floats | None:
    """Return what a layer's feed-forward network writes ``(n, d)`` for such inputs, experts as they are chosen."""
    experts = experts_of(side, layer)
    each = [_dense(side, layer, expert, inputs) for expert in experts]
    found = [x for x in each if x is not None]
    if len(found) < len(experts):
        return None
    weights = _chosen(side, layer, inputs, len(experts))
    written = np.multiply(found[0], weights[:, :1], dtype=np.float32)
    for number, rows in enumerate(found[1:], start=1):
        written += rows * weights[:, number : number + 1]
    always = _dense(side, layer, None, inputs, _SHARED_EXPERT) if experts != [None] else None
    return written if always is None else written + always


def _dense(side: Side, layer: int, expert: int | None, inputs: Floats, kind: str = "") -> Floats | None:
    # One matrix is held at a time: they are as wide as the model.
    fed = _fed(side, f"{kind}up", layer, expert, inputs)
    gated = _fed(side, f"{kind}gate", layer, expert, inputs)
    if fed is None or (gated is not None and gated.shape != fed.shape):
        return None
    act = _ACTIVATIONS[_kind_of(side)]
    fires = act(fed) if gated is None else act(gated) * (fed if side.geometry.up_is_odd else fed + 1)
    down = side.writer(f"{kind}down", layer, expert)
    return None if down is None or len(down) != fires.shape[1] else np.matmul(fires, down, dtype=np.float32)


def _fed(side: Side, role: str, layer: int, expert: int | None, inputs: Floats) -> Floats | None:
    """Return what a reader's units are given for such inputs ``(n, units)``."""
    rows = side.reader(role, layer, expert)
    if rows is None:
        return None
    return inputs @ rows.T + offset(side, role, layer, expert, len(rows)).astype(np.float32)


def _chosen(side: Side, layer: int, inputs: Floats, experts: int) -> Floats:
    """Return how much each expert counts for each input ``(n, experts)``: sums to 1; equal where no router tells."""
    router = side.reader("router", layer)
    if experts == 1 or router is None or len(router) != experts:
        return np.full((len(inputs), experts), 1.0 / experts, np.float32)
    scores = inputs @ router.T
    # What is added to choose by alone is added for nothing else (DeepSeek-V3, arXiv 2412.19437).
    bias = side.matrix("router.bias", layer)
    order = np.argsort(-(scores if bias is None else scores + bias), axis=1, kind="stable")
    model = side.anatomy.checkpoint
    used = min(experts, experts_used(model.config, model.metadata) or experts)
    weights = np.zeros(scores.shape, np.float32)
    rows = np.arange(len(inputs))[:, None]
    best = order[:, :used]
    powers = np.exp(scores[rows, best] - scores[rows, best].max(axis=1, keepdims=True))
    weights[rows, best] = powers / powers.sum(axis=1, keepdims=True)
    return weights


def _kind_of(side: Side) -> str:
    """Return which of the activations a network has; what is usual, where that is not known."""
    name = (side.geometry.activation or "").lower()
    known = next((kind for kind in _ACTIVATIONS if kind in name), None)
    return known or ("silu" if side.geometry.gated else "gelu")


def _silu(values: Floats) -> Floats:
    return np.divide(values, 1 + np.exp(-np.clip(values, -60, 60)), dtype=np.float32)


def _gelu(values: Floats) -> Floats:
    inner = np.tanh(0.7978846 * (values + 0.044715 * values**3))
    return np.multiply(0.5 * values, 1 + inner, dtype=np.float32)


def _relu(values: Floats) -> Floats:
    return np.maximum(values, 0)


#: By what a config's word for it contains.
_ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "silu": _silu,
    "swish": _silu,
    "gelu": _gelu,
    "relu2": lambda values: np.square(_relu(values)),
    "relu": _relu,
    "tanh": np.tanh,
}
