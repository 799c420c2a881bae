"""Configs that lie or are malformed: the anatomy is the true one, or an error says which entry is wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation import checkpoint
from filiation.anatomy import Anatomy, Geometry, describe, dissect
from filiation.anatomy.config import NESTED, SPELLINGS
from filiation.checkpoint import Checkpoint
from filiation.errors import CorruptCheckpointError
from tests.anatomy.test_families import inventory
from tests.support import shape_checkpoint

BASE = Path(__file__).parents[2] / "examples" / "models" / "base"
KEYS = sorted({key for keys in SPELLINGS.values() for key in keys})
OTHERS = ["alibi", "multi_query", "attn_config", "rope_scaling", "rope_parameters", "position_embedding_type"]
WRAPPERS = sorted({key for keys in NESTED.values() for key in keys} | {"thinker_config"})
NAMES = ["model_type", "architectures"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(0, 2000) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=6,
)


@cache
def base() -> Checkpoint:
    return checkpoint.open(str(BASE))


@cache
def truth() -> Geometry:
    return dissect(base()).geometry["language"]


def told(changes: dict[str, Any]) -> Anatomy | CorruptCheckpointError:
    try:
        return dissect(replace(base(), config={**(base().config or {}), **changes}))
    except CorruptCheckpointError as error:
        return error


def sound(found: Anatomy | CorruptCheckpointError) -> None:
    """The true sizes, or an error that names the file and the way out; unknown is allowed where it is said."""
    if isinstance(found, CorruptCheckpointError):
        assert found.file
        assert found.reason
        assert found.next_step
        return
    geometry = found.geometry["language"]
    describe(found)
    if geometry.n_heads is None:
        assert "the number of heads in language is unknown" in [i.what for i in found.inferences]
        geometry = replace(geometry, n_heads=4, n_kv_heads=2, d_head=16)
    # Layers beyond the number that the config says are left out, and named.
    numbers = {name.split(".")[2] for names in found.beyond.values() for name in names}
    assert geometry.n_layers == len({p.layer for p in found.parts if p.layer is not None})
    geometry = replace(geometry, n_layers=geometry.n_layers + len(numbers))
    # No shape tells what the rotary base or the activation is: what the config says is all there is.
    assert geometry.rope_theta is None or (math.isfinite(geometry.rope_theta) and geometry.rope_theta > 0)
    free = {"rope_theta": truth().rope_theta, "activation": truth().activation}
    assert replace(geometry, **free) == truth()


@given(st.sampled_from([*KEYS, *OTHERS, *NAMES]), json_values)
@settings(max_examples=500)
def test_one_wrong_entry(key: str, value: Any) -> None:
    sound(told({key: value}))


@given(st.dictionaries(st.sampled_from([*KEYS, *OTHERS]), json_values, min_size=2, max_size=2))
@settings(max_examples=300)
def test_two_wrong_entries(changes: dict[str, Any]) -> None:
    sound(told(changes))


@given(st.sampled_from(WRAPPERS), json_values)
@settings(max_examples=100)
def test_a_wrapper_never_ends_in_a_crash(key: str, value: Any) -> None:
    found = told({key: value})
    assert isinstance(found, Anatomy) or found.next_step


HIDDEN, HEADS, KV = "hidden_size", "num_attention_heads", "num_key_value_heads"
WRONG: list[tuple[str, Any, str]] = [
    (HIDDEN, "big", "is 'big', which is not a whole number of at least 1"),
    (HIDDEN, 0, "is 0, which is not a whole number of at least 1"),
    (HIDDEN, -64, "is -64"),
    (HIDDEN, 64.5, "is 64.5"),
    (HIDDEN, True, "is True"),
    (HIDDEN, [64, "x"], "is [64, 'x']"),
    (HIDDEN, {}, "is {}"),
    (HIDDEN, [], "is []"),
    (HIDDEN, 1e400, "is inf"),
    (HIDDEN, 10**400, "is 1000"),
    (HIDDEN, 32, f"The config says 32 residual channels ({HIDDEN}); the tensor has 64"),
    (HEADS, "4", "is '4', which is not a whole number"),
    (HEADS, 0, f"The config says 0 heads of 16 channels ({HEADS}, head_dim); the tensor has 64"),
    (HEADS, 5, "5 heads"),
    (KV, 0, f"The config says 0 key-value heads of 16 channels ({HEADS}, {KV})"),
    (KV, 3, "3 key-value heads"),
    ("head_dim", 0, "4 heads of 0 channels"),
    ("head_dim", 32, "4 heads of 32 channels"),
    ("intermediate_size", 0, "FFNs of 0 neurons (intermediate_size)"),
    ("intermediate_size", 191, "FFNs of 191 neurons"),
    ("vocab_size", 0, "is 0"),
    ("vocab_size", 1025, "a vocabulary of 1025 (vocab_size); the tensor has 1024 rows"),
    ("num_hidden_layers", "six", "is 'six'"),
    ("num_hidden_layers", 0, "is 0"),
    ("rope_theta", -1, "not a positive number"),
    ("rope_theta", "10k", "not a positive number"),
    ("tie_word_embeddings", "yes", "not true or false"),
    ("tie_word_embeddings", 1, "not true or false"),
    ("hidden_act", 5, "not a word"),
    ("model_type", 5, "not a word"),
    ("architectures", [5], "not a word"),
    ("rope_parameters", "linear", "not a map of settings"),
    ("rope_scaling", {"rope_theta": "x"}, "Its rope_scaling.rope_theta is 'x'"),
]


@pytest.mark.parametrize(("key", "value", "reason"), WRONG, ids=lambda x: ascii(x)[:24])
def test_what_is_said_of_a_wrong_entry(key: str, value: Any, reason: str) -> None:
    # One entry is enough, so the rotary base must be looked for where it is wrong.
    found = told({"rope_theta": None, key: value})
    assert isinstance(found, CorruptCheckpointError)
    assert reason in (found.reason or "")
    assert found.exit_code == 4
    assert (found.tensor is not None) == (found.file == "model.safetensors")
    assert found.file in ("model.safetensors", "config.json")
    assert key in f"{found.reason} {found.next_step}"


@pytest.mark.parametrize("key", [HIDDEN, HEADS, KV, "head_dim", "intermediate_size", "vocab_size"])
def test_null_and_missing_are_one(key: str) -> None:
    without = {k: v for k, v in (base().config or {}).items() if k != key}
    null, missing = told({key: None}), dissect(replace(base(), config=without))
    assert isinstance(null, Anatomy)
    assert null.geometry == missing.geometry == {"language": truth()}
    assert null.inferences == missing.inferences


@pytest.mark.parametrize("layers", [5, 5.0, 1])
def test_layers_beyond_the_number_that_the_config_says_are_not_loaded(layers: float) -> None:
    found = told({"num_hidden_layers": layers})
    assert isinstance(found, Anatomy)
    assert found.geometry["language"] == replace(truth(), n_layers=int(layers))
    assert max(p.layer for p in found.parts if p.layer is not None) == layers - 1
    which = "layer 5 is" if layers == 5 else "layers 1 to 5 are"
    assert [(i.what, i.basis) for i in found.inferences] == [
        (f"{which} stored and not loaded", f"the config says {int(layers)} layers for language")
    ]
    beyond = [n for n in base().tensors if n.startswith("model.layers.") and int(n.split(".")[2]) >= layers]
    assert sorted(found.beyond["language"]) == sorted(beyond)
    assert not {p.tensor for p in found.parts} & {*beyond}
    assert found.unnamed == ()
    assert found.renamed("language", "other").beyond == {"other": found.beyond["language"]}
    described = describe(found)
    assert described["beyond"] == {"language": list(found.beyond["language"])}


@pytest.mark.parametrize(("layers", "said"), [(7, "7"), (7.0, "7")])
def test_another_number_of_layers_is_said(layers: float, said: str) -> None:
    found = told({"num_hidden_layers": layers})
    assert isinstance(found, Anatomy)
    assert found.geometry["language"] == truth()
    assert [(i.what, i.basis) for i in found.inferences] == [
        ("6 layers", f"counted; the config says {said} for language")
    ]


def test_experts_that_are_not_there_are_said() -> None:
    found = told({"num_local_experts": 8})
    assert isinstance(found, Anatomy)
    assert [(i.what, i.basis) for i in found.inferences] == [
        ("no experts", "none are stored; the config says 8")
    ]
    for none in (0, 1):
        assert not getattr(told({"num_local_experts": none}), "inferences", None)


@pytest.mark.parametrize(
    ("family", "change", "said"),
    [
        ("mixtral", {"num_local_experts": 7}, "7 experts (num_local_experts)"),
        ("deepseek_v3", {"n_routed_experts": 3}, "3 experts (n_routed_experts)"),
        ("deepseek_v3", {"n_group": 3}, "3 groups of experts (n_group)"),
        ("deepseek_v3", {"num_attention_heads": 0}, "0 heads (num_attention_heads)"),
        ("deepseek_v3", {"num_attention_heads": 7}, "7 heads (num_attention_heads)"),
    ],
)
def test_experts_and_latent_heads_that_contradict(family: str, change: dict[str, Any], said: str) -> None:
    record = inventory(family)
    with pytest.raises(CorruptCheckpointError) as caught:
        dissect(shape_checkpoint(record["shapes"], record["config"] | change))
    assert said in (caught.value.reason or "")
    assert caught.value.tensor in record["shapes"]


@pytest.mark.parametrize(("value", "reason"), [("x", "not a whole number"), ([1, -1], "not a whole number")])
def test_gguf_data_of_the_wrong_type(value: Any, reason: str) -> None:
    metadata = {"general.architecture": "llama", "llama.attention.head_count": value}
    with pytest.raises(CorruptCheckpointError) as caught:
        dissect(shape_checkpoint(inventory("llama")["shapes"], metadata=metadata, format="gguf"))
    assert caught.value.file == "memory"
    assert "llama.attention.head_count" in (caught.value.reason or "")
    assert reason in (caught.value.reason or "")
