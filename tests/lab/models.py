"""Small random models for the tests of this room: untrained, which is enough for what is shown here."""

from __future__ import annotations

import numpy as np

from filiation.lab.layout import Config, Tensors

VOCAB, WIDTH, LAYERS, HEADS, KV, DIM, FFN = 24, 16, 3, 4, 2, 8, 20


def config() -> Config:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCAB,
        "hidden_size": WIDTH,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV,
        "head_dim": DIM,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
    }


def llama(seed: int = 0, *, biases: bool = False, head_norms: bool = False) -> tuple[Tensors, Config]:
    """A dense model with gains that are not one; with q/k/v biases (Qwen2) or q/k norms (Qwen3) where asked."""
    g = np.random.default_rng(seed)

    def matrix(*shape: int) -> np.ndarray:
        return (0.3 * g.standard_normal(shape)).astype(np.float32)

    def gain(size: int) -> np.ndarray:
        return (1 + 0.3 * g.standard_normal(size)).astype(np.float32)

    t: Tensors = {"model.embed_tokens.weight": matrix(VOCAB, WIDTH), "model.norm.weight": gain(WIDTH)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        t[at + "input_layernorm.weight"] = gain(WIDTH)
        t[at + "post_attention_layernorm.weight"] = gain(WIDTH)
        for which, rows in (("q", HEADS * DIM), ("k", KV * DIM), ("v", KV * DIM)):
            t[f"{at}self_attn.{which}_proj.weight"] = matrix(rows, WIDTH)
            if biases:
                t[f"{at}self_attn.{which}_proj.bias"] = matrix(rows)
            if head_norms and which != "v":
                t[f"{at}self_attn.{which}_norm.weight"] = gain(DIM)
        t[at + "self_attn.o_proj.weight"] = matrix(WIDTH, HEADS * DIM)
        t[at + "mlp.gate_proj.weight"] = matrix(FFN, WIDTH)
        t[at + "mlp.up_proj.weight"] = matrix(FFN, WIDTH)
        t[at + "mlp.down_proj.weight"] = matrix(WIDTH, FFN)
    return t, config()


def mixtral(seed: int = 0) -> tuple[Tensors, Config]:
    """A mixture of three experts that differ."""
    from filiation.lab.derive import upcycle

    return upcycle(*llama(seed), experts=3, active=2, noise=0.5, seed=seed + 1, router_std=0.5)


def tokens() -> np.ndarray:
    return np.random.default_rng(9).integers(0, VOCAB, (2, 11))
