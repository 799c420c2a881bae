"""Matrices of one layer that do not fit one another are refused by name; sizes that differ by layer are not."""

from __future__ import annotations

from typing import Any

import pytest

from filiation.anatomy import Anatomy, dissect
from filiation.errors import CorruptCheckpointError
from tests.anatomy.test_families import inventory
from tests.support import shape_checkpoint

Shapes = dict[str, list[int]]
FFN, ATTENTION = "model.layers.1.mlp.{}_proj.weight", "model.layers.1.self_attn.{}_proj.weight"
D, HIDDEN, QUERY, KV = 48, 80, 48, 16


def llama(layers: int = 4) -> tuple[Shapes, dict[str, Any]]:
    """Six heads of eight channels, two of keys and values, on 48 residual channels."""
    shapes: Shapes = {"model.embed_tokens.weight": [96, D], "model.norm.weight": [D]}
    for layer in range(layers):
        at = f"model.layers.{layer}."
        shapes |= {f"{at}self_attn.{r}_proj.weight": [n, D] for r, n in (("q", QUERY), ("k", KV), ("v", KV))}
        shapes |= {f"{at}mlp.{role}_proj.weight": [HIDDEN, D] for role in ("gate", "up")}
        shapes |= {f"{at}self_attn.o_proj.weight": [D, QUERY], f"{at}mlp.down_proj.weight": [D, HIDDEN]}
        shapes |= {f"{at}{norm}_layernorm.weight": [D] for norm in ("input", "post_attention")}
    config = {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "hidden_size": D,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
    }
    return shapes, config


def with_shapes(changed: Shapes, **more: Any) -> Anatomy:
    shapes, config = llama()
    assert changed.keys() <= shapes.keys()
    return dissect(shape_checkpoint(shapes | changed, {**config, **more}))


def refused(changed: Shapes) -> CorruptCheckpointError:
    with pytest.raises(CorruptCheckpointError) as caught:
        with_shapes(changed)
    assert caught.value.file == "memory"
    assert caught.value.next_step
    return caught.value


@pytest.mark.parametrize(
    ("name", "shape", "sizes"),
    [
        (FFN.format("gate"), [40, D], "down 80, gate 40, up 80"),
        (FFN.format("up"), [40, D], "down 80, gate 80, up 40"),
        (FFN.format("down"), [D, 160], "down 160, gate 80, up 80"),
        (ATTENTION.format("k"), [8, D], "k 8, o 48, q 48, v 16"),
        (ATTENTION.format("v"), [32, D], "k 16, o 48, q 48, v 32"),
        (ATTENTION.format("o"), [D, 96], "k 16, o 96, q 48, v 16"),
        (ATTENTION.format("q"), [40, D], "k 16, o 48, q 40, v 16"),
    ],
)
def test_the_matrix_that_does_not_fit_is_named(name: str, shape: list[int], sizes: str) -> None:
    error = refused({name: shape})
    assert error.tensor == name
    assert f"are {sizes} (this tensor's shape is {shape})" in (error.reason or "")


@pytest.mark.parametrize("role", ["gate", "up", "down", "q", "k", "v", "o"])
@pytest.mark.parametrize("shape", [[D * HIDDEN], [2, D, HIDDEN], [0, D], [D, 0]])
def test_one_layer_s_matrix_has_two_axes_and_values(role: str, shape: list[int]) -> None:
    name = (FFN if role in ("gate", "up", "down") else ATTENTION).format(role)
    assert refused({name: shape}).tensor == name


def test_matrices_without_values_are_refused_in_all_layers_too() -> None:
    empty: Shapes = {f"model.layers.{layer}.mlp.down_proj.weight": [0, D] for layer in range(4)}
    error = refused(empty)
    assert error.tensor == "model.layers.0.mlp.down_proj.weight"
    assert "holds no values" in (error.reason or "")


def test_a_bias_is_as_long_as_its_matrix() -> None:
    record = inventory("gpt2")
    layers = [name for name in record["shapes"] if name.endswith("mlp.c_fc.bias")]
    wrong = {layers[1]: [record["shapes"][layers[1]][0] // 2]}
    with pytest.raises(CorruptCheckpointError) as caught:
        dissect(shape_checkpoint(record["shapes"] | wrong, record["config"]))
    assert caught.value.tensor == layers[1]


@pytest.mark.parametrize("expert", [0, 1])
def test_one_expert_that_does_not_fit_is_named(expert: int) -> None:
    record = inventory("mixtral")
    name = f"model.layers.1.block_sparse_moe.experts.{expert}.w2.weight"
    rows, columns = record["shapes"][name]
    with pytest.raises(CorruptCheckpointError) as caught:
        dissect(shape_checkpoint(record["shapes"] | {name: [rows, 2 * columns]}, record["config"]))
    assert caught.value.tensor == name


def parts_of(anatomy: Anatomy, layer: int) -> set[str]:
    return {part.role for part in anatomy.parts if part.layer == layer}


EVERYTHING = {"q", "k", "v", "o", "gate", "up", "down", "attn_norm", "ffn_norm"}


def resized(neurons: int, heads: int, kv: int, layer: int = 1) -> Shapes:
    at = f"model.layers.{layer}."
    return {
        f"{at}mlp.gate_proj.weight": [neurons, D],
        f"{at}mlp.up_proj.weight": [neurons, D],
        f"{at}mlp.down_proj.weight": [D, neurons],
        f"{at}self_attn.q_proj.weight": [8 * heads, D],
        f"{at}self_attn.k_proj.weight": [8 * kv, D],
        f"{at}self_attn.v_proj.weight": [8 * kv, D],
        f"{at}self_attn.o_proj.weight": [D, 8 * heads],
    }


@pytest.mark.parametrize(("neurons", "heads", "kv"), [(40, 6, 2), (81, 3, 1), (80, 6, 6), (1, 1, 1)])
def test_layers_may_differ_in_size(neurons: int, heads: int, kv: int) -> None:
    anatomy = with_shapes(resized(neurons, heads, kv))
    assert parts_of(anatomy, 1) == EVERYTHING
    assert anatomy.unnamed == ()


@pytest.mark.parametrize("gone", ["self_attn", "mlp"])
def test_a_layer_may_lack_a_branch(gone: str) -> None:
    shapes, config = llama()
    kept = {name: shape for name, shape in shapes.items() if not name.startswith(f"model.layers.1.{gone}")}
    anatomy = dissect(shape_checkpoint(kept, config))
    assert parts_of(anatomy, 0) == EVERYTHING
    assert parts_of(anatomy, 1) < EVERYTHING


def test_values_may_have_heads_of_their_own_length() -> None:
    changed: Shapes = {}
    for layer in range(4):
        at = f"model.layers.{layer}.self_attn."
        changed |= {f"{at}v_proj.weight": [12, D], f"{at}o_proj.weight": [D, 36]}
    assert parts_of(with_shapes(changed), 1) == EVERYTHING


def test_what_fits_in_no_layer_is_left_without_a_name() -> None:
    fused = {f"model.layers.{layer}.mlp.up_proj.weight": [2 * HIDDEN, D] for layer in range(4)}
    shapes, config = llama()
    kept = {name: shape for name, shape in shapes.items() if "gate_proj" not in name}
    anatomy = dissect(shape_checkpoint(kept | fused, config))
    assert parts_of(anatomy, 1) == EVERYTHING - {"gate", "up", "down"}
    assert set(anatomy.unnamed) >= {*fused}
    assert any("left without a name" in inference.what for inference in anatomy.inferences)


def test_kernels_in_every_layer_are_no_matrices() -> None:
    kernels = {f"model.layers.{layer}.mlp.gate_proj.weight": [HIDDEN, D, 3] for layer in range(4)}
    anatomy = with_shapes(kernels)
    assert set(anatomy.unnamed) == {*kernels}
    assert "gate" not in parts_of(anatomy, 1)


def test_layers_that_nobody_loads_refuse_nothing() -> None:
    shapes, config = llama()
    spare = {name.replace("model.", "spare.", 1): shape for name, shape in shapes.items() if "layers" in name}
    spare["spare.layers.2.mlp.up_proj.weight"] = [HIDDEN // 2, D]
    spare["spare.layers.3.self_attn.o_proj.weight"] = [D * QUERY]
    anatomy = dissect(shape_checkpoint(shapes | spare, config))
    assert parts_of(anatomy, 2) >= EVERYTHING
    assert "spare.layers.2.mlp.up_proj.weight" in anatomy.unnamed
    assert not [part for part in anatomy.parts if part.component == "language" and part.tensor in spare]


@pytest.mark.parametrize(
    "root", ["spare.layers", "encoder.layers", "vision_tower.encoder.layers", "model.blocks"]
)
@pytest.mark.parametrize(
    "name", ["mlp.gate_proj.weight", "input_layernorm.weight", "self_attn.k_proj.weight"]
)
def test_a_tower_that_nobody_loads_may_contradict_itself(root: str, name: str) -> None:
    shapes, config = llama()
    spare = {key.replace("model.layers", root): shape for key, shape in shapes.items() if "layers" in key}
    odd = f"{root}.2.{name}"
    spare[odd] = [*spare[odd][:-1], D - 6]
    anatomy = dissect(shape_checkpoint(shapes | spare, config))
    assert parts_of(anatomy, 2) >= EVERYTHING
    assert {part.tensor for part in anatomy.parts if part.component == "language"} == {*shapes}
    assert {*anatomy.unnamed} | {part.tensor for part in anatomy.parts} == {*shapes, *spare}
    assert any("no loader reads it" in inference.basis for inference in anatomy.inferences)


@pytest.mark.parametrize("name", ["kv_a_proj_with_mqa", "q_b_proj"])
def test_latent_vectors_are_as_long_where_they_are_read(name: str) -> None:
    record = inventory("deepseek_v3")
    tensor = f"model.layers.1.self_attn.{name}.weight"
    rows, columns = record["shapes"][tensor]
    wrong = {tensor: [rows // 2, columns] if name.startswith("kv") else [rows, columns // 2]}
    with pytest.raises(CorruptCheckpointError) as caught:
        dissect(shape_checkpoint(record["shapes"] | wrong, record["config"]))
    assert caught.value.tensor == tensor
    assert "latent" in caught.value.message
