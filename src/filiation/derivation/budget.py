"""Holding a derivation to the byte budget: a read that would pass it is not made, and what rests on it is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TypeVar

from filiation.anatomy.model import Anatomy
from filiation.checkpoint.model import Floats, Index, Span, StoredTensor, TensorInfo, spans_of
from filiation.derivation.identity import Sameness, same_weights
from filiation.errors import BudgetError

Result = TypeVar("Result")


@dataclass(eq=False)
class Ledger:
    """What a derivation may read of each model, in bytes (None: all of it), and whether anything was refused."""

    budget: int | None
    spent: bool = False
    _held: dict[int, Anatomy] = field(default_factory=dict[int, Anatomy])

    def hold(self, model: Anatomy) -> Anatomy:
        """Return the model with reads that raise :class:`BudgetError` instead of passing the budget."""
        if self.budget is None:
            return model
        if id(model) not in self._held:
            opened = model.checkpoint
            stored = {name: _Held(tensor, model, self) for name, tensor in opened.stored.items()}
            self._held[id(model)] = replace(model, checkpoint=replace(opened, stored=stored))
        return self._held[id(model)]

    def attempt(self, read: Callable[[], Result], otherwise: Result) -> Result:
        """Return what ``read`` returns, ``otherwise`` where the budget does not allow it."""
        try:
            return read()
        except BudgetError:
            self.spent = True
            return otherwise


@dataclass(frozen=True, eq=False)
class _Held:
    """A stored tensor that is read only where the budget allows it."""

    tensor: StoredTensor
    model: Anatomy
    ledger: Ledger

    @property
    def info(self) -> TensorInfo:
        return self.tensor.info

    def read(self, index: Index) -> Floats:
        self._spend(index)
        return self.tensor.read(index)

    def spans(self, index: Index = ()) -> Sequence[Span]:
        return spans_of(self.tensor, index)

    def _spend(self, index: Index) -> None:
        spans = spans_of(self.tensor, index)
        cost = sum(s.stop - s.start for s in spans) if spans else _estimate(self.info, index)
        read, budget = self.model.checkpoint.bytes_read, self.ledger.budget
        if budget is None or read + cost <= budget:
            return
        self.ledger.spent = True
        raise BudgetError(
            f"Reading on would take more than the budget of {budget} bytes.",
            tensor=self.info.name,
            reason=f"{read} bytes of {self.model.checkpoint.locator} were read, {cost} more are needed.",
            next_step="Allow more with --budget BYTES.",
        )


def _estimate(info: TensorInfo, index: Index) -> int:
    """Return the bytes of a slice of a tensor that cannot say where its bytes are."""
    share = 1.0
    for size, at in zip(info.shape, index, strict=False):
        taken = len(range(*at.indices(size))) if isinstance(at, slice) else 1
        share *= taken / max(1, size)
    return ceil(info.nbytes * share)


def same_within(suspect: Anatomy, candidate: Anatomy, budget: int | None) -> Sameness | None:
    """Return whether two models hold the same weights; None where the budget does not allow to say so.

    Raises:
        NonFiniteWeightsError: a part holds NaN or infinity.
    """
    ledger = Ledger(budget)
    return ledger.attempt(lambda: same_weights(ledger.hold(suspect), ledger.hold(candidate)), None)
