"""The smallest rename map between two lists of names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from filiation.anatomy.rename import apply, from_pairs, smallest_rename

VISION = ("self_attn.q_proj", "self_attn.k_proj", "mlp.fc1", "mlp.fc2", "layer_norm1", "layer_norm2")
LANGUAGE = (
    "self_attn.q_proj",
    "self_attn.o_proj",
    "mlp.up_proj",
    "input_layernorm",
    "post_attention_layernorm",
)


def multimodal(vision: str = "vpm", projector: str = "resampler") -> list[str]:
    """The naming pattern of MiniCPM-Llama3-V 2.5: a language model, a vision tower, a resampler."""
    names = [f"llm.model.layers.{n}.{part}.weight" for n in range(4) for part in LANGUAGE]
    names += ["llm.model.embed_tokens.weight", "llm.lm_head.weight", "llm.model.norm.weight"]
    names += [
        f"{vision}.encoder.layers.{n}.{p}.{leaf}"
        for n in range(3)
        for p in VISION
        for leaf in ("weight", "bias")
    ]
    names += [f"{vision}.embeddings.position_embedding.weight", f"{vision}.post_layernorm.weight"]
    return names + [
        f"{projector}.{part}"
        for part in ("query", "proj", "attn.in_proj_weight", "ln_q.weight", "ln_kv.bias")
    ]


def test_a_multimodal_copy_under_new_prefixes() -> None:
    """llama3v published MiniCPM's tensors with `vpm.` spelled `vison.` and `resampler.` spelled `projection.`."""
    found = smallest_rename(multimodal(), multimodal("vison", "projection"))
    assert found.mapping == {"resampler": "projection", "vpm": "vison"}
    assert (found.explained, found.total) == (len(multimodal()), len(multimodal()))
    assert (found.left, found.right) == ((), ())


def test_yi_norms() -> None:
    usual = [f"model.layers.{n}.{p}.weight" for n in range(3) for p in LANGUAGE]
    yi = [n.replace("input_layernorm", "ln1").replace("post_attention_layernorm", "ln2") for n in usual]
    assert smallest_rename(yi, usual).mapping == {"ln1": "input_layernorm", "ln2": "post_attention_layernorm"}


def test_equal_lists_need_no_rename() -> None:
    found = smallest_rename(multimodal(), multimodal())
    assert found.mapping == {}
    assert found.explained == found.total


def test_unrelated_lists_are_left_alone() -> None:
    found = smallest_rename(multimodal(), [f"t{n:04d}" for n in range(50)])
    assert found.mapping == {}
    assert found.explained == 0
    assert len(found.left) == found.total


def test_a_prefix_may_be_dropped() -> None:
    short = [name.replace("llm.model.", "llm.") for name in multimodal()]
    found = smallest_rename(multimodal(), short)
    assert found.explained == found.total
    assert len(found.mapping) == 1


def test_names_that_differ_in_two_places() -> None:
    a = [f"enc.{n}.att.q.weight" for n in range(3)]
    b = [f"tower.{n}.att.query.weight" for n in range(3)]
    assert smallest_rename(a, b).mapping == {"enc": "tower", "q": "query"}


def test_what_is_not_explained_is_listed() -> None:
    found = smallest_rename([*multimodal(), "llm.extra"], [*multimodal("vison"), "other.new.thing.here"])
    assert found.mapping == {"vpm": "vison"}
    assert found.left == ("llm.extra",)
    assert found.right == ("other.new.thing.here",)


def test_two_names_are_not_sent_to_one() -> None:
    """`a` and `b` cannot both become `c`: one name is explained, not two."""
    found = smallest_rename(["x.a.weight", "x.b.weight"], ["x.c.weight"])
    assert found.explained == 1


SEGMENTS = st.sampled_from(
    ["attn", "mlp", "norm", "q", "k", "up", "down", "proj", "0", "1", "layers", "weight"]
)
NAMES = st.lists(
    st.lists(SEGMENTS, min_size=2, max_size=5, unique=True).map(".".join),
    min_size=1,
    max_size=25,
    unique=True,
)


@given(NAMES, NAMES)
def test_the_count_is_true(a: list[str], b: list[str]) -> None:
    found = smallest_rename(a, b)
    reached = {apply(found.mapping, name) for name in a} & set(b)
    assert found.explained == len(reached)
    assert found.explained >= len(set(a) & set(b)) or found.mapping
    assert not any(segment.isdecimal() for key in found.mapping for segment in key.split("."))
    assert smallest_rename(reversed(a), reversed(b)) == found


@given(NAMES, SEGMENTS.filter(lambda s: not s.isdecimal()))
def test_one_renamed_segment_is_found(names: list[str], segment: str) -> None:
    renamed = [apply({segment: "fresh"}, name) for name in names]
    found = smallest_rename(names, renamed)
    assert found.explained == found.total
    assert len(found.mapping) <= 1


def test_pairs_become_segment_renames() -> None:
    pairs = [("attn.wq", "self_attn.q_proj"), ("attn.wk", "self_attn.k_proj"), ("n1", "input_layernorm")]
    assert from_pairs(pairs) == {"attn": "self_attn", "wq": "q_proj", "wk": "k_proj", "n1": "input_layernorm"}


def test_pairs_that_disagree_keep_their_runs() -> None:
    pairs = [("a.x", "b.x1"), ("a.y", "c.y1")]
    assert from_pairs(pairs) == {"a.x": "b.x1", "a.y": "c.y1"}
