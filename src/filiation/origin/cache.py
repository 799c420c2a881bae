"""A bounded memory of what was read, so that two tests that look at the same rows read and prepare them once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar, cast

from filiation.origin.units import Doubles, Floats, Units

T = TypeVar("T")
Views = list[tuple[Units, Units]]

#: Most bytes of rows, of units with what is worked out about them, and of figures of whole layers that are kept.
ROWS, VIEWS, FIGURES = 48 * 2**20, 24 * 2**20, 4 * 2**20


class Recent(Generic[T]):
    """Keeps the most recently used values, up to a number of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._kept: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._most = most_bytes
        self._held = 0

    @property
    def largest(self) -> int:
        """Most bytes of one value that is kept."""
        return self._most // 4

    def find(self, key: Hashable) -> T | None:
        """Return the value kept under ``key``, which counts as used now; None where there is none."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def keep(self, key: Hashable, value: T, size: int) -> None:
        """Keep a value of ``size`` bytes; what was used longest ago makes room. Large ones are not kept."""
        if size > self.largest:
            return
        self._kept[key] = (value, size)
        self._held += size
        while self._held > self._most:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._held -= dropped


class ReadCache:
    """Keeps what one model's rows are, and what was worked out from them; callers must not write to any of it."""

    def __init__(self, most_bytes: int = ROWS) -> None:
        self._rows = Recent[Floats](most_bytes)
        self._views = Recent[Views](VIEWS)
        self._figures = Recent[Doubles](FIGURES)
        self._whole: dict[Hashable, object] = {}

    def get(self, key: Hashable, read: Callable[[], Floats]) -> Floats:
        """Return the array kept under ``key``, reading it when there is none."""
        if (kept := self._rows.find(key)) is not None:
            return kept
        values = read()
        if values.nbytes <= self._rows.largest:
            # A view would keep all of what it is a view of.
            values = values if values.base is None else values.copy()
            self._rows.keep(key, values, values.nbytes)
        return values

    def views(self, key: Hashable, build: Callable[[], Views]) -> Views:
        """Return the pairs of units kept under ``key``; what is worked out about them is kept with them."""
        if (kept := self._views.find(key)) is not None:
            return kept
        found = build()
        self._views.keep(
            key, found, 2 * sum(_size((*s.signed, s.content, *c.signed, c.content)) for s, c in found)
        )
        return found

    def known(self, key: Hashable, measure: Callable[[], Doubles]) -> Doubles:
        """Return the figures kept under ``key``, measuring them when there are none."""
        if (kept := self._figures.find(key)) is not None:
            return kept
        found = measure()
        self._figures.keep(key, found, found.nbytes)
        return found

    def once(self, key: Hashable, measure: Callable[[], T]) -> T:
        """Return what was worked out about the whole model under ``key``, which is never let go."""
        if key not in self._whole:
            self._whole[key] = measure()
        return cast("T", self._whole[key])


def _size(arrays: Sequence[Floats]) -> int:
    return sum(a.nbytes for a in arrays)
