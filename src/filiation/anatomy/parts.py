"""From explained names to parts: fused projections split, stacks of experts opened, row orders undone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from filiation.anatomy.geometry import contradiction
from filiation.anatomy.model import Axis, Geometry, Inference, Part, View
from filiation.anatomy.roles import NORMS, axes_of
from filiation.anatomy.tables import Family, Layout, Rule
from filiation.anatomy.towers import Found

Rows = npt.NDArray[np.int64]

CODEGEN_BLOCKS = 4
"""CodeGen was trained on four accelerators and keeps their blocks in its fused projection."""


@dataclass(frozen=True)
class Splitter:
    """Makes the parts of one tower.

    Attributes:
        component: its name.
        family: its table.
        geometry: its sizes.
        notes: what could not be split or undone is added here.
        narrow: the embeddings are narrower than the residual stream (a projection widens them).
    """

    component: str
    family: Family
    geometry: Geometry
    notes: list[Inference]
    narrow: bool = False

    def parts(self, found: Found) -> Iterator[Part]:
        """Yield the parts that a stored tensor holds.

        Raises:
            CorruptCheckpointError: its shape contradicts the sizes of the tower.
        """
        rule, shape = found.hit.rule, found.info.shape
        inner = shape[1:] if rule.stacked else shape
        if rule.transpose and len(inner) == 2:
            inner = inner[::-1]
        selections = self._select(found, inner[0] if inner else 1)
        numbers: Sequence[int | None] = range(shape[0]) if rule.stacked else (found.hit.expert,)
        for role, rows in selections:
            named = self._role(role, found)
            part_shape = inner if rows is None else (len(rows), *inner[1:])
            axes = self._axes(role, found, part_shape)
            blocked = blocked_axes(found.info.dtype, rule, len(part_shape))
            for number in numbers:
                view = View(
                    expert=number if rule.stacked else None,
                    transpose=rule.transpose and len(inner) == 2,
                    rows=rows,
                    offset=self.family.kinds.norm_offset if self._shifted(role, found) else 0.0,
                )
                yield Part(
                    self.component,
                    named,
                    found.layer,
                    number,
                    found.info.name,
                    part_shape,
                    axes,
                    view,
                    blocked,
                )

    def _role(self, role: str, found: Found) -> str:
        if found.hit.number is not None:
            role = f"{role}.{found.hit.number}"
        return f"{role}.bias" if found.hit.bias else role

    def _shifted(self, role: str, found: Found) -> bool:
        return (role in NORMS or role in ("q_norm", "k_norm")) and not found.hit.bias

    def _select(self, found: Found, total: int) -> list[tuple[str, Rows | None]]:
        """Return (role, canonical rows) of each part; None where the tensor is the part."""
        roles, geometry = found.hit.rule.roles, self.geometry
        if len(roles) == 1:
            return [(roles[0], self._undo_pairs(roles[0], None, total))]
        if set(roles) == {"q", "k", "v"}:
            split = self._split_attention(found, total)
        else:
            self._check_even(found, total, len(roles))
            split = _even(roles, total, found.hit.rule.layout)
        if split is None:
            sizes = f"{geometry.n_heads} heads of {geometry.d_head}" if geometry.n_heads else "no head count"
            self.notes.append(
                Inference(f"{found.info.name} left fused", f"{sizes}: its rows cannot be told apart")
            )
            return [("".join(roles), None)]
        return [(role, self._undo_pairs(role, rows, len(rows))) for role, rows in split]

    def _check_even(self, found: Found, total: int, count: int) -> None:
        if total % count:
            raise contradiction(found, f"{count} projections of one size", f"{total} rows")

    def _split_attention(self, found: Found, total: int) -> tuple[tuple[str, Rows], ...] | None:
        g, rule = self.geometry, found.hit.rule
        if g.n_heads and g.n_kv_heads and g.d_head:
            if total != (g.n_heads + 2 * g.n_kv_heads) * g.d_head:
                return None
            return split_rows(rule.roles, rule.layout, g.n_heads, g.n_kv_heads, g.d_head)
        if rule.layout is Layout.CONTIGUOUS and total == 3 * g.d_model:
            return _even(rule.roles, total, Layout.CONTIGUOUS)
        return None

    def _undo_pairs(self, role: str, rows: Rows | None, total: int) -> Rows | None:
        if not self.family.pair_rows or role not in ("q", "k"):
            return rows
        d_head = self.geometry.d_head
        if not d_head or total % d_head or d_head % 2:
            self.notes.append(
                Inference(f"{role} rows in stored order", "no head size: rotary pairs not undone")
            )
            return rows
        order = pair_order(total, d_head)
        return order if rows is None else rows[order]

    def _axes(self, role: str, found: Found, shape: tuple[int, ...]) -> tuple[Axis, ...]:
        name = f"{role}.bias" if found.hit.bias else role
        usual = axes_of(name, len(shape))
        if (
            shape[:1] == (1,)
            and len(shape) > 1
            and usual[0] is not Axis.OTHER
            and role in ("class_token", "position")
        ):
            known = [
                axis for axis in usual if axis is not Axis.OTHER
            ]  # broadcast over leading axes of length 1
            usual = (*[Axis.OTHER] * (len(shape) - len(known)), *known)
        axes = [self._exact(role, axis, size) for axis, size in zip(usual, shape, strict=True)]
        for axis, size in zip(axes, shape, strict=True):
            if axis is Axis.RESIDUAL and size != self.geometry.d_model:
                raise contradiction(found, f"{self.geometry.d_model} residual channels", f"{size}")
        return tuple(axes)

    def _exact(self, role: str, axis: Axis, size: int) -> Axis:
        """Turn the axis a role usually has into the one it has here."""
        g = self.geometry
        if axis is Axis.RESIDUAL and size != g.d_model and (self.narrow or role.startswith(_LOOSE)):
            return Axis.OTHER
        if axis is Axis.HEAD_DIM and g.d_head and size != g.d_head:
            side = (g.n_heads, Axis.QUERY) if role == "q_norm" else (g.n_kv_heads, Axis.KV)
            return side[1] if size == (side[0] or 0) * g.d_head else Axis.OTHER
        # MLA: queries and keys have another head size than values, and there are no kv heads.
        return Axis.OTHER if g.mla and axis in (Axis.QUERY, Axis.KV) else axis


_LOOSE = ("cross.", "token_type", "head_dense", "pooler", "patch", "classifier", "head_norm")
"""Parts that may read or write something narrower or wider than this tower's residual stream."""


@lru_cache(maxsize=64)
def pair_order(total: int, d_head: int) -> Rows:
    """Return where each half-split row lies among rows stored in rotary pair order.

    Inside a head, Meta's files and llama.cpp's store channel ``i`` of the first and of the second half side by
    side; Hugging Face's store the halves one after the other (rotary positions: arXiv 2104.09864).
    """
    heads = np.arange(total, dtype=np.int64).reshape(-1, d_head // 2, 2)
    order = heads.transpose(0, 2, 1).reshape(total)
    order.flags.writeable = False
    return order


@lru_cache(maxsize=64)
def split_rows(
    roles: tuple[str, ...], layout: Layout, n_heads: int, n_kv_heads: int, d_head: int
) -> tuple[tuple[str, Rows], ...]:
    """Return which stored rows are queries, keys and values, in head-major order."""
    total = (n_heads + 2 * n_kv_heads) * d_head
    rows = np.arange(total, dtype=np.int64)
    if layout is Layout.CONTIGUOUS:
        sizes = [n_heads * d_head if role == "q" else n_kv_heads * d_head for role in roles]
        pieces = np.split(rows, np.cumsum(sizes)[:-1])
    elif layout is Layout.BLOCKED:
        blocks = rows.reshape(CODEGEN_BLOCKS, len(roles), -1)
        pieces = [blocks[:, i].reshape(-1) for i in range(len(roles))]
    else:
        groups = rows.reshape(n_kv_heads, -1, d_head)
        share = n_heads // n_kv_heads
        pieces = [groups[:, :share], groups[:, share : share + 1], groups[:, share + 1 :]]
        pieces = [np.ascontiguousarray(piece).reshape(-1) for piece in pieces]
    for piece in pieces:
        piece.flags.writeable = False
    return tuple(zip(roles, pieces, strict=True))


@lru_cache(maxsize=64)
def _even(roles: tuple[str, ...], total: int, layout: Layout) -> tuple[tuple[str, Rows], ...]:
    rows = np.arange(total, dtype=np.int64)
    count = len(roles)
    pieces = [rows[i::count] for i in range(count)] if layout is Layout.INTERLEAVED else np.split(rows, count)
    for piece in pieces:
        piece.flags.writeable = False
    return tuple(zip(roles, pieces, strict=True))


_UNBLOCKED = frozenset({"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"})
"""Kinds with no scales; the FP8 and int8 kinds with one scale a tensor or a row are told by their names."""

_FLAT = ("NF4", "FP4")
"""bitsandbytes' 4-bit kinds run over the tensor as it is stored, row after row."""


def blocked_axes(dtype: str, rule: Rule, ndim: int) -> tuple[int, ...]:
    """Return the canonical axes along which stored values share scales in blocks.

    GGUF's Q and IQ types, GPTQ, AWQ, MXFP4 and their like group the inputs of a row; FP8 with block scales groups
    both axes. What is not known to be unblocked is taken to be blocked along the inputs.
    """
    plain = (
        dtype in _UNBLOCKED or dtype.startswith("F8_E") or dtype in ("FP8_CHANNEL", "FP8_TENSOR", "BNB_INT8")
    )
    if plain or ndim < 2:
        return ()
    if dtype == "FP8_BLOCK":
        return (0, 1)
    return (0,) if rule.transpose and dtype in _FLAT else (1,)
