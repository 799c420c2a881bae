"""GGUF: names from the `gguf` package, geometry from its key-value data, converter transformations undone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gguf.constants import MODEL_ARCH_NAMES, MODEL_TENSORS, TENSOR_NAMES

from filiation.anatomy import Anatomy, Symmetry, dissect
from filiation.anatomy.families import families
from filiation.anatomy.families.gguf import as_gguf
from tests.support import memory_checkpoint, shape_checkpoint

D, F, V, H, KV, HD, LAYERS = 48, 80, 96, 6, 3, 8, 2
_ARCHITECTURES = {name: arch for arch, name in MODEL_ARCH_NAMES.items()}
_PAIRS = [(f.name, arch) for f in families() for arch in f.gguf if arch in _ARCHITECTURES]


def metadata(arch: str, **extra: Any) -> dict[str, Any]:
    values = {
        "embedding_length": D,
        "block_count": LAYERS,
        "feed_forward_length": F,
        "attention.head_count": H,
        "attention.head_count_kv": KV,
        "rope.freq_base": 10000.0,
    } | extra
    return {"general.architecture": arch, **{f"{arch}.{key}": value for key, value in values.items()}}


def llama_shapes() -> dict[str, tuple[int, ...]]:
    layer = {
        "attn_norm.weight": (D,),
        "attn_q.weight": (H * HD, D),
        "attn_k.weight": (KV * HD, D),
        "attn_v.weight": (KV * HD, D),
        "attn_output.weight": (D, H * HD),
        "ffn_norm.weight": (D,),
        "ffn_gate.weight": (F, D),
        "ffn_up.weight": (F, D),
        "ffn_down.weight": (D, F),
    }
    shapes = {f"blk.{n}.{name}": shape for n in range(LAYERS) for name, shape in layer.items()}
    return {"token_embd.weight": (V, D), **shapes, "output_norm.weight": (D,)}


def open_llama(arch: str = "llama", **extra: Any) -> Anatomy:
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in llama_shapes().items()}
    return dissect(memory_checkpoint(arrays, metadata=metadata(arch, **extra), format="gguf"))


@pytest.mark.parametrize(("family", "arch"), _PAIRS)
def test_every_name_of_the_architecture_is_known(family: str, arch: str) -> None:
    """What llama.cpp may store for an architecture, by the `gguf` package's own tables, has a role."""
    table = as_gguf(next(f for f in families() if f.name == family).under({}))
    container = (*table.container.split("."), "0")
    for tensor in MODEL_TENSORS[_ARCHITECTURES[arch]]:
        path = tuple(TENSOR_NAMES[tensor].format(bid=0, xid=0).split("."))
        if path[:1] in (("enc",), ("dec",)) and path[0] != container[0]:
            continue  # the other tower of an encoder-decoder
        inside = path[: len(container)] == container
        hit = table.inside.find((*path[len(container) :], "weight")) if inside else table.beside.find(path)
        assert hit is not None, ".".join(path)


def test_geometry_comes_from_the_key_value_data() -> None:
    anatomy = open_llama()
    geometry = anatomy.geometry["language"]
    assert anatomy.family == "llama"
    assert (geometry.n_heads, geometry.n_kv_heads, geometry.d_head) == (H, KV, HD)
    assert (geometry.n_layers, geometry.d_model, geometry.d_ff) == (LAYERS, D, F)
    assert geometry.rope_theta == 10000.0
    assert geometry.tied_embeddings
    assert anatomy.unnamed == ()


def test_key_value_data_may_come_as_numpy_arrays() -> None:
    anatomy = open_llama(**{"attention.head_count_kv": np.full(LAYERS, KV, np.int32)})
    assert anatomy.geometry["language"].n_kv_heads == KV


@pytest.mark.parametrize(("role", "name", "heads"), [("q", "attn_q", H), ("k", "attn_k", KV)])
def test_the_converters_row_order_is_undone(role: str, name: str, heads: int) -> None:
    """The converter writes reshape(heads, 2, dim / 2, in).swapaxes(1, 2); reading gives the rows back."""
    anatomy = open_llama()
    part = anatomy.part(role, 1)
    assert part is not None
    original = anatomy.read(part)
    converted = original.reshape(heads, 2, HD // 2, D).swapaxes(1, 2).reshape(heads * HD, D)
    np.testing.assert_array_equal(converted, anatomy.checkpoint.read(f"blk.1.{name}.weight"))


def test_other_architectures_keep_their_rows() -> None:
    anatomy = open_llama("qwen2")
    part = anatomy.part("q", 0)
    assert part is not None
    assert part.view.rows is None


def test_gemma_gains_are_whole_in_gguf() -> None:
    """The converter has added Gemma's 1; from safetensors the view adds it."""
    part = open_llama("gemma").part("attn_norm", 0)
    assert part is not None
    assert part.view.offset == 0.0


def test_mixtral_experts_are_stacked() -> None:
    shapes = {k: v for k, v in llama_shapes().items() if ".ffn_gate" not in k and ".ffn_up" not in k}
    shapes = {k: v for k, v in shapes.items() if ".ffn_down" not in k}
    for n in range(LAYERS):
        shapes |= {
            f"blk.{n}.ffn_gate_inp.weight": (4, D),
            f"blk.{n}.ffn_gate_exps.weight": (4, F, D),
            f"blk.{n}.ffn_up_exps.weight": (4, F, D),
            f"blk.{n}.ffn_down_exps.weight": (4, D, F),
        }
    anatomy = dissect(shape_checkpoint(shapes, metadata=metadata("llama", expert_count=4), format="gguf"))
    assert anatomy.unnamed == ()
    assert anatomy.geometry["language"].n_experts == 4
    down = anatomy.part("down", 1, expert=3)
    assert down is not None
    assert (down.shape, down.view.expert) == ((D, F), 3)
    assert anatomy.holds(Symmetry.EXPERT_ORDER).holds


def test_phi3_up_holds_gate_and_up() -> None:
    shapes = {k.replace("attn_q", "attn_qkv"): v for k, v in llama_shapes().items() if ".ffn_gate" not in k}
    shapes = {k: v for k, v in shapes.items() if ".attn_k." not in k and ".attn_v." not in k}
    for n in range(LAYERS):
        shapes[f"blk.{n}.attn_qkv.weight"] = ((H + 2 * KV) * HD, D)
        shapes[f"blk.{n}.ffn_up.weight"] = (2 * F, D)
    anatomy = dissect(shape_checkpoint(shapes, metadata=metadata("phi3"), format="gguf"))
    gate, up, k = anatomy.part("gate", 0), anatomy.part("up", 0), anatomy.part("k", 0)
    assert gate is not None
    assert up is not None
    assert k is not None
    assert gate.view.rows is not None
    assert up.view.rows is not None
    assert (int(gate.view.rows[0]), int(up.view.rows[0])) == (0, F)
    assert k.shape == (KV * HD, D)


def test_an_architecture_without_a_table_is_still_named() -> None:
    anatomy = open_llama("brandnew")
    assert anatomy.family == "gguf"
    assert anatomy.unnamed == ()
    ruling = anatomy.holds(Symmetry.RESIDUAL_SIGN)
    assert not ruling.holds
    assert "mean" in ruling.reason


def test_falcon_40b_calls_the_ffn_norm_attn_norm() -> None:
    shapes = {k.replace("attn_q", "attn_qkv"): v for k, v in llama_shapes().items() if ".ffn_gate" not in k}
    shapes = {
        k: v
        for k, v in shapes.items()
        if ".attn_k." not in k and ".attn_v." not in k and ".ffn_norm" not in k
    }
    for n in range(LAYERS):
        shapes[f"blk.{n}.attn_qkv.weight"] = ((H + 2 * KV) * HD, D)
        shapes |= {f"blk.{n}.attn_norm{i}.{leaf}": (D,) for i in ("", "_2") for leaf in ("weight", "bias")}
    anatomy = dissect(shape_checkpoint(shapes, metadata=metadata("falcon"), format="gguf"))
    norms = {role: anatomy.part(role, 0) for role in ("attn_norm", "ffn_norm")}
    assert {role: part.tensor for role, part in norms.items() if part} == {
        "attn_norm": "blk.0.attn_norm_2.weight",
        "ffn_norm": "blk.0.attn_norm.weight",
    }


def test_block_quantised_columns_are_named_in_parts_and_rulings() -> None:
    """Q4_0 runs along a row: the order of inputs is no label there, the order of outputs is."""
    shapes = llama_shapes()
    kinds = {name: "Q4_0" for name, shape in shapes.items() if len(shape) == 2}
    anatomy = dissect(shape_checkpoint(shapes, metadata=metadata("llama"), format="gguf", dtypes=kinds))
    down, up = anatomy.part("down", 0), anatomy.part("up", 0)
    assert down is not None
    assert up is not None
    assert (down.blocked, up.blocked) == ((1,), (1,))
    assert anatomy.holds(Symmetry.FFN_ORDER).holds
    assert "down" in anatomy.holds(Symmetry.FFN_ORDER).reason
    assert "embedding" in anatomy.holds(Symmetry.RESIDUAL_ORDER).reason
    assert "o, which are" in anatomy.holds(Symmetry.VALUE_ORDER).reason


def test_a_vision_tower_in_an_mmproj_file() -> None:
    layer = {"ln1": (32,), "attn_q": (32, 32), "attn_k": (32, 32), "attn_v": (32, 32), "attn_out": (32, 32)}
    layer |= {"ln2": (32,), "ffn_up": (56, 32), "ffn_down": (32, 56)}
    shapes: dict[str, tuple[int, ...]] = {
        f"v.blk.{n}.{name}.{leaf}": shape if leaf == "weight" else shape[:1]
        for n in range(2)
        for name, shape in layer.items()
        for leaf in ("weight", "bias")
    }
    shapes |= {
        "v.patch_embd.weight": (32, 3, 14, 14),
        "v.position_embd.weight": (5, 32),
        "v.class_embd": (32,),
        "v.pre_ln.weight": (32,),
        "v.post_ln.weight": (32,),
        "mm.0.weight": (48, 32),
        "mm.2.weight": (48, 48),
    }
    anatomy = dissect(shape_checkpoint(shapes, metadata={"general.architecture": "clip"}, format="gguf"))
    assert anatomy.unnamed == ()
    assert anatomy.components == ("vision", "projector")
