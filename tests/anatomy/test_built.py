"""What loaders build of a layer, and how many: other biases, norms and layers are no parts (ADR 0021, 0023)."""

from __future__ import annotations

from typing import Any

import pytest

from filiation.anatomy import Anatomy, dissect
from filiation.anatomy.built import Switch
from tests.anatomy.test_families import FAMILIES, dissected, inventory
from tests.support import shape_checkpoint

Shapes = dict[str, list[int]]


def places(anatomy: Anatomy) -> set[tuple[Any, ...]]:
    return {(p.component, p.role, p.layer, p.expert, p.tensor, p.shape) for p in anatomy.parts}


def of_layer(name: str) -> int | None:
    """The number of the layer that a tensor of an inventory stands in."""
    if "altup_" in name:  # one for each stream
        return None
    return next((int(part) for part in name.split(".")[1:-1] if part.isdigit()), None)


def in_no_layer_has_a_bias(shapes: Shapes) -> Shapes:
    """A bias for every matrix and norm inside layers that nobody's loader gives one."""
    return {
        name.removesuffix("weight") + "bias": shape[:1]
        for name, shape in shapes.items()
        if of_layer(name) is not None
        and name.endswith(".weight")
        and name.removesuffix("weight") + "bias" not in shapes
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bias_that_no_loader_reads_is_no_part(family: str) -> None:
    record = inventory(family)
    extra = in_no_layer_has_a_bias(record["shapes"])
    found, plain = dissect(shape_checkpoint(record["shapes"] | extra, record["config"])), dissected(family)
    counted = {p.tensor for p in found.parts} & {*extra}
    assert not counted
    assert places(found) == places(plain)
    assert found.geometry == plain.geometry


LEFT_OVER: list[tuple[str, str, Shapes]] = [
    # T5 and its successor each have one kind of feed-forward network.
    ("t5", "decoder.block.{}.layer.2.DenseReluDense.", {"wi_0.weight": [56, 32], "wi_1.weight": [56, 32]}),
    ("t5", "encoder.block.{}.layer.1.DenseReluDense.", {"wi_0.weight": [56, 32]}),
    ("t5_v1_1", "decoder.block.{}.layer.2.DenseReluDense.", {"wi.weight": [56, 32]}),
    ("qwen2_vl", "visual.blocks.{}.mlp.", {"gate_proj.weight": [64, 32]}),
    ("qwen2_5_vl", "visual.blocks.{}.mlp.", {"fc1.weight": [56, 32], "linear_fc2.weight": [32, 56]}),
    # A BERT without cross attention, and norms of queries that are switched off.
    ("bert", "bert.encoder.layer.{}.crossattention.", {"self.query.weight": [32, 32]}),
    ("phi", "model.layers.{}.self_attn.", {"q_layernorm.weight": [8]}),
    ("cohere", "model.layers.{}.self_attn.", {"k_norm.weight": [2, 8]}),
    ("stablelm", "model.layers.{}.self_attn.", {"q_layernorm.norms.0.weight": [8]}),
]


@pytest.mark.parametrize(("family", "prefix", "extra"), LEFT_OVER)
def test_what_the_config_does_not_switch_on_is_no_part(family: str, prefix: str, extra: Shapes) -> None:
    record = inventory(family)
    planted = {prefix.format(layer) + name: shape for layer in (0, 1) for name, shape in extra.items()}
    found, plain = dissect(shape_checkpoint(record["shapes"] | planted, record["config"])), dissected(family)
    assert places(found) == places(plain)
    assert found.geometry == plain.geometry
    assert {name for names in found.unread.values() for name in names} == {*planted}


@pytest.mark.parametrize(
    ("family", "key", "name", "shape"),
    [
        ("modernbert", "attention_bias", "model.layers.0.attn.Wo.bias", [48]),
        ("modernbert", "norm_bias", "model.layers.1.attn_norm.bias", [48]),
        ("phi", "qk_layernorm", "model.layers.0.self_attn.q_layernorm.weight", [12]),
        ("cohere", "use_qk_norm", "model.layers.0.self_attn.q_norm.weight", [4, 12]),
    ],
)
def test_what_the_config_switches_on_is_read(family: str, key: str, name: str, shape: list[int]) -> None:
    record = inventory(family)
    found = dissect(shape_checkpoint({**record["shapes"], name: shape}, {**record["config"], key: True}))
    assert not found.unread
    assert name in {p.tensor for p in found.parts}


def without_numbers(config: dict[str, Any]) -> dict[str, Any]:
    keys = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers")
    return {
        key: value for key, value in config.items() if key not in (*keys, "decoder_layers", "encoder_layers")
    }


def grown(shapes: Shapes, container: str, layers: int) -> Shapes:
    """An inventory with more layers like its second."""
    second = {n: s for n, s in shapes.items() if n.startswith(f"{container}.1.")}
    more = {
        name.replace(f"{container}.1.", f"{container}.{layer}.", 1): shape
        for layer in range(2, layers)
        for name, shape in second.items()
    }
    return shapes | more


@pytest.mark.parametrize(
    ("family", "container", "component", "usual"),
    [
        ("llama", "model.layers", "language", 32),
        ("gpt2", "transformer.h", "language", 12),
        ("bert", "bert.encoder.layer", "language", 12),
        ("opt", "model.decoder.layers", "language", 12),
        ("distilbert", "distilbert.transformer.layer", "language", 6),
        ("whisper", "model.decoder.layers", "language", 4),
        ("whisper", "model.encoder.layers", "audio", 4),
        ("t5", "decoder.block", "language", 6),
        ("t5", "encoder.block", "encoder", 6),
    ],
)
def test_a_config_without_a_number_has_the_one_of_its_class(
    family: str, container: str, component: str, usual: int
) -> None:
    record = inventory(family)
    shapes, config = grown(record["shapes"], container, usual + 2), without_numbers(record["config"])
    # What another type's loader would read says nothing.
    found = dissect(shape_checkpoint(shapes, {**config, "depth": usual + 2}))
    beyond = {n for n in shapes if n.startswith((f"{container}.{usual}.", f"{container}.{usual + 1}."))}
    assert found.geometry[component].n_layers == usual
    assert {*found.beyond[component]} == beyond
    assert any(f"has {usual} layers then" in i.basis for i in found.inferences)
    # Of a type that no table knows nobody can say how many it builds.
    unknown = {**config, "model_type": "nobody_knows", "architectures": ["NobodyKnows"]}
    assert not dissect(shape_checkpoint(shapes, unknown)).beyond


def test_the_decoder_of_a_t5_has_as_many_layers_as_its_encoder() -> None:
    record = inventory("t5")
    config = {key: value for key, value in record["config"].items() if key != "num_decoder_layers"}
    found = dissect(shape_checkpoint(grown(record["shapes"], "decoder.block", 4), config))
    assert {name.split(".")[2] for name in found.beyond["language"]} == {"2", "3"}
    more = dissect(
        shape_checkpoint(grown(record["shapes"], "decoder.block", 4), {**config, "num_decoder_layers": 4})
    )
    assert not more.beyond


def test_a_llama_passes_over_the_keys_of_others() -> None:
    record = inventory("llama")
    shapes = grown(record["shapes"], "model.layers", 4)
    found = dissect(shape_checkpoint(shapes, {**record["config"], "n_layer": 4, "num_layers": 4}))
    assert found.geometry["language"].n_layers == record["config"]["num_hidden_layers"] == 2


@pytest.mark.parametrize("named", [True, False])
def test_a_nested_config_without_a_type_is_what_its_wrapper_makes_of_it(named: bool) -> None:
    """LLaVA's language model is a Llama where nothing is said: it has no experts, and 32 layers."""
    record = inventory("llava")
    text = {k: v for k, v in record["config"]["text_config"].items() if named or k != "model_type"}
    text = {key: value for key, value in text.items() if key not in ("num_hidden_layers", "architectures")}
    [root] = {n.partition(".layers.")[0] for n in record["shapes"] if "layers.0.self_attn.o_proj" in n}
    shapes = grown(record["shapes"], f"{root}.layers", 33)
    bias = f"{root}.layers.0.mlp.gate_proj.bias"
    shapes[bias] = shapes[bias.replace("bias", "weight")][:1]
    found = dissect(shape_checkpoint(shapes, {**record["config"], "text_config": text}))
    assert found.geometry["language"].n_layers == 32
    assert found.unread["language"] == (bias,)


def test_a_setting_that_says_that_there_is_none() -> None:
    switch = Switch("no_bias", negated=True)
    assert [switch.state(config) for config in ({}, {"no_bias": True}, {"no_bias": False})] == [
        False,
        False,
        True,
    ]
    assert switch.state({"no_bias": "perhaps"}) is None
