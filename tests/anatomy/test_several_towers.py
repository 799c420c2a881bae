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


def moved(tensors: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return {name.replace(old, new, 1): values for name, values in tensors.items()}


@pytest.mark.parametrize("container", ["blocks", "Layers", "h", "block"])
def test_layers_under_another_word_are_not_those_of_the_architecture(container: str, tmp_path: Path) -> None:
    other = {n: v for n, v in moved(llama(""), "layers", container).items() if container in n}
    model = dissected({**llama(""), **other}, LLAMA, tmp_path)
    main = model.part("q", 0)
    assert main is not None
    assert main.tensor.startswith("model.layers.")
    assert (model.spare, model.contested) == ((f"language:model.{container}",), ())


def test_the_name_of_a_type_is_a_path_only_where_its_loaders_look_there(tmp_path: Path) -> None:
    other = moved(llama(""), "model.", "llama.")
    model = dissected({**llama(""), **other}, LLAMA, tmp_path)
    assert (where(model), model.spare) == ("model.", ("language:llama.layers",))


def test_what_else_a_layer_holds_does_not_move_the_model_elsewhere(tmp_path: Path) -> None:
    """Unread norms make a Llama look like a Qwen 3: loaders go by paths all the same."""
    norms = {
        f"model.layers.{n}.self_attn.{w}_norm.weight": np.ones(8, np.float32) for n in range(3) for w in "qk"
    }
    model = dissected({**llama(""), **norms, **llama("x.")}, LLAMA, tmp_path)
    assert (where(model), model.spare) == ("model.", ("language:x",))


VISION = {"hidden_size": 16, "num_hidden_layers": 2}


def test_what_a_plain_model_nests_is_not_read(tmp_path: Path) -> None:
    config = {**LLAMA, "vision_config": VISION}
    model = dissected({**llama(""), **moved(llama(""), "model.", "model.language_model.")}, config, tmp_path)
    assert (where(model), model.spare) == ("model.", ("language:language_model",))


@pytest.mark.parametrize("root", ["llm.", "text.", "decoder.", "model.decoder.", "model.", "thinker.model."])
@pytest.mark.parametrize("own", ["model.language_model.", "language_model.model."])
def test_a_wrapper_of_a_known_type_reads_its_own_paths(own: str, root: str, tmp_path: Path) -> None:
    config = {"model_type": "llava", "text_config": LLAMA, "vision_config": VISION}
    both = {**moved(llama(""), "model.", own), **moved(llama(""), "model.", root)}
    model = dissected(both, config, tmp_path)
    assert where(model) == own
    assert len(model.spare) == 1
    assert not model.contested


@pytest.mark.parametrize(
    ("config", "one", "other"),
    [
        ({"model_type": "llava", "text_config": LLAMA}, "model.language_model.", "language_model.model."),
        ({**LLAMA, "model_type": "llava", "architectures": []}, "language_model.", "model."),
        ({"model_type": "some_wrapper", "text_config": LLAMA}, "brain.model.", "language_model.model."),
        ({**LLAMA, "model_type": "some_type", "architectures": ["SomeModel"]}, "core.", "model."),
        ({}, "core.", "model."),
        (LLAMA, "a.", "b."),
    ],
)
def test_where_nothing_says_which_of_two_is_read_that_is_said(
    config: dict[str, Any], one: str, other: str, tmp_path: Path
) -> None:
    both = {**moved(llama(""), "model.", one), **moved(llama(""), "model.", other)}
    model = dissected(both, config, tmp_path)
    assert set(model.contested) == set(model.components)
    assert not model.spare
    assert any("is not known" in inference.what for inference in model.inferences)


def test_a_tower_that_the_config_leaves_no_room_for_is_not_in_question(tmp_path: Path) -> None:
    config = {**LLAMA, "model_type": "some_type", "architectures": ["SomeModel"]}
    model = dissected({**llama("core."), **llama("", 2)}, config, tmp_path)
    assert (where(model), model.contested) == ("core.model.", ())


def test_a_wrapper_reads_every_language_model_that_it_has(tmp_path: Path) -> None:
    config = {"model_type": "qwen2_5_omni", "thinker_config": {"text_config": LLAMA, "vision_config": VISION}}
    model = dissected({**llama("thinker."), **llama("talker.", 2, 16)}, config, tmp_path)
    assert where(model) == "thinker.model."
    assert (model.spare, model.contested) == ((), ())


def vision() -> dict[str, Any]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(2):
        at = f"visual.blocks.{layer}"
        shapes |= {f"{at}.attn.qkv.weight": (48, 16), f"{at}.attn.proj.weight": (16, 16)}
        shapes |= {f"{at}.mlp.fc1.weight": (24, 16), f"{at}.mlp.fc2.weight": (16, 24)}
        shapes |= {f"{at}.norm{i}.{w}": (16,) for i in (1, 2) for w in ("weight", "bias")}
    return {name: np.ones(shape, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("config", "spare"),
    [
        (LLAMA, ("vision",)),
        ({**LLAMA, "vision_config": VISION}, ("vision",)),
        ({**LLAMA, "model_type": "qwen", "visual": VISION}, ()),
        ({**LLAMA, "model_type": "some_type", "architectures": ["SomeModel"]}, ()),
        ({"model_type": "qwen2_vl", "text_config": LLAMA, "vision_config": VISION}, ()),
    ],
)
def test_loaders_of_a_plain_language_model_build_no_other_tower(
    config: dict[str, Any], spare: tuple[str, ...], tmp_path: Path
) -> None:
    model = dissected({**llama(""), **vision()}, config, tmp_path)
    assert model.components[:2] == ("language", "vision")
    assert model.spare == spare


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
