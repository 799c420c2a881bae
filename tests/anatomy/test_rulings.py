"""Which symmetries hold, and the reason for each that does not (evidence contract, section 2)."""

from __future__ import annotations

import pytest

from filiation.anatomy import Symmetry as S
from filiation.anatomy import dissect
from tests.anatomy.test_families import dissected, inventory
from tests.support import shape_checkpoint

# family, component, symmetry, a word of the reason
REFUSED = [
    ("gpt2", "language", S.RESIDUAL_SIGN, "mean"),
    ("cohere", "language", S.RESIDUAL_SIGN, "mean"),
    ("olmo", "language", S.RESIDUAL_SIGN, "mean"),
    ("bert", "language", S.FFN_SIGN, "no gate"),
    ("arcee", "language", S.FFN_SIGN, "no gate"),
    ("gpt_oss", "language", S.FFN_SIGN, "not odd"),
    ("whisper", "audio", S.RESIDUAL_ORDER, "sinusoidal"),
    ("qwen2_audio", "audio", S.RESIDUAL_ORDER, "sinusoidal"),
    ("bloom", "language", S.KV_GROUP_ORDER, "ALiBi"),
    ("mpt", "language", S.KV_GROUP_ORDER, "ALiBi"),
    ("falcon_rw", "language", S.KV_GROUP_ORDER, "ALiBi"),
    ("falcon_7b", "language", S.KV_GROUP_ORDER, "one key-value head"),
    ("llama_bias", "language", S.EXPERT_ORDER, "no experts"),
    ("gpt_neox", "language", S.QUERY_HEAD_ORDER, "one query head"),
    ("deepseek_v3", "language", S.VALUE_ORDER, "MLA"),
    ("deepseek_v3", "language", S.KV_GROUP_ORDER, "MLA"),
    ("deepseek_v3", "language", S.EXPERT_ORDER, "groups"),
    ("t5", "language", S.KV_GROUP_ORDER, "relative"),
    ("t5", "encoder", S.RESIDUAL_ORDER, "language"),
    ("clip", "vision", S.FFN_SIGN, "no gate"),
    ("gemma3n_text", "language", S.FFN_ORDER, "nested"),
    ("gemma3n_text", "language", S.VALUE_ORDER, "shared between layers"),
    ("rwkv", "language", S.RESIDUAL_ORDER, "channel's number"),
    ("rwkv", "language", S.VALUE_ORDER, "no value projections"),
]

HELD = [
    ("llama", "language", (S.RESIDUAL_ORDER, S.RESIDUAL_SIGN, S.FFN_ORDER, S.FFN_SIGN, S.KV_GROUP_ORDER)),
    ("llama", "language", (S.QUERY_HEAD_ORDER, S.VALUE_ORDER, S.VALUE_SIGN)),
    ("mixtral", "language", (S.EXPERT_ORDER, S.FFN_ORDER, S.FFN_SIGN)),
    ("deepseek_v2_lite", "language", (S.EXPERT_ORDER, S.FFN_SIGN, S.RESIDUAL_SIGN)),
    ("bloom", "language", (S.RESIDUAL_ORDER, S.FFN_ORDER, S.VALUE_ORDER, S.VALUE_SIGN)),
    ("t5_v1_1", "language", (S.RESIDUAL_SIGN, S.FFN_SIGN, S.VALUE_ORDER)),
    ("whisper", "audio", (S.FFN_ORDER, S.VALUE_ORDER)),
    ("whisper", "language", (S.RESIDUAL_ORDER,)),
    ("phimoe", "language", (S.FFN_SIGN, S.EXPERT_ORDER)),
]


@pytest.mark.parametrize(("name", "component", "symmetry", "word"), REFUSED)
def test_refused_with_a_reason(name: str, component: str, symmetry: S, word: str) -> None:
    ruling = dissected(name).holds(symmetry, component)
    assert not ruling.holds
    assert word in ruling.reason


@pytest.mark.parametrize(("name", "component", "symmetries"), HELD)
def test_held(name: str, component: str, symmetries: tuple[S, ...]) -> None:
    anatomy = dissected(name)
    assert [s for s in symmetries if not anatomy.holds(s, component).holds] == []


def test_unknown_heads_are_a_reason() -> None:
    ruling = dissected("llama", config=False).holds(S.VALUE_ORDER)
    assert not ruling.holds
    assert "number of heads is unknown" in ruling.reason


def test_head_gains_tell_the_head_size_without_a_config() -> None:
    anatomy = dissected("qwen3", config=False)
    assert anatomy.geometry["language"].d_head == 16
    assert anatomy.holds(S.VALUE_ORDER).holds
    assert any("q_norm" in i.basis for i in anatomy.inferences)


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "deepseek_v3"])
def test_experts_need_a_config(name: str) -> None:
    """Without one, group-limited routing cannot be excluded."""
    ruling = dissected(name, config=False).holds(S.EXPERT_ORDER)
    assert not ruling.holds
    assert "config" in ruling.reason


@pytest.mark.parametrize("name", ["olmo", "cohere"])
def test_a_norm_that_may_subtract_the_mean_is_not_trusted(name: str) -> None:
    """LayerNorm without biases looks like RMSNorm; without a config neither is assumed."""
    assert not dissected(name, config=False).holds(S.RESIDUAL_SIGN).holds


def test_a_component_that_is_not_there_has_no_symmetries() -> None:
    ruling = dissected("llama").holds(S.FFN_ORDER, "vision")
    assert not ruling.holds
    assert "vision" in ruling.reason


@pytest.mark.parametrize(
    ("kind", "blocked"), [("GPTQ4", (1,)), ("FP8_BLOCK", (0, 1)), ("FP8_CHANNEL", ()), ("BF16", ())]
)
def test_quantisation_blocks_are_noted(kind: str, blocked: tuple[int, ...]) -> None:
    record = inventory("llama")
    dtypes = {name: kind for name, shape in record["shapes"].items() if len(shape) == 2}
    anatomy = dissect(shape_checkpoint(record["shapes"], record["config"], dtypes=dtypes))
    up = anatomy.part("up", 0)
    assert up is not None
    assert up.blocked == blocked
    assert ("blocks" in anatomy.holds(S.FFN_ORDER).reason) == bool(blocked)


def test_unknown_tensors_on_the_residual_stream_are_not_trusted() -> None:
    """RWKV under other names: its time-mixing vectors are unnamed, so its channels are not called free."""
    shapes = inventory("rwkv")["shapes"]
    pairs = (("blocks", "units"), ("attention", "mixer"), ("feed_forward", "chan"), ("ln", "nrm"))
    for old, new in pairs:
        shapes = {name.replace(old, new): shape for name, shape in shapes.items()}
    anatomy = dissect(shape_checkpoint(shapes))
    assert anatomy.unnamed
    ruling = anatomy.holds(S.RESIDUAL_ORDER)
    assert not ruling.holds
    assert "unknown meaning" in ruling.reason
    assert anatomy.holds(S.FFN_ORDER).holds
