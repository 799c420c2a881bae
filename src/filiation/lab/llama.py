"""A small Llama and Mixtral in torch: plain functions over a dict of tensors with the Hugging Face names.

The parameters live in a dict, so what is trained is, name by name, what is written to disk. The forward pass
follows `transformers.LlamaForCausalLM` and `MixtralForCausalLM` (RMSNorm arXiv 1910.07467, rotary positions in
half-split order arXiv 2104.09864, SwiGLU arXiv 2002.05202, grouped-query attention arXiv 2305.13245, top-k
routing normalised over the chosen experts arXiv 2401.04088). Needs torch (extra `lab`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Config = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """The sizes of a small model; defaults are the demo models'."""

    vocab: int = 1024
    width: int = 64
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    ffn: int = 192
    context: int = 128
    rope_theta: float = 10000.0

    def config(self) -> Config:
        """Return the `config.json` that `transformers` loads as a `LlamaForCausalLM`."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab,
            "hidden_size": self.width,
            "intermediate_size": self.ffn,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": self.context,
            "rms_norm_eps": 1e-5,
            "rope_theta": self.rope_theta,
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "initializer_range": INIT_STD,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "torch_dtype": "bfloat16",
        }


INIT_STD = 0.05


def initial_weights(shape: Shape, seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """Draw i.i.d. normal weights: std 0.05, divided by sqrt(2 layers) where a matrix writes the residual stream.

    Gains are one. Every matrix is drawn in the order of its name from one generator, so `seed` fixes them all.
    """
    generator = np.random.default_rng(seed)
    kv = shape.kv_heads * shape.head_dim
    q = shape.heads * shape.head_dim
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (shape.vocab, shape.width)}
    for layer in range(shape.layers):
        at = f"model.layers.{layer}."
        shapes |= {
            at + "input_layernorm.weight": (shape.width,),
            at + "self_attn.q_proj.weight": (q, shape.width),
            at + "self_attn.k_proj.weight": (kv, shape.width),
            at + "self_attn.v_proj.weight": (kv, shape.width),
            at + "self_attn.o_proj.weight": (shape.width, q),
            at + "post_attention_layernorm.weight": (shape.width,),
            at + "mlp.gate_proj.weight": (shape.ffn, shape.width),
            at + "mlp.up_proj.weight": (shape.ffn, shape.width),
            at + "mlp.down_proj.weight": (shape.width, shape.ffn),
        }
    shapes["model.norm.weight"] = (shape.width,)
    writer = INIT_STD / math.sqrt(2 * shape.layers)
    weights: dict[str, npt.NDArray[np.float32]] = {}
    for name, size in shapes.items():
        if len(size) == 1:
            weights[name] = np.ones(size, dtype=np.float32)
            continue
        std = writer if name.endswith(("o_proj.weight", "down_proj.weight")) else INIT_STD
        weights[name] = (std * generator.standard_normal(size)).astype(np.float32)
    return weights


def rotary_tables(config: Config, length: int, device: Any = None) -> tuple[Tensor, Tensor]:
    """Return cos and sin of the rotary angles, each of shape (length, head_dim), on a device."""
    import torch

    half = config["head_dim"] // 2
    inverse = config["rope_theta"] ** (-torch.arange(half, dtype=torch.float32) / half)
    angles = torch.outer(torch.arange(length, dtype=torch.float32), inverse)
    both = torch.cat([angles, angles], dim=1)
    # The angles are the processor's wherever the model runs.
    return both.cos().to(device), both.sin().to(device)


def _rotate(x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    import torch

    first, second = x.chunk(2, dim=-1)
    return x * tables[0] + torch.cat([-second, first], dim=-1) * tables[1]


def _attention(p: Mapping[str, Tensor], at: str, x: Tensor, config: Config, tables: Any) -> Tensor:
    import torch.nn.functional as F

    batch, length, _ = x.shape
    heads, kv, dim = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    q = _project(p, at + "q_proj", x).view(batch, length, heads, dim).transpose(1, 2)
    k = _project(p, at + "k_proj", x).view(batch, length, kv, dim).transpose(1, 2)
    v = _project(p, at + "v_proj", x).view(batch, length, kv, dim).transpose(1, 2)
    k = _rotate(k, tables).repeat_interleave(heads // kv, dim=1)
    v = v.repeat_interleave(heads // kv, dim=1)
    q = _rotate(q, tables)
    if at + "sinks" in p:
        mixed = _with_sinks(q, k, v, p[at + "sinks"])
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return _project(p, at + "o_proj", mixed.transpose(1, 2).reshape(batch, length, heads * dim))


def _project(p: Mapping[str, Tensor], stem: str, x: Tensor) -> Tensor:
    import torch.nn.functional as F

    return F.linear(x, p[stem + ".weight"], p.get(stem + ".bias"))


def _with_sinks(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor) -> Tensor:
    """Return causal attention in which each head's sink takes a part and gives nothing (arXiv 2508.10925)."""
    import torch

    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    column = sinks.view(1, -1, 1, 1).expand(*scores.shape[:-1], 1)
    shares = torch.cat([scores.masked_fill(future, -math.inf), column], dim=-1).softmax(-1)
    return shares[..., :-1] @ v


def _swiglu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    import torch.nn.functional as F

    return F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)


def _experts(p: Mapping[str, Tensor], at: str, x: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    """Return the routed output and the load-balancing loss of arXiv 2101.03961."""
    import torch
    import torch.nn.functional as F

    flat = x.reshape(-1, x.shape[-1])
    count = config["num_local_experts"]
    probabilities = F.linear(flat, p[at + "gate.weight"]).softmax(-1)
    weight, chosen = probabilities.topk(config["num_experts_per_tok"], dim=-1)
    weight = weight / weight.sum(-1, keepdim=True)
    out = torch.zeros_like(flat)
    for expert in range(count):
        rows, slot = (chosen == expert).nonzero(as_tuple=True)
        e = f"{at}experts.{expert}."
        y = _swiglu(flat[rows], p[e + "w1.weight"], p[e + "w3.weight"], p[e + "w2.weight"])
        out = out.index_add(0, rows, y * weight[rows, slot, None])
    share = F.one_hot(chosen, count).float().mean((0, 1))
    balance = count * (share * probabilities.mean(0)).sum()
    return out.view_as(x), balance


def hidden_states(p: Mapping[str, Tensor], tokens: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    """Return the normed last hidden states (batch, length, width) and the summed load-balancing loss."""
    import torch.nn.functional as F

    eps, width = config["rms_norm_eps"], (config["hidden_size"],)
    tables = rotary_tables(config, tokens.shape[1], tokens.device)
    x = F.embedding(tokens, p["model.embed_tokens.weight"])
    balance = x.new_zeros(())
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        normed = F.rms_norm(x, width, p[at + "input_layernorm.weight"], eps)
        x = x + _attention(p, at + "self_attn.", normed, config, tables)
        normed = F.rms_norm(x, width, p[at + "post_attention_layernorm.weight"], eps)
        if at + "block_sparse_moe.gate.weight" in p:
            y, term = _experts(p, at + "block_sparse_moe.", normed, config)
            balance = balance + term
        else:
            m = at + "mlp."
            y = F.silu(_project(p, m + "gate_proj", normed)) * _project(p, m + "up_proj", normed)
            y = _project(p, m + "down_proj", y)
        x = x + y
    return F.rms_norm(x, width, p["model.norm.weight"], eps), balance


def loss(p: Mapping[str, Tensor], tokens: Tensor, targets: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy in nats a token (targets of -100 are left out) and the load-balancing loss."""
    import torch.nn.functional as F

    hidden, balance = hidden_states(p, tokens, config)
    head = p.get("lm_head.weight", p["model.embed_tokens.weight"])
    return F.cross_entropy(F.linear(hidden, head).flatten(0, 1), targets.flatten()), balance
