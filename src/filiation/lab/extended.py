"""Models whose blocks were given other parts: latent attention, biases, attention sinks, layers drawn anew.

Same convention as `filiation.lab.derive`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from filiation.errors import UsageError
from filiation.lab.layout import Array, Config, Tensors, layer_count, layer_prefix

Result = tuple[Tensors, Config]
Doubles = npt.NDArray[np.float64]
_PROJECTIONS = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)


def to_latent_attention(tensors: Tensors, config: Config, *, rank: int) -> Result:
    """Let keys and values of every layer come from one vector of `rank` numbers (compare arXiv 2502.07864, 2502.14837).

    The stacked k and v of all kv heads are replaced by their best approximation of that rank, under DeepSeek's names:
    `kv_a_proj_with_mqa` (rank, width) and `kv_b_proj`, of shape (heads * 2 * head_dim, rank), where each query head has
    its own copy of its group's k rows, then of its v rows. Nothing stands between the two, and positions turn the whole
    key after `kv_b_proj`, so that at full rank the function stays the same; a public loader has no such class, and
    conversions of this kind bring their own.

    Raises:
        UsageError: the rank is larger than k and v together have, or the projections have biases.
    """
    heads, kv = int(config["num_attention_heads"]), int(config["num_key_value_heads"])
    dim = int(config["head_dim"])
    if not 0 < rank <= min(2 * kv * dim, int(config["hidden_size"])):
        raise UsageError(
            f"keys and values cannot come from a vector of {rank} numbers",
            reason="they have fewer dimensions than that, or none was left",
            next_step=f"ask for at most {min(2 * kv * dim, int(config['hidden_size']))}",
        )
    out = dict(tensors)
    for layer in range(layer_count(config)):
        at = layer_prefix(layer) + "self_attn."
        if at + "k_proj.bias" in tensors or at + "v_proj.bias" in tensors:
            raise UsageError(
                f"layer {layer} cannot be given latent attention",
                reason="its keys or values have biases, which no vector of activations brings forth",
                next_step="start from a model without them",
            )
        k, v = (out.pop(f"{at}{which}_proj.weight") for which in "kv")
        down, up = _factors(np.concatenate([k, v]).astype(np.float64), rank)
        both = up.reshape(2, kv, dim, rank).transpose(1, 0, 2, 3)
        out[at + "kv_a_proj_with_mqa.weight"] = down.astype(np.float32)
        each = np.repeat(both, heads // kv, axis=0).reshape(heads * 2 * dim, rank)
        out[at + "kv_b_proj.weight"] = each.astype(np.float32)
    return out, _latent_settings(config, heads, dim, rank)


def _factors(value: Doubles, rank: int) -> tuple[Doubles, Doubles]:
    """Return `down` (rank, columns) and `up` (rows, rank) of equal norms, the best product of this rank."""
    u, s, vt = np.linalg.svd(value, full_matrices=False)
    root = np.sqrt(s[:rank])
    return root[:, None] * vt[:rank], u[:, :rank] * root


def _latent_settings(config: Config, heads: int, dim: int, rank: int) -> Config:
    return {
        **config,
        "architectures": ["LlamaMLAForCausalLM"],
        "model_type": "llama_mla",
        "num_key_value_heads": heads,
        "kv_lora_rank": rank,
        "q_lora_rank": None,
        "qk_nope_head_dim": dim,
        "qk_rope_head_dim": 0,
        "v_head_dim": dim,
    }


def add_biases(tensors: Tensors, config: Config) -> Result:
    """Give every projection of every block a bias of zeros, as training with biases begins. The function stays."""
    out = dict(tensors)
    for layer in range(layer_count(config)):
        for stem in _PROJECTIONS:
            name = layer_prefix(layer) + stem
            if name + ".weight" in tensors:
                out.setdefault(name + ".bias", np.zeros(len(tensors[name + ".weight"]), dtype=np.float32))
    return out, {**config, "attention_bias": True, "mlp_bias": True}


def add_sinks(tensors: Tensors, config: Config, *, level: float = 0.0) -> Result:
    """Give every query head a sink: a score of its own that takes a share of the attention (arXiv 2508.10925).

    Args:
        level: the score each begins with. The lower, the less the function changes.
    """
    out = dict(tensors)
    for layer in range(layer_count(config)):
        sinks = np.full(int(config["num_attention_heads"]), level, dtype=np.float32)
        out[layer_prefix(layer) + "self_attn.sinks"] = sinks
    return out, {**config, "architectures": ["LlamaSinkForCausalLM"], "model_type": "llama_sink"}


def redraw_layers(tensors: Tensors, config: Config, *, layers: Sequence[int], seed: int) -> Result:
    """Draw some layers anew: matrices with the spread they had, gains of one, biases of zero.

    Raises:
        UsageError: a layer that the model does not have.
    """
    if wrong := [layer for layer in layers if not 0 <= layer < layer_count(config)]:
        raise UsageError(
            f"cannot draw layers {list(layers)} anew",
            reason=f"layers {wrong} do not exist",
            next_step=f"name layers from 0 to {layer_count(config) - 1}",
        )
    generator = np.random.default_rng(seed)
    chosen = tuple(layer_prefix(layer) for layer in layers)
    return {
        name: _fresh(name, value, generator) if name.startswith(chosen) else value.copy()
        for name, value in tensors.items()
    }, dict(config)


def _fresh(name: str, value: Array, generator: np.random.Generator) -> Array:
    if value.ndim == 1:
        return np.full_like(value, 0.0 if name.endswith(".bias") else 1.0)
    return generator.standard_normal(value.shape, dtype=np.float32) * value.std()
