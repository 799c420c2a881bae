"""Settings that differ while the weights agree: rotary base, context length, tied head, norm epsilon ..."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from filiation.anatomy.activation import UNKNOWN
from filiation.anatomy.config import SPELLINGS
from filiation.anatomy.families import of_type
from filiation.anatomy.model import Anatomy
from filiation.evidence import Derivation

#: Config keys that say how a model is stored, named or sized, or that no forward pass reads.
_OTHER_STEPS = frozenset(
    {
        *("architectures", "model_type", "auto_map", "torch_dtype", "dtype", "transformers_version"),
        *(
            "quantization_config",
            "compression_config",
            "use_cache",
            "initializer_range",
            "initializer_factor",
        ),
        *(
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
        ),
        *(
            "head_dim",
            "vocab_size",
            "num_local_experts",
            "num_experts",
            "n_routed_experts",
            "n_embd",
            "n_layer",
        ),
        *("n_head", "n_inner", "d_model", "d_ff", "num_layers", "num_heads", "moe_intermediate_size"),
        *("router_aux_loss_coef", "output_router_logits", "router_jitter_noise", "output_attentions"),
        *(
            "output_hidden_states",
            "return_dict",
            "id2label",
            "label2id",
            "problem_type",
            "task_specific_params",
        ),
    }
)
_GEOMETRY = {"tie_word_embeddings": "tied_embeddings"}
_KINDS = ("rope_theta", "tied_embeddings", "activation", "norm", "norm_position", "positions", "rope")


def settings_step(suspect: Anatomy, candidate: Anatomy, component: str) -> Derivation | None:
    """Return the settings that both models have and that differ; None where none do."""
    changed: dict[str, Any] = {}
    mine, theirs = suspect.geometry[component], candidate.geometry[component]
    guessed = _of_no_family(suspect) or _of_no_family(candidate)
    for name in _KINDS:
        if name == "rope" and guessed:
            continue
        a, b = getattr(mine, name), getattr(theirs, name)
        if None not in (a, b) and UNKNOWN not in (a, b) and not _equal(a, b):
            changed[name] = {"from": b, "to": a}
    changed |= _config_changes(suspect.checkpoint.config, candidate.checkpoint.config, changed)
    return Derivation("settings_changed", {"settings": dict(sorted(changed.items()))}) if changed else None


def _of_no_family(model: Anatomy) -> bool:
    """Tell whether a config names a kind of model that no family is of.

    Its parts were then named by the family whose names it has; in which order its code turns the rotary pairs is not
    known from that (a Llama converted to latent attention has DeepSeek's names and its own order).
    """
    config = model.checkpoint.config or {}
    inner = config.get("text_config")
    words = [c.get("model_type") for c in (config, inner) if isinstance(c, Mapping)]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return any(words) and not any(of_type(word) for word in words if word)


def _config_changes(
    mine: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None, known: Mapping[str, Any]
) -> dict[str, Any]:
    if mine is None or theirs is None:
        return {}
    changed: dict[str, Any] = {}
    for key in sorted(set(mine) & set(theirs)):
        if key in _OTHER_STEPS or key.startswith("_") or _spelled(key) in known:
            continue
        a, b = mine[key], theirs[key]
        if not _equal(a, b) and _is_plain(a) and _is_plain(b):
            changed[key] = {"from": b, "to": a}
    return changed


def _spelled(key: str) -> str:
    """Return the geometry's word for a config key."""
    return "activation" if key in SPELLINGS["activation"] else _GEOMETRY.get(key, key)


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(v) for v in value.values())  # pyright: ignore[reportUnknownVariableType]
    return value is None or isinstance(value, str | bool | int | float)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=1e-5)
    return a == b
