"""Every role a part can have, and what the axes of its canonical matrix stand for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from filiation.anatomy.model import Axis

_RESIDUAL, _FFN, _QUERY, _KV = Axis.RESIDUAL, Axis.FFN, Axis.QUERY, Axis.KV
_VOCAB, _EXPERT, _LATENT, _OTHER = Axis.VOCAB, Axis.EXPERT, Axis.LATENT, Axis.OTHER

NORMS = (
    "attn_norm",
    "ffn_norm",
    "post_attn_norm",
    "post_ffn_norm",
    "final_norm",
    "embedding_norm",
    "cross_norm",
    "head_norm",
)

_MATRICES: dict[str, tuple[Axis, ...]] = {
    "embedding": (_VOCAB, _RESIDUAL),
    "head": (_VOCAB, _RESIDUAL),
    "position": (Axis.POSITION, _RESIDUAL),
    "token_type": (_OTHER, _RESIDUAL),
    "q": (_QUERY, _RESIDUAL),
    "k": (_KV, _RESIDUAL),
    "v": (_KV, _RESIDUAL),
    "o": (_RESIDUAL, _QUERY),
    "gate": (_FFN, _RESIDUAL),
    "up": (_FFN, _RESIDUAL),
    "down": (_RESIDUAL, _FFN),
    "router": (_EXPERT, _RESIDUAL),
    "shared.gate": (_FFN, _RESIDUAL),
    "shared.up": (_FFN, _RESIDUAL),
    "shared.down": (_RESIDUAL, _FFN),
    "shared.router": (_OTHER, _RESIDUAL),
    "q_a": (_LATENT, _RESIDUAL),
    "q_b": (_OTHER, _LATENT),
    "kv_a": (_LATENT, _RESIDUAL),
    "kv_b": (_OTHER, _LATENT),
    "k_b": (_OTHER, _OTHER, _OTHER),
    "v_b": (_OTHER, _OTHER, _OTHER),
    "cross.q": (_QUERY, _RESIDUAL),
    "cross.k": (_KV, _OTHER),  # the other tower's channels
    "cross.v": (_KV, _OTHER),
    "cross.o": (_RESIDUAL, _QUERY),
    "rel_bias": (_OTHER, _OTHER),
    "embedding_in": (
        _RESIDUAL,
        _OTHER,
    ),  # a narrower embedding table is widened to d_model (OPT-350M, ELECTRA)
    "embedding_out": (_OTHER, _RESIDUAL),
    "narrow_embedding": (_VOCAB, _OTHER),
    "head_dense": (_OTHER, _RESIDUAL),
    "pooler": (_OTHER, _RESIDUAL),
    "patch": (_RESIDUAL, _OTHER, _OTHER, _OTHER),
}

_VECTORS: dict[str, tuple[Axis, ...]] = {
    **dict.fromkeys(NORMS, (_RESIDUAL,)),
    "q_norm": (Axis.HEAD_DIM,),
    "k_norm": (Axis.HEAD_DIM,),
    "q_a_norm": (_LATENT,),
    "kv_a_norm": (_LATENT,),
    "attn_sub_norm": (_QUERY,),  # a norm on the attention output, before o
    "ffn_sub_norm": (_FFN,),  # a norm on the hidden units, before down
    "class_token": (_RESIDUAL,),
    "sinks": (_OTHER,),
    "attn_scale": (_RESIDUAL,),  # LayerScale
    "ffn_scale": (_RESIDUAL,),
}

AXES: Mapping[str, tuple[Axis, ...]] = MappingProxyType(_MATRICES | _VECTORS)
"""Canonical axes by role. A role that is not listed (``buffer``, ``projector`` ...) has axes of kind OTHER."""


def axes_of(role: str, ndim: int) -> tuple[Axis, ...]:
    """Return the ``ndim`` axes of ``role``; a bias lies along its matrix's first axis."""
    base, is_bias = role.removesuffix(".bias"), role.endswith(".bias")
    axes = AXES.get(base, ())
    if is_bias:
        axes = axes[:1]
    return (axes + (_OTHER,) * ndim)[:ndim]
