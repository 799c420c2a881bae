"""Contradictions, wrappers, speed on many names, and the description."""

from __future__ import annotations

import json
from typing import Any

import pytest

from filiation.anatomy import describe, dissect
from filiation.anatomy.config import config_from_gguf, settings_of, tower_config
from filiation.anatomy.names import find_stacks
from filiation.errors import CorruptCheckpointError
from tests.anatomy.test_families import FAMILIES, dissected, inventory
from tests.support import shape_checkpoint

LIES = [
    ({"hidden_size": 64}, "64 residual channels"),
    ({"num_attention_heads": 5}, "5 heads"),
    ({"head_dim": 16}, "16 channels"),
    ({"num_key_value_heads": 2}, "2 key-value heads"),
    ({"intermediate_size": 81}, "81 neurons"),
    ({"vocab_size": 97}, "vocabulary of 97"),
]


@pytest.mark.parametrize(("change", "said"), LIES)
def test_a_shape_that_contradicts_the_config(change: dict[str, Any], said: str) -> None:
    record = inventory("llama")
    with pytest.raises(CorruptCheckpointError) as caught:
        dissect(shape_checkpoint(record["shapes"], record["config"] | change))
    assert caught.value.tensor in record["shapes"]
    assert caught.value.file == "memory"
    assert said in (caught.value.reason or "")
    assert "config.json" in (caught.value.next_step or "")


def test_one_matrix_of_another_width_is_named() -> None:
    record = inventory("llama")
    shapes = record["shapes"] | {"model.layers.1.mlp.up_proj.weight": [80, 40]}
    with pytest.raises(CorruptCheckpointError) as caught:
        dissect(shape_checkpoint(shapes, record["config"]))
    assert caught.value.tensor == "model.layers.1.mlp.up_proj.weight"


def test_fewer_layers_than_the_config_says_is_noted() -> None:
    record = inventory("llama")
    anatomy = dissect(shape_checkpoint(record["shapes"], record["config"] | {"num_hidden_layers": 3}))
    assert anatomy.geometry["language"].n_layers == 2
    assert any("3" in i.basis for i in anatomy.inferences)


def test_padding_rows_are_noted() -> None:
    record = inventory("llama")
    anatomy = dissect(shape_checkpoint(record["shapes"], record["config"] | {"vocab_size": 90}))
    assert anatomy.geometry["language"].vocab == 96
    assert any("6 padding rows" in i.what for i in anatomy.inferences)


@pytest.mark.parametrize("value", [None, [6, 3]])
def test_a_setting_without_one_value_is_unknown_and_said(value: Any) -> None:
    record = inventory("llama")
    config = record["config"] | dict.fromkeys(("num_attention_heads", "head_dim"), value)
    anatomy = dissect(shape_checkpoint(record["shapes"], config))
    assert anatomy.geometry["language"].n_heads is None
    assert [i.what for i in anatomy.inferences] == ["the number of heads in language is unknown"]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_description_is_json_and_stable(name: str) -> None:
    first, second = (json.dumps(describe(dissected(name)), sort_keys=True) for _ in range(2))
    assert first == second
    described = json.loads(first)
    assert described["tensors"] == len(inventory(name)["shapes"])
    parts = sum(role["parts"] for component in described["components"] for role in component["roles"])
    assert parts == len(dissected(name).parts)


def test_the_description_says_how_a_part_is_read() -> None:
    component = describe(dissected("gpt2"))["components"][0]
    role = next(role for role in component["roles"] if role["role"] == "k")
    assert role["view"] == ["transposed", "rows selected"]
    assert role["layers"] == "0-1"
    assert role["axes"] == ["kv", "residual"]


def test_no_weights_are_read() -> None:
    record = inventory("mixtral")
    checkpoint = shape_checkpoint(record["shapes"], record["config"])
    describe(dissect(checkpoint))
    assert checkpoint.bytes_read == 0


def test_the_order_of_tensors_changes_nothing() -> None:
    record = inventory("qwen2_moe")
    backwards = dict(reversed(record["shapes"].items()))
    a, b = dissected("qwen2_moe"), dissect(shape_checkpoint(backwards, record["config"]))
    assert {(p.role, p.layer, p.expert, p.tensor) for p in a.parts} == {
        (p.role, p.layer, p.expert, p.tensor) for p in b.parts
    }


def test_stacks_need_a_number_that_counts() -> None:
    names = [f"model.0.auto_model.encoder.layer.{n}.dense.weight" for n in range(3)]
    stacks, rest = find_stacks([*names, "model.2.linear.weight", "plain.weight"])
    assert set(stacks) == {("model", "0", "auto_model", "encoder", "layer"), ("model",)}
    assert rest == {("plain", "weight"): "plain.weight"}


def test_experts_are_not_layers() -> None:
    names = [f"layers.{n}.experts.{e}.w1.weight" for n in range(2) for e in range(8)]
    stacks, _ = find_stacks(names)
    assert set(stacks) == {("layers",)}


def test_nested_configs() -> None:
    config = {
        "tie_word_embeddings": False,
        "thinker_config": {"text_config": {"hidden_size": 4}},
        "vision_config": {},
    }
    assert tower_config(config, "language") == {"tie_word_embeddings": False, "hidden_size": 4}
    assert tower_config(config, "audio") == {}
    assert tower_config(None, "language") == {}


def test_rope_theta_may_be_nested() -> None:
    config = {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}
    assert settings_of(config, {}, ()).rope_theta == 5e5


def test_gguf_vocabulary_from_its_tokens() -> None:
    metadata = {"tokenizer.ggml.tokens": ("a", "b"), "llama.block_count": 2}
    assert config_from_gguf(metadata, "llama") == {
        "model_type": "llama",
        "num_hidden_layers": 2,
        "vocab_size": 2,
    }


def test_a_mixture_with_thousands_of_tensors() -> None:
    """DeepSeek-V3's list of names: 61 layers of 256 experts are dissected from their kinds, not name by name."""
    record = inventory("deepseek_v3")
    shapes: dict[str, list[int]] = {}
    for name, shape in record["shapes"].items():
        if ".1." in name and ".experts." in name:
            if ".experts.0." in name:
                for layer in range(1, 12):
                    for expert in range(64):
                        shapes[name.replace("s.1.", f"s.{layer}.").replace("s.0.", f"s.{expert}.")] = shape
        elif ".1." in name:
            shapes |= {name.replace("s.1.", f"s.{layer}."): shape for layer in range(1, 12)}
        else:
            shapes[name] = shape
    for name in [n for n in shapes if n.endswith(("gate.weight", "e_score_correction_bias"))]:
        shapes[name] = [64, *shapes[name][1:]]
    config = record["config"] | {"num_hidden_layers": 12, "n_routed_experts": 64}
    anatomy = dissect(shape_checkpoint(shapes, config))
    assert anatomy.unnamed == ()
    assert anatomy.geometry["language"].n_experts == 64
    assert anatomy.part("down", 11, expert=63) is not None


def test_scales_and_buffers_are_named_whatever_the_family() -> None:
    record = inventory("qwen2")
    shapes = record["shapes"] | {
        "model.layers.0.self_attn.k_proj.k_scale": [1],
        "model.layers.0.mlp.down_proj.input_scale": [],
        "model.layers.0.self_attn.rotary_emb.inv_freq": [4],
        "score.weight": [2, 48],
    }
    anatomy = dissect(shape_checkpoint(shapes, record["config"]))
    assert anatomy.unnamed == ()
    roles = {part.role for part in anatomy.parts}
    assert {"k.k_scale", "down.input_scale", "buffer.inv_freq", "classifier"} <= roles


def test_rotary_frequencies_tell_the_head_size_without_a_config() -> None:
    record = inventory("llama")
    shapes = record["shapes"] | {"model.layers.0.self_attn.rotary_emb.inv_freq": [4]}
    geometry = dissect(shape_checkpoint(shapes)).geometry["language"]
    assert (geometry.n_heads, geometry.n_kv_heads, geometry.d_head) == (6, 3, 8)


def test_internvl_names() -> None:
    """A vision tower with fused attention and layer scales, an `mlp1` projector, InternLM2 inside."""
    vision = {
        "attn.qkv.weight": (96, 32), "attn.proj.weight": (32, 32), "attn.proj.bias": (32,), "norm1.weight": (32,),
        "norm2.weight": (32,), "norm1.bias": (32,), "norm2.bias": (32,), "ls1": (32,), "ls2": (32,),
        "mlp.fc1.weight": (56, 32), "mlp.fc1.bias": (56,), "mlp.fc2.weight": (32, 56), "mlp.fc2.bias": (32,),
    }  # fmt: skip
    language = {
        "attention.wqkv.weight": (96, 48), "attention.wo.weight": (48, 48), "attention_norm.weight": (48,),
        "feed_forward.w1.weight": (80, 48), "feed_forward.w2.weight": (48, 80), "feed_forward.w3.weight": (80, 48),
        "ffn_norm.weight": (48,),
    }  # fmt: skip
    shapes = {f"vision_model.encoder.layers.{n}.{k}": s for n in range(2) for k, s in vision.items()}
    shapes |= {f"language_model.model.layers.{n}.{k}": s for n in range(2) for k, s in language.items()}
    shapes |= {
        "vision_model.embeddings.class_embedding": (1, 1, 32),
        "vision_model.embeddings.patch_embedding.weight": (32, 3, 14, 14),
        "vision_model.embeddings.position_embedding": (1, 5, 32),
        "language_model.model.tok_embeddings.weight": (96, 48),
        "language_model.model.norm.weight": (48,),
        "language_model.output.weight": (96, 48),
        "mlp1.0.weight": (128,),
        "mlp1.1.weight": (48, 128),
        "mlp1.3.weight": (48, 48),
    }
    config = {
        "model_type": "internvl_chat",
        "llm_config": {"model_type": "internlm2", "num_attention_heads": 6, "num_key_value_heads": 3},
        "vision_config": {"model_type": "intern_vit_6b", "num_attention_heads": 4},
    }
    anatomy = dissect(shape_checkpoint(shapes, config))
    assert anatomy.unnamed == ()
    assert anatomy.components == ("language", "vision", "projector")
    assert anatomy.family == "internlm2"
    assert anatomy.geometry["vision"].d_head == 8


def test_llavas_own_names() -> None:
    record = inventory("llava")
    shapes = {
        name.replace("language_model.model.", "model.")
        .replace("language_model.lm_head", "lm_head")
        .replace("vision_tower.", "model.vision_tower.vision_tower.vision_model.")
        .replace("multi_modal_projector.linear_1", "model.mm_projector.0")
        .replace("multi_modal_projector.linear_2", "model.mm_projector.2"): shape
        for name, shape in record["shapes"].items()
    }
    config = record["config"]["text_config"] | {"model_type": "llava_llama", "mm_vision_tower": "openai/clip"}
    anatomy = dissect(shape_checkpoint(shapes, config))
    assert anatomy.unnamed == ()
    assert anatomy.components == ("language", "vision", "projector")
    assert {part.role for part in anatomy.parts if part.component == "projector"} == {
        "0", "0.bias", "2", "2.bias"
    }  # fmt: skip
