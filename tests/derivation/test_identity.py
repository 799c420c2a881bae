"""Are two models the same weights: formats, names, tied heads and shifted gains seen through; the first difference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from filiation.checkpoint.model import FileRecord
from filiation.derivation import as_identical, same_files, same_weights
from filiation.derivation.contents import same_contents
from filiation.lab import recode
from filiation.lab.layout import untie
from tests.derivation.models import Model, anatomy, base, numbers, stored, tuned
from tests.support import memory_checkpoint


def _changed(name: str, index: tuple[int, ...], by: float = 1.0) -> Model:
    tensors = {n: v.copy() for n, v in base()[0].items()}
    tensors[name][index] += by
    return tensors, base()[1]


def test_a_model_equals_itself() -> None:
    found = same_weights(anatomy(base()), anatomy(base()))
    assert found.equal
    assert found.difference is None
    assert found.names_equal
    assert found.dtypes_equal
    assert found.elements == sum(v.size for v in base()[0].values())
    assert as_identical(found, anatomy(base()), anatomy(base())).kinds == {"identical"}


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("model.layers.4.mlp.down_proj.weight", (63, 191)),
        ("model.layers.0.self_attn.q_proj.weight", (0, 0)),
        ("model.layers.5.input_layernorm.weight", (17,)),
        ("model.norm.weight", (63,)),
        ("model.embed_tokens.weight", (511, 0)),
    ],
)
def test_one_changed_element_is_found_and_named(name: str, index: tuple[int, ...]) -> None:
    found = same_weights(anatomy(_changed(name, index)), anatomy(base()))
    assert not found.equal
    assert found.difference is not None
    assert found.difference.suspect_tensor == name
    assert found.difference.reason == "values_differ"
    if found.difference.index is not None:
        assert found.difference.index == index
    before = base()[0][name][index]
    assert found.difference.candidate_value == pytest.approx(float(before))


def test_differing_models_are_told_apart_without_reading_them_whole() -> None:
    suspect, candidate = anatomy(tuned(*base(), level=0.01)), anatomy(base())
    assert not same_weights(suspect, candidate).equal
    assert suspect.checkpoint.bytes_read < 0.01 * suspect.checkpoint.total_bytes


def test_a_stored_type_that_loses_nothing() -> None:
    exact = ({n: stored(v, "BF16") for n, v in base()[0].items()}, base()[1])
    suspect, candidate = anatomy(exact, "BF16"), anatomy(exact, "F32")
    found = same_weights(suspect, candidate)
    assert found.equal
    assert not found.dtypes_equal
    told = as_identical(found, suspect, candidate, 2)
    assert told.kinds == {"identical", "re_encoded"}
    shown = numbers(told, "re_encoded")
    assert shown["from"] == {"dtypes": {"F32": 56}}
    assert shown["to"] == {"dtypes": {"BF16": 56}}
    assert {step.candidate for step in told.steps} == {2}


def test_a_stored_type_that_loses_something() -> None:
    assert not same_weights(anatomy(base(), "BF16"), anatomy(base(), "F32")).equal


def test_fused_projections_are_seen_through() -> None:
    suspect, candidate = anatomy(recode.fuse_projections(*base())), anatomy(base())
    found = same_weights(suspect, candidate)
    assert found.equal
    assert not found.names_equal
    assert "re_encoded" in as_identical(found, suspect, candidate).kinds


def test_a_head_that_is_the_embedding_is_tied_however_it_is_stored() -> None:
    untied = untie({n: v.copy() for n, v in base()[0].items()}, base()[1])
    suspect, candidate = anatomy(untied), anatomy(base())
    found = same_weights(suspect, candidate)
    assert found.equal
    assert as_identical(found, suspect, candidate).kinds == {"identical", "settings_changed"}
    untied[0]["lm_head.weight"][3, 3] += 1
    assert not same_weights(anatomy(untied), candidate).equal


def test_shifted_gains_are_compared_as_applied() -> None:
    gemma = {**base()[1], "architectures": ["GemmaForCausalLM"], "model_type": "gemma"}
    shifted = {n: v - 1 if v.ndim == 1 else v for n, v in base()[0].items()}
    exact = {n: (v - 1) + 1 if v.ndim == 1 else v for n, v in base()[0].items()}
    assert same_weights(anatomy((shifted, gemma)), anatomy((exact, base()[1]))).equal


def test_other_names_are_told() -> None:
    names = {
        r"^model\.layers\.(\d+)\.input_layernorm\.": r"model.layers.\1.ln1.",
        r"^model\.layers\.(\d+)\.post_attention_layernorm\.": r"model.layers.\1.ln2.",
    }
    suspect = anatomy(recode.rename(*base(), names=names, model_type="Yi"))
    candidate = anatomy(base())
    found = same_weights(suspect, candidate)
    assert found.equal
    told = as_identical(found, suspect, candidate)
    assert told.kinds == {"identical", "renamed"}
    renames = numbers(told, "renamed")["renames"]
    assert renames["model.layers.{layer}.input_layernorm.weight"] == "model.layers.{layer}.ln1.weight"
    assert (
        renames["model.layers.{layer}.post_attention_layernorm.weight"] == "model.layers.{layer}.ln2.weight"
    )


def _nameless(model: Model) -> Model:
    """Names that say nothing at all, in shuffled order."""
    order = np.random.default_rng(0).permutation(len(model[0]))
    items = list(model[0].items())
    return {f"model.layers.{i % 6}.t{i}.weight": items[n][1] for i, n in enumerate(order)}, model[1]


def test_names_that_no_rule_explains_are_matched_by_content() -> None:
    nameless = _nameless(base())
    found = same_contents(memory_checkpoint(*nameless), memory_checkpoint(*base()))
    assert found is not None
    assert len(found) == len(base()[0])
    for theirs, mine in found.items():
        np.testing.assert_array_equal(base()[0][theirs], nameless[0][mine])


def test_contents_that_differ_are_no_match() -> None:
    nameless = _nameless(_changed("model.layers.2.mlp.up_proj.weight", (5, 5)))
    assert same_contents(memory_checkpoint(*nameless), memory_checkpoint(*base())) is None
    assert same_contents(memory_checkpoint(*base()), memory_checkpoint(*base(9))) is None


def test_partly_named_models_are_compared_by_content() -> None:
    extra = np.arange(12, dtype=np.float32).reshape(3, 4)
    odd = ({**base()[0], "model.layers.0.mystery.weight": extra}, base()[1])
    other = ({**base()[0], "model.layers.0.riddle.weight": extra}, base()[1])
    found = same_weights(anatomy(odd), anatomy(other))
    assert found.equal
    assert found.by == "content"
    assert found.names["model.layers.0.riddle.weight"] == "model.layers.0.mystery.weight"
    told = as_identical(found, anatomy(odd), anatomy(other))
    renames = numbers(told, "renamed")["renames"]
    assert set(renames.values()) == {"model.layers.0.mystery.weight"}


def test_a_part_that_only_one_has() -> None:
    odd = ({**base()[0], "model.layers.0.self_attn.q_proj.bias": np.ones(64, np.float32)}, base()[1])
    found = same_weights(anatomy(odd), anatomy(base()))
    assert not found.equal
    assert found.difference is not None
    assert found.difference.reason == "only_in_suspect"
    back = same_weights(anatomy(base()), anatomy(odd))
    assert back.difference is not None
    assert back.difference.reason == "only_in_candidate"


def _filed(sha256: str | None) -> Any:
    from dataclasses import replace

    model = anatomy(base())
    checkpoint = replace(model.checkpoint, files=(FileRecord("memory", 1, sha256),))
    return replace(model, checkpoint=checkpoint)


def test_equal_digests_need_no_reading() -> None:
    one, other = _filed("a" * 64), _filed("a" * 64)
    assert same_files(one, other)
    found = same_weights(one, other)
    assert found.equal
    assert found.by == "digest"
    assert one.checkpoint.bytes_read == 0


def test_unequal_or_unknown_digests_prove_nothing() -> None:
    assert not same_files(_filed("a" * 64), _filed("b" * 64))
    assert same_weights(_filed("a" * 64), _filed("b" * 64)).equal  # other bytes, equal weights
    assert not same_files(_filed(None), _filed(None))
    assert same_weights(_filed(None), _filed(None)).files_equal is None


def test_progress_is_told() -> None:
    seen: list[tuple[str, int, int | None]] = []
    same_weights(anatomy(base()), anatomy(base()), lambda *call: seen.append(call))
    assert [done for _, done, _ in seen] == list(range(len(seen)))
