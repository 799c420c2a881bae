"""What a model family is, as data: a table of names, a few kinds, and the exceptions to the symmetries.

A table says which name inside a layer is which role. It does not know prefixes (``model.``, ``language_model.``,
``module.``), sizes, or how many layers there are: those are read off the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from filiation.anatomy.built import Built
from filiation.anatomy.model import Symmetry


class Layout(StrEnum):
    """How the rows of a fused projection are ordered."""

    CONTIGUOUS = "contiguous"  # all of the first, then all of the second ...
    GROUPED = "grouped"  # per kv head: its query heads, its key, its value (with one query a group: per head q, k, v)
    BLOCKED = "blocked"  # CodeGen: four blocks, each with its share of q, then v, then k
    INTERLEAVED = "interleaved"  # row by row in turn: gpt-oss' gate, up, gate, up ...


@dataclass(frozen=True, slots=True)
class Rule:
    """What one stored tensor holds.

    Attributes:
        roles: one role, or the fused ones in stored order.
        layout: how fused rows are ordered.
        stacked: the leading axis counts experts.
        transpose: stored ``[in, out]`` (Conv1D, batched experts).
    """

    roles: tuple[str, ...]
    layout: Layout = Layout.CONTIGUOUS
    stacked: bool = False
    transpose: bool = False


BUFFERS = frozenset({"inv_freq", "cos_cached", "sin_cached", "position_ids", "masked_bias"})
"""Last segments of what older checkpoints store although it is computed, whatever the family."""

Names = Mapping[str, "str | Rule"]
Path = tuple[str, ...]

LEAVES = {"weight": "", "gamma": "", "g": "", "bias": ".bias", "beta": ".bias", "b": ".bias"}
"""The last segment of a name -> what it adds to the role."""
Config = Mapping[str, Any]


def conv1d(*roles: str) -> Rule:
    """Return the rule of a matrix stored ``[in, out]``, as GPT-2's Conv1D."""
    return Rule(roles, transpose=True)


def fused(*roles: str, layout: Layout = Layout.CONTIGUOUS) -> Rule:
    """Return the rule of several projections stored as one."""
    return Rule(roles, layout=layout)


def experts(*roles: str, transpose: bool = False, layout: Layout = Layout.CONTIGUOUS) -> Rule:
    """Return the rule of experts stacked along a leading axis."""
    return Rule(roles, layout=layout, stacked=True, transpose=transpose)


@dataclass(frozen=True, slots=True)
class Kinds:
    """What the function of a tower is, as far as the symmetries depend on it; see :class:`Geometry` for the words.

    ``norm_offset`` is what a stored gain lacks (1 where ``1 + w`` is applied). ``norm_bias`` says whether the
    family's LayerNorms have biases.
    """

    norm: str = "rms"
    norm_bias: bool = True
    norm_position: str = "pre"
    norm_offset: float = 0.0
    gated: bool = True
    up_is_odd: bool = True
    activation: str | None = None
    rope: str | None = "neox"
    positions: str | None = "rope"

    @property
    def alibi(self) -> bool:
        """Whether attention is biased by distance with a slope for each head (arXiv 2108.12409)."""
        return self.positions == "alibi"


_LONGEST = 9


def is_number(segment: str) -> bool:
    """Whether a segment counts something: nobody has a thousand million layers, so longer ones are words."""
    return segment.isdecimal() and len(segment) <= _LONGEST


def mask(path: Path) -> Path:
    """Return the path with every number replaced by ``#``."""
    return tuple(["#" if is_number(segment) else segment for segment in path])


def shared_depth(path: Path, root: Path) -> int:
    """Return how many leading segments two paths share."""
    count = 0
    for a, b in zip(path, root, strict=False):
        if a != b:
            break
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class Hit:
    """A name found in a table (``name``): its rule, whether it is the bias, the expert number, another number."""

    rule: Rule
    bias: bool = False
    expert: int | None = None
    number: int | None = None
    name: str = ""


_LAYER_NORMS = ("attn_norm", "ffn_norm", "post_attn_norm", "post_ffn_norm")


class Lookup:
    """A table of names made ready for looking up paths; ``norms`` are the layer norms it knows."""

    def __init__(self, names: Names) -> None:
        self._rules: dict[Path, tuple[Rule, str, str]] = {}
        for pattern, entry in names.items():
            rule = entry if isinstance(entry, Rule) else Rule((entry,))
            kind = "{N}" if "{N}" in pattern else "{E}"
            self._rules[tuple(pattern.replace(kind, "#").split("."))] = (rule, kind, pattern)
        roles = {role for rule, _, _ in self._rules.values() for role in rule.roles}
        self.norms = frozenset(role for role in roles if role in _LAYER_NORMS)

    def find(self, path: Path) -> Hit | None:
        """Return what ``path`` (with its leaf) is, or None."""
        masked = mask(path)
        for form in (path,) if masked == path else (path, masked):
            if form in self._rules:  # a name that is spelled out, leaf and all
                return self._hit(form, path, False)
            if not form or form[:-1] not in self._rules:
                continue
            if form[-1] in LEAVES:
                return self._hit(form[:-1], path, LEAVES[form[-1]] == ".bias")
            if form[-1].endswith("_scale"):  # a quantiser's scales for activations and caches
                hit = self._hit(form[:-1], path, False)
                return replace(hit, rule=Rule((f"{hit.rule.roles[0]}.{form[-1]}",)))
        return Hit(Rule((f"buffer.{path[-1]}",))) if path and path[-1] in BUFFERS else None

    def _hit(self, key: Path, path: Path, bias: bool) -> Hit:
        rule, kind, name = self._rules[key]
        number = next((int(s) for s, k in zip(path, key, strict=False) if k == "#" and is_number(s)), None)
        if kind == "{N}":
            return Hit(rule, bias, number=number, name=name)
        return Hit(rule, bias, expert=number, name=name)


@dataclass(frozen=True)
class Family:
    """One kind of tower.

    Attributes:
        name: what the anatomy calls it.
        container: the path of the layer list inside the tower, e.g. ``layers`` or ``encoder.layer``.
        layer: names inside a layer -> role or rule; ``{E}`` stands for an expert number, ``{N}`` for any number.
        outside: names beside the layers -> role or rule.
        model_types, architectures: what config.json calls it.
        gguf: what ``general.architecture`` calls it.
        component: ``language`` unless the table is of another tower.
        kinds: see :class:`Kinds`.
        adjust: returns the family as this config makes it, where a setting changes kinds or layouts.
        pair_rows: q and k rows are stored in rotary pair order (Meta's own files), not half-split.
        gguf_layer: names inside a GGUF layer that mean something else for this family.
        gguf_permuted: llama.cpp's converter stores q and k rows of this family in rotary pair order.
        grouped_experts: routing may be limited to groups of experts; a config must say that it is not.
        exceptions: symmetries that do not hold for this family -> reason.
        keys: the config keys that its code reads, where they are not the usual ones: setting -> key, several in order
            of trust, or none, e.g. ``{"d_ff": "n_inner", "n_kv_heads": ()}``. Of ``activation`` several keys are those
            that different versions of its code read; ``epsilon`` is what norms add to the mean square.
        layers: model type -> how many layers its config's class has where a config does not say.
        further: settings beside sizes that its code reads; what else a config says of such is passed over.
        wraps: model types of models that nest settings of towers -> the components whose settings they nest.
        ignore: settings whose config key misleads here (Falcon-7B says 71 kv heads and has one).
        tied: whether the head is the embedding where config.json does not say.
        renames: where the table spells another family's names anew: this spelling -> the usual one.
        built: what its loaders build of one layer; None where that is not known for certain.
        both: a layer holds a dense network beside its experts.
    """

    name: str
    container: str
    layer: Names
    outside: Names
    model_types: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    gguf: tuple[str, ...] = ()
    component: str = "language"
    kinds: Kinds = Kinds()
    adjust: Callable[[Config, Family], Family] | None = None
    pair_rows: bool = False
    gguf_layer: Names = field(default_factory=dict[str, "str | Rule"])
    gguf_permuted: bool = False
    grouped_experts: bool = False
    exceptions: Mapping[Symmetry, str] = field(default_factory=dict[Symmetry, str])
    keys: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict[str, "str | tuple[str, ...]"])
    layers: Mapping[str, int] = field(default_factory=dict[str, int])
    further: tuple[str, ...] = ()
    wraps: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    ignore: tuple[str, ...] = ()
    tied: bool = False
    renames: Mapping[str, str] = field(default_factory=dict[str, str])
    built: Built | None = None
    both: bool = False

    def under(self, config: Config) -> Family:
        """Return the family as ``config`` makes it."""
        return self if self.adjust is None else self.adjust(config, self)

    @property
    def has_norm_biases(self) -> bool:
        """Whether its norms have biases: those that do not subtract the mean have none."""
        return self.kinds.norm == "layer" and self.kinds.norm_bias

    def with_kinds(self, **changes: Any) -> Family:
        """Return the family with some kinds changed."""
        return replace(self, kinds=replace(self.kinds, **changes))

    @cached_property
    def inside(self) -> Lookup:
        """The names inside a layer, ready for looking up."""
        return Lookup(self.layer)

    @cached_property
    def beside(self) -> Lookup:
        """The names beside the layers, ready for looking up."""
        return Lookup(self.outside)
