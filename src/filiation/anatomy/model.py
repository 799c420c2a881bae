"""The named parts of a model: which tensor is layer 7's value projection, and which symmetries its shape allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from filiation.checkpoint.model import Checkpoint, Floats


class Axis(StrEnum):
    """What the positions along one axis of a canonical matrix stand for."""

    RESIDUAL = "residual"  # d_model channels
    FFN = "ffn"  # hidden neurons of one layer (or expert)
    QUERY = "query"  # n_heads x d_head, head-major
    KV = "kv"  # n_kv_heads x d_head, head-major
    HEAD_DIM = "head_dim"  # one head's channels
    VOCAB = "vocab"
    EXPERT = "expert"
    POSITION = "position"
    LATENT = "latent"  # MLA's compressed vectors
    OTHER = "other"


class Symmetry(StrEnum):
    """The groups of parameter changes that leave a model's function unchanged (evidence contract, section 2)."""

    RESIDUAL_ORDER = "residual_order"
    RESIDUAL_SIGN = "residual_sign"
    FFN_ORDER = "ffn_order"
    FFN_SIGN = "ffn_sign"
    KV_GROUP_ORDER = "kv_group_order"
    QUERY_HEAD_ORDER = "query_head_order"
    VALUE_ORDER = "value_order"
    VALUE_SIGN = "value_sign"
    EXPERT_ORDER = "expert_order"


@dataclass(frozen=True, slots=True)
class Ruling:
    """Whether a symmetry holds for this component of this model, and why (or why not)."""

    symmetry: Symmetry
    holds: bool
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Where a part's canonical matrix sits in its stored tensor.

    Canonical matrices are ``[out, in]`` as in ``torch.nn.Linear``. Reading goes: pick ``expert`` (leading index,
    where experts are stacked), transpose (Conv1D stores ``[in, out]``), take ``rows`` along canonical axis 0 (fused
    projections; undone row orders), add ``offset`` (Gemma stores a gain as ``gain - 1``).
    """

    expert: int | None = None
    transpose: bool = False
    rows: npt.NDArray[np.int64] | None = None
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Part:
    """One named piece of a model.

    Roles: ``embedding, position, token_type, head, router, q, k, v, o, q_norm, k_norm, gate, up, down`` (an
    ungated FFN has ``up`` and ``down`` only), ``attn_norm, ffn_norm, post_attn_norm, post_ffn_norm, final_norm,
    embedding_norm``, MLA's ``q_a, q_a_norm, q_b, kv_a, kv_a_norm, kv_b``, ``shared.gate, shared.up, shared.down``,
    cross attention's ``cross.q`` ...; :data:`filiation.anatomy.roles.AXES` lists them all with their axes.
    A bias is the role with ``.bias``. ``axes`` names the canonical axes.

    ``blocked`` names the canonical axis along which the stored values share quantisation scales in blocks: the
    order of the units along that axis is kept only inside a block, so it is not a label there.
    """

    component: str
    role: str
    layer: int | None
    expert: int | None
    tensor: str
    shape: tuple[int, ...]
    axes: tuple[Axis, ...]
    view: View = View()
    blocked: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes and kinds of one component.

    ``norm`` is ``rms`` or ``layer``; ``norm_position`` ``pre``, ``post`` (norm after the residual addition, as
    BERT), ``sandwich`` (before and after each branch, as Gemma 2) or ``output`` (on a branch's output, before the
    addition, as OLMo 2); ``gated`` says whether the FFN has a gate; ``up_is_odd`` whether the gated product is
    odd in the up branch (false for gpt-oss); ``rope`` is ``neox`` (half split), ``interleaved`` or None.
    ``positions`` is ``rope, learned, sinusoidal, relative, alibi`` or None. Where a layer has no ``ffn_norm`` of
    its own and the norm stands before the branches, the FFN reads ``attn_norm`` (parallel branches).

    ``d_ff`` is the hidden width of the dense FFN (of an expert where every layer is a mixture), ``d_ff_expert`` and
    ``d_ff_shared`` those of routed and shared experts. Sizes are those of most layers; a part's ``shape`` is exact.
    """

    d_model: int
    n_layers: int
    d_ff: int | None = None
    n_heads: int | None = None
    n_kv_heads: int | None = None
    d_head: int | None = None
    vocab: int | None = None
    n_experts: int | None = None
    norm: str = "rms"
    norm_position: str = "pre"
    gated: bool = True
    up_is_odd: bool = True
    activation: str | None = None
    rope: str | None = "neox"
    rope_theta: float | None = None
    alibi: bool = False
    tied_embeddings: bool = False
    positions: str | None = "rope"
    d_ff_expert: int | None = None
    d_ff_shared: int | None = None
    mla: bool = False


@dataclass(frozen=True, slots=True)
class Inference:
    """Something that was worked out rather than read: what, and from what."""

    what: str
    basis: str


@dataclass(frozen=True)
class Anatomy:
    """A checkpoint with every tensor named.

    Attributes:
        checkpoint: where the weights are.
        family: the table that named the parts, or None where they were inferred.
        geometry: per component (``language``, ``vision``, ``audio``, ``projector`` ...).
        parts: every named part; ``unnamed`` the tensors that no rule explained.
        rulings: per component, every :class:`Symmetry` with its ruling.
        inferences: what was inferred, in order.
        rename_map: segment renames that turn this checkpoint's names into a known family's (suspect -> family),
            e.g. ``{"ln1": "input_layernorm"}``; a value names the family's own spelling.
        spare: components that a loader which follows the config would not read: further towers of one kind, and
            layers that only predict further tokens.
        contested: components of one kind among which nothing says which one a loader would read.
        continues: component -> the one whose residual channels it has (T5's encoder has its decoder's).
        beyond: component -> the tensors of layers beyond the number that its config says; they are no parts.
        unread: component -> tensors inside its layers that loaders of the stated family drop; they are no parts.
        disputed: component -> tensors that claim to be what another claims to be; they are no parts.
    """

    checkpoint: Checkpoint
    family: str | None
    geometry: Mapping[str, Geometry]
    parts: tuple[Part, ...]
    unnamed: tuple[str, ...]
    rulings: Mapping[str, tuple[Ruling, ...]]
    inferences: tuple[Inference, ...] = ()
    rename_map: Mapping[str, str] = field(default_factory=dict[str, str])
    spare: tuple[str, ...] = ()
    contested: tuple[str, ...] = ()
    continues: Mapping[str, str] = field(default_factory=dict[str, str])
    beyond: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    unread: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    disputed: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @cached_property
    def _lookup(self) -> Mapping[tuple[str, str, int | None, int | None], Part]:
        return {(p.component, p.role, p.layer, p.expert): p for p in self.parts}

    @property
    def components(self) -> tuple[str, ...]:
        """Component names, the language tower first."""
        return tuple(self.geometry)

    def renamed(self, component: str, name: str) -> Anatomy:
        """Return the same anatomy with a component called ``name``, so that it can be paired with another's."""
        if component == name:
            return self
        parts = tuple(replace(p, component=name) if p.component == component else p for p in self.parts)
        geometry = {name if c == component else c: sizes for c, sizes in self.geometry.items()}
        rulings = {name if c == component else c: found for c, found in self.rulings.items()}
        spare = tuple(name if c == component else c for c in self.spare)
        contested = tuple(name if c == component else c for c in self.contested)
        continues = {name if c == component else c: o for c, o in self.continues.items()}
        aside = {
            kind: {name if c == component else c: tensors for c, tensors in of.items()}
            for kind, of in self.aside.items()
        }
        return replace(
            self,
            parts=parts,
            geometry=geometry,
            rulings=rulings,
            spare=spare,
            contested=contested,
            continues=continues,
            **aside,
        )

    @property
    def aside(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """What is stored inside a component's layers and is no part: why (the attribute) -> component -> tensors."""
        return {"beyond": self.beyond, "unread": self.unread, "disputed": self.disputed}

    def part(
        self, role: str, layer: int | None = None, expert: int | None = None, component: str = "language"
    ) -> Part | None:
        """Return the part, or None where this model has none of that role there."""
        return self._lookup.get((component, role, layer, expert))

    def holds(self, symmetry: Symmetry, component: str = "language") -> Ruling:
        """Return the ruling on ``symmetry`` for ``component``."""
        for ruling in self.rulings.get(component, ()):
            if ruling.symmetry is symmetry:
                return ruling
        return Ruling(symmetry, False, f"the component '{component}' has no such units")

    def read(self, part: Part, start: int | None = None, stop: int | None = None, axis: int = 0) -> Floats:
        """Return the canonical float32 matrix of ``part``, or its slice ``start:stop`` along ``axis``.

        Shape ``[out, in]`` for matrices, ``[n]`` for gains and biases. Only as many bytes are read as the stored
        layout allows: a slice along the stored leading axis is one range read.

        Raises:
            NonFiniteWeightsError: what was read holds NaN or infinity.
        """
        from filiation.anatomy.views import read_view

        return read_view(self.checkpoint, part, start, stop, axis)
