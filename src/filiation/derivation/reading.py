"""Reading one layer's units of both models, gains folded, the candidate's carried into the suspect's channels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from filiation.derivation.residual import IN_PLACE, Residual
from filiation.origin.gather import Rows, Side, Window
from filiation.origin.level import level, unseen_through
from filiation.origin.pairing import Pairing, Plan, TokenRows
from filiation.origin.units import Doubles, Floats, unit_rows

#: Elements of a matrix above which alignment first looks at a window and reads on only if something moved.
SMALL = 1 << 21
#: Elements of a matrix up to which a sampled reading of local files looks for units that are not in place.
SEARCHED = 1 << 24


@dataclass(frozen=True, eq=False)
class Case:
    """One component of two models with common origin, and how much may be read.

    ``whole``: every tensor; otherwise windows of a few layers. ``looked_up`` is how many token rows were sampled to
    find their counterparts by content; 0 where ``tokens`` speak of all rows.
    """

    suspect: Side
    candidate: Side
    pairing: Pairing
    plan: Plan
    tokens: TokenRows | None
    whole: bool
    number: int = 0
    residual: Residual = IN_PLACE
    looked_up: int = 0

    @property
    def component(self) -> str:
        """The component's name."""
        return self.suspect.component

    @property
    def frugal(self) -> bool:
        """Whether only rows that the exact tests read are to be read: every read is a request."""
        return self.plan.frugal and not self.whole

    @property
    def rough(self) -> bool:
        """Whether parts are carried by a rotation that was fitted on token rows alone: blurred by its own error."""
        return self.residual.matrix is not None and not self.whole

    def window(self, layer: int | None) -> Window | None:
        """Return rows of a suspect layer that the exact tests read of its feed-forward units; None for no such rows."""
        rows = self.pairing.rows_of(-1 if layer is None else layer)
        return None if rows is None else rows[0]

    def rng(self, purpose: str) -> np.random.Generator:
        """Return the generator for one purpose."""
        return self.plan.rng(f"derivation/{self.component}/{self.number}/{purpose}")

    def with_tokens(self, tokens: TokenRows | None, looked_up: int = 0) -> Case:
        """Return the case with other token rows."""
        return replace(self, tokens=tokens, looked_up=looked_up)

    def with_residual(self, residual: Residual) -> Case:
        """Return the case with another map of residual channels."""
        return replace(self, residual=residual)


def may_be_searched(case: Case, elements: int) -> bool:
    """Return whether a sampled reading may read a block whole, to look for its units elsewhere."""
    return case.plan.budget is None and elements <= SEARCHED


def norm_before(side: Side, role: str) -> str | None:
    """Return the role of the norm whose gain a matrix reads through, None where there is none."""
    base = role.removesuffix(".bias")
    if role.endswith(".bias") or side.geometry.norm_position in ("post", "output"):
        return None
    if base in ("head", "tied_head"):
        return "final_norm"
    if base in ("q", "k", "v", "q_a", "kv_a"):
        return "attn_norm"
    if base in ("gate", "up", "router") or base.startswith("shared."):
        has_own = any(p.role == "ffn_norm" and p.component == side.component for p in side.anatomy.parts)
        return "ffn_norm" if has_own else "attn_norm"
    return None


def gain_before(side: Side, role: str, layer: int | None) -> Floats | None:
    """Return the gain a matrix reads through, None where there is none."""
    norm = norm_before(side, role)
    return None if norm is None else side.gain(norm, layer)


def reader(
    case: Case,
    side: Side,
    role: str,
    layer: int,
    expert: int | None = None,
    window: Window | Rows | None = None,
) -> Floats | None:
    """Return a reader's rows with the gain folded in, in the suspect's channels: ``(units, d_s)``."""
    rows = side.matrix(role, layer, expert, window)
    if rows is None:
        return None
    gain = gain_before(side, role, layer)
    rows = rows if gain is None else rows * gain
    if side.levelled:
        rows = level(rows.copy() if gain is None else rows, unseen_through(side.gain_behind(role, layer)))
    return rows if side.is_suspect else case.residual.carry(rows)


def writer(case: Case, side: Side, role: str, layer: int, expert: int | None = None) -> Floats | None:
    """Return a writer's columns as rows ``(units, d_s)``, in the suspect's channels."""
    matrix = side.matrix(role, layer, expert)
    if matrix is None:
        return None
    rows = level(np.array(matrix.T, order="C")) if side.levelled else np.ascontiguousarray(matrix.T)
    return rows if side.is_suspect else case.residual.carry(rows)


def norms(matrix: Floats) -> Doubles:
    """Return the length of each row."""
    return np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))


def row_cosines(a: Floats, b: Floats) -> Doubles:
    """Return the cosine of equally numbered rows, 0 where a row is zero."""
    return np.einsum("ij,ij->i", unit_rows(a), unit_rows(b), dtype=np.float64)
