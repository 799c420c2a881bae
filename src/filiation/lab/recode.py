"""The same weights stored in another way: other names, fused projections, coarser numbers.

Same convention as `filiation.lab.derive`: tensors and config in, tensors and config out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from filiation.lab.layout import Array, Config, Tensors, layer_count, layer_prefix

Result = tuple[Tensors, Config]

# Patterns and what they become, tried in this order. The norms are named as in Yi's first release.
HOUSE_NAMES: Mapping[str, str] = {
    r"^model\.embed_tokens\.": "decoder.tokens.",
    r"^model\.norm\.": "decoder.ln_out.",
    r"^lm_head\.": "output.",
    r"^model\.layers\.(\d+)\.input_layernorm\.": r"decoder.blocks.\1.ln1.",
    r"^model\.layers\.(\d+)\.post_attention_layernorm\.": r"decoder.blocks.\1.ln2.",
    r"^model\.layers\.(\d+)\.self_attn\.q_proj\.": r"decoder.blocks.\1.attn.query.",
    r"^model\.layers\.(\d+)\.self_attn\.k_proj\.": r"decoder.blocks.\1.attn.key.",
    r"^model\.layers\.(\d+)\.self_attn\.v_proj\.": r"decoder.blocks.\1.attn.value.",
    r"^model\.layers\.(\d+)\.self_attn\.o_proj\.": r"decoder.blocks.\1.attn.mix.",
    r"^model\.layers\.(\d+)\.mlp\.gate_proj\.": r"decoder.blocks.\1.ff.act.",
    r"^model\.layers\.(\d+)\.mlp\.up_proj\.": r"decoder.blocks.\1.ff.lift.",
    r"^model\.layers\.(\d+)\.mlp\.down_proj\.": r"decoder.blocks.\1.ff.drop.",
}


def rename(
    tensors: Tensors, config: Config, *, names: Mapping[str, str] = HOUSE_NAMES, model_type: str = "borealis"
) -> Result:
    """Give tensors other names and the config another architecture, weights untouched.

    Args:
        names: regular expressions and their replacements; the first that matches a name is used.
    """
    out = {_renamed(name, names): value.copy() for name, value in tensors.items()}
    architecture = f"{model_type.capitalize()}ForCausalLM"
    return out, {**config, "architectures": [architecture], "model_type": model_type}


def _renamed(name: str, names: Mapping[str, str]) -> str:
    for pattern, new in names.items():
        changed, count = re.subn(pattern, new, name)
        if count:
            return changed
    return name


def fuse_projections(tensors: Tensors, config: Config) -> Result:
    """Stack q, k, v into `qkv_proj` and gate, up into `gate_up_proj`, as Phi-3 stores them."""
    out = dict(tensors)
    for layer in range(layer_count(config)):
        attention, mlp = layer_prefix(layer) + "self_attn.", layer_prefix(layer) + "mlp."
        out[attention + "qkv_proj.weight"] = np.concatenate(
            [out.pop(f"{attention}{k}_proj.weight") for k in "qkv"]
        )
        parts = [out.pop(f"{mlp}{k}_proj.weight") for k in ("gate", "up")]
        out[mlp + "gate_up_proj.weight"] = np.concatenate(parts)
    return out, {**config, "architectures": ["Phi3ForCausalLM"], "model_type": "phi3"}


def add_dummies(tensors: Tensors, config: Config) -> Result:
    """Add tensors that nothing reads: a buffer in every layer and one beside the model."""
    extra: Tensors = {"model.unused_projection.weight": np.full((8, 8), 0.5, dtype=np.float32)}
    for name in tensors:
        if name.endswith("input_layernorm.weight"):
            extra[name.replace("input_layernorm.weight", "self_attn.unused_scale")] = np.ones(4, np.float32)
    return {**tensors, **extra}, dict(config)


def quantise(tensors: Tensors, config: Config, *, bits: int, group: int = 32) -> Result:
    """Round every matrix to a symmetric lattice of `bits` bits a value, one scale for `group` values of a row.

    The values are returned as float32, as a dequantised file would give them. A last group may be shorter.
    """
    out = {name: round_to_lattice(t, bits, group) if t.ndim == 2 else t.copy() for name, t in tensors.items()}
    return out, dict(config)


def round_to_lattice(matrix: Array, bits: int, group: int) -> Array:
    """Round a matrix (rows, columns) to `scale * {-(2^(bits-1) - 1) .. 2^(bits-1) - 1}`, absmax scales by group."""
    rows, columns = matrix.shape
    padded = np.pad(matrix, ((0, 0), (0, -columns % group))).reshape(rows, -1, group)
    largest = 2 ** (bits - 1) - 1
    scale = np.abs(padded).max(-1, keepdims=True) / largest
    steps = np.rint(np.divide(padded, scale, out=np.zeros_like(padded), where=scale > 0))
    return np.ascontiguousarray((steps * scale).reshape(rows, -1)[:, :columns].astype(np.float32))


# The sixteen levels of NormalFloat-4, from the appendix of arXiv 2305.14314.
NF4_LEVELS = np.array(
    [-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0,
     0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0],
    dtype=np.float32,
)  # fmt: skip


def quantise_nf4(tensors: Tensors, config: Config, *, block: int = 64) -> Result:
    """Round every matrix to NormalFloat-4 with one absmax scale for `block` values in row order."""
    out = {name: _nf4(t, block) if t.ndim == 2 else t.copy() for name, t in tensors.items()}
    return out, dict(config)


def _nf4(matrix: Array, block: int) -> Array:
    flat = np.pad(matrix.reshape(-1), (0, -matrix.size % block)).reshape(-1, block)
    scale = np.abs(flat).max(-1, keepdims=True)
    unit = np.divide(flat, scale, out=np.zeros_like(flat), where=scale > 0)
    nearest = np.abs(unit[..., None] - NF4_LEVELS).argmin(-1)
    return (NF4_LEVELS[nearest] * scale).reshape(-1)[: matrix.size].reshape(matrix.shape)
