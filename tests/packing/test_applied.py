"""Scales beside 8-bit matrices are applied where the settings say that loaders do so, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from filiation.checkpoint import packing
from filiation.checkpoint.model import StoredTensor
from filiation.checkpoint.packing.applied import Reading, Settings
from filiation.errors import UnsupportedFormatError
from tests.packing.support import golden, stored

QUERY = "model.layers.0.self_attn.q_proj"
GATE = "model.layers.0.mlp.gate_proj"
TABLE, HEAD = "model.embed_tokens", "lm_head"
DRAWN = np.random.default_rng(5)
VALUES = DRAWN.standard_normal((16, 32)).astype(ml_dtypes.float8_e4m3fn)
CODES = DRAWN.integers(-127, 127, (16, 32)).astype(np.int8)
SCALE = np.array([0.5], np.float32)


def beside(*modules: str, kind: str = "F8_E4M3", suffix: str = "_scale") -> dict[str, StoredTensor]:
    """Return 8-bit weights of modules, each with one scale."""
    values = CODES if kind == "I8" else VALUES
    weights = {f"{module}.weight": (kind, values) for module in modules}
    return stored({**weights, **{name + suffix: ("F32", SCALE) for name in weights}})


def config(method: str | None, **settings: Any) -> dict[str, Any]:
    named = {} if method is None else {"quant_method": method}
    return {"model_type": "llama", "quantization_config": {**named, **settings}}


def reading_of(module: str, said: Mapping[str, Any] | None, kind: str = "F8_E4M3") -> Reading:
    """Return how the weight of a module is read, told by its values."""
    found = packing.unpack(beside(module, kind=kind), said)
    assert list(found.tensors) == [f"{module}.weight"]
    values = np.asarray(CODES if kind == "I8" else VALUES, np.float32)
    read = found.tensors[f"{module}.weight"].read(())
    as_stored = np.array_equal(read, values)
    assert as_stored or np.array_equal(read, values / 2)
    assert found.unscaled == ((f"{module}.weight",) if as_stored else ())
    assert as_stored == any("passed over" in note for note in found.notes)
    return Reading.AS_STORED if as_stored else Reading.SCALED


GROUP = {"weights": {"num_bits": 8, "type": "float"}, "targets": ["Linear"]}


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (QUERY, None),
        (QUERY, config("fp8", weight_block_size=[128, 128])),
        (QUERY, config("fp8", modules_to_not_convert=["lm_head", "model.layers.0.mlp.gate"])),
        (QUERY, config("fp8", ignored_layers=["lm_head", "model.layers.1.self_attn.q_proj"])),
        (QUERY, config("fbgemm_fp8", modules_to_not_convert=["model.layers.31.mlp.up_proj"])),
        (QUERY, config("modelopt", ignore=["lm_head", "model.layers.7*"])),
        (QUERY, config("modelopt", exclude_modules=["*vision*", "lm_head"])),
        (QUERY, config("quark", exclude=["lm_head", "re:.*mlp.*"])),
        (QUERY, config("compressed-tensors", format="float-quantized")),
        (QUERY, config("compressed-tensors", config_groups={"group_0": GROUP}, ignore=["lm_head"])),
        (QUERY, config("compressed-tensors", config_groups={"g": {**GROUP, "targets": ["re:.*attn.*"]}})),
        (QUERY, config("compressed-tensors", config_groups={"g": GROUP}, ignore=["re:.*mlp.gate$"])),
        (QUERY, config("compressed-tensors", config_groups={"g": GROUP}, ignore=["model.layers.0"])),
        (QUERY, config("compressed-tensors", config_groups={"g": GROUP}, modules_to_not_convert=[QUERY])),
        (GATE, config("compressed-tensors", config_groups={"g": GROUP}, ignore=["model.layers.0.mlp.gate"])),
        (HEAD, config("compressed-tensors", config_groups={"g": GROUP})),
        (TABLE, config("compressed-tensors", config_groups={"g": {**GROUP, "targets": ["Embedding"]}})),
        (TABLE, config("fp8", modules_to_convert=["embed_tokens"])),
        (QUERY, {"text_config": config("fp8")}),
        (QUERY, {"compression_config": {"quant_method": "compressed-tensors"}}),
    ],
)
def test_scales_are_applied_where_the_settings_say_so(module: str, said: Mapping[str, Any] | None) -> None:
    assert reading_of(module, said) is Reading.SCALED


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (QUERY, {"model_type": "llama"}),
        (QUERY, {"quantization_config": None}),
        (QUERY, config(None)),
        (QUERY, config("gptq", bits=4)),
        (QUERY, config("bitsandbytes", load_in_8bit=True)),
        (QUERY, {"quantization": {"quant_method": "fp8"}}),
        (QUERY, {"quantization": {"quant_algo": "FP8"}}),
        (QUERY, config("fp8", modules_to_not_convert=[QUERY])),
        (QUERY, config("fp8", modules_to_not_convert=[QUERY], ignored_layers=[QUERY, HEAD])),
        (QUERY, config("modelopt", ignore=[QUERY])),
        (QUERY, config("compressed-tensors", config_groups={"g": GROUP}, ignore=[QUERY])),
        (QUERY, config("compressed-tensors", config_groups={"g": GROUP}, ignore=["Linear"])),
        (QUERY, config("compressed-tensors", config_groups={"g": GROUP}, ignore=["re:.*q_proj$"])),
        (QUERY, config("compressed-tensors", config_groups={"g": {**GROUP, "targets": [GATE]}})),
        (QUERY, config("compressed-tensors", config_groups={})),
        (QUERY, config("compressed-tensors", config_groups={"g": {"targets": ["Linear"]}})),
        (QUERY, config("compressed-tensors", kv_cache_scheme={"num_bits": 8})),
        (TABLE, config("fp8")),
        (TABLE, config("compressed-tensors", config_groups={"g": GROUP})),
        (HEAD, config("fp8")),
    ],
)
def test_elsewhere_what_is_stored_is_read(module: str, said: Mapping[str, Any]) -> None:
    assert reading_of(module, said) is Reading.AS_STORED


@pytest.mark.parametrize(
    ("module", "said"),
    [
        # As a beginning, an ending, a part or a pattern: some loaders take these for the module, others do not.
        *(
            (QUERY, config("fp8", modules_to_not_convert=[name]))
            for name in ("model.layers.0", "mode", "proj")
        ),
        (QUERY, config("fp8", modules_to_not_convert=["m.del"])),
        (QUERY, config("fp8", modules_to_not_convert=["model.layers.\\d+"])),
        (QUERY, config("fp8", modules_to_not_convert=["(m+)+o"])),
        (QUERY, config("fp8", modules_to_not_convert=[QUERY], ignored_layers=[GATE])),
        (GATE, config("fp8", modules_to_not_convert=["model.layers.0.mlp.gate"])),
        # In a list that the method's loaders do not read.
        (QUERY, config("fp8", ignore=[QUERY])),
        (QUERY, config("modelopt", ignore=["model.layers.0*"])),
        (QUERY, config("compressed-tensors", config_groups={"g": GROUP}, ignore=["re:(m+)+o"])),
        (HEAD, config("fp8", modules_to_not_convert=[GATE])),
        (QUERY, config("mystery")),
        ("h.0.attn.c_attn", {**config("fp8"), "model_type": "gpt2"}),
    ],
)
def test_where_loaders_differ_the_file_is_refused(module: str, said: Mapping[str, Any]) -> None:
    with pytest.raises(UnsupportedFormatError, match="cannot be told") as caught:
        packing.unpack(beside(module), said)
    assert caught.value.tensor == f"{module}.weight"
    assert caught.value.file == "memory.safetensors"
    assert caught.value.reason
    assert caught.value.next_step


def test_integers_of_bitsandbytes_follow_its_own_list() -> None:
    tensors = {
        name.replace(".weight_scale", ".SCB"): tensor
        for name, tensor in beside(QUERY, HEAD, kind="I8").items()
    }
    skipping = config("bitsandbytes", load_in_8bit=True, llm_int8_skip_modules=[QUERY])
    for said, left in ((config("bitsandbytes"), {HEAD}), (skipping, {QUERY}), (config("fp8"), {QUERY, HEAD})):
        found = packing.unpack(tensors, said)
        assert {name.removesuffix(".weight") for name in found.unscaled} == left
        for module in (QUERY, HEAD):
            factor = np.float32(1) if module in left else np.float32(0.5 / 127)
            np.testing.assert_allclose(found.tensors[f"{module}.weight"].read(()), CODES * factor, rtol=1e-6)
    assert reading_of(QUERY, config("compressed-tensors"), "I8") is Reading.SCALED
    assert reading_of(QUERY, {}, "I8") is Reading.AS_STORED


def test_two_scales_beside_one_matrix_are_refused() -> None:
    both = {**beside(QUERY), **beside(QUERY, suffix="_scale_inv")}
    for said in (None, config("fp8")):
        with pytest.raises(UnsupportedFormatError, match="cannot be told"):
            packing.unpack(both, said)
    assert set(packing.unpack(both, {}).tensors) == {f"{QUERY}.weight"}


def test_whole_floats_that_the_settings_scale_are_refused() -> None:
    name = f"{QUERY}.weight"
    tensors = {**beside(QUERY), **stored({name: ("BF16", np.ones((16, 32), ml_dtypes.bfloat16))})}
    with pytest.raises(UnsupportedFormatError, match="cannot be told") as caught:
        packing.unpack(tensors, config("fp8"))
    assert caught.value.tensor == name
    trained_on = config("compressed-tensors", quantization_status="frozen")
    for said in (None, {}, config("gptq"), config("fp8", modules_to_not_convert=[QUERY]), trained_on):
        assert packing.unpack(tensors, said).tensors[name].info.dtype == "BF16"


def test_a_scale_that_the_methods_loaders_do_not_know_is_refused() -> None:
    tensors = beside(QUERY, suffix="_scale_inv")
    with pytest.raises(UnsupportedFormatError, match="cannot be told"):
        packing.unpack(tensors, config("compressed-tensors"))
    for said in (None, config("fp8")):
        assert packing.unpack(tensors, said).unscaled == ()


def test_scales_of_another_packing_beside_those_that_are_meant_change_nothing() -> None:
    tensors = {**beside(QUERY, kind="I8"), **stored({f"{QUERY}.SCB": ("F32", np.ones(16, np.float32))})}
    found = packing.unpack(tensors, config("compressed-tensors"))
    assert list(found.tensors) == [f"{QUERY}.weight"]
    assert found.unscaled == ()
    np.testing.assert_array_equal(found.tensors[f"{QUERY}.weight"].read(()), CODES / np.float32(2))


def test_what_lies_in_a_file_of_its_own_counts_where_config_json_says_nothing() -> None:
    said = {"producer": {}, "quantization": {"quant_algo": "FP8", "exclude_modules": [GATE]}}
    found = packing.unpack(beside(QUERY, GATE), {"model_type": "llama"}, lambda: said)
    assert found.unscaled == (f"{GATE}.weight",)
    found = packing.unpack(beside(QUERY), config("gptq"), lambda: said)
    assert found.unscaled == (f"{QUERY}.weight",)


@pytest.mark.parametrize("said", [None, {}, {"quantization": "FP8"}, {"quantization": {}}])
def test_a_file_that_says_nothing_changes_nothing(said: Any) -> None:
    assert packing.unpack(beside(QUERY), {}, lambda: said).unscaled == (f"{QUERY}.weight",)


def test_a_list_that_would_take_for_ever_is_not_gone_through() -> None:
    patterns = [f"re:.*a{n}.*[ab].*c" for n in range(200)]
    settings = Settings({"ignore": patterns}, "compressed-tensors", True)
    names = frozenset({"compressed-tensors"})
    modules = [f"{'a' * 200}.{n}" for n in range(1000)]
    assert set(settings.readings(modules, names, names).values()) == {Reading.UNCLEAR}


@pytest.mark.parametrize("name", ["bnb_nf4", "mlx4", "modelopt_nvfp4"])
@pytest.mark.parametrize("said", [{"model_type": "llama"}, config("gptq")])
def test_packed_words_under_a_plain_name_need_settings_that_name_them(
    name: str, said: Mapping[str, Any]
) -> None:
    with pytest.raises(UnsupportedFormatError) as caught:
        packing.unpack(golden(name).packed, said)
    assert caught.value.tensor == "m.weight"
    assert "does not name this packing" in str(caught.value)


@pytest.mark.parametrize("name", ["gptq4", "awq4", "ct_int4_group", "ct_nvfp4", "mxfp4_experts"])
def test_words_that_only_one_packing_has_need_none(name: str) -> None:
    file = golden(name)
    found = packing.unpack(file.packed, {"model_type": "llama"})
    assert set(file.oracle) <= set(found.tensors)
    assert found.unscaled == ()


@pytest.mark.parametrize("said", [None, config("fp8"), config("fp8", weight_block_size=[1, 1])])
def test_a_scale_for_every_value_is_no_scale(said: Mapping[str, Any] | None) -> None:
    kinds: Any = {
        f"{QUERY}.weight": ("F8_E4M3", VALUES),
        f"{QUERY}.weight_scale_inv": ("F32", np.ones((16, 32), np.float32)),
    }
    with pytest.raises(UnsupportedFormatError, match="FP8") as caught:
        packing.unpack(stored(kinds), said)
    assert "a scale for every 1 values" in str(caught.value)
    assert packing.unpack(stored(kinds), {}).unscaled == (f"{QUERY}.weight",)
