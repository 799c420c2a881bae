"""How weights are stored and named, and the settings beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from filiation.derivation import derive
from filiation.derivation.settings import settings_step
from filiation.derivation.storage import parts_by_key, rename_map, shared_parts, storage_steps
from filiation.lab import derive as lab
from filiation.lab import recode
from filiation.lab.extended import to_latent_attention
from filiation.origin.pairing import Plan
from tests.derivation.models import anatomy, base, derived, examined, numbers, tokens, tuned


@pytest.mark.parametrize(("mine", "theirs"), [("BF16", "F32"), ("F16", "F32"), ("F32", "BF16")])
def test_other_float_type_is_re_encoding(mine: str, theirs: str) -> None:
    found = derived(base(), base(), dtype=mine, candidate_dtype=theirs)
    shown = numbers(found, "re_encoded")
    assert (shown["from"], shown["to"]) == ({"dtypes": {theirs: 56}}, {"dtypes": {mine: 56}})


def test_other_float_type_is_told_beside_training() -> None:
    assert derived(tuned(*base(), level=0.03), base(), dtype="BF16", candidate_dtype="F32").kinds == {
        "fine_tuned",
        "re_encoded",
    }


def test_other_format_is_re_encoding_and_its_names_are_its_own() -> None:
    suspect, candidate = anatomy(base(), format="torch"), anatomy(base())
    steps = storage_steps(suspect, candidate, shared_parts(suspect, candidate))
    assert [s.kind for s in steps] == ["re_encoded"]
    assert steps[0].numbers == {"from": {"format": "safetensors"}, "to": {"format": "torch"}}


def test_fusing_is_counted() -> None:
    shown = numbers(derived(recode.fuse_projections(*base()), base()), "re_encoded")
    assert (shown["from"], shown["to"]) == ({"fused": 0}, {"fused": 12})


NAMES = {
    r"^model\.layers\.(\d+)\.input_layernorm\.": r"model.layers.\1.ln1.",
    r"^model\.layers\.(\d+)\.post_attention_layernorm\.": r"model.layers.\1.ln2.",
}


def test_renamed_and_tuned_are_both_told() -> None:
    child = recode.rename(*tuned(*base(), level=0.03), names=NAMES, model_type="Yi")
    found = derived(child, base())
    assert found.kinds == {"fine_tuned", "renamed"}
    shown = numbers(found, "renamed")
    assert shown["renames"] == {
        "model.layers.{layer}.input_layernorm.weight": "model.layers.{layer}.ln1.weight",
        "model.layers.{layer}.post_attention_layernorm.weight": "model.layers.{layer}.ln2.weight",
    }
    assert shown["tensors"] == 12


def test_layers_that_moved_are_not_renamed() -> None:
    suspect, candidate = anatomy(lab.take_layers(*base(), [1, 0, 2, 3, 4, 5])), anatomy(base())
    theirs = parts_by_key(candidate)
    swapped = {0: 1, 1: 0}
    pairs = [
        (
            p,
            theirs[
                p.component, p.role, p.layer if p.layer is None else swapped.get(p.layer, p.layer), p.expert
            ],
        )
        for p in suspect.parts
    ]
    assert rename_map(pairs) == {}


def test_equal_models_have_no_storage_steps() -> None:
    suspect, candidate = anatomy(base()), anatomy(base())
    assert storage_steps(suspect, candidate, shared_parts(suspect, candidate), files=True) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rope_theta": 1e6}, {"rope_theta": {"from": 1e4, "to": 1e6}}),
        ({"max_position_embeddings": 4096}, {"max_position_embeddings": {"from": 128, "to": 4096}}),
        ({"rms_norm_eps": 1e-6}, {"rms_norm_eps": {"from": 1e-5, "to": 1e-6}}),
    ],
)
def test_settings_that_differ(change: dict[str, Any], told: dict[str, Any]) -> None:
    found = derived((base()[0], {**base()[1], **change}), base())
    assert found.kinds == {"settings_changed"}
    assert numbers(found, "settings_changed")["settings"] == told


@pytest.mark.parametrize(
    "change",
    [
        {"torch_dtype": "float16"},
        {"architectures": ["LlamaModel"]},
        {"transformers_version": "5.0"},
        {"_name_or_path": "somewhere/else"},
        {"rms_norm_eps": 1.0000001e-5},
        {"new_key": 3},
    ],
)
def test_settings_that_say_nothing_about_the_function(change: dict[str, Any]) -> None:
    suspect, candidate = anatomy((base()[0], {**base()[1], **change})), anatomy(base())
    assert settings_step(suspect, candidate, "language") is None


def test_settings_without_a_config_are_those_of_the_anatomy() -> None:
    suspect = anatomy(base())
    bare = anatomy((base()[0], {k: v for k, v in base()[1].items() if k != "rms_norm_eps"}))
    assert settings_step(suspect, bare, "language") is None


def test_the_order_of_rotary_pairs_is_not_told_of_a_kind_of_model_that_no_family_is_of() -> None:
    own = to_latent_attention(*base(), rank=32)
    assert settings_step(anatomy(own), anatomy(base()), "language") is None
    named = own[0], {**own[1], "model_type": "deepseek_v2", "architectures": ["DeepseekV2ForCausalLM"]}
    step = settings_step(anatomy(named), anatomy(base()), "language")
    assert step is not None
    assert step.numbers["settings"]["rope"] == {"from": "neox", "to": "interleaved"}


def test_biases_and_vectors_are_measured_too() -> None:
    g = np.random.default_rng(0)
    qwen = {**base()[1], "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
    tensors = dict(base()[0])
    for layer in range(6):
        for which, rows in (("q", 64), ("k", 32), ("v", 32)):
            bias = g.standard_normal(rows).astype(np.float32)
            tensors[f"model.layers.{layer}.self_attn.{which}_proj.bias"] = bias
    suspect, candidate = anatomy(tuned(tensors, qwen, level=0.03)), anatomy((tensors, qwen))
    plan, rows = Plan("0" * 64, whole=True), tokens(suspect, candidate)
    found = derive(suspect, candidate, examined(suspect, candidate, plan), plan, rows, full=False)
    assert found.kinds == {"fine_tuned"}
    assert {"q.bias", "k.bias", "v.bias", "attn_norm"} <= {d.role for d in found.deltas}
    assert len(found.deltas) == len(suspect.parts)
