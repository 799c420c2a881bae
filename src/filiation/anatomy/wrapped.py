"""What a tower is whose nested config does not say it: the type that the wrapper's class makes of it (ADR 0023)."""

from __future__ import annotations

from collections.abc import Mapping

_OF_LLAMA = ("deepseek_vl", "deepseek_vl_hybrid", "idefics3", "janus", "perception_lm", "smolvlm", "voxtral")
_OF_CLIP = ("llava", "llava_next", "llava_next_video", "video_llava", "vipllava")
_TEXT: Mapping[str, str] = {
    **dict.fromkeys((*_OF_LLAMA, *_OF_CLIP), "llama"),
    **dict.fromkeys(("got_ocr2", "internvl", "llava_onevision", "ovis2", "qwen2_audio"), "qwen2"),
    **dict.fromkeys(("idefics2", "mistral3"), "mistral"),
    **dict.fromkeys(("aya_vision", "cohere2_vision"), "cohere2"),
    **dict.fromkeys(("blip-2", "instructblip", "instructblipvideo"), "opt"),
    **{f"{kind}_vl": f"{kind}_vl_text" for kind in ("qwen2", "qwen2_5", "qwen3")},
    **{kind: f"{kind}_text" for kind in ("gemma3", "gemma3n", "llama4")},
    **{kind: f"{kind}_text_model" for kind in ("clip", "siglip")},
    "fuyu": "persimmon",
    "granite_speech": "granite",
    "paligemma": "gemma",
}
_SIGLIP = ("aya_vision", "cohere2_vision", "deepseek_vl", "deepseek_vl_hybrid", "gemma3", "llava_onevision")
_VISION: Mapping[str, str] = {
    **dict.fromkeys(("clip", *_OF_CLIP), "clip_vision_model"),
    **dict.fromkeys(("siglip", "paligemma", *_SIGLIP), "siglip_vision_model"),
    **{f"{kind}_vl": f"{kind}_vl_vision" for kind in ("qwen2", "qwen2_5", "qwen3")},
    "idefics3": "idefics3_vision",
    "mistral3": "pixtral",
}
_USUAL: Mapping[str, Mapping[str, str]] = {
    "language": _TEXT,
    "vision": _VISION,
    "audio": {"qwen2_audio": "qwen2_audio_encoder"},
}


def usual_type(wrapper: object, component: str) -> str | None:
    """Return the model type of a tower whose config, nested in that of a ``wrapper``, says none; None if unknown."""
    return _USUAL.get(component, {}).get(wrapper) if isinstance(wrapper, str) else None
