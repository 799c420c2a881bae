"""The same findings for other architectures: transposed and fused storage, LayerNorm, biases, no gate, norms after."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest

from filiation.derivation import Derived, derive
from filiation.lab.layout import Tensors
from filiation.origin.pairing import Plan
from tests.derivation.models import Model, anatomy, base, examined, numbers, tokens, tuned

LAYERS, WIDTH, FFN, VOCAB = 4, 64, 256, 400


def _norm(g: np.random.Generator, name: str) -> Tensors:
    return {
        f"{name}.weight": (1 + 0.2 * g.standard_normal(WIDTH)).astype(np.float32),
        f"{name}.bias": (0.1 * g.standard_normal(WIDTH)).astype(np.float32),
    }


def _linear(g: np.random.Generator, name: str, shape: tuple[int, int], bias: int) -> Tensors:
    return {
        f"{name}.weight": (0.1 * g.standard_normal(shape)).astype(np.float32),
        f"{name}.bias": (0.1 * g.standard_normal(bias)).astype(np.float32),
    }


@cache
def gpt2(seed: int = 0) -> Model:
    """GPT-2: matrices stored [in, out], q k v fused, learned positions, LayerNorm, ungated, biases, tied."""
    g = np.random.default_rng(seed)
    t: Tensors = {
        "wte.weight": (0.05 * g.standard_normal((VOCAB, WIDTH))).astype(np.float32),
        "wpe.weight": (0.02 * g.standard_normal((64, WIDTH))).astype(np.float32),
    }
    for layer in range(LAYERS):
        at = f"h.{layer}."
        t |= _norm(g, at + "ln_1") | _norm(g, at + "ln_2")
        t |= _linear(g, at + "attn.c_attn", (WIDTH, 3 * WIDTH), 3 * WIDTH)
        t |= _linear(g, at + "attn.c_proj", (WIDTH, WIDTH), WIDTH)
        t |= _linear(g, at + "mlp.c_fc", (WIDTH, FFN), FFN)
        t |= _linear(g, at + "mlp.c_proj", (FFN, WIDTH), WIDTH)
    t |= _norm(g, "ln_f")
    return t, {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": WIDTH,
        "n_layer": LAYERS,
        "n_head": 4,
        "vocab_size": VOCAB,
        "n_positions": 64,
        "activation_function": "gelu_new",
    }


@cache
def bert(seed: int = 0) -> Model:
    """BERT: norms after the residual addition, ungated, biases, token types."""
    g = np.random.default_rng(seed)
    e = "embeddings."
    t: Tensors = {
        f"{e}{name}_embeddings.weight": (0.05 * g.standard_normal((rows, WIDTH))).astype(np.float32)
        for name, rows in (("word", VOCAB), ("position", 64), ("token_type", 2))
    }
    t |= _norm(g, e + "LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        for name in ("query", "key", "value"):
            t |= _linear(g, f"{at}attention.self.{name}", (WIDTH, WIDTH), WIDTH)
        t |= _linear(g, at + "attention.output.dense", (WIDTH, WIDTH), WIDTH)
        t |= _linear(g, at + "intermediate.dense", (FFN, WIDTH), FFN)
        t |= _linear(g, at + "output.dense", (WIDTH, FFN), WIDTH)
        t |= _norm(g, at + "attention.output.LayerNorm") | _norm(g, at + "output.LayerNorm")
    return t, {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "intermediate_size": FFN,
        "vocab_size": VOCAB,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
    }


def told(suspect: Model, candidate: Model) -> Derived:
    s, c = anatomy(suspect), anatomy(candidate)
    plan = Plan("0" * 64, whole=True)
    return derive(s, c, examined(s, c, plan), plan, tokens(s, c), full=False)


MODELS = pytest.mark.parametrize("make", [gpt2, bert])


@MODELS
def test_itself(make: object) -> None:
    found = told(make(), make())  # type: ignore[operator]
    assert found.kinds == {"identical"}
    assert numbers(found, "identical")["tensors"] == len(anatomy(make()).parts)  # type: ignore[operator]


@MODELS
def test_fine_tuned(make: object) -> None:
    found = told(tuned(*make(), level=0.03), make())  # type: ignore[operator]
    assert found.kinds == {"fine_tuned"}
    assert {"up", "down", "q", "v.bias"} <= {d.role for d in found.deltas}


@MODELS
def test_nothing_is_said_of_an_independent_model(make: object) -> None:
    assert told(make(5), make()).steps == ()  # type: ignore[operator]


def _permuted_neurons() -> Model:
    out = dict(gpt2()[0])
    for layer in range(LAYERS):
        order, at = np.random.default_rng(layer).permutation(FFN), f"h.{layer}.mlp."
        out[at + "c_fc.weight"] = out[at + "c_fc.weight"][:, order]
        out[at + "c_fc.bias"] = out[at + "c_fc.bias"][order]
        out[at + "c_proj.weight"] = out[at + "c_proj.weight"][order]
    return out, gpt2()[1]


def test_neurons_without_a_gate_are_matched_with_their_biases() -> None:
    found = told(_permuted_neurons(), gpt2())
    assert found.kinds == {"permuted"}
    order = numbers(found, "permuted", "ffn")["order"]
    np.testing.assert_array_equal(order["2"], np.random.default_rng(2).permutation(FFN))
    assert all(d.equal == 1.0 for d in found.deltas)


def _permuted_channels() -> Model:
    order = np.random.default_rng(1).permutation(WIDTH)
    out: Tensors = {}
    for name, value in gpt2()[0].items():
        written = name in ("wte.weight", "wpe.weight") or name.endswith("c_proj.weight")
        read = re.search(r"c_(attn|fc)\.weight$", name)
        vector = "ln_" in name or name.endswith("c_proj.bias")
        out[name] = value[:, order] if written else value[order] if read or vector else value
    return out, gpt2()[1]


def test_channels_of_a_layernorm_model_are_matched_with_gains_and_biases() -> None:
    found = told(_permuted_channels(), gpt2())
    assert found.kinds == {"permuted"}
    shown = numbers(found, "permuted", "residual")
    np.testing.assert_array_equal(shown["order"]["all"], np.random.default_rng(1).permutation(WIDTH))
    assert "flipped" not in shown
    assert all(d.equal == 1.0 for d in found.deltas)


def test_every_second_layer_of_an_encoder() -> None:
    kept = {n: v for n, v in bert()[0].items() if not n.startswith("encoder")}
    for new, old in enumerate((1, 3)):
        at = f"encoder.layer.{old}."
        kept |= {n.replace(at, f"encoder.layer.{new}."): v for n, v in bert()[0].items() if n.startswith(at)}
    found = told((kept, {**bert()[1], "num_hidden_layers": 2}), bert())
    assert found.kinds == {"layers_changed"}
    assert numbers(found, "layers_changed")["path"] == [1, 3]


def test_values_that_are_stored_alone_are_compared() -> None:
    """Apertus has two settings of each layer's activation among its weights, of no dimension."""

    def apertus(beta: float, level: float = 0.0) -> Model:
        tensors, config = tuned(*base(), level=level) if level else base()
        names = {
            "input_layernorm": "attention_layernorm",
            "post_attention_layernorm": "feedforward_layernorm",
        }
        spelt = {
            re.sub("|".join(names), lambda found: names[found[0]], name): value
            for name, value in tensors.items()
            if "gate_proj" not in name
        }
        layers = {name.split(".")[2] for name in spelt if ".layers." in name}
        spelt |= {f"model.layers.{n}.mlp.act_fn.beta": np.array(beta, np.float32) for n in layers}
        kind = {"model_type": "apertus", "architectures": ["ApertusForCausalLM"], "hidden_act": "xielu"}
        return spelt, {**config, **kind}

    found = told(apertus(0.75, level=0.03), apertus(0.5))
    assert found.kinds == {"fine_tuned"}
    assert "activation.beta" in {d.role for d in found.deltas}
    assert told(apertus(0.5), apertus(0.5)).kinds == {"identical"}
