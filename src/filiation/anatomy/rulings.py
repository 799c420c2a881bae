"""Which symmetries hold for a tower, and the reason for each that does not (evidence contract, section 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from filiation.anatomy.config import Settings
from filiation.anatomy.model import Axis, Geometry, Part, Ruling, Symmetry
from filiation.anatomy.tables import Family

FUSED_QKV = "fused q, k, v"
FUSED_FFN = "fused gate and up"
"""In :attr:`Case.uncertain`: how the rows of a fused projection are laid out was assumed."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a ruling looks at.

    Attributes:
        shares_residual_with: the component whose channels these are.
        uncertain: roles that stored order or leaning words alone told apart.
        norm_known: whether it is known that norms do or do not subtract the mean.
        has_config: whether a config speaks of this tower.
        positions_known: whether it is known how positions enter.
        unexplained: the family is unknown, and unnamed tensors have an axis as long as the residual stream.
    """

    family: Family
    geometry: Geometry
    settings: Settings
    parts: Sequence[Part]
    shares_residual_with: str | None = None
    uncertain: frozenset[str] = frozenset()
    norm_known: bool = True
    has_config: bool = True
    positions_known: bool = True
    unexplained: bool = False

    def has(self, *roles: str) -> bool:
        """Whether the tower has a part of one of these roles."""
        return any(part.role in roles for part in self.parts)


Verdict = tuple[bool, str]


def rule_on(case: Case) -> tuple[Ruling, ...]:
    """Return a ruling for every symmetry."""
    rulings: list[Ruling] = []
    for symmetry, judge in _JUDGES.items():
        exception = case.family.exceptions.get(symmetry)
        holds, reason = (False, exception) if exception else judge(case)
        if holds:
            reason += _blocked_note(case, symmetry)
        rulings.append(Ruling(symmetry, holds, reason))
    return tuple(rulings)


def _residual_order(case: Case) -> Verdict:
    if case.shares_residual_with:
        return (
            False,
            f"its channels are those of '{case.shares_residual_with}' (one embedding): counted there",
        )
    if case.geometry.positions == "sinusoidal":
        return False, "fixed sinusoidal positions are added to the channels, which gives each its own meaning"
    if not case.geometry.n_layers:
        return False, "no residual stream"
    if case.unexplained:
        return False, "tensors of unknown meaning touch the channels and may give each its own (as RWKV's do)"
    if case.geometry.norm == "layer" and not case.positions_known:
        return (
            False,
            "nothing says how positions enter; fixed sinusoidal ones would give each channel its own meaning",
        )
    return True, "channels of the residual stream may be permuted in every tensor that reads or writes them"


def _residual_sign(case: Case) -> Verdict:
    if case.geometry.norm != "rms":
        return (
            False,
            "LayerNorm subtracts the mean over the channels, so one channel cannot change sign alone",
        )
    if not case.norm_known:
        return False, "neither the family nor the config says whether the norm subtracts the mean"
    holds, reason = _residual_order(case)
    return holds, "RMSNorm does not see the sign of a channel" if holds else reason


def _ffn_order(case: Case) -> Verdict:
    if not case.has("down"):
        return False, "no feed-forward layers were named"
    if FUSED_FFN in case.uncertain:
        return False, "how gate and up share one matrix was assumed: its rows may alternate"
    return True, "hidden neurons may be permuted: rows of gate and up, columns of down"


def _ffn_sign(case: Case) -> Verdict:
    if not case.has("down"):
        return False, "no feed-forward layers were named"
    if not case.geometry.gated:
        name = case.geometry.activation or "its activation"
        return False, f"the FFN has no gate and {name} is not odd: a neuron cannot change sign"
    if not case.geometry.up_is_odd:
        return False, "the gated product is not odd in the up branch"
    if {"gate", "up"} & case.uncertain:
        return (
            False,
            "which of two equal shapes is the gate was inferred from stored order or leaning names alone",
        )
    if case.has("ffn_sub_norm") and case.geometry.norm == "layer":
        return False, "a LayerNorm stands on the hidden neurons"
    return True, "the gated product is odd in the up branch: an up row and its down column flip together"


def _no_heads(case: Case) -> str | None:
    if case.geometry.mla:
        return "latent attention (MLA): keys and values come from one compressed vector, treated as one block"
    if not case.has("v"):
        return "no value projections were named"
    if not case.geometry.n_heads or not case.geometry.d_head or not case.geometry.n_kv_heads:
        return "the number of heads is unknown: no config gives it and the shapes do not determine it"
    return None


def _no_head_order(case: Case) -> str | None:
    if case.geometry.alibi:
        return "ALiBi gives every head its own slope"
    if not case.positions_known:
        return "nothing says how positions enter; ALiBi would give every head its own slope"
    if {"q", "o", FUSED_QKV} & case.uncertain:
        return "which projection holds the queries was inferred from stored order or leaning names alone"
    if case.geometry.positions == "relative":
        return "a relative-position table indexes the heads, over all layers at once"
    return _no_heads(case)


def _kv_group_order(case: Case) -> Verdict:
    missing = _no_head_order(case)
    if missing:
        return False, missing
    if case.geometry.n_kv_heads == 1:
        return False, "there is one key-value head"
    return True, "key-value heads may be permuted together with their query heads"


def _query_head_order(case: Case) -> Verdict:
    missing = _no_head_order(case)
    if missing:
        return False, missing
    if case.geometry.n_kv_heads == case.geometry.n_heads:
        return False, "every key-value head has one query head"
    return True, "query heads may be permuted inside their key-value group"


def _value_order(case: Case) -> Verdict:
    missing = _no_heads(case)
    if missing:
        return False, missing
    if {"q", "k", "v", "o"} & case.uncertain:
        return (
            False,
            "which projection holds the values was inferred from stored order or leaning names alone",
        )
    if case.has("attn_sub_norm") and case.geometry.norm == "layer":
        return False, "a LayerNorm stands on the attention output"
    return True, "value channels may be permuted inside a head: rows of v, columns of o"


def _value_sign(case: Case) -> Verdict:
    holds, reason = _value_order(case)
    return holds, "values enter linearly: a v row and its o columns flip together" if holds else reason


def _expert_order(case: Case) -> Verdict:
    if not case.geometry.n_experts:
        return False, "no experts"
    if not case.has("router"):
        return False, "no router was named: experts may be chosen by a fixed hash"
    groups = case.settings.expert_groups
    if groups is None and (case.family.grouped_experts or not case.has_config):
        return False, "no config says whether routing is limited to groups of experts"
    if groups is not None and groups > 1:
        return (
            False,
            f"routing is limited to groups ({groups} of them): experts may only be permuted inside a group",
        )
    return True, "experts may be permuted together with the router's rows"


_JUDGES: Mapping[Symmetry, Callable[[Case], Verdict]] = {
    Symmetry.RESIDUAL_ORDER: _residual_order,
    Symmetry.RESIDUAL_SIGN: _residual_sign,
    Symmetry.FFN_ORDER: _ffn_order,
    Symmetry.FFN_SIGN: _ffn_sign,
    Symmetry.KV_GROUP_ORDER: _kv_group_order,
    Symmetry.QUERY_HEAD_ORDER: _query_head_order,
    Symmetry.VALUE_ORDER: _value_order,
    Symmetry.VALUE_SIGN: _value_sign,
    Symmetry.EXPERT_ORDER: _expert_order,
}

_UNIT_AXES: Mapping[Symmetry, tuple[Axis, ...]] = {
    Symmetry.RESIDUAL_ORDER: (Axis.RESIDUAL,),
    Symmetry.FFN_ORDER: (Axis.FFN,),
    Symmetry.VALUE_ORDER: (Axis.KV, Axis.QUERY),
    Symmetry.KV_GROUP_ORDER: (Axis.KV, Axis.QUERY),
    Symmetry.QUERY_HEAD_ORDER: (Axis.QUERY,),
}


def _blocked_note(case: Case, symmetry: Symmetry) -> str:
    """Name the roles whose stored values are quantised in blocks along the units: the order is no label there."""
    axes = _UNIT_AXES.get(symmetry, ())
    roles = sorted({p.role for p in case.parts if p.blocked and any(p.axes[i] in axes for i in p.blocked)})
    if not roles:
        return ""
    return f"; not in {', '.join(roles)}, which are quantised in blocks along these units"
