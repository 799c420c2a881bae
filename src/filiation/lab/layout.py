"""Which axis of which tensor belongs to what, in a Llama or Mixtral with the Hugging Face names.

The room plants children whose answer is known, so it must not ask the room under test (`anatomy`) what a tensor
is. This is the small, hand-written table that planting needs and nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation.errors import UnknownAnatomyError

Array = npt.NDArray[np.float32]
Tensors = dict[str, Array]
Config = dict[str, Any]

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
FINAL_NORM = "model.norm.weight"
_READERS = re.compile(
    r"(self_attn\.[qkv]_proj|mlp\.(gate|up)_proj|block_sparse_moe\.gate|experts\.\d+\.w[13])\.weight$"
)
_WRITERS = re.compile(r"(self_attn\.o_proj|mlp\.down_proj|experts\.\d+\.w2)\.(weight|bias)$")
_GAINS = re.compile(r"(^model\.norm|\.(input|post_attention)_layernorm)\.weight$")
_INNER = re.compile(r"self_attn\.([qkv]_proj\.bias|[qk]_norm\.weight)$|mlp\.(gate|up)_proj\.bias$")


@dataclass(frozen=True)
class Ffn:
    """The three matrices of one gated feed-forward block: gate and up (units, width), down (width, units)."""

    gate: str
    up: str
    down: str


def layer_prefix(layer: int) -> str:
    """Return the prefix of a layer's tensor names."""
    return f"model.layers.{layer}."


def layer_count(config: Config) -> int:
    """Return the number of layers."""
    return int(config["num_hidden_layers"])


def ffn_blocks(tensors: Mapping[str, Array], layer: int) -> list[Ffn]:
    """Return the feed-forward blocks of a layer: one, or one per expert."""
    at = layer_prefix(layer)
    if at + "mlp.gate_proj.weight" in tensors:
        return [Ffn(at + "mlp.gate_proj", at + "mlp.up_proj", at + "mlp.down_proj")]
    blocks: list[Ffn] = []
    while (e := f"{at}block_sparse_moe.experts.{len(blocks)}.") + "w1.weight" in tensors:
        blocks.append(Ffn(e + "w1", e + "w3", e + "w2"))
    return blocks


def unit_tensors(tensors: Mapping[str, Array], block: Ffn) -> Iterator[tuple[str, int]]:
    """Yield the name and the unit axis of every tensor that a block's units run through."""
    places = [(block.gate, "weight", 0), (block.up, "weight", 0), (block.down, "weight", 1)]
    places += [(block.gate, "bias", 0), (block.up, "bias", 0)]
    for stem, kind, axis in places:
        if f"{stem}.{kind}" in tensors:
            yield f"{stem}.{kind}", axis


def residual_axis(name: str) -> int | None:
    """Return the axis of a tensor that runs along the residual stream, or None for one that has none.

    Raises:
        UnknownAnatomyError: the name is not one of a Llama or Mixtral.
    """
    if name in (EMBEDDING, HEAD) or _READERS.search(name):
        return 1
    if _WRITERS.search(name) or _GAINS.search(name):
        return 0
    if _INNER.search(name):
        return None
    raise UnknownAnatomyError(
        f"cannot plant a change: {name} is not a tensor of a Llama or Mixtral",
        tensor=name,
        reason="the lab changes only models whose every tensor it can place",
        next_step="give the tensors their Hugging Face Llama names first",
    )


def is_gain(name: str) -> bool:
    """Tell whether a tensor is the gain of a norm on the residual stream."""
    return _GAINS.search(name) is not None


def gain_readers(tensors: Mapping[str, Array], gain: str) -> list[str]:
    """Return the matrices that read the residual stream through one gain.

    The final norm is read by the head; in a tied model there is none to fold into, and `untie` makes one.
    """
    if gain == FINAL_NORM:
        return [HEAD]
    at, _, which = gain.removesuffix(".weight").rpartition(".")
    inner = "self_attn." if which == "input_layernorm" else ("mlp.", "block_sparse_moe.")
    names = (name for name in tensors if name.startswith(at + "."))
    return [n for n in names if n.removeprefix(at + ".").startswith(inner) and _READERS.search(n)]


def untie(tensors: Tensors, config: Config) -> tuple[Tensors, Config]:
    """Give a tied model a head of its own, equal to its embedding. An untied model is returned as it is."""
    if HEAD in tensors:
        return tensors, config
    return {**tensors, HEAD: tensors[EMBEDDING].copy()}, {**config, "tie_word_embeddings": False}
