"""A bounded memory of what was read, so that two tests that look at the same rows read them once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from filiation.origin.units import Floats


class ReadCache:
    """Keeps the most recently used arrays, up to a number of bytes; callers must not write to them."""

    def __init__(self, most_bytes: int = 48 * 2**20) -> None:
        self._kept: OrderedDict[Hashable, Floats] = OrderedDict()
        self._most = most_bytes
        self._held = 0

    def get(self, key: Hashable, read: Callable[[], Floats]) -> Floats:
        """Return the array kept under ``key``, reading it when there is none."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        values = read()
        if values.nbytes <= self._most // 4:
            # A view would keep all of what it is a view of.
            values = values if values.base is None else values.copy()
            self._kept[key] = values
            self._held += values.nbytes
            while self._held > self._most:
                _, dropped = self._kept.popitem(last=False)
                self._held -= dropped.nbytes
        return values
