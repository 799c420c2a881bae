"""Reading a config: the many spellings of one setting, nested configs of towers, and GGUF's key-value data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

Config = Mapping[str, Any]

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "d_model": ("hidden_size", "n_embd", "d_model", "embed_dim", "dim"),
    "n_layers": (
        "num_hidden_layers",
        "n_layer",
        "num_layers",
        "n_layers",
        "depth",
        "encoder_layers",
    ),
    "n_heads": ("num_attention_heads", "n_head", "num_heads", "n_heads", "encoder_attention_heads"),
    "n_kv_heads": (
        "num_key_value_heads",
        "num_kv_heads",
        "n_head_kv",
        "n_kv_heads",
        "multi_query_group_num",
    ),
    "d_head": ("head_dim", "kv_channels", "attention_head_dim", "d_kv"),
    "d_ff": (
        "intermediate_size",
        "ffn_dim",
        "n_inner",
        "ffn_hidden_size",
        "d_ff",
        "hidden_dim",
        "encoder_ffn_dim",
    ),
    "vocab": ("vocab_size", "padded_vocab_size"),
    "n_experts": ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts"),
    "expert_groups": ("n_group", "num_expert_groups", "num_groups"),
    "activation": (
        "hidden_act",
        "hidden_activation",
        "activation_function",
        "feed_forward_proj",
        "activation",
    ),
    "rope_theta": ("rope_theta", "rotary_emb_base"),
    "tied": ("tie_word_embeddings", "tie_embeddings"),
}
"""Setting -> the keys it goes by in config.json files, in order of trust."""

GGUF_KEYS: Mapping[str, str] = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "v_head_dim": "attention.value_length",
    "intermediate_size": "feed_forward_length",
    "moe_intermediate_size": "expert_feed_forward_length",
    "vocab_size": "vocab_size",
    "num_experts": "expert_count",
    "n_group": "expert_group_count",
    "rope_theta": "rope.freq_base",
    "kv_lora_rank": "attention.kv_lora_rank",
    "max_alibi_bias": "attention.max_alibi_bias",
}
"""config.json key -> GGUF key, after the architecture's name."""

NESTED: Mapping[str, tuple[str, ...]] = {
    "language": ("text_config", "llm_config", "language_config", "decoder"),
    "vision": ("vision_config", "vision_tower_config", "visual", "vit_config"),
    "audio": ("audio_config", "audio_encoder_config", "speech_config"),
}
"""Component -> the keys that may hold its own config inside a wrapper's."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a config says of one tower; None where it says nothing."""

    d_model: int | None = None
    n_layers: int | None = None
    n_heads: int | None = None
    n_kv_heads: int | None = None
    d_head: int | None = None
    d_ff: int | None = None
    vocab: int | None = None
    n_experts: int | None = None
    expert_groups: int | None = None
    activation: str | None = None
    rope_theta: float | None = None
    tied: bool | None = None


def settings_of(config: Config, keys: Mapping[str, str], ignore: Sequence[str]) -> Settings:
    """Return the settings of one tower.

    Args:
        config: that tower's config.
        keys: settings whose key is not one of :data:`SPELLINGS`.
        ignore: settings to leave unread.
    """
    values: dict[str, Any] = {}
    for setting in (field.name for field in fields(Settings)):
        if setting in ignore:
            continue
        spellings = (keys[setting],) if setting in keys else SPELLINGS[setting]
        values[setting] = _first(config, spellings, _KINDS[setting])
    if values.get("rope_theta") is None:
        values["rope_theta"] = _nested_theta(config)
    return Settings(**values)


_SPECIAL: Mapping[str, type] = {"activation": str, "rope_theta": float, "tied": bool}
_KINDS = {field.name: _SPECIAL.get(field.name, int) for field in fields(Settings)}


def _first(config: Config, spellings: Sequence[str], kind: type) -> Any:
    for key in spellings:
        value = _as(config.get(key), kind)
        if value is not None:
            return value
    return None


def _as(value: Any, kind: type) -> Any:
    """Return ``value`` as ``kind`` where it is one; a config is written by strangers and may hold anything."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, (list, tuple)) and value and all(item == value[0] for item in value):
        value = value[0]  # one number for each layer, all alike
    if kind is bool:
        return value if isinstance(value, bool) else None
    if kind is str:
        return value if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    if kind is float:
        return float(value)
    return int(value) if value == int(value) and value > 0 else None


def _nested_theta(config: Config) -> float | None:
    parameters = config.get("rope_parameters") or config.get("rope_scaling")
    return _as(parameters.get("rope_theta"), float) if isinstance(parameters, Mapping) else None


def longest_sequence(config: Config) -> int | None:
    """Return for how many places the config says there are positions."""
    keys = (
        "max_position_embeddings",
        "n_positions",
        "n_ctx",
        "max_seq_len",
        "max_sequence_length",
        "seq_length",
    )
    return _first(config, keys, int)


def token_types(config: Config) -> int | None:
    """Return how many kinds of tokens (BERT's segments) the config says there are."""
    return _first(config, ("type_vocab_size",), int)


def tower_config(config: Config | None, component: str) -> Config:
    """Return the config of ``component``: its own where a wrapper nests it, else the outer one for language."""
    if config is None:
        return {}
    for nested in _nested(config, component):
        return {**_outer(config), **nested}
    # Before transformers 4.5x wrappers were flat: their top level is the language model's.
    return config if component in ("language", "encoder") or not _has_nested(config) else {}


def _outer(config: Config) -> Config:
    """What a nested config inherits from its wrapper: whether the embeddings are tied."""
    return {key: config[key] for key in ("tie_word_embeddings",) if key in config}


def _nested(config: Config, component: str) -> Iterator[Config]:
    for key in NESTED.get(component, ()):
        inner = config.get(key)
        if isinstance(inner, Mapping):
            yield from _nested(inner, component)
            yield inner
    thinker = config.get("thinker_config")
    if isinstance(thinker, Mapping):
        yield from _nested(thinker, component)


def _has_nested(config: Config) -> bool:
    return any(isinstance(config.get(key), Mapping) for keys in NESTED.values() for key in keys)


def types_of(config: Config) -> tuple[str, ...]:
    """Return the model type and architectures a config names."""
    found: list[str] = []
    if isinstance(config.get("model_type"), str):
        found.append(config["model_type"])
    architectures = config.get("architectures")
    if isinstance(architectures, (list, tuple)):
        found += [name for name in architectures if isinstance(name, str)]
    return tuple(found)


def gguf_architecture(metadata: Mapping[str, Any]) -> str | None:
    """Return ``general.architecture``, or None where the checkpoint is not a GGUF file."""
    name = metadata.get("general.architecture")
    return name if isinstance(name, str) else None


def config_from_gguf(metadata: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """Return GGUF's key-value data in the words of a config.json."""
    config: dict[str, Any] = {"model_type": architecture}
    for key, gguf_key in GGUF_KEYS.items():
        value = metadata.get(f"{architecture}.{gguf_key}")
        if value is not None:
            config[key] = value
    tokens = metadata.get("tokenizer.ggml.tokens")
    if "vocab_size" not in config and isinstance(tokens, Sequence) and not isinstance(tokens, str):
        config["vocab_size"] = len(tokens)
    return config
