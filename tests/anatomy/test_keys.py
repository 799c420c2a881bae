"""Which keys of a config count: those that the family's code reads; where nobody knows which, all must agree."""

from __future__ import annotations

from typing import Any

import pytest

from filiation.anatomy import Anatomy, dissect
from filiation.anatomy.activation import UNKNOWN
from filiation.anatomy.config import tower_config
from filiation.anatomy.flow import flow_of
from filiation.anatomy.names import find_stacks, path_of
from filiation.anatomy.routing import routing_of
from filiation.errors import CorruptCheckpointError
from tests.anatomy.test_families import FAMILIES, dissected, inventory
from tests.support import shape_checkpoint

GELU, GELU_NEW, TANH = "gelu", "gelu_new", "gelu_pytorch_tanh"


def changed(family: str, change: dict[str, Any], without: tuple[str, ...] = ()) -> Anatomy:
    record = inventory(family)
    config = {key: value for key, value in record["config"].items() if key not in without}
    return dissect(shape_checkpoint(record["shapes"], {**config, **change}))


def activation(family: str, change: dict[str, Any], without: tuple[str, ...] = ()) -> str | None:
    return changed(family, change, without).geometry["language"].activation


READ: list[tuple[str, str, str]] = [
    ("llama", "hidden_act", "silu"),
    ("qwen2", "hidden_act", "silu"),
    ("gpt2", "activation_function", GELU_NEW),
    ("gpt_bigcode", "activation_function", TANH),
    ("gpt_neo", "activation_function", GELU_NEW),
    ("gptj", "activation_function", GELU_NEW),
    ("codegen", "activation_function", GELU_NEW),
    ("opt", "activation_function", "relu"),
    ("whisper", "activation_function", GELU),
    ("gemma2", "hidden_activation", TANH),
    ("gemma3_text", "hidden_activation", TANH),
    ("modernbert", "hidden_activation", GELU),
    ("falcon_7b", "activation", GELU),
    ("distilbert", "activation", GELU),
    ("bert", "hidden_act", GELU),
    ("gpt_neox", "hidden_act", GELU),
    ("nemotron", "hidden_act", "relu2"),
]
KEYS = ("hidden_act", "hidden_activation", "activation_function", "activation", "feed_forward_proj")


@pytest.mark.parametrize(("family", "key", "usual"), READ)
def test_the_activation_is_what_its_code_reads(family: str, key: str, usual: str) -> None:
    others = {other: "tanh" for other in KEYS if other != key}
    assert activation(family, {**others, key: "mish"}) == "mish"
    # Without its own key the code's usual one holds, whatever stands under others'.
    assert activation(family, others, without=(key,)) == usual


@pytest.mark.parametrize(
    ("family", "usual"), [("bloom", TANH), ("mpt", GELU), ("rwkv", "relu2"), ("gpt_oss", "quick_gelu")]
)
def test_an_activation_that_no_config_changes(family: str, usual: str) -> None:
    assert activation(family, dict.fromkeys(KEYS, "tanh")) == usual


@pytest.mark.parametrize(
    ("family", "change", "word"),
    [
        ("t5", {"feed_forward_proj": "gated-gelu"}, GELU_NEW),
        ("t5", {"feed_forward_proj": "gated-silu"}, "silu"),
        ("t5", {"feed_forward_proj": "relu", "hidden_act": "tanh"}, "relu"),
        ("t5", {"feed_forward_proj": "relu", "dense_act_fn": "silu"}, "silu"),
        ("t5", {"feed_forward_proj": None}, "relu"),
        ("t5", {"feed_forward_proj": None, "model_type": "mt5"}, GELU_NEW),
        # transformers 4 reads hidden_activation alone, transformers 5 hidden_act.
        ("gemma", {"hidden_act": GELU}, TANH),
        ("gemma", {"hidden_act": "relu"}, UNKNOWN),
        ("gemma", {"hidden_act": "relu", "hidden_activation": "relu"}, "relu"),
    ],
)
def test_a_word_that_has_to_be_read(family: str, change: dict[str, Any], word: str) -> None:
    # What loaders make of T5's word is saved beside it, and read before it.
    assert activation(family, {"dense_act_fn": None, **change}) == word


NOBODYS = {"model_type": "nobody_knows", "architectures": ["NobodyForCausalLM"]}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, "silu"),
        ({"hidden_act": "relu"}, "relu"),
        ({"hidden_act": "silu", "activation": "swish"}, "silu"),
        ({"hidden_act": "gelu", "activation_function": "gelu_new"}, "gelu"),
        ({"hidden_act": "silu", "activation": "tanh"}, UNKNOWN),
        ({"hidden_act": None, "activation": "tanh"}, "tanh"),
    ],
)
def test_of_a_type_that_nobody_knows_keys_must_agree(change: dict[str, Any], word: str) -> None:
    for config in ({**NOBODYS, **change}, {"model_type": None, "architectures": None, **change}):
        found = changed("llama", config)
        assert found.geometry["language"].activation == word
        said = [i.basis for i in found.inferences if i.what == "the activation is not known"]
        assert said == (["hidden_act says silu, activation says tanh"] if word == UNKNOWN else [])


def test_loaders_that_take_different_ones_leave_it_unknown() -> None:
    """Some go by the model type, some by the architectures; one that finds nothing under its names loads nothing."""
    assert activation("llama", {"architectures": ["Gemma2ForCausalLM"]}) == UNKNOWN
    assert activation("llama", {"architectures": ["MistralForCausalLM"]}) == "silu"
    for other in ("GPT2LMHeadModel", "MptForCausalLM", "BertModel"):
        assert activation("llama", {"architectures": ["LlamaForCausalLM", other]}) == "silu"
    assert activation("llama", {"model_type": "gpt2"}) == "silu"


def test_a_word_is_wanted_where_it_is_read() -> None:
    for family, key, _ in READ:
        with pytest.raises(CorruptCheckpointError, match=key):
            changed(family, {key: 5})
    assert activation("llama", {"activation": 5}) == "silu"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_a_word(name: str) -> None:
    for component, sizes in dissected(name).geometry.items():
        assert component == "projector" or sizes.activation not in (None, UNKNOWN)


PASSED_OVER: list[tuple[str, dict[str, Any]]] = [
    ("gpt2", {"num_key_value_heads": 2}),
    ("gpt2", {"head_dim": 5}),
    ("gpt2", {"intermediate_size": 100}),
    ("gpt2", {"rope_scaling": [1]}),
    ("gpt_neox", {"num_key_value_heads": 2}),
    ("gpt_neox", {"head_dim": 5}),
    ("gptj", {"intermediate_size": 100}),
    ("bloom", {"num_key_value_heads": 2, "intermediate_size": 7}),
    ("opt", {"intermediate_size": 100, "num_key_value_heads": 2}),
    ("bert", {"num_key_value_heads": 2, "head_dim": 3}),
    ("distilbert", {"intermediate_size": 100}),
    ("persimmon", {"num_key_value_heads": 2}),
    ("t5", {"intermediate_size": 100, "num_key_value_heads": 2}),
    ("llama", {"topk_group": "x", "alibi": "yes", "multi_query": 3, "attn_config": 1}),
    ("llama", {"norm_topk_prob": "x", "scale_emb": "x", "layer_norm_eps": "x", "position_embedding_type": 3}),
    ("mixtral", {"routed_scaling_factor": "x", "norm_topk_prob": 3, "topk_group": "x"}),
]


@pytest.mark.parametrize(("family", "change"), PASSED_OVER)
def test_what_its_code_never_reads_may_be_anything(family: str, change: dict[str, Any]) -> None:
    found, usual = changed(family, change), dissected(family)
    assert found.geometry == usual.geometry
    assert [(p.role, p.layer, p.tensor) for p in found.parts] == [
        (p.role, p.layer, p.tensor) for p in usual.parts
    ]


@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("falcon_7b", {"alibi": "yes"}),
        ("mpt", {"attn_config": 1}),
        ("opt", {"do_layer_norm_before": "x"}),
        ("bert", {"position_embedding_type": 3}),
        ("gpt_bigcode", {"multi_query": "x"}),
        ("llama", {"rms_norm_eps": "x"}),
        ("mixtral", {"num_experts_per_tok": "x"}),
        ("deepseek_v3", {"topk_group": "x"}),
        ("qwen3_moe", {"norm_topk_prob": "x"}),
    ],
)
def test_what_its_code_reads_must_be_what_is_wanted(family: str, change: dict[str, Any]) -> None:
    with pytest.raises(CorruptCheckpointError) as caught:
        changed(family, change)
    assert next(iter(change)) in (caught.value.reason or "")


def test_sizes_of_a_type_that_nobody_knows_give_way_to_the_tensors() -> None:
    wrong = {"num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 81}
    usual = dissected("llama")
    for key, value in wrong.items():
        found = changed("llama", {**NOBODYS, key: value})
        assert found.geometry == usual.geometry
        assert any(key in i.what and "left out of account" in i.what for i in found.inferences)
        with pytest.raises(CorruptCheckpointError):
            changed("llama", {key: value})
    with pytest.raises(CorruptCheckpointError):
        changed("llama", {**NOBODYS, "hidden_size": 64})


def test_queries_that_carry_more_than_queries_leave_the_heads_unknown() -> None:
    """Qwen3-Next's carry a gate beside them."""
    record = inventory("llama")
    double = {
        name: [2 * shape[0], *shape[1:]] if "q_proj" in name else shape
        for name, shape in record["shapes"].items()
    }
    config = {**record["config"], **NOBODYS}
    assert dissect(shape_checkpoint(double, config)).geometry["language"].n_heads is None


NESTED = {"num_hidden_layers": 1, "hidden_act": "tanh", "num_attention_heads": 3, "vocab_size": 2000}


@pytest.mark.parametrize("key", ["text_config", "llm_config", "language_config", "decoder", "thinker_config"])
def test_loaders_of_a_plain_model_read_no_nested_settings(key: str) -> None:
    nested = {"text_config": NESTED} if key == "thinker_config" else NESTED
    for also in ({}, {"vision_config": {"hidden_size": 7}}, {"model_type": None}):
        config = {**inventory("llama")["config"], key: nested, **also}
        assert tower_config(config, "language") is config
        found = changed("llama", {key: nested, **also})
        assert found.geometry == dissected("llama").geometry
        assert not found.beyond


def test_nested_settings_of_wrappers_and_of_types_that_nobody_knows() -> None:
    inner = {"num_hidden_layers": 2, "model_type": "qwen2"}
    usual = {"gemma3": "siglip_vision_model", "llava": "clip_vision_model", "qwen2_vl": "qwen2_vl_vision"}
    for wrapper, vision in usual.items():
        nested = {"text_config": inner, "vision_config": {"depth": 3}}
        config = {"model_type": wrapper, "num_hidden_layers": 5, **nested}
        assert tower_config(config, "language") == inner
        # Its class makes this type of it where it says none.
        assert tower_config(config, "vision") == {"depth": 3, "model_type": vision}
    # A model that describes itself and wraps no other tower is not wrapped either.
    plain = {"model_type": "nobody_knows", "num_hidden_layers": 5, "text_config": inner}
    assert tower_config(plain, "language") is plain
    assert tower_config({"model_type": "nobody_knows", "text_config": inner}, "language") == inner
    # GLM-4V and Qwen-VL go by the name of the language model that they grew out of.
    for kind in ("chatglm", "qwen"):
        config = {"model_type": kind, "num_layers": 4, "vision_config": {"depth": 3}, "text_config": inner}
        assert tower_config(config, "language") is config
        assert tower_config(config, "vision") == {"depth": 3}
    with pytest.raises(CorruptCheckpointError, match="not a map of settings"):
        tower_config({"model_type": "nobody_knows", "text_config": [1]}, "language")


def test_what_norms_add_is_what_its_code_reads() -> None:
    def epsilon(**config: Any) -> float:
        return flow_of(config, {}, "language", 64, 4).epsilon

    assert epsilon(model_type="gpt2", layer_norm_epsilon=1e-5, rms_norm_eps=1e9) == 1e-5
    assert epsilon(model_type="gpt2", rms_norm_eps=1e9) == 1e-5
    assert epsilon(model_type="olmo", rms_norm_eps=1e9) == 1e-5
    assert epsilon(model_type="bert") == 1e-12
    assert epsilon(model_type="llama") == 1e-6
    assert epsilon(model_type="nobody_knows", rms_norm_eps=1e9) == 0
    assert epsilon(model_type="nobody_knows", rms_norm_eps=1e9, layer_norm_eps=1e-6) == 1e-6
    gguf = {"general.architecture": "gpt2", "gpt2.attention.layer_norm_epsilon": 1e-5}
    assert flow_of(None, gguf, "language", 64, 4).epsilon == 1e-5
    other = {**gguf, "gpt2.attention.layer_norm_rms_epsilon": 1e9}
    assert flow_of(None, other, "language", 64, 4).epsilon == 1e-5


@pytest.mark.parametrize("value", [0.2, 1e9, -1e-5])
def test_no_norm_adds_more_than_a_tenth(value: float) -> None:
    """What would drown every row is believed of nobody; what its code does not read may be anything."""
    record = inventory("gpt2")
    with pytest.raises(CorruptCheckpointError, match="a number from 0 to 0"):
        dissect(shape_checkpoint(record["shapes"], {**record["config"], "layer_norm_epsilon": value}))
    dissect(shape_checkpoint(record["shapes"], {**record["config"], "rms_norm_eps": value}))


def test_what_scales_a_stream_is_what_its_code_reads() -> None:
    def scales(kind: str, **config: Any) -> tuple[float, float]:
        flow = flow_of({"model_type": kind, **config}, {}, "language", 64, 4)
        return flow.embedding, flow.residual

    theirs = {"embedding_multiplier": 9.0, "residual_multiplier": 1e-9}
    assert scales("llama", **theirs, scale_emb=12, scale_depth=2) == (1, 1)
    assert scales("minicpm", **theirs) == (1, 0.5)
    assert scales("minicpm3", **theirs) == (12, 0.7)
    assert scales("minicpm", scale_emb=3, scale_depth=4) == (3, 2)
    assert scales("granite", **theirs, scale_emb=3) == (9, 1e-9)
    gguf = {"general.architecture": "minicpm", "minicpm.embedding_scale": 12.0, "minicpm.residual_scale": 0.2}
    assert flow_of(None, gguf, "language", 64, 4).residual == 0.2


def test_how_many_experts_work_is_what_its_code_reads() -> None:
    def used(**config: Any) -> int | None:
        return routing_of(config, {}, "language", corrected=False).used

    assert used(model_type="mixtral", moe_topk=8) == 2
    assert used(model_type="mixtral", num_experts_per_tok=3, moe_topk=8) == 3
    assert used(model_type="ernie4_5_moe", moe_k=3) == 3
    assert used(model_type="nobody_knows", moe_topk=8) == 8
    v3 = routing_of({"model_type": "deepseek_v3", "num_groups": 2}, {}, "language", corrected=True)
    assert v3.groups == 8


@pytest.mark.parametrize("digits", [10, 5000])
def test_a_number_that_is_too_long_is_a_word(digits: int) -> None:
    record = inventory("llama")
    name = f"model.layers.{'9' * digits}.mlp.up_proj.weight"
    found = dissect(shape_checkpoint({**record["shapes"], name: [80, 48]}, record["config"]))
    assert found.unnamed == (name,)
    assert found.geometry == dissected("llama").geometry
    stacks, rest = find_stacks([name])
    assert not stacks
    assert rest == {path_of(name): name}
    # Where nothing is known of the names either.
    assert dissect(shape_checkpoint({**record["shapes"], name: [80, 48]})).unnamed == (name,)


@pytest.mark.parametrize("shape", [[48, 1], [1, 48]])
def test_a_norm_is_a_vector(shape: list[int]) -> None:
    record = inventory("llama")
    odd = {name: shape if "norm" in name else own for name, own in record["shapes"].items()}
    with pytest.raises(CorruptCheckpointError) as caught:
        dissect(shape_checkpoint(odd, record["config"]))
    assert "norm" in (caught.value.tensor or "")
    # In a tower that is not loaded it is left out, and refuses nothing.
    further = {f"ema.{name}": own for name, own in odd.items()}
    found = dissect(shape_checkpoint({**record["shapes"], **further}, record["config"]))
    assert found.geometry["language"] == dissected("llama").geometry["language"]
    assert not [
        p
        for p in found.parts
        if p.component != "language" and p.role.endswith("_norm") and p.layer is not None
    ]
