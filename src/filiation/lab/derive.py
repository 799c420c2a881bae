"""Children of a model, made without training: the derivations whose answer a test knows.

Every function takes tensors under the Hugging Face names of a Llama or Mixtral (float32) with their config, and
returns both anew; the input is never written to. Unlike `filiation.lab.launder`, these change the function.
Storage changes (other names, fused projections, quantisation) are in `filiation.lab.recode`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from filiation.errors import UsageError
from filiation.lab.layout import (
    EMBEDDING,
    HEAD,
    Array,
    Config,
    Ffn,
    Tensors,
    ffn_blocks,
    layer_count,
    layer_prefix,
    residual_axis,
    unit_tensors,
)

Result = tuple[Tensors, Config]
Index = npt.NDArray[np.int64]


def take_layers(tensors: Tensors, config: Config, layers: Sequence[int]) -> Result:
    """Build a model from the given layers in the given order: dropped, repeated (arXiv 2312.15166) or reordered.

    Args:
        layers: the source layer of each new layer; `[0, 1, 2, 1, 2, 3]` repeats a block.

    Raises:
        UsageError: a layer that the model does not have.
    """
    count = layer_count(config)
    wrong = [layer for layer in layers if not 0 <= layer < count]
    if wrong or not layers:
        raise UsageError(
            f"cannot take layers {list(layers)} of a model with {count}",
            reason=f"layers {wrong} do not exist" if wrong else "no layer was asked for",
            next_step=f"name layers from 0 to {count - 1}",
        )
    out = {name: value for name, value in tensors.items() if not name.startswith("model.layers.")}
    for new, old in enumerate(layers):
        for name, value in _of_layer(tensors, old).items():
            out[layer_prefix(new) + name] = value.copy()
    return out, {**config, "num_hidden_layers": len(layers)}


def insert_blocks(tensors: Tensors, config: Config, after: Sequence[int]) -> Result:
    """Insert a copy of each named layer behind it, silenced by zero output matrices (arXiv 2401.02415)."""
    path = [layer for old in range(layer_count(config)) for layer in [old] * (2 if old in set(after) else 1)]
    out, settings = take_layers(tensors, config, path)
    for new in range(1, len(path)):
        if path[new] == path[new - 1]:
            at = layer_prefix(new)
            for name in [at + "self_attn.o_proj", *(block.down for block in ffn_blocks(out, new))]:
                out[name + ".weight"] = np.zeros_like(out[name + ".weight"])
    return out, settings


def prune_ffn(tensors: Tensors, config: Config, *, units: int, seed: int) -> Result:
    """Keep a random `units` feed-forward units of every block, in their old order."""
    generator = np.random.default_rng(seed)
    out = dict(tensors)
    for layer in range(layer_count(config)):
        for block in ffn_blocks(tensors, layer):
            count = tensors[block.gate + ".weight"].shape[0]
            keep = _subset(generator, count, units, "feed-forward units")
            for name, axis in unit_tensors(tensors, block):
                out[name] = np.ascontiguousarray(tensors[name].take(keep, axis=axis))
    return out, {**config, "intermediate_size": units}


def prune_residual(tensors: Tensors, config: Config, *, channels: int, seed: int) -> Result:
    """Keep a random `channels` channels of the residual stream, in their old order."""
    keep = _subset(np.random.default_rng(seed), int(config["hidden_size"]), channels, "residual channels")
    out: Tensors = {}
    for name, value in tensors.items():
        axis = residual_axis(name)
        out[name] = value.copy() if axis is None else np.ascontiguousarray(value.take(keep, axis=axis))
    return out, {**config, "hidden_size": channels}


def add_noise(tensors: Tensors, config: Config, *, level: float, seed: int) -> Result:
    """Add white noise to every matrix, `level` times the standard deviation of that matrix."""
    generator = np.random.default_rng(seed)
    out: Tensors = {}
    for name, value in tensors.items():
        out[name] = _noisy(value, level, generator) if value.ndim == 2 else value.copy()
    return out, dict(config)


def low_rank_update(tensors: Tensors, config: Config, *, rank: int, level: float, seed: int) -> Result:
    """Add a rank-`rank` update to q and v of every layer, as a merged LoRA does (arXiv 2106.09685).

    Args:
        level: Frobenius norm of the update over that of the matrix.
    """
    generator = np.random.default_rng(seed)
    out = dict(tensors)
    for layer in range(layer_count(config)):
        for which in ("q_proj", "v_proj"):
            name = f"{layer_prefix(layer)}self_attn.{which}.weight"
            rows, columns = tensors[name].shape
            update = generator.standard_normal((rows, rank)) @ generator.standard_normal((rank, columns))
            update *= level * np.linalg.norm(tensors[name]) / np.linalg.norm(update)
            out[name] = tensors[name] + update.astype(np.float32)
    return out, dict(config)


def sparsify(tensors: Tensors, config: Config, *, fraction: float) -> Result:
    """Set the smallest `fraction` of every block matrix to zero, by magnitude. Embedding and head stay."""
    out: Tensors = {}
    for name, value in tensors.items():
        out[name] = value.copy()
        if value.ndim == 2 and name not in (EMBEDDING, HEAD):
            cut = np.quantile(np.abs(value), fraction)
            out[name][np.abs(value) < cut] = 0
    return out, dict(config)


def merge(parents: Sequence[Tensors], config: Config, *, weights: Sequence[float]) -> Result:
    """Average models of one shape with the given weights (arXiv 2203.05482).

    Raises:
        UsageError: the parents do not have the same tensors, or the weights are not one a parent.
    """
    if len(weights) != len(parents) or any(parent.keys() != parents[0].keys() for parent in parents):
        raise UsageError(
            "these models cannot be merged",
            reason="parents must have equal tensor names, and each needs one weight",
            next_step="merge models of one architecture",
        )
    out: Tensors = {}
    for name in parents[0]:
        total = sum(w * parent[name].astype(np.float64) for w, parent in zip(weights, parents, strict=True))
        out[name] = np.asarray(total, dtype=np.float32)
    return out, dict(config)


def graft(receiver: Tensors, donor: Tensors, config: Config, *, layers: Sequence[int]) -> Result:
    """Replace the given layers of `receiver` with those of `donor`, a model of the same shape."""
    out = {name: value.copy() for name, value in receiver.items()}
    for layer in layers:
        given = _of_layer(donor, layer)
        if not given:
            raise UsageError(
                f"cannot graft layer {layer}",
                reason="the donor has no such layer",
                next_step="name layers that the donor has",
            )
        for name, value in given.items():
            out[layer_prefix(layer) + name] = value.copy()
    return out, dict(config)


def upcycle(
    tensors: Tensors,
    config: Config,
    *,
    experts: int,
    active: int,
    noise: float,
    seed: int,
    router_std: float = 0.05,
) -> Result:
    """Turn every dense feed-forward block into `experts` copies of it behind a random router (arXiv 2212.05055).

    Args:
        active: experts each token is sent to.
        noise: standard deviation of the noise on each copy, over that of the copied matrix. Without it, and
            without dropout, copies that meet the same tokens would stay equal.

    Returns:
        A Mixtral: `block_sparse_moe.gate` (experts, width) and `experts.N.w1/w2/w3` for gate, down, up.
    """
    generator = np.random.default_rng(seed)
    out = {name: value.copy() for name, value in tensors.items() if ".mlp." not in name}
    for layer in range(layer_count(config)):
        (block,) = _blocks(tensors, layer, dense=True)
        at = layer_prefix(layer) + "block_sparse_moe."
        router = router_std * generator.standard_normal((experts, int(config["hidden_size"])))
        out[at + "gate.weight"] = router.astype(np.float32)
        for expert in range(experts):
            for new, old in (("w1", block.gate), ("w2", block.down), ("w3", block.up)):
                out[f"{at}experts.{expert}.{new}.weight"] = _noisy(tensors[old + ".weight"], noise, generator)
    settings = {key: value for key, value in config.items() if key not in ("mlp_bias", "attention_bias")}
    settings |= {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "num_local_experts": experts,
        "num_experts_per_tok": active,
        "router_aux_loss_coef": 0.02,
        "sliding_window": None,
    }
    return out, settings


def extract_dense(tensors: Tensors, config: Config, *, expert: int) -> Result:
    """Take one expert of every layer out of a Mixtral and make a dense Llama of it."""
    out = {name: value.copy() for name, value in tensors.items() if ".block_sparse_moe." not in name}
    for layer in range(layer_count(config)):
        block = _blocks(tensors, layer, dense=False)[expert]
        for new, old in (("gate_proj", block.gate), ("up_proj", block.up), ("down_proj", block.down)):
            out[f"{layer_prefix(layer)}mlp.{new}.weight"] = tensors[old + ".weight"].copy()
    dropped = ("num_local_experts", "num_experts_per_tok", "router_aux_loss_coef", "sliding_window")
    settings = {key: value for key, value in config.items() if key not in dropped}
    return out, {**settings, "architectures": ["LlamaForCausalLM"], "model_type": "llama"}


def take_tokens(tensors: Tensors, config: Config, tokens: Index) -> Result:
    """Keep only the embedding (and head) rows of the given token ids: a pruned or reordered vocabulary."""
    out = dict(tensors)
    for name in (EMBEDDING, HEAD):
        if name in tensors:
            out[name] = np.ascontiguousarray(tensors[name][tokens])
    return out, {**config, "vocab_size": len(tokens)}


def extend_vocabulary(tensors: Tensors, config: Config, *, tokens: int, seed: int) -> Result:
    """Add rows for new tokens: the mean embedding plus noise a tenth of its spread."""
    generator = np.random.default_rng(seed)
    out = dict(tensors)
    for name in (EMBEDDING, HEAD):
        if name in tensors:
            old = tensors[name]
            noise = 0.1 * old.std(0) * generator.standard_normal((tokens, old.shape[1]), dtype=np.float32)
            out[name] = np.concatenate([old, (old.mean(0) + noise).astype(np.float32)])
    return out, {**config, "vocab_size": int(config["vocab_size"]) + tokens}


def replace_embeddings(tensors: Tensors, config: Config, *, seed: int, vocab: int) -> Result:
    """Throw embedding and head away and draw new ones for a vocabulary of another size."""
    generator = np.random.default_rng(seed)
    out = dict(tensors)
    for name in (EMBEDDING, HEAD):
        if name in tensors:
            drawn = generator.standard_normal((vocab, tensors[name].shape[1]), dtype=np.float32)
            out[name] = drawn * tensors[name].std()
    return out, {**config, "vocab_size": vocab}


def pool_kv_heads(tensors: Tensors, config: Config, *, kv_heads: int) -> Result:
    """Average neighbouring kv heads down to `kv_heads` (arXiv 2305.13245, heads converted to fewer groups)."""
    return _convert_kv(tensors, config, kv_heads, pool=True)


def repeat_kv_heads(tensors: Tensors, config: Config, *, kv_heads: int) -> Result:
    """Repeat every kv head until there are `kv_heads`. The function stays the same."""
    return _convert_kv(tensors, config, kv_heads, pool=False)


def _convert_kv(tensors: Tensors, config: Config, wanted: int, *, pool: bool) -> Result:
    old, dim = int(config["num_key_value_heads"]), int(config["head_dim"])
    if (old % wanted if pool else wanted % old) or wanted < 1:
        raise UsageError(
            f"cannot turn {old} kv heads into {wanted}",
            reason="the larger number must be a multiple of the smaller",
            next_step="choose a divisor to pool, a multiple to repeat",
        )
    out = dict(tensors)
    for name, value in tensors.items():
        if ".self_attn.k_proj." in name or ".self_attn.v_proj." in name:
            heads = value.reshape(old, dim, -1)
            pooled = heads.reshape(wanted, old // wanted, dim, -1).mean(1) if pool else None
            new = np.repeat(heads, wanted // old, axis=0) if pooled is None else pooled
            out[name] = new.reshape(wanted * dim, *value.shape[1:]).astype(np.float32)
    return out, {**config, "num_key_value_heads": wanted}


def _of_layer(tensors: Tensors, layer: int) -> dict[str, Array]:
    at = layer_prefix(layer)
    return {name.removeprefix(at): value for name, value in tensors.items() if name.startswith(at)}


def _blocks(tensors: Tensors, layer: int, *, dense: bool) -> list[Ffn]:
    if (f"{layer_prefix(layer)}mlp.gate_proj.weight" in tensors) != dense:
        raise UsageError(
            f"layer {layer} does not have the feed-forward block this change needs",
            reason=f"it must be {'dense' if dense else 'a mixture of experts'}",
            next_step="start from a dense Llama to upcycle, from a Mixtral to take an expert out",
        )
    return ffn_blocks(tensors, layer)


def _noisy(value: Array, level: float, generator: np.random.Generator) -> Array:
    noise = level * float(value.std()) * generator.standard_normal(value.shape, dtype=np.float32)
    return (value + noise).astype(np.float32)


def _subset(generator: np.random.Generator, count: int, wanted: int, what: str) -> Index:
    if not 0 < wanted <= count:
        raise UsageError(
            f"cannot keep {wanted} of {count} {what}",
            reason="the number to keep must lie between 1 and what there is",
            next_step=f"ask for at most {count}",
        )
    return np.sort(generator.permutation(count)[:wanted])
