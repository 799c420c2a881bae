"""Settings beside a tower's sizes: of routing, norms, scales and positions. Those who ask for one read it here.

A family's code reads some of them and passes over others, and so does whoever asks; a value that nobody reads may be
anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from filiation.anatomy.config import (
    COUNT,
    NUMBER,
    SMALL,
    SWITCH,
    WORD,
    Config,
    first_of,
    inner_map,
    types_of,
)
from filiation.anatomy.families import families, of_type
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
    asked: Iterable[str] = family.further if known else (*_WANTED, _ATTENTION)
    if known:
        epsilon_of(config, is_gguf=False)
    for key in asked:
        if key == _ATTENTION:
            attention = inner_map(config, key)
            for name in ("alibi", "rope"):
                first_of(attention, (name,), SWITCH, f"{key}.")
        else:
            stated(config, key)


_USUAL_EPSILON: Mapping[str, float] = {
    **dict.fromkeys(("bert", "roberta", "camembert", "xlm-roberta", "electra", "mpnet", "albert"), 1e-12),
    "distilbert": 1e-12,
    **dict.fromkeys(("glm", "glm4"), 1.5625e-7),
    **dict.fromkeys(("gpt2", "gpt_bigcode", "gpt_neo", "gptj", "codegen", "bloom", "falcon", "mpt"), 1e-5),
    **dict.fromkeys(("mixtral", "ernie4_5", "hunyuan_v1_dense", "arcee", "minicpm3", "glm4_moe"), 1e-5),
    **dict.fromkeys(("gpt_oss", "llama4_text", "apertus", "olmo", "olmo2", "olmo3", "olmoe"), 1e-5),
    **dict.fromkeys(("exaone4", "phi", "phi3", "phimoe", "qwen2_vl_text", "qwen2_5_vl_text"), 1e-5),
    **dict.fromkeys(("xlm-roberta-xl", "clip_vision_model", "clip_text_model", "stablelm"), 1e-5),
    **dict.fromkeys(("cohere", "cohere2", "gpt_neox", "persimmon", "rwkv", "modernbert", "nemotron"), 1e-5),
    **dict.fromkeys(("starcoder2", "opt", "whisper", "qwen2_audio_encoder", "pixtral", "chatglm"), 1e-5),
    **dict.fromkeys(("hf_olmo", "phi-msft", "RefinedWeb", "RefinedWebModel"), 1e-5),
}
"""Model type -> what its norms add where its config says nothing, or whatever it says; of others a millionth."""


def epsilon_of(config: Config, *, is_gguf: bool) -> float:
    """Return what norms add to the mean square, as the code of a config's model type reads it.

    No norm adds more than a tenth: a hundred times what any known one does would drown what it normalises. Where the
    code of a family reads such a number the file is refused. Of several keys of which nobody knows which one is read
    it is the least that can be meant, and 0 where nobody says.

    Args:
        config: a tower's own.
        is_gguf: whether it holds a GGUF file's key-value data.

    Raises:
        CorruptCheckpointError: what is read is no such number.
    """
    keys = _epsilon_keys(config, is_gguf=is_gguf)
    if keys is not None:
        found = first_of(config, keys, SMALL)
        usual = 0.0 if is_gguf else _USUAL_EPSILON.get(str(config.get("model_type")), 1e-6)
        return found[1] if found else usual
    every = (stated(config, key) for key in EPSILONS)
    return min((value for value in every if value is not None and 0 <= value <= 0.1), default=0.0)


def _epsilon_keys(config: Config, *, is_gguf: bool) -> tuple[str, ...] | None:
    """Return the keys that the code of a config's model type reads; None where that is not known."""
    kind = config.get("model_type")
    if is_gguf:
        norms = {family.kinds.norm for family in families() if kind in family.gguf}
        return (f"{'rms' if norms == {'rms'} else 'layer'}_norm_eps",) if len(norms) == 1 else None
    known = of_type(kind)
    keys = known[0].keys.get("epsilon") if known else None
    return (keys,) if isinstance(keys, str) else keys
