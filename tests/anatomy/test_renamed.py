"""Models under invented names: what must be named completely, what partially and with which reason.

Completely: every part, whatever the spelling, where each part's name holds a word that is used for it anywhere
(``query``, ``mix``, ``drop``), with or without config. Partially: names that mean nothing, in alphabetical order; then
only what shapes tell is named, and the anatomy says of the rest what it could be.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation import checkpoint
from filiation.anatomy import Anatomy, Symmetry, dissect
from filiation.errors import CorruptCheckpointError, UnknownAnatomyError
from tests.anatomy.renaming import (
    LEANING,
    SPELLINGS,
    TELLING,
    Scheme,
    dissected_anew,
    drawn_scheme,
    found,
    invented_config,
    renamed,
    truth,
)
from tests.anatomy.test_families import dissected, inventory
from tests.support import shape_checkpoint

S = Symmetry
MODELS = ("llama", "qwen2", "qwen3", "gpt2", "bert_model", "mixtral")
EXAMPLES = Path(__file__).parents[2] / "examples" / "models"

# What names that mean nothing leave open, and what is named all the same.
SHAPES_ALONE: dict[str, tuple[set[str], tuple[str, ...]]] = {
    "llama": (
        {"gate", "up", "down", "final_norm"},
        ("k and v", "q and o", "attn_norm and ffn_norm", "embedding and head"),
    ),
    "qwen2": ({"gate", "up", "down", "final_norm"}, ("k and v", "q and o", "attn_norm and ffn_norm")),
    "qwen3": ({"q", "o", "gate", "up", "down", "final_norm"}, ("k and v", "q_norm and k_norm")),
    "gpt2": (
        {"q", "k", "v", "o", "up", "down", "embedding", "position", "final_norm"},
        ("attn_norm and ffn_norm",),
    ),
    "bert_model": (
        {"up", "down", "embedding", "position", "token_type", "embedding_norm"},
        ("q and k and v and o",),
    ),
    "mixtral": ({"gate", "up", "down", "router", "final_norm"}, ("k and v", "q and o")),
}


@pytest.mark.parametrize("spelling", range(len(SPELLINGS)))
@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=6)
@given(st.integers(0, 2**32), st.booleans())
def test_names_that_tell_are_enough(model: str, spelling: int, seed: int, with_config: bool) -> None:
    scheme = replace(drawn_scheme(model, random.Random(seed), TELLING), spell=SPELLINGS[spelling])
    names = renamed(model, scheme)
    anatomy = dissected_anew(model, names, invented_config(model) if with_config else None)
    assert anatomy.family is None
    assert anatomy.unnamed == ()
    assert found(anatomy) == truth(model, names)
    geometry = dissected(model).geometry["language"]
    if with_config:
        inferred = anatomy.geometry["language"]
        for size in (
            "d_model",
            "n_layers",
            "d_ff",
            "n_heads",
            "n_kv_heads",
            "d_head",
            "vocab",
            "n_experts",
            "norm",
        ):
            assert getattr(inferred, size) == getattr(geometry, size), size
        assert (inferred.gated, inferred.norm_position) == (geometry.gated, geometry.norm_position)


@pytest.mark.parametrize("model", ["llama", "qwen3", "mixtral"])
@given(st.integers(0, 2**32))
def test_names_that_tell_keep_every_symmetry(model: str, seed: int) -> None:
    scheme = drawn_scheme(model, random.Random(seed), TELLING | {"o": ("out", "output", "wo"), "up": ("up",)})
    names = renamed(model, scheme)
    anatomy = dissected_anew(model, names, invented_config(model))
    expected = {r.symmetry: r.holds for r in dissected(model).rulings["language"]}
    assert {r.symmetry: r.holds for r in anatomy.rulings["language"]} == expected


@pytest.mark.parametrize("model", ["llama", "qwen2", "qwen3", "mixtral"])
@given(st.integers(0, 2**32))
def test_a_gate_by_leaning_words_has_no_sign_test(model: str, seed: int) -> None:
    """``act`` and ``lift`` name the parts, but another model may use them the other way round."""
    names = renamed(model, drawn_scheme(model, random.Random(seed), LEANING))
    anatomy = dissected_anew(model, names, invented_config(model))
    assert found(anatomy) == truth(model, names)
    ruling = anatomy.holds(S.FFN_SIGN)
    assert not ruling.holds
    assert "gate" in ruling.reason
    assert anatomy.holds(S.FFN_ORDER).holds
    assert anatomy.holds(S.VALUE_SIGN).holds


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=25)
@given(st.integers(0, 2**32), st.booleans())
def test_without_hints_shapes_name_what_they_can(model: str, seed: int, with_config: bool) -> None:
    """What is named without hints is right, gate and up apart; what is open is said with its reason."""
    scheme = drawn_scheme(model, random.Random(seed), None)
    names = renamed(model, scheme)
    anatomy = dissected_anew(model, names, invented_config(model))
    want, left = SHAPES_ALONE[model]
    named = {role for _, role, _, _ in found(anatomy)} - {"head"}
    assert want <= {role.removesuffix(".bias") for role in named}
    true = truth(model, names)
    for key, tensor in found(anatomy).items():
        if key[1] not in ("gate", "up"):
            assert true[key] == tensor, key
    said = " ".join(inference.what for inference in anatomy.inferences)
    for parts in left:
        assert f"{parts} not told apart" in said
    for inference in anatomy.inferences:
        assert inference.basis


def test_without_hints_gate_and_up_are_taken_in_stored_order_and_said() -> None:
    scheme = drawn_scheme("llama", random.Random(1), None)
    anatomy = dissected_anew("llama", renamed("llama", scheme), invented_config("llama"))
    guessed = [i for i in anatomy.inferences if i.basis.startswith("taken in stored order")]
    assert [i.what.split()[-1] for i in guessed] == ["gate", "up"]
    assert not anatomy.holds(S.FFN_SIGN).holds
    assert anatomy.holds(S.FFN_ORDER).holds
    # What attention's matrices are is known, though not which is which: they do not spoil the channels.
    assert anatomy.holds(S.RESIDUAL_ORDER).holds
    assert not anatomy.holds(S.VALUE_ORDER).holds


@pytest.mark.skipif(
    not (EXAMPLES / "renamed").exists(), reason="the demo models are not part of this checkout"
)
def test_the_demo_model_under_house_names() -> None:
    renamed_model = dissect(checkpoint.open(str(EXAMPLES / "renamed")))
    original = dissect(checkpoint.open(str(EXAMPLES / "fine-tuned")))
    assert renamed_model.unnamed == ()
    assert set(found(renamed_model)) == set(found(original))
    assert renamed_model.rename_map["mix"] == "o_proj"
    assert renamed_model.rename_map["drop"] == "down_proj"


def llama(spell: int = 0, **words: str) -> dict[str, str]:
    """Llama with one telling word a role, some replaced."""
    plain = {role: options[0] for role, options in TELLING.items()}
    scheme = Scheme(
        {**plain, "attention": "attn", "ffn": "ff", "experts": "experts", **words}, SPELLINGS[spell]
    )
    return renamed("llama", scheme)


def said(anatomy: Anatomy, words: str) -> bool:
    return any(words in inference.what for inference in anatomy.inferences)


def test_layers_and_experts_counted_from_one() -> None:
    plain = {role: options[0] for role, options in TELLING.items()}
    words = {**plain, "attention": "attn", "ffn": "ff", "experts": "experts"}
    names = renamed("mixtral", Scheme(words, SPELLINGS[0], first=1))
    anatomy = dissected_anew("mixtral", names, None)
    part = anatomy.part("down", 0, 0)
    assert part is not None
    assert part.tensor == "net.units.1.ff.experts.1.down.weight"
    assert anatomy.geometry["language"].n_experts == 4
    assert said(anatomy, "counted from 0")


def test_known_names_counted_from_one() -> None:
    shapes = {
        name.replace(".1.", ".2.").replace(".0.", ".1."): s
        for name, s in inventory("llama")["shapes"].items()
    }
    anatomy = dissect(shape_checkpoint(shapes, inventory("llama")["config"]))
    assert anatomy.family == "llama"
    assert {part.layer for part in anatomy.parts} == {None, 0, 1}


def test_known_names_flattened_as_adapters_do() -> None:
    """``model_layers_0_self_attn_q_proj_weight``: the table does not know it, its words do."""
    names = {name: name.replace(".", "_") for name in inventory("llama")["shapes"]}
    anatomy = dissected_anew("llama", names, inventory("llama")["config"])
    assert anatomy.unnamed == ()
    assert found(anatomy) == truth("llama", names)


def test_known_names_with_glued_numbers_keep_their_table() -> None:
    names = {name: name.replace("layers.", "layer") for name in inventory("llama")["shapes"]}
    anatomy = dissected_anew("llama", names, inventory("llama")["config"])
    assert anatomy.family == "llama"
    assert found(anatomy) == truth("llama", names)


def test_a_list_of_modules_is_not_a_list_of_experts() -> None:
    """``ff.0`` and ``ff.2``, as torch names what stands in a Sequential."""
    replaced = {"mlp.c_fc": "ff.0", "mlp.c_proj": "ff.2", "attn.c_attn": "att.0", "attn.c_proj": "att.1"}
    replaced |= {"transformer.h": "net.units", "wte": "tokens", "wpe": "positions", "ln_f": "last"}
    names = {name: name for name in inventory("gpt2")["shapes"]}
    for old, new in replaced.items():
        names = {key: name.replace(old, new) for key, name in names.items()}
    anatomy = dissected_anew("gpt2", names, invented_config("gpt2"))
    assert anatomy.geometry["language"].n_experts is None
    assert found(anatomy) == truth("gpt2", names)
    assert anatomy.geometry["language"].positions == "learned"


def test_norms_are_told_by_the_module_they_stand_in() -> None:
    names = {
        key: name.replace(".ln1.", ".attn.scale.").replace(".ln2.", ".ff.scale.")
        for key, name in llama().items()
    }
    anatomy = dissected_anew("llama", names, None)
    assert found(anatomy) == truth("llama", names)


def test_fused_rows_of_unknown_layout_are_no_units() -> None:
    """Which rows of a fused projection are whose is assumed; a mixture of heads would count some of them twice."""
    names = renamed("gpt2", drawn_scheme("gpt2", random.Random(2), TELLING))
    anatomy = dissected_anew("gpt2", names, invented_config("gpt2"))
    assert said(anatomy, "rows of q, k, v")
    for symmetry in (S.VALUE_ORDER, S.VALUE_SIGN, S.KV_GROUP_ORDER):
        assert not anatomy.holds(symmetry).holds
    phi = dissected_anew("phi3", renamed("phi3", drawn_scheme("phi3", random.Random(2), TELLING)), None)
    assert not phi.holds(S.FFN_ORDER).holds
    assert "alternate" in phi.holds(S.FFN_ORDER).reason


@pytest.mark.parametrize("model", ["bloom", "mpt", "falcon_rw"])
def test_heads_are_not_free_where_positions_are_unknown(model: str) -> None:
    """ALiBi stores nothing and these configs say it in a key of their own, or nowhere."""
    names = renamed(model, drawn_scheme(model, random.Random(3), TELLING))
    for config in (None, invented_config(model)):
        ruling = dissected_anew(model, names, config).holds(S.KV_GROUP_ORDER)
        assert not ruling.holds
        assert any(word in ruling.reason for word in ("ALiBi", "queries"))


def test_layernorm_without_positions_may_have_sinusoidal_ones() -> None:
    names = renamed("bloom", drawn_scheme("bloom", random.Random(3), TELLING))
    ruling = dissected_anew("bloom", names, None).holds(S.RESIDUAL_ORDER)
    assert not ruling.holds
    assert "sinusoidal" in ruling.reason


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"intermediate_size": 81}, "d_ff"),
        ({"num_attention_heads": 5}, "n_heads"),
        ({"num_key_value_heads": 2}, "n_kv"),
    ],
)
def test_a_config_that_fits_no_reading_is_left_out_and_said(change: dict[str, Any], word: str) -> None:
    names = llama()
    anatomy = dissected_anew("llama", names, invented_config("llama") | change)
    assert found(anatomy) == truth("llama", names)
    assert any(word in i.what and "left out" in i.what for i in anatomy.inferences)


def test_another_width_than_the_config_says_is_an_error() -> None:
    with pytest.raises(CorruptCheckpointError, match="contradicts"):
        dissected_anew("llama", llama(), invented_config("llama") | {"hidden_size": 64})


def test_two_matrices_alone_are_no_layer() -> None:
    """Which of the two sizes is the stream's, nothing says."""
    shapes = {
        f"net.{n}.{word}.weight": s for n in range(3) for word, s in (("aa", [64, 16]), ("bb", [16, 64]))
    }
    with pytest.raises(UnknownAnatomyError):
        dissect(shape_checkpoint(shapes))


def test_queries_and_outputs_alone_are_not_called_a_feed_forward_network() -> None:
    inside = {
        "a.weight": [96, 48],
        "b.weight": [48, 48],
        "c.weight": [48, 48],
        "d.weight": [48, 96],
        "e.weight": [48],
    }
    shapes = {f"net.{n}.{word}": shape for n in range(3) for word, shape in inside.items()}
    with pytest.raises(UnknownAnatomyError):
        dissect(shape_checkpoint(shapes))


def test_latent_attention_under_other_names_is_left_open() -> None:
    """MLA's five projections have no fixed shapes: the experts are named, attention is not, and no head is tested."""
    names = renamed("deepseek_v2", drawn_scheme("deepseek_v2", random.Random(4), TELLING))
    anatomy = dissected_anew("deepseek_v2", names, invented_config("deepseek_v2"))
    assert {"gate", "up", "down"} <= {part.role for part in anatomy.parts}
    assert anatomy.unnamed
    assert not anatomy.holds(S.RESIDUAL_ORDER).holds
    assert not anatomy.holds(S.VALUE_ORDER).holds
    assert anatomy.holds(S.FFN_ORDER).holds
