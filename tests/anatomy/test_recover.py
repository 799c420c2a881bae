"""Names no table knows: renamed, anonymous, or an ONNX export's mixture of both."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from filiation.anatomy import Anatomy, Part, Symmetry, dissect
from filiation.anatomy.hints import Kind, settle
from filiation.errors import UnknownAnatomyError
from tests.anatomy.test_families import dissected, inventory
from tests.support import shape_checkpoint

Shapes = dict[str, list[int]]
LLAMA_ORDER = ["embed", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LLAMA_ORDER += ["input_lay", "post_attention", "model.norm", "lm_head"]
GPT2_ORDER = ["wte", "wpe", "ln_1.w", "ln_1.b", "c_attn.w", "c_attn.b", "attn.c_proj.w", "attn.c_proj.b"]
GPT2_ORDER += ["ln_2.w", "ln_2.b", "c_fc.w", "c_fc.b", "mlp.c_proj.w", "mlp.c_proj.b", "ln_f.w", "ln_f.b"]


def renamed(name: str, *pairs: tuple[str, str]) -> Shapes:
    shapes: Shapes = inventory(name)["shapes"]
    for old, new in pairs:
        shapes = {key.replace(old, new): shape for key, shape in shapes.items()}
    return shapes


def module_order(name: str, order: list[str]) -> list[str]:
    """Names in the order in which the modules are defined, as a state dict has them."""

    def key(tensor: str) -> tuple[int, int, int]:
        layer = re.search(r"\.(?:layers|h)\.(\d+)\.", tensor)
        place = next(i for i, word in enumerate(order) if word in tensor)
        if layer:
            return 1, int(layer.group(1)), 2 * place + tensor.endswith("bias")
        return (0 if place < 2 else 2), 0, place

    return sorted(inventory(name)["shapes"], key=key)


def anonymous(name: str, order: list[str]) -> tuple[Shapes, dict[str, str]]:
    """Numbered names in module order; and number -> true name."""
    shapes = inventory(name)["shapes"]
    truth = {f"t{i:04d}": tensor for i, tensor in enumerate(module_order(name, order))}
    return {number: shapes[tensor] for number, tensor in truth.items()}, truth


Places = dict[tuple[str, str, int | None, int | None], str]


def places(anatomy: Anatomy, name: Callable[[str], str] = str) -> Places:
    def key(part: Part) -> tuple[str, str, int | None, int | None]:
        return part.component, part.role, part.layer, part.expert

    return {key(part): name(part.tensor) for part in anatomy.parts}


def test_two_renamed_norms_and_a_query() -> None:
    shapes = renamed(
        "llama",
        ("input_layernorm", "norm_one"),
        ("post_attention_layernorm", "norm_ffn"),
        ("q_proj", "query"),
    )
    anatomy = dissect(shape_checkpoint(shapes, inventory("llama")["config"]))
    assert anatomy.unnamed == ()
    assert anatomy.family == "llama"
    assert anatomy.rename_map == {
        "norm_one": "input_layernorm",
        "norm_ffn": "post_attention_layernorm",
        "query": "q_proj",
    }
    part = anatomy.part("ffn_norm", 1)
    assert part is not None
    assert part.tensor == "model.layers.1.norm_ffn.weight"
    assert any("norm_ffn is ffn_norm" in i.what for i in anatomy.inferences)


def test_every_name_renamed() -> None:
    shapes = renamed(
        "llama",
        ("model.layers", "net.units"),
        ("self_attn", "mixing"),
        ("q_proj", "queries"),
        ("k_proj", "keys"),
        ("v_proj", "values"),
        ("o_proj", "output"),
        ("mlp", "ff"),
        ("gate_proj", "gating"),
        ("up_proj", "expand_up"),
        ("down_proj", "contract"),
        ("input_layernorm", "first_norm"),
        ("post_attention_layernorm", "second_norm"),
        ("model.embed_tokens", "net.tokens"),
        ("model.norm", "net.last_norm"),
        ("lm_head", "logits"),
    )
    anatomy = dissect(shape_checkpoint(shapes, inventory("llama")["config"]))
    assert anatomy.family is None
    assert anatomy.unnamed == ()
    want = places(dissected("llama"))
    assert set(places(anatomy)) == set(want)
    for key, tensor in places(anatomy).items():
        assert tensor == renamed_name(want[key]), key
    assert anatomy.rename_map["units"] == "layers"
    assert anatomy.holds(Symmetry.VALUE_ORDER).holds


def renamed_name(tensor: str) -> str:
    original = list(inventory("llama")["shapes"])
    shapes = renamed(
        "llama",
        ("model.layers", "net.units"),
        ("self_attn", "mixing"),
        ("q_proj", "queries"),
        ("k_proj", "keys"),
        ("v_proj", "values"),
        ("o_proj", "output"),
        ("mlp", "ff"),
        ("gate_proj", "gating"),
        ("up_proj", "expand_up"),
        ("down_proj", "contract"),
        ("input_layernorm", "first_norm"),
        ("post_attention_layernorm", "second_norm"),
        ("model.embed_tokens", "net.tokens"),
        ("model.norm", "net.last_norm"),
        ("lm_head", "logits"),
    )
    return list(shapes)[original.index(tensor)]


def test_meaningless_names_in_alphabetical_order_are_left_unnamed() -> None:
    """Neither name nor order tells the two norms apart: they stay unnamed, and the anatomy says so."""
    shapes = renamed("llama", ("input_layernorm", "xa"), ("post_attention_layernorm", "xb"))
    anatomy = dissect(shape_checkpoint(dict(sorted(shapes.items())), inventory("llama")["config"]))
    assert len(anatomy.unnamed) == 4
    assert any("not told apart" in i.what for i in anatomy.inferences)
    assert anatomy.part("down", 1) is not None


@pytest.mark.parametrize(
    ("name", "order"), [("llama", LLAMA_ORDER), ("qwen2", LLAMA_ORDER), ("gpt2", GPT2_ORDER)]
)
def test_numbers_for_names(name: str, order: list[str]) -> None:
    """Anonymous tensors in module order: every role is found, and what rests on order alone is not tested."""
    shapes, truth = anonymous(name, order)
    config = inventory(name)["config"]
    anatomy = dissect(shape_checkpoint(shapes, config))
    assert anatomy.family is None
    assert anatomy.unnamed == ()
    ordered = {key: inventory(name)["shapes"][key] for key in module_order(name, order)}
    assert places(anatomy, truth.__getitem__) == places(dissect(shape_checkpoint(ordered, config)))
    ruling = anatomy.holds(Symmetry.VALUE_ORDER)
    assert not ruling.holds
    assert "order" in ruling.reason
    assert anatomy.holds(Symmetry.FFN_ORDER).holds


def test_a_gate_told_by_order_alone_has_no_sign_test() -> None:
    shapes, _ = anonymous("llama", LLAMA_ORDER)
    ruling = dissect(shape_checkpoint(shapes)).holds(Symmetry.FFN_SIGN)
    assert not ruling.holds
    assert "gate" in ruling.reason


def onnx_names(turned: bool) -> tuple[Shapes, dict[str, str]]:
    """BERT as torch's exporter leaves it: biases and norms named, matrices numbered, in order of execution."""
    shapes: Shapes = {}
    truth: dict[str, str] = {}
    matrices = ("query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense")
    number = 470
    for name, shape in inventory("bert_model")["shapes"].items():
        if ".layer." not in name or len(shape) != 2:
            shapes[f"model.0.auto_model.{name}"] = shape
    for layer in range(2):
        for part in matrices:
            path = part if part != "output.dense" else f"layer.{layer}.output.dense"
            name, shape = next(
                (n, s) for n, s in inventory("bert_model")["shapes"].items() if f".{layer}." in n and path in n
                and n.endswith(".weight")
            )  # fmt: skip
            shapes[f"onnx::MatMul_{number}"] = shape[::-1] if turned else shape
            truth[f"onnx::MatMul_{number}"] = name
            number += 3
    return shapes, truth


@pytest.mark.parametrize("turned", [True, False])
def test_onnx_matrices_are_placed_and_turned(turned: bool) -> None:
    shapes, truth = onnx_names(turned)
    anatomy = dissect(shape_checkpoint(shapes, inventory("bert_model")["config"], format="onnx"))
    assert anatomy.unnamed == ()
    assert anatomy.family == "bert"
    plain = {name: part for part in dissected("bert_model").parts for name in [part.tensor]}
    for part in anatomy.parts:
        if part.tensor in truth:
            same = plain[truth[part.tensor]]
            assert (part.role, part.layer, part.shape) == (same.role, same.layer, same.shape)
            assert part.view.transpose is turned


def test_onnx_matrices_of_the_wrong_number_are_left() -> None:
    shapes, truth = onnx_names(True)
    del shapes[next(iter(truth))]
    anatomy = dissect(shape_checkpoint(shapes, inventory("bert_model")["config"]))
    assert set(anatomy.unnamed) == set(shapes) & set(truth)


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"a": [3, 4], "b": [5, 5]},
        {f"layers.{n}.norm.weight": [8] for n in range(4)},
        {f"w{n}": [n + 2, 7] for n in range(30)},
    ],
)
def test_nothing_usable_is_an_error_that_says_what_is_missing(shapes: Shapes) -> None:
    with pytest.raises(UnknownAnatomyError) as caught:
        dissect(shape_checkpoint(shapes))
    assert caught.value.reason
    assert caught.value.next_step


def test_a_vision_tower_under_an_odd_prefix() -> None:
    """`vison.` and `projection.` are no known prefixes; the tower and the projector are found all the same."""
    shapes = renamed("llava", ("vision_tower", "vison"), ("multi_modal_projector", "projection"))
    anatomy = dissect(shape_checkpoint(shapes, inventory("llava")["config"]))
    assert anatomy.unnamed == ()
    assert anatomy.components == ("language", "vision", "projector")
    roles = {part.role for part in anatomy.parts if part.component == "projector"}
    assert roles == {part.role for part in dissected("llava").parts if part.component == "projector"}


def test_a_flat_config_speaks_of_the_language_model() -> None:
    """llama3v's config had no vision_config: the vision tower's sizes are read off its shapes."""
    record = inventory("llava")
    config = record["config"]["text_config"] | {"model_type": "llama3v"}
    anatomy = dissect(shape_checkpoint(renamed("llava", ("vision_tower", "vison")), config))
    assert anatomy.geometry["language"].n_heads == 6
    vision = anatomy.geometry["vision"]
    assert (vision.d_model, vision.n_heads) == (32, None)


def test_names_are_preferred_names_to_order() -> None:
    kinds = [Kind(("w", "value"), (8, 8), None, 0), Kind(("w", "key"), (8, 8), None, 1)]
    found = settle(kinds, ("k", "v"))
    assert found is not None
    assert found.roles == {("w", "value"): "v", ("w", "key"): "k"}
