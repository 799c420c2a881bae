"""Reading a config: the many spellings of one setting, nested configs of towers, and GGUF's key-value data.

A setting may be missing or null: then it is inferred from shapes, or left unknown, and said. A setting that is
there and is no number, word or switch where it should be one is an error: to pass over it would be to guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from filiation.anatomy.families import wrapped_by
from filiation.anatomy.wrapped import usual_type
from filiation.errors import CorruptCheckpointError

Config = Mapping[str, Any]
Keys = Mapping[str, str | tuple[str, ...]]

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "d_model": ("hidden_size", "n_embd", "d_model", "embed_dim", "dim"),
    "n_layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "depth", "encoder_layers"),
    "n_heads": ("num_attention_heads", "n_head", "num_heads", "n_heads", "encoder_attention_heads"),
    "n_kv_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv", "n_kv_heads", "multi_query_group_num"),
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
    "topk_group": "expert_group_used_count",
    "num_experts_per_tok": "expert_used_count",
    "norm_topk_prob": "expert_weights_norm",
    "routed_scaling_factor": "expert_weights_scale",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "layer_norm_eps": "attention.layer_norm_epsilon",
    "use_parallel_residual": "use_parallel_residual",
    "embedding_multiplier": "embedding_scale",
    "residual_multiplier": "residual_scale",
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
    """What a config says of one tower; None where it says nothing.

    ``keys`` tells which key of the config a setting was read from. Sizes may be 0 where a tower may have none of
    the thing (heads, neurons); experts and groups of 0 are None.
    """

    d_model: int | None = None
    n_layers: int | None = None
    n_heads: int | None = None
    n_kv_heads: int | None = None
    d_head: int | None = None
    d_ff: int | None = None
    vocab: int | None = None
    n_experts: int | None = None
    expert_groups: int | None = None
    rope_theta: float | None = None
    tied: bool | None = None
    keys: Mapping[str, str] = field(default_factory=dict[str, str])


def settings_of(config: Config, keys: Keys, ignore: Sequence[str]) -> Settings:
    """Return the settings of one tower.

    Args:
        config: that tower's config.
        keys: settings whose keys are not those of :data:`SPELLINGS`; none for what its code does not read.
        ignore: settings to leave unread.

    Raises:
        CorruptCheckpointError: a value is of the wrong type.
    """
    values: dict[str, Any] = {}
    read: dict[str, str] = {}
    for setting, usual in SPELLINGS.items():
        if setting in ignore or setting == "activation":
            continue
        spellings = _spelled(setting, keys, usual)
        found = first_of(config, spellings, _WANTED.get(setting, COUNT))
        if found is not None:
            read[setting], values[setting] = found
    for setting in ("n_experts", "expert_groups"):
        values[setting] = values.get(setting) or None
    if values.get("rope_theta") is None and keys.get("rope_theta") != ():
        values["rope_theta"] = _nested_theta(config)
    return Settings(**values, keys=read)


def _spelled(setting: str, keys: Keys, usual: Sequence[str]) -> Sequence[str]:
    found = keys.get(setting, usual)
    return (found,) if isinstance(found, str) else found


def stated_layers(config: Config, keys: Keys, ignore: Sequence[str]) -> int | None:
    """Return how many layers the config says there are; None where it does not say (or no number)."""
    if "n_layers" in ignore:
        return None
    try:
        found = first_of(config, _spelled("n_layers", keys, SPELLINGS["n_layers"]), SIZE)
    except CorruptCheckpointError:
        return None  # told where the sizes are measured
    return found[1] if found else None


SIZE, COUNT, POSITIVE, NUMBER, SMALL, WORD, SWITCH = (
    "a whole number of at least 1",
    "a whole number",
    "a positive number",
    "a number",
    "a number from 0 to 0.1",
    "a word",
    "true or false",
)
"""What a setting has to be, in words."""
_WANTED: Mapping[str, str] = {
    "d_model": SIZE,
    "n_layers": SIZE,
    "vocab": SIZE,
    "rope_theta": POSITIVE,
    "tied": SWITCH,
}


def first_of(
    config: Config, spellings: Sequence[str], wanted: str, inside: str = ""
) -> tuple[str, Any] | None:
    """Return the first key that says something, and its value.

    One value for each layer is read where all are alike; where they differ there is no one value to read.

    Raises:
        CorruptCheckpointError: the value is not what is wanted.
    """
    for key in spellings:
        value = _plain(config.get(key))
        if value is None:
            continue
        several = cast(Sequence[Any], value) if isinstance(value, (list, tuple)) and value else [value]
        if not all(_is(item, wanted) for item in several):
            raise _wrong_type(inside + key, value, wanted)
        if all(item == several[0] for item in several):
            return key, _as(several[0], wanted)
    return None


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


_LARGEST = 1 << 48


def _is(value: Any, wanted: str) -> bool:
    if wanted == SWITCH:
        return isinstance(value, bool)
    if wanted == WORD:
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LARGEST:
        return False
    if wanted == SMALL:
        return 0 <= value <= 0.1
    if wanted == NUMBER or value <= -1:
        return wanted == NUMBER
    if wanted == POSITIVE:
        return value > 0
    return value == int(value) and value >= (wanted == SIZE)


def _as(value: Any, wanted: str) -> Any:
    return (
        float(value)
        if wanted in (POSITIVE, NUMBER, SMALL)
        else int(value)
        if wanted in (SIZE, COUNT)
        else value
    )


def _wrong_type(key: str, value: Any, wanted: str, file: str = "config.json") -> CorruptCheckpointError:
    shown = ascii(value) if len(ascii(value)) <= 60 else ascii(value)[:57] + "..."
    return CorruptCheckpointError(
        "The config cannot be used.",
        file=file,
        reason=f"Its {key} is {shown}, which is not {wanted}.",
        next_step=f"Correct {key}, or remove it to let it be inferred from the tensors.",
    )


def inner_map(config: Config, key: str) -> Config:
    """Return a map inside the config; an empty one where there is none.

    Raises:
        CorruptCheckpointError: what stands there is no map.
    """
    value = config.get(key)
    if isinstance(value, Mapping):
        return cast(Config, value)
    if value is None or value is False:
        return {}
    raise _wrong_type(key, value, "a map of settings")


def _nested_theta(config: Config) -> float | None:
    for key in ("rope_parameters", "rope_scaling"):
        found = first_of(inner_map(config, key), ("rope_theta",), POSITIVE, f"{key}.")
        if found is not None:
            return found[1]
    return None


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
    found = first_of(config, keys, SIZE)
    return found[1] if found else None


def token_types(config: Config) -> int | None:
    """Return how many kinds of tokens (BERT's segments) the config says there are."""
    found = first_of(config, ("type_vocab_size",), COUNT)
    return found[1] or None if found else None


def tower_config(config: Config | None, component: str) -> Config:
    """Return the config of ``component``: its own where a wrapper nests it, else the outer one for language.

    Loaders of a model of one tower read the top level alone (ADR 0024): what is nested there counts only where the
    model type is a wrapper's, or nobody's.
    """
    if config is None:
        return {}
    wraps = wrapped_by(types_of(config))
    if wraps is None or component in wraps:
        for nested in _nested(config, component):
            if wraps is None and component == "language" and _describes_itself(config):
                break
            return {**_outer(config), **nested, **_typed(config, nested, component)}
    # Before transformers 4.5x wrappers were flat: their top level is the language model's.
    flat = component in ("language", "encoder") or wraps == () or not _has_nested(config)
    return config if flat else {}


def _describes_itself(config: Config) -> bool:
    """Whether a config of a type that nobody knows is a plain model's: it nests no other tower, and has layers."""
    others = (_nested(config, component) for component in NESTED if component != "language")
    return stated_layers(config, {}, ()) is not None and not any(True for nested in others for _ in nested)


def _outer(config: Config) -> Config:
    """What a nested config inherits from its wrapper: whether the embeddings are tied."""
    return {key: config[key] for key in ("tie_word_embeddings",) if key in config}


def _typed(config: Config, nested: Config, component: str) -> Config:
    """What its wrapper's class makes of a nested config that says no type."""
    kind = usual_type(config.get("model_type"), component) if nested.get("model_type") is None else None
    return {} if kind is None else {"model_type": kind}


def _nested(config: Config, component: str) -> Iterator[Config]:
    for key in NESTED.get(component, ()):
        inner = inner_map(config, key) if key.endswith("_config") else config.get(key)
        if isinstance(inner, Mapping) and inner:
            yield from _nested(cast(Config, inner), component)
            yield cast(Config, inner)
    thinker = inner_map(config, "thinker_config")
    if thinker:
        yield from _nested(thinker, component)


def _has_nested(config: Config) -> bool:
    return any(isinstance(config.get(key), Mapping) for keys in NESTED.values() for key in keys)


def types_of(config: Config) -> tuple[str, ...]:
    """Return the model type and architectures a config names.

    Raises:
        CorruptCheckpointError: one of them is no word.
    """
    found: list[str] = []
    for key in ("model_type", "architectures"):
        value = config.get(key)
        if value is None:
            continue
        names = cast(Sequence[Any], value) if isinstance(value, (list, tuple)) else [value]
        if not all(isinstance(name, str) for name in names):
            raise _wrong_type(key, value, WORD)
        found += names
    return tuple(found)


def gguf_architecture(metadata: Mapping[str, Any]) -> str | None:
    """Return ``general.architecture``, or None where the checkpoint is not a GGUF file."""
    name = metadata.get("general.architecture")
    return name if isinstance(name, str) else None


def own_settings(config: Config | None, metadata: Mapping[str, Any], component: str) -> Config:
    """Return a tower's own settings: the config's, or those that a GGUF file's key-value data say."""
    architecture = gguf_architecture(metadata)
    told = config if architecture is None else config_from_gguf(metadata, architecture)
    return tower_config(told, component)


def config_from_gguf(
    metadata: Mapping[str, Any], architecture: str, file: str = "the GGUF file"
) -> dict[str, Any]:
    """Return GGUF's key-value data in the words of a config.json.

    Raises:
        CorruptCheckpointError: a value of ``file`` is of the wrong type.
    """
    config: dict[str, Any] = {"model_type": architecture}
    for key, gguf_key in GGUF_KEYS.items():
        value = metadata.get(f"{architecture}.{gguf_key}")
        if value is not None:
            config[key] = value
            try:
                settings_of({key: value}, {}, ())
            except CorruptCheckpointError as error:
                name = f"{architecture}.{gguf_key}"
                raise _wrong_type(name, _plain(value), _wanted_of(key), file) from error
    tokens = metadata.get("tokenizer.ggml.tokens")
    if "vocab_size" not in config and isinstance(tokens, Sequence) and not isinstance(tokens, str):
        config["vocab_size"] = len(tokens)
    return config


def _wanted_of(key: str) -> str:
    setting = next((name for name, keys in SPELLINGS.items() if key in keys), "")
    return _WANTED.get(setting, COUNT)
