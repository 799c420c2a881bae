"""What is refused or noted: incomplete modules, contradictory shapes, unread packings, lying configs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from filiation.checkpoint.model import StoredTensor
from filiation.errors import UnsupportedFormatError
from tests.packing.support import Golden, golden, stored, unpack

Kinds = dict[str, tuple[str, npt.NDArray[Any]]]


def rest(file: Golden, *names: str) -> dict[str, StoredTensor]:
    """Return a golden file's tensors without some."""
    return {key: tensor for key, tensor in file.packed.items() if key not in names}


def arrays(file: Golden) -> Kinds:
    """Return a golden file's tensors as arrays with their kinds."""
    return {key: (t.info.dtype, t.read_raw(())) for key, t in file.packed.items()}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("gptq4", "m.qzeros"),
        ("gptq4", "m.scales"),
        ("awq4", "m.qzeros"),
        ("awq4", "m.scales"),
        ("bnb_nf4", "m.weight"),
        ("bnb_nf4", "m.weight.absmax"),
        ("bnb_nf4", "m.weight.quant_map"),
        ("bnb_nf4_nested", "m.weight.nested_absmax"),
        ("bnb_nf4_nested", "m.weight.nested_quant_map"),
        ("bnb_int8", "m.weight"),
        ("ct_int4_group", "m.weight_scale"),
        ("ct_int4_group", "m.weight_shape"),
        ("ct_nvfp4", "m.weight_global_scale"),
        ("ct_mxfp4", "m.weight_scale"),
        ("modelopt_nvfp4", "m.weight_scale"),
        ("mxfp4_experts", "mlp.experts.down_proj_scales"),
        ("mlx4", "m.biases"),
    ],
)
def test_a_missing_companion_is_named(name: str, missing: str) -> None:
    file = golden(name)
    with pytest.raises(UnsupportedFormatError) as caught:
        unpack(rest(file, missing), file.config)
    assert missing in str(caught.value)
    assert caught.value.tensor
    assert caught.value.tensor.startswith(missing.split(".")[0])
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("name", "tensor", "axis"),
    [
        ("gptq4", "m.qzeros", 0),
        ("gptq4", "m.qzeros", 1),
        ("gptq4", "m.g_idx", 0),
        ("awq4", "m.qzeros", 1),
        ("awq4", "m.scales", 1),
        ("bnb_nf4", "m.weight", 0),
        ("bnb_nf4", "m.weight.absmax", 0),
        ("bnb_nf4", "m.weight.quant_map", 0),
        ("bnb_nf4_nested", "m.weight.nested_absmax", 0),
        ("bnb_int8", "m.SCB", 0),
        ("ct_int4_group", "m.weight_packed", 0),
        ("ct_int4_group", "m.weight_packed", 1),
        ("ct_int4_group", "m.weight_scale", 0),
        ("ct_int4_asym", "m.weight_zero_point", 0),
        ("ct_nvfp4", "m.weight_scale", 1),
        ("ct_mxfp4", "m.weight_scale", 0),
        ("fp8_channel", "m.weight_scale", 0),
        ("mxfp4_experts", "mlp.experts.down_proj_scales", 2),
        ("mlx4", "m.scales", 1),
    ],
)
def test_shapes_that_contradict_each_other_are_refused(name: str, tensor: str, axis: int) -> None:
    file = golden(name)
    kinds = arrays(file)
    kind, values = kinds[tensor]
    kinds[tensor] = (kind, np.take(values, range(values.shape[axis] - 1), axis=axis))
    with pytest.raises(UnsupportedFormatError) as caught:
        unpack(stored(kinds), file.config)
    assert caught.value.reason
    assert caught.value.file == "memory.safetensors"


@pytest.mark.parametrize("name", ["gptq4", "awq4", "ct_int4_group", "mlx4", "bnb_nf4"])
def test_a_packed_tensor_without_values_is_refused(name: str) -> None:
    file = golden(name)
    for key, (kind, values) in arrays(file).items():
        if values.ndim < 2:
            continue
        with pytest.raises(UnsupportedFormatError, match="holds no values") as caught:
            unpack({**file.packed, **stored({key: (kind, values[:0])})}, file.config)
        assert key in str(caught.value)


def test_a_packed_tensor_of_another_kind_is_refused() -> None:
    kinds = arrays(golden("gptq4"))
    kinds["m.qweight"] = ("F32", kinds["m.qweight"][1].astype(np.float32))
    with pytest.raises(UnsupportedFormatError, match="cannot be unpacked") as caught:
        unpack(stored(kinds), None)
    assert "F32" in str(caught.value)


def test_groups_that_have_no_scale_are_refused_when_read() -> None:
    kinds = arrays(golden("gptq4_act"))
    kinds["m.g_idx"] = ("I32", kinds["m.g_idx"][1] + 5)
    tensors, _ = unpack(stored(kinds), None)
    with pytest.raises(UnsupportedFormatError, match="cannot be unpacked") as caught:
        tensors["m.weight"].read((0,))
    assert "g_idx" in str(caught.value)


def test_words_for_one_kernel_are_refused() -> None:
    file = golden("gptq4")
    config = {"quantization_config": {"quant_method": "gptq", "checkpoint_format": "marlin"}}
    with pytest.raises(UnsupportedFormatError, match="GPTQ") as caught:
        unpack(file.packed, config)
    assert "Marlin" in str(caught.value)


def test_an_int8_tiling_for_one_kind_of_gpu_is_refused() -> None:
    kinds = arrays(golden("bnb_int8"))
    kinds["m.weight_format"] = ("U8", np.array(1, dtype=np.uint8))
    with pytest.raises(UnsupportedFormatError) as caught:
        unpack(stored(kinds), None)
    assert "weight_format is 1" in str(caught.value)


@pytest.mark.parametrize(
    "state",
    [
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"shape": [20, 35]}',
        b'{"shape": [-1], "blocksize": 64}',
        b'{"shape": "no", "blocksize": 64}',
    ]
    + [json.dumps({"shape": [12, 128], "blocksize": size}).encode() for size in (0, -64, "64", 1.5, True)],
)
def test_a_quant_state_that_makes_no_sense_is_refused(state: bytes) -> None:
    kinds = arrays(golden("bnb_nf4"))
    kinds["m.weight.quant_state.bitsandbytes__nf4"] = ("U8", np.frombuffer(state, dtype=np.uint8))
    with pytest.raises(UnsupportedFormatError) as caught:
        unpack(stored(kinds), None)
    assert caught.value.tensor == "m.weight"


@pytest.mark.parametrize(
    ("name", "kind", "packing"),
    [
        ("m.W_q", "U8", "HQQ"),
        ("m.codebooks", "I8", "AQLM"),
        ("m.trellis", "I16", "EXL3"),
        ("m.q_weight", "I32", "EXL2"),
        ("m.B", "I32", "Marlin"),
    ],
)
def test_packings_that_are_not_read_are_named(name: str, kind: str, packing: str) -> None:
    with pytest.raises(UnsupportedFormatError) as caught:
        unpack(stored({name: (kind, np.zeros((4, 4), dtype=np.int32))}), None)
    assert packing in caught.value.message
    assert caught.value.tensor == name


def test_an_unknown_method_with_packed_weights_is_refused_by_name() -> None:
    tensors = stored({"m.weight": ("U8", np.zeros((4, 4), dtype=np.uint8))})
    with pytest.raises(UnsupportedFormatError) as caught:
        unpack(tensors, {"quantization_config": {"quant_method": "bitnet"}})
    assert "bitnet" in caught.value.message
    assert "GPTQ" in str(caught.value)


def test_a_config_that_says_quantised_over_plain_weights_is_noted() -> None:
    tensors = stored({"m.weight": ("F32", np.zeros((4, 4), dtype=np.float32))})
    unpacked, notes = unpack(tensors, {"quantization_config": {"quant_method": "gptq"}})
    assert dict(unpacked) == tensors
    assert len(notes) == 1
    assert "gptq" in notes[0]


def test_plain_weights_pass_unchanged() -> None:
    tensors = stored(
        {
            "m.weight": ("F32", np.zeros((4, 4), dtype=np.float32)),
            "ids": ("I64", np.zeros((1, 9), dtype=np.int64)),
        }
    )
    assert unpack(tensors, {"model_type": "llama"}) == (tensors, ())
    assert unpack(tensors, None) == (tensors, ())


def test_a_config_with_the_wrong_method_is_noted_and_the_tensors_believed() -> None:
    file = golden("gptq4")
    tensors, notes = unpack(file.packed, {"quantization_config": {"quant_method": "awq"}})
    assert np.array_equal(tensors["m.weight"].read(()), file.oracle["m.weight"])
    assert any("'awq'" in note and "GPTQ" in note for note in notes)


def test_a_config_with_the_wrong_bits_is_noted_and_the_shapes_believed() -> None:
    file = golden("gptq8")
    tensors, notes = unpack(file.packed, {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    assert np.array_equal(tensors["m.weight"].read(()), file.oracle["m.weight"])
    assert any("4 bits" in note for note in notes)


def test_symmetric_zero_points_decide_the_format_against_the_config() -> None:
    file = golden("gptq4_sym")
    config = {"quantization_config": {"quant_method": "gptq", "checkpoint_format": "gptq_v2"}}
    tensors, notes = unpack(file.packed, config)
    assert np.array_equal(tensors["m.weight"].read(()), file.oracle["m.weight"])
    assert any("zero points" in note for note in notes)


def test_a_zero_point_of_zero_survives_being_stored_less_one() -> None:
    file = golden("gptq4")
    kinds = arrays(file)
    # Every zero point is stored as -1, which is 15 in four bits.
    kinds["m.qzeros"] = ("I32", np.full_like(kinds["m.qzeros"][1], -1))
    tensors, _ = unpack(stored(kinds), file.config)
    codes = tensors["m.weight"].read(()) / np.repeat(kinds["m.scales"][1].astype(np.float32).T, 32, axis=1)
    assert codes.min() >= 0
    assert np.allclose(codes, np.round(codes))


def test_the_quantisation_of_the_text_part_and_the_old_key_are_seen() -> None:
    file = golden("gptq5_v2")
    inner = file.config["quantization_config"]
    for config in ({"text_config": {"quantization_config": inner}}, {"compression_config": inner}):
        tensors, notes = unpack(file.packed, config)
        assert np.array_equal(tensors["m.weight"].read(()), file.oracle["m.weight"])
        assert not any("no quantization_config" in note for note in notes)


@pytest.mark.parametrize("packed_first", [False, True])
def test_a_weight_that_is_stored_twice_is_refused(packed_first: bool) -> None:
    plain = stored({"m.weight": ("F32", np.zeros((32, 64), np.float32))})
    packed = stored(arrays(golden("gptq4")))
    with pytest.raises(UnsupportedFormatError, match="twice"):
        unpack({**packed, **plain} if packed_first else {**plain, **packed}, None)


def test_a_weight_with_the_scales_of_two_packings_is_refused() -> None:
    kinds = arrays(golden("ct_int8_plain"))
    kinds["m.SCB"] = ("F32", np.ones(kinds["m.weight"][1].shape[0], np.float32))
    with pytest.raises(UnsupportedFormatError, match="twice"):
        unpack(stored(kinds), None)


def test_companions_of_activations_are_left_out() -> None:
    kinds: Kinds = {"m.k_scale": ("F32", np.ones((), dtype=np.float32)), **arrays(golden("fp8_tensor"))}
    tensors, _ = unpack(stored(kinds), None)
    assert list(tensors) == ["m.weight"]


def test_a_tensor_without_raw_values_is_refused() -> None:
    class Rounded:
        def __init__(self, tensor: StoredTensor) -> None:
            self.info = tensor.info

        def read(self, index: Any) -> Any:
            raise AssertionError("must not be read")

    file = golden("gptq4")
    with pytest.raises(UnsupportedFormatError) as caught:
        unpack({key: Rounded(tensor) for key, tensor in file.packed.items()}, file.config)
    assert "packed integers" in str(caught.value)


def test_the_order_of_the_tensors_is_kept() -> None:
    first = stored({"a.weight": ("F32", np.zeros((2, 2), np.float32))})
    last = stored({"z.weight": ("F32", np.zeros((2, 2), np.float32))})
    tensors, _ = unpack({**first, **golden("awq4").packed, **last}, None)
    assert list(tensors) == ["a.weight", "m.weight", "m.bias", "z.weight"] or list(tensors) == [
        "a.weight",
        "m.bias",
        "m.weight",
        "z.weight",
    ]


def test_experts_are_scaled_by_stack() -> None:
    rng = np.random.default_rng(3)
    weight = rng.integers(-100, 100, (3, 8, 16)).astype(np.int8)
    scale = rng.random((3, 8, 1)).astype(np.float32)
    tensors, _ = unpack(stored({"e.up": ("I8", weight), "e.up_scale": ("F32", scale)}), None)
    assert np.array_equal(tensors["e.up"].read((1,)), (weight[1] * scale[1]).astype(np.float32))


def test_the_description_is_frozen() -> None:
    tensors, _ = unpack(golden("gptq4").packed, None)
    info = tensors["m.weight"].info
    assert replace(info, name="x").shape == (32, 64)
