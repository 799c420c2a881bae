"""Holding what is read to the byte budget: a read that would pass it is not made, and what rests on it is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TypeVar

from filiation.anatomy.model import Anatomy
from filiation.checkpoint.model import Checkpoint, Floats, Index, Span, StoredTensor, TensorInfo, spans_of
from filiation.errors import BudgetError

Result = TypeVar("Result")
#: A range of a file: its source, its name, first byte, byte behind the last.
_Range = tuple[int, str, int, int]


@dataclass(eq=False)
class Ledger:
    """What may be read of each model, in bytes (None: all of it), and whether anything was refused."""

    budget: int | None
    spent: bool = False
    _held: dict[int, Anatomy] = field(default_factory=dict[int, Anatomy])
    _announced: set[_Range] = field(default_factory=set[_Range])

    def hold(self, model: Anatomy) -> Anatomy:
        """Return the model with reads that raise :class:`BudgetError` instead of passing the budget.

        One whose files are read once and kept costs nothing more, and is returned as it is.
        """
        if self.budget is None or model.checkpoint.kept:
            return model
        if id(model) not in self._held:
            opened = model.checkpoint
            stored = {name: _Held(tensor, opened, self) for name, tensor in opened.stored.items()}
            self._held[id(model)] = replace(model, checkpoint=replace(opened, stored=stored))
        return self._held[id(model)]

    def attempt(self, read: Callable[[], Result], otherwise: Result) -> Result:
        """Return what ``read`` returns, ``otherwise`` where the budget does not allow it."""
        try:
            return read()
        except BudgetError:
            self.spent = True
            return otherwise

    def require(self, opened: Checkpoint, cost: int, tensor: str) -> None:
        """Raise :class:`BudgetError` where ``cost`` more bytes of a model would pass the budget."""
        if self.budget is None or opened.bytes_read + cost <= self.budget:
            return
        self.spent = True
        raise BudgetError(
            f"Reading on would take more than the budget of {self.budget} bytes.",
            tensor=tensor,
            reason=f"{opened.bytes_read} bytes of {opened.locator} were read, {cost} more are needed.",
            next_step="Allow more with --budget BYTES.",
        )

    def to_pay(self, spans: Iterable[Span]) -> int:
        """Return the bytes of these ranges that were not brought by an announcement."""
        return sum(s.stop - s.start for s in spans if _range(s) not in self._announced)

    def paid(self, spans: Iterable[Span]) -> None:
        """Note ranges that were brought before they are read, so that they are not reckoned twice."""
        self._announced.update(map(_range, spans))


def announce(opened: Checkpoint, wanted: Sequence[tuple[str, Index]]) -> None:
    """Tell a checkpoint what will be read; a remote one brings it now.

    Raises:
        BudgetError: it is held to a budget that does not allow all of it.
    """
    held = [(tensor, index) for name, index in wanted if isinstance(tensor := opened.stored[name], _Held)]
    spans = [span for tensor, index in held for span in tensor.spans(index)]
    ledger, before = (held[0][0].ledger if held else None), opened.bytes_read
    if ledger is not None and not opened.is_local:
        ledger.require(opened, ledger.to_pay(spans), wanted[0][0])
    opened.prefetch(wanted)
    if ledger is not None and opened.bytes_read > before:
        ledger.paid(spans)


@dataclass(frozen=True, eq=False)
class _Held:
    """A stored tensor that is read only where the budget allows it."""

    tensor: StoredTensor
    opened: Checkpoint
    ledger: Ledger

    @property
    def info(self) -> TensorInfo:
        return self.tensor.info

    def read(self, index: Index) -> Floats:
        spans = spans_of(self.tensor, index)
        cost = self.ledger.to_pay(spans) if spans else _estimate(self.info, index)
        self.ledger.require(self.opened, cost, self.info.name)
        return self.tensor.read(index)

    def spans(self, index: Index = ()) -> Sequence[Span]:
        return spans_of(self.tensor, index)


def _range(span: Span) -> _Range:
    return id(span.source), span.file, span.start, span.stop


def _estimate(info: TensorInfo, index: Index) -> int:
    """Return the bytes of a slice of a tensor that cannot say where its bytes are."""
    share = 1.0
    for size, at in zip(info.shape, index, strict=False):
        taken = len(range(*at.indices(size))) if isinstance(at, slice) else 1
        share *= taken / max(1, size)
    return ceil(info.nbytes * share)
