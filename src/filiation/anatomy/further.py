"""Settings beside a tower's sizes: of routing, norms, scales and positions. Those who ask for one read it here.

A family's code reads some of them and passes over others, and so does whoever asks; a value that nobody reads may be
anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from filiation.anatomy.config import COUNT, NUMBER, SWITCH, WORD, Config, first_of, inner_map, types_of
from filiation.anatomy.families import of_type
from filiation.anatomy.tables import Family

EXPERTS_USED = (
    *("num_experts_per_tok", "num_experts_per_token", "experts_per_token"),
    *("moe_topk", "moe_top_k", "top_k_experts", "moe_k"),
)
"""The keys of how many experts work on one token."""
EPSILONS = (
    "rms_norm_eps",
    "layer_norm_eps",
    "layer_norm_epsilon",
    "layernorm_epsilon",
    "norm_epsilon",
    "norm_eps",
)
"""The keys of what norms add to the mean square."""
_WANTED: Mapping[str, str] = {
    "alibi": SWITCH,
    "multi_query": SWITCH,
    "do_layer_norm_before": SWITCH,
    "position_embedding_type": WORD,
    **dict.fromkeys(EXPERTS_USED, COUNT),
    **dict.fromkeys(EPSILONS, NUMBER),
    "norm_topk_prob": SWITCH,
    "routed_scaling_factor": NUMBER,
    "topk_group": COUNT,
    "scoring_func": WORD,
    "topk_method": WORD,
    "use_parallel_residual": SWITCH,
    "parallel_attn": SWITCH,
    "new_decoder_architecture": SWITCH,
    "embedding_multiplier": NUMBER,
    "residual_multiplier": NUMBER,
    "scale_emb": NUMBER,
    "scale_depth": NUMBER,
}
_ATTENTION = "attn_config"


def stated(config: Config, *keys: str) -> Any:
    """Return what a config says under the first of these keys that says something; None where none does.

    Args:
        keys: of one kind of setting, that is none of :data:`~filiation.anatomy.config.SPELLINGS`.

    Raises:
        CorruptCheckpointError: the value is of the wrong type.
    """
    found = first_of(config, keys, _WANTED[keys[0]]) if keys else None
    return None if found is None else found[1]


def check_further(config: Config, family: Family) -> None:
    """Refuse a config whose settings are of the wrong type, as far as the family's code reads them.

    Nobody knows what the code of a type reads that no table has: there all of them are looked at.

    Raises:
        CorruptCheckpointError: the value is of the wrong type.
    """
    known = {*family.model_types, *family.architectures} & {*types_of(config)}
    asked: Iterable[str] = (*family.further, *epsilon_keys(config)) if known else (*_WANTED, _ATTENTION)
    for key in asked:
        if key == _ATTENTION:
            attention = inner_map(config, key)
            for name in ("alibi", "rope"):
                first_of(attention, (name,), SWITCH, f"{key}.")
        else:
            stated(config, key)


def epsilon_keys(config: Config) -> tuple[str, ...]:
    """Return the keys of what norms add to the mean square, as the code of a config's model type reads them."""
    families = of_type(config.get("model_type"))
    keys = families[0].keys.get("epsilon", EPSILONS) if families else EPSILONS
    return (keys,) if isinstance(keys, str) else tuple(keys)
