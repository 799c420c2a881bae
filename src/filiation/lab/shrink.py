"""Models made smaller or sparser as published methods do it, by importance, and small edits.

Same convention as `filiation.lab.derive`: what is kept keeps its old order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from filiation.errors import UsageError
from filiation.lab.layout import (
    EMBEDDING,
    HEAD,
    Array,
    Config,
    Tensors,
    ffn_blocks,
    layer_count,
    layer_prefix,
    residual_axis,
    unit_tensors,
)

Result = tuple[Tensors, Config]
Index = npt.NDArray[np.int64]


def prune_ffn_by_norm(tensors: Tensors, config: Config, *, units: int) -> Result:
    """Keep the feed-forward units with the largest product of row and column norms (compare arXiv 2408.11796)."""
    out = dict(tensors)
    for layer in range(layer_count(config)):
        for block in ffn_blocks(tensors, layer):
            importance = np.linalg.norm(tensors[block.up + ".weight"], axis=1)
            importance = importance * np.linalg.norm(tensors[block.down + ".weight"], axis=0)
            keep = _largest(importance, units)
            for name, axis in unit_tensors(tensors, block):
                out[name] = np.ascontiguousarray(tensors[name].take(keep, axis=axis))
    return out, {**config, "intermediate_size": units}


def prune_residual_by_norm(tensors: Tensors, config: Config, *, channels: int) -> Result:
    """Keep the residual channels with the largest embedding columns (compare arXiv 2408.11796)."""
    keep = _largest(np.linalg.norm(tensors[EMBEDDING], axis=0), channels)
    out: Tensors = {}
    for name, value in tensors.items():
        axis = residual_axis(name)
        out[name] = value.copy() if axis is None else np.ascontiguousarray(value.take(keep, axis=axis))
    return out, {**config, "hidden_size": channels}


def prune_heads(tensors: Tensors, config: Config, *, groups: int) -> Result:
    """Keep the kv groups, with their query heads, whose output columns are largest (compare arXiv 1905.10650).

    Raises:
        UsageError: more groups are asked for than there are.
    """
    kv, dim = int(config["num_key_value_heads"]), int(config["head_dim"])
    width = int(config["num_attention_heads"]) // kv * dim
    out = dict(tensors)
    for layer in range(layer_count(config)):
        at = layer_prefix(layer) + "self_attn."
        columns = tensors[at + "o_proj.weight"].reshape(-1, kv, width)
        keep = _largest(np.linalg.norm(columns, axis=(0, 2)), groups)
        rows = (keep[:, None] * width + np.arange(width)).reshape(-1)
        kv_rows = (keep[:, None] * dim + np.arange(dim)).reshape(-1)
        for stem, order in (("q_proj", rows), ("k_proj", kv_rows), ("v_proj", kv_rows)):
            for kind in ("weight", "bias"):
                if (name := f"{at}{stem}.{kind}") in out:
                    out[name] = np.ascontiguousarray(out[name][order])
        out[at + "o_proj.weight"] = np.ascontiguousarray(tensors[at + "o_proj.weight"][:, rows])
    heads = int(config["num_attention_heads"]) // kv * groups
    return out, {**config, "num_key_value_heads": groups, "num_attention_heads": heads}


def two_of_four(tensors: Tensors, config: Config) -> Result:
    """Zero the two smallest of every four neighbours in a row of every block matrix (arXiv 2104.08378)."""
    out: Tensors = {}
    for name, value in tensors.items():
        out[name] = value.copy()
        if value.ndim == 2 and name not in (EMBEDDING, HEAD) and value.shape[1] % 4 == 0:
            fours = out[name].reshape(-1, 4)
            smallest = np.argsort(np.abs(fours), axis=1, kind="stable")[:, :2]
            np.put_along_axis(fours, smallest, 0.0, axis=1)
    return out, dict(config)


def remove_direction(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Project one direction out of everything that writes the residual stream (arXiv 2406.11717): rank one each."""
    rng = np.random.default_rng(seed)
    direction = rng.standard_normal(int(config["hidden_size"]))
    direction /= np.linalg.norm(direction)
    out: Tensors = {}
    for name, value in tensors.items():
        writes = value.ndim == 2 and residual_axis(name) == 0
        change = np.outer(direction, direction @ value.astype(np.float64)) if writes else 0
        out[name] = np.asarray(value - change, dtype=np.float32)
    return out, dict(config)


def replace_head(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Give the model a head of its own, drawn anew with the embedding's spread."""
    drawn = np.random.default_rng(seed).standard_normal(tensors[EMBEDDING].shape, dtype=np.float32)
    return {**tensors, HEAD: drawn * tensors[EMBEDDING].std()}, {**config, "tie_word_embeddings": False}


def set_config(tensors: Tensors, config: Config, **settings: object) -> Result:
    """Change the configuration alone (a rotary base, a context length)."""
    return {name: value.copy() for name, value in tensors.items()}, {**config, **settings}


def redraw_experts(tensors: Tensors, config: Config, *, experts: list[int], seed: int) -> Result:
    """Draw some experts of every layer anew, with the spread they had (compare arXiv 2502.19261)."""
    rng = np.random.default_rng(seed)
    out = dict(tensors)
    for name, value in tensors.items():
        if any(f".experts.{expert}." in name for expert in experts):
            out[name] = _drawn(value, rng)
    return out, dict(config)


def split_experts(tensors: Tensors, config: Config, *, experts: int, active: int, seed: int) -> Result:
    """Deal the feed-forward units of each layer out to experts (arXiv 2406.16554); none is copied."""
    rng = np.random.default_rng(seed)
    out = {name: value.copy() for name, value in tensors.items() if ".mlp." not in name}
    for layer in range(layer_count(config)):
        (block,) = ffn_blocks(tensors, layer)
        at = layer_prefix(layer) + "block_sparse_moe."
        parts = np.array_split(rng.permutation(tensors[block.gate + ".weight"].shape[0]), experts)
        out[at + "gate.weight"] = (0.05 * rng.standard_normal((experts, int(config["hidden_size"])))).astype(
            np.float32
        )
        for expert, part in enumerate(parts):
            keep, e = np.sort(part), f"{at}experts.{expert}."
            out[e + "w1.weight"] = tensors[block.gate + ".weight"][keep]
            out[e + "w3.weight"] = tensors[block.up + ".weight"][keep]
            out[e + "w2.weight"] = np.ascontiguousarray(tensors[block.down + ".weight"][:, keep])
    settings = {key: value for key, value in config.items() if key not in ("mlp_bias", "attention_bias")}
    settings |= {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "num_local_experts": experts,
        "num_experts_per_tok": active,
        "intermediate_size": int(config["intermediate_size"]) // experts,
        "router_aux_loss_coef": 0.02,
        "sliding_window": None,
    }
    return out, settings


def graft_tower(tensors: Tensors, config: Config, *, width: int = 48, layers: int = 2, seed: int) -> Result:
    """Put the model behind a vision tower and a projector, both drawn anew, under LLaVA's names (arXiv 2304.08485)."""
    rng = np.random.default_rng(seed)
    out = {f"language_model.{name}": value.copy() for name, value in tensors.items()}
    tower = "vision_tower.vision_model."
    shapes: dict[str, tuple[int, ...]] = {
        tower + "embeddings.class_embedding": (width,),
        tower + "embeddings.patch_embedding.weight": (width, 3, 8, 8),
        tower + "embeddings.position_embedding.weight": (17, width),
        "multi_modal_projector.linear_1.weight": (int(config["hidden_size"]), width),
        "multi_modal_projector.linear_1.bias": (int(config["hidden_size"]),),
        "multi_modal_projector.linear_2.weight": (int(config["hidden_size"]), int(config["hidden_size"])),
        "multi_modal_projector.linear_2.bias": (int(config["hidden_size"]),),
    }
    for layer in range(layers):
        at = f"{tower}encoder.layers.{layer}."
        for stem in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= {f"{at}self_attn.{stem}.weight": (width, width), f"{at}self_attn.{stem}.bias": (width,)}
        shapes |= {f"{at}mlp.fc1.weight": (2 * width, width), f"{at}mlp.fc1.bias": (2 * width,)}
        shapes |= {f"{at}mlp.fc2.weight": (width, 2 * width), f"{at}mlp.fc2.bias": (width,)}
        for norm in ("layer_norm1", "layer_norm2"):
            shapes |= {f"{at}{norm}.weight": (width,), f"{at}{norm}.bias": (width,)}
    for name, size in shapes.items():
        out[name] = (0.05 * rng.standard_normal(size)).astype(np.float32)
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
    }
    return out, {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "text_config": dict(config),
        "vision_config": vision,
        "image_token_index": 0,
    }


def _drawn(value: Array, rng: np.random.Generator) -> Array:
    return (rng.standard_normal(value.shape, dtype=np.float32) * value.std()).astype(np.float32)


def _largest(importance: npt.NDArray[np.floating], wanted: int) -> Index:
    if not 0 < wanted <= importance.size:
        raise UsageError(
            f"cannot keep {wanted} of {importance.size}",
            reason="the number to keep must lie between 1 and what there is",
            next_step=f"ask for at most {importance.size}",
        )
    return np.sort(np.argsort(-importance, kind="stable")[:wanted])
