"""How a mixture chooses its experts, as loaders do: by the family's code, and what the tower's own config says.

Every family's code reads some settings and passes over others, whatever a config says: a Mixtral knows no scaling of
its experts, and DeepSeek-V3 chooses by sigmoids even where its config names no scoring function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from filiation.anatomy.config import COUNT, SPELLINGS, Config, first_of, gguf_architecture, own_settings
from filiation.anatomy.further import EXPERTS_USED, stated


@dataclass(frozen=True, slots=True)
class Routing:
    """How experts are chosen, and how much each of those chosen counts.

    ``used`` experts work on a token (None: all, as far as is known). Scores are sigmoids of what the router says
    (``sigmoid``) or their softmax; ``normalised`` to a sum of 1 over those chosen, times ``factor``. Of ``groups``
    groups of experts only ``groups_used`` are chosen from, by the best ``of_group`` scores of each. Where
    ``on_inputs``, a score scales what an expert is given, not what it writes.
    """

    used: int | None = None
    sigmoid: bool = False
    normalised: bool = True
    factor: float = 1.0
    groups: int = 1
    groups_used: int = 1
    of_group: int = 2
    on_inputs: bool = False


@dataclass(frozen=True, slots=True)
class _Code:
    """What a family's code does where a config says nothing, and which settings it reads.

    ``used`` and ``groups`` are keys in order of trust: of how many experts work on a token, and of how many groups
    there are; no groups where there is no key of them.
    """

    routing: Routing
    norm: bool = False
    factor: bool = False
    groups: tuple[str, ...] = ()
    used: tuple[str, ...] = EXPERTS_USED[:1]


_RAW = Routing(normalised=False)
_GROUPS = SPELLINGS["expert_groups"][:1]
_V3 = _Code(
    Routing(8, sigmoid=True, factor=2.5, groups=8, groups_used=4), norm=True, factor=True, groups=_GROUPS
)
_GLM = _Code(Routing(8, sigmoid=True), norm=True, factor=True, groups=_GROUPS)
_LLAMA4 = _Code(Routing(1, sigmoid=True, normalised=False, on_inputs=True))
_GRANITE = _Code(Routing(2))
#: By model type (and GGUF architecture): transformers 5, and llama.cpp.
_CODES: Mapping[str, _Code] = {
    "mixtral": _Code(Routing(2)),
    "qwen2_moe": _Code(replace(_RAW, used=4), norm=True),
    "qwen2moe": _Code(_RAW),
    "qwen3_moe": _Code(replace(_RAW, used=8), norm=True),
    "qwen3_vl_moe_text": _Code(Routing(4)),
    "qwen3moe": _Code(Routing()),
    "olmoe": _Code(replace(_RAW, used=8), norm=True),
    "granitemoe": _GRANITE,
    "granitemoeshared": _GRANITE,
    "granitemoehybrid": _GRANITE,
    "gpt_oss": _Code(Routing(4)),
    "gpt-oss": _Code(Routing(4)),
    "llama4": _LLAMA4,
    "llama4_text": _LLAMA4,
    "deepseek_v2": _Code(replace(_RAW, of_group=1), factor=True, groups=_GROUPS),
    "deepseek2": _Code(_RAW, norm=True, factor=True, groups=_GROUPS),
    "deepseek_v3": _V3,
    "deepseek_v32": _V3,
    "kimi_k2": _V3,
    "glm4_moe": _GLM,
    "glm4v_moe_text": _GLM,
    "glm4moe": _Code(Routing(sigmoid=True, normalised=False), norm=True, factor=True, groups=_GROUPS),
    "dots1": _Code(Routing(sigmoid=True, normalised=False), norm=True, factor=True, groups=_GROUPS),
    "minimax_m2": _Code(Routing(8, sigmoid=True)),
    "ernie4_5_moe": _Code(Routing(6), used=("num_experts_per_tok", "moe_k")),
}
_SIGMOID, _BY_GROUPS = "sigmoid", "group_limited_greedy"
#: llama.cpp's number of the sigmoid.
_GATED_BY_SIGMOID = 2


def routing_of(
    config: Config | None, metadata: Mapping[str, Any], component: str, *, corrected: bool
) -> Routing:
    """Return how the mixtures of ``component`` choose their experts.

    Where the family is not known, what the config says counts; without a word on scores they are sigmoids where a
    correction bias is stored, else a softmax over all experts, and those of the experts chosen sum to 1.

    Args:
        metadata: a GGUF file's key-value data, empty for others.
        corrected: a bias is stored that only choosing knows (DeepSeek-V3, arXiv 2412.19437).

    Raises:
        CorruptCheckpointError: a setting is of the wrong type.
    """
    found = _as_stated(own_settings(config, metadata, component), corrected=corrected)
    gated = metadata.get(f"{gguf_architecture(metadata)}.expert_gating_func")
    return found if gated is None else replace(found, sigmoid=gated == _GATED_BY_SIGMOID)


def check_routing(own: Config) -> None:
    """Refuse a tower's config whose settings of routing are of the wrong type, as far as its code reads them.

    Raises:
        CorruptCheckpointError: one is.
    """
    _as_stated(own, corrected=False)


def _as_stated(own: Config, *, corrected: bool) -> Routing:
    code = _CODES.get(str(own.get("model_type"))) or _unknown(own, corrected=corrected)
    found = replace(code.routing, used=stated(own, *code.used) or code.routing.used)
    found = _scaled(found, own, code)
    return _grouped(found, own, code) if code.groups else found


def experts_used(own: Config) -> int | None:
    """Return how many experts a tower's own config says work on one token; None where it does not say.

    Raises:
        CorruptCheckpointError: it is no whole number.
    """
    return stated(own, *EXPERTS_USED) or None


def _unknown(own: Config, *, corrected: bool) -> _Code:
    scores = stated(own, "scoring_func")
    routing = Routing(sigmoid=corrected if scores is None else scores == _SIGMOID)
    return _Code(routing, norm=True, factor=True, groups=SPELLINGS["expert_groups"], used=EXPERTS_USED)


def _scaled(found: Routing, own: Config, code: _Code) -> Routing:
    norm = stated(own, "norm_topk_prob") if code.norm else None
    factor = stated(own, "routed_scaling_factor") if code.factor else None
    if norm is not None:
        found = replace(found, normalised=norm)
    if factor:  # llama.cpp writes 0 for none
        found = replace(found, factor=factor)
    return found


def _grouped(found: Routing, own: Config, code: _Code) -> Routing:
    if found.of_group == 1 and stated(own, "topk_method") != _BY_GROUPS:
        return found
    said = first_of(own, code.groups, COUNT)
    groups = said[1] or 1 if said else found.groups
    return replace(found, groups=groups, groups_used=stated(own, "topk_group") or found.groups_used)
