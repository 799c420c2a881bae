"""Where loaders look for the layers of a model, by what its config calls it (ADR 0021).

Loaders look names up, so what stands under another path is not read. These are facts about transformers' classes, the
names that their older versions wrote, and some models' own code.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from filiation.anatomy import config as configs
from filiation.anatomy.families import base_of, families, squashed
from filiation.anatomy.tables import Config, Path
from filiation.anatomy.towers import Tower, component_of

_ROOTS: Mapping[str, tuple[str, ...]] = {
    "gpt2": ("transformer",),
    "gpt_bigcode": ("transformer",),
    "gpt_neo": ("transformer",),
    "gptj": ("transformer",),
    "codegen": ("transformer",),
    "bloom": ("transformer",),
    "falcon": ("transformer",),
    "RefinedWeb": ("transformer",),
    "RefinedWebModel": ("transformer",),
    "mpt": ("transformer",),
    "qwen": ("transformer",),
    "phi-msft": ("transformer",),
    "mixformer-sequential": ("transformer",),
    "chatglm": ("transformer", "transformer.encoder"),
    "opt": ("model.decoder",),
    "hf_olmo": ("model.transformer",),
    "albert": ("albert",),
    "bert": ("bert",),
    "camembert": ("roberta",),
    "distilbert": ("distilbert",),
    "electra": ("electra",),
    "gpt_neox": ("gpt_neox",),
    "clip_text_model": ("text_model",),
    "siglip_text_model": ("text_model",),
    "mpnet": ("mpnet",),
    "roberta": ("roberta",),
    "rwkv": ("rwkv",),
    "t5": ("",),
    "mt5": ("",),
    "umt5": ("",),
    "longt5": ("",),
    "xlm-roberta": ("roberta",),
    "xlm-roberta-xl": ("roberta",),
}
"""Model type -> the paths above its layer list, where they are not ``model``; an empty one for none."""

_USUAL = ("language_model", "model.language_model")
_FLAT_TOO = (*_USUAL, "model")
_TEXT = ("text_model", "model.text_model")
_HEADS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            *("aria", "aya_vision", "blip-2", "cohere2_vision", "deepseek_vl", "deepseek_vl_hybrid", "fuyu"),
            *(
                "gemma3",
                "gemma3n",
                "gemma4",
                "got_ocr2",
                "granite_speech",
                "instructblip",
                "instructblipvideo",
            ),
            *("internvl", "internvl_chat", "janus", "kimi_vl", "lfm2_vl", "llama4", "llava", "llava_next"),
            *("llava_next_video", "llava_onevision", "mistral3", "mllama", "multi_modality", "ovis2"),
            *("paligemma", "perception_lm", "qwen2_audio", "qwen3_vl", "qwen3_vl_moe", "video_llava"),
            *("vipllava", "voxtral"),
        ),
        _USUAL,
    ),
    **dict.fromkeys(
        ("glm4v", "glm4v_moe", "ernie4_5_vl_moe", "paddleocr_vl", "qwen2_vl", "qwen2_5_vl"), _FLAT_TOO
    ),
    **dict.fromkeys(("emu3", "idefics2", "idefics3", "kosmos-2", "smolvlm"), _TEXT),
    **dict.fromkeys(("clip", "siglip", "siglip2", "clipseg", "owlvit", "owlv2", "groupvit"), ("text_model",)),
    **dict.fromkeys(("minicpmv", "minicpmo", "ovis"), ("llm",)),
    "deepseek_vl_v2": ("language",),
    "qwen2_5_omni": ("thinker",),
    "qwen3_omni_moe": ("thinker",),
}
"""Type of a model of several towers -> the paths under which its language model stands, by itself or with its own."""

_WITH: Mapping[str, tuple[str, ...]] = {"qwen2_5_omni": ("talker",), "qwen3_omni_moe": ("talker",)}
"""The same of further language models that such a model has beside it."""


def roots_of(tower: Tower, config: Config | None) -> frozenset[str] | None:
    """Return the paths above a main stack that loaders of this config read; None where that is not known."""
    if is_gguf(tower):
        return frozenset({""})
    if not config:
        return None
    heads = _heads(config)
    if heads is not None:
        inner = _own(tower.config) or ("model",)
        roots = {*heads} | {f"{head}.{root}" for head in heads for root in inner if root}
        # Before there were nested configs the language model stood where a plain one does.
        return frozenset(roots | ({"model"} if is_flat(config) else set()))
    own = _own(config)
    return None if own is None else frozenset(own)


def stands_beside(root: Path, config: Config | None) -> bool:
    """Whether a path is that of a further language model that a wrapper of this type has."""
    words = () if not config else _types(config)
    return any(root[:1] == (head,) for word in words for head in _WITH.get(word, ()))


def is_gguf(tower: Tower) -> bool:
    """Whether a tower has the names of GGUF files, which are read as they stand."""
    return tower.family.container.split(".")[-1] == "blk"


def builds(component: str, config: Config | None) -> bool:
    """Whether loaders may build a tower of a kind; those of a plain language model build no other."""
    if not config or _heads(config) is not None or _own(config) is None:
        return True
    if any(f.component == component for f in families() if {*_types(config)} & {*f.model_types}):
        return True
    nested = (key for key, value in config.items() if isinstance(value, Mapping) and value)
    return _may_nest(config) and any(component_of((key,)) == component for key in nested)


def is_plain(config: Config | None) -> bool:
    """Whether a config names a model of one tower; what it nests is not read then."""
    if not config or _heads(config) is not None or _own(config) is None:
        return False
    return is_flat(config) or not _may_nest(config)


def _may_nest(config: Config) -> bool:
    """Whether models of several towers were published under a type of one: those nest the settings of the others."""
    return any(word in family.wraps for word in _types(config) for family in families())


def is_flat(config: Config) -> bool:
    """Whether a config nests no tower's own."""
    return configs.tower_config(config, "vision") is config


def _heads(config: Config) -> tuple[str, ...] | None:
    return next((_HEADS[word] for word in _types(config) if word in _HEADS), None)


def _own(config: Config) -> tuple[str, ...] | None:
    """Return where the layers of the model stand that a config names; None where no table knows it."""
    word = next((word for word in _types(config) if word in _language_types()), None)
    return None if word is None else _ROOTS.get(word, ("model",))


def _types(config: Config) -> tuple[str, ...]:
    """Return the model type, as loaders do; where there is none, what the architectures are of."""
    kind = config.get("model_type")
    if isinstance(kind, str):
        return (kind,)
    named = {base_of(word) for word in configs.types_of(config)}
    return tuple(sorted(t for t in {*_HEADS, *_language_types()} if squashed(t) in named))


@cache
def _language_types() -> frozenset[str]:
    return frozenset(t for family in families() if family.component == "language" for t in family.model_types)
