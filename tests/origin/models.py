"""Small untrained models with what trained ones share: a recipe's curve over depth, common directions, big channels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from filiation import anatomy
from filiation.anatomy.model import Anatomy
from filiation.lab.layout import Config, Tensors
from filiation.origin import TESTS
from filiation.origin.examine import Examination, examine
from filiation.origin.pairing import Plan, TokenRows
from tests.support import memory_checkpoint

VOCAB, WIDTH, LAYERS, HEADS, KV, DIM, FFN = 192, 48, 4, 6, 3, 16, 96
Model = tuple[Tensors, Config]


def config(layers: int = LAYERS, width: int = WIDTH, ffn: int = FFN, kv: int = KV) -> Config:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCAB,
        "hidden_size": width,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": kv,
        "head_dim": DIM,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
    }


def llama(seed: int, layers: int = LAYERS, width: int = WIDTH, ffn: int = FFN, kv: int = KV) -> Model:
    """A model as one recipe makes it with this seed.

    What depends on no channel or unit number is the recipe's and shared by all seeds: token frequencies (which every
    channel of the embedding carries with a random weight), the growth of norms with depth, a few big channels.
    """
    g, recipe = np.random.default_rng(seed), np.random.default_rng(77)
    frequency = recipe.standard_normal((VOCAB, 3))

    def matrix(rows: int, columns: int, scale: float) -> np.ndarray:
        return (scale * g.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    def gain(level: float) -> np.ndarray:
        big = 1 + 4.0 * (g.permutation(width) < 2)
        return (level * big * np.exp(0.3 * g.standard_normal(width))).astype(np.float32)

    embedding = 0.5 * g.standard_normal((VOCAB, width)) + 0.5 * frequency @ g.standard_normal((3, width))
    t: Tensors = {"model.embed_tokens.weight": embedding.astype(np.float32), "model.norm.weight": gain(3.0)}
    for layer in range(layers):
        at, scale = f"model.layers.{layer}.", 1 + layer / layers
        t[at + "input_layernorm.weight"] = gain(scale)
        t[at + "post_attention_layernorm.weight"] = gain(scale)
        for which, rows in (("q", HEADS * DIM), ("k", kv * DIM), ("v", kv * DIM)):
            t[f"{at}self_attn.{which}_proj.weight"] = matrix(rows, width, scale)
        t[at + "self_attn.o_proj.weight"] = matrix(width, HEADS * DIM, scale)
        for which in ("gate", "up"):
            t[f"{at}mlp.{which}_proj.weight"] = matrix(ffn, width, scale)
        t[at + "mlp.down_proj.weight"] = matrix(width, ffn, scale)
    return t, config(layers, width, ffn, kv)


def dissected(model: Model | Anatomy) -> Anatomy:
    return model if isinstance(model, Anatomy) else anatomy.dissect(memory_checkpoint(*model))


def tokens(suspect: Anatomy, candidate: Anatomy) -> TokenRows:
    rows = [m.part("embedding") for m in (suspect, candidate)]
    count = min(p.shape[0] for p in rows if p is not None)
    same = np.arange(count)
    return TokenRows(same, same, by_string=True)


def examined(
    suspect: Model | Anatomy,
    candidate: Model | Anatomy,
    *,
    seed: str = "a seed",
    whole: bool = True,
    with_tokens: bool = True,
) -> Examination:
    s, c = dissected(suspect), dissected(candidate)
    plan = Plan(seed, whole=whole, units=32, layers=3, tokens=128, map_units=32)
    return examine(s, c, "language", plan, tokens(s, c) if with_tokens else None, TESTS)


def changed(model: Model, change: Callable[[str, np.ndarray], np.ndarray]) -> Model:
    """Return the model with every tensor passed through ``change(name, values)``."""
    tensors, settings = model
    return {k: np.ascontiguousarray(change(k, v)).astype(np.float32) for k, v in tensors.items()}, settings
