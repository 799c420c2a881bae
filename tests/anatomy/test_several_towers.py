"""Several towers of one kind: the first is the one that a loader following the config reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filiation import anatomy, checkpoint
from filiation.anatomy.model import Anatomy
from filiation.lab.save import save_model

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def llama(prefix: str, depth: int = 3, width: int = 32) -> dict[str, Any]:
    shapes = {"model.embed_tokens.weight": (64, width), "model.norm.weight": (width,)}
    for layer in range(depth):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.self_attn.{w}_proj.weight": (width // (1 + (w in "kv")), width) for w in "qkv"}
        shapes |= {f"{at}.self_attn.o_proj.weight": (width, width), f"{at}.mlp.down_proj.weight": (width, 48)}
        shapes |= {f"{at}.mlp.{w}_proj.weight": (48, width) for w in ("gate", "up")}
        shapes |= {f"{at}.{w}.weight": (width,) for w in ("input_layernorm", "post_attention_layernorm")}
    return {prefix + name: np.ones(shape, np.float32) for name, shape in shapes.items()}


def dissected(tensors: dict[str, Any], config: dict[str, Any], folder: Path) -> Anatomy:
    save_model(folder, tensors, config)
    return anatomy.dissect(checkpoint.open(str(folder)))


def where(model: Anatomy, component: str = "language") -> str:
    part = model.part("q", 0, component=component)
    assert part is not None
    return part.tensor.partition("layers")[0]


@pytest.mark.parametrize("prefix", ["a.", "ema.", "module.", "zzz.", "model.", "language_model.", "visual."])
def test_names_of_the_architecture_come_first_whatever_sorts_before(prefix: str, tmp_path: Path) -> None:
    model = dissected({**llama("", 3), **llama(prefix, 5)}, LLAMA, tmp_path)
    assert where(model) == "model."
    assert model.geometry["language"].n_layers == 3
    (spare,) = model.spare
    assert spare == f"language:{prefix.rstrip('.')}"
    assert model.components == ("language", spare)
    assert where(model, spare) == f"{prefix}model."
    embedding = model.part("embedding", component=spare)
    assert embedding is not None
    assert embedding.tensor.startswith(prefix)


@pytest.mark.parametrize(("one", "other"), [("a.", "b."), ("b.", "a.")])
def test_where_names_say_nothing_the_sizes_of_the_config_decide(one: str, other: str, tmp_path: Path) -> None:
    model = dissected({**llama(one, 3), **llama(other, 5)}, LLAMA, tmp_path)
    assert where(model) == f"{one}model."
    bare = dissected({**llama(one, 3), **llama(other, 5)}, {}, tmp_path / "bare")
    assert where(bare) == f"{other}model.", "without a config the larger one"


def test_a_further_tower_of_another_size_does_not_contradict_the_config(tmp_path: Path) -> None:
    model = dissected({**llama(""), **llama("draft_model.", 2, 16)}, LLAMA, tmp_path)
    assert model.geometry["language"].d_model == 32
    assert model.geometry["language:draft_model"].d_model == 16


def test_a_wrapper_reads_the_tower_that_it_calls_its_language_model(tmp_path: Path) -> None:
    config = {"model_type": "llava", "text_config": LLAMA, "vision_config": {"hidden_size": 16}}
    model = dissected({**llama("language_model."), **llama("ema.")}, config, tmp_path)
    assert where(model) == "language_model.model."
    model = dissected({**llama("language_model."), **llama("zzz.language_model.")}, config, tmp_path / "z")
    assert where(model) == "language_model.model."
    assert model.spare == ("language:zzz",)


def test_a_single_tower_under_any_prefix_is_the_language_model(tmp_path: Path) -> None:
    model = dissected(llama("ema."), LLAMA, tmp_path)
    assert (model.components, model.spare) == (("language",), ())


def test_a_component_can_be_told_under_another_name(tmp_path: Path) -> None:
    model = dissected({**llama(""), **llama("ema.")}, LLAMA, tmp_path).renamed("language:ema", "other")
    assert model.components == ("language", "other")
    assert model.spare == ("other",)
    assert where(model, "other") == "ema.model."
    assert model.rulings["other"]
    assert model.renamed("language", "language") is model
