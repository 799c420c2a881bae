"""A bounded reader of Python's marshal format, for compiled leftovers (.pyc) of a model repository.

``marshal.loads`` must not be given bytes from a stranger: it can crash the interpreter, and what it makes are code
objects. Here a code object becomes a plain record of names, constants and paths; nothing can be run. Every length is
checked against the bytes that are left, nesting and the number of objects are bounded, and a shared object is
referred to, never copied.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_DEEPEST = 120
_MOST_OBJECTS = 2_000_000
_REFERENCE = 0x80


class MarshalError(Exception):
    """The bytes are not what they claim, or more than is believed. Never leaves the room."""


@dataclass(eq=False, slots=True)
class Code:
    """What a code object holds that is of use here; filled while it is read.

    ``qualname`` is empty before Python 3.11, which does not store it.
    """

    name: str = ""
    qualname: str = ""
    filename: str = ""
    first_line: int = 0
    consts: Any = ()
    names: Any = ()
    variables: Any = ()


class Opaque:
    """Stands for a value that is of no use here (a slice, an ellipsis, StopIteration)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which fields a code object of a Python version has."""

    positional_only: bool
    fast_locals: bool  # 3.11 and later: one table of local names, a qualified name, an exception table


def layout_of(magic: int) -> tuple[Layout, str] | None:
    """Return the layout and the version of Python that a .pyc's magic number stands for; None before 3.7.

    The numbers are those of CPython's ``importlib._bootstrap_external``.
    """
    for first, version in (
        (3600, "3.14+"),
        (3550, "3.13"),
        (3500, "3.12"),
        (3450, "3.11"),
        (3430, "3.10"),
        (3420, "3.9"),
        (3410, "3.8"),
        (3390, "3.7"),
    ):
        if first <= magic < 4000:
            return Layout(magic >= 3410, magic >= 3450), version
    return None


def read(data: bytes, layout: Layout) -> Any:
    """Return the value that ``data`` begins with; code objects come as :class:`Code`.

    Raises:
        MarshalError: the bytes are damaged, or hold more than is believed.
    """
    return _Reader(data, layout).value(0)


class _Reader:
    def __init__(self, data: bytes, layout: Layout) -> None:
        self._data = data
        self._layout = layout
        self._at = 0
        self._count = 0
        self._shared: list[Any] = []
        self._readers: dict[int, Callable[[], Any]] = {
            ord("N"): lambda: None,
            ord("T"): lambda: True,
            ord("F"): lambda: False,
            ord("S"): Opaque,
            ord("."): Opaque,
            ord("i"): self._int,
            ord("I"): lambda: self._struct("<q"),
            ord("l"): self._long,
            ord("f"): lambda: self._float_text(self._byte()),
            ord("g"): lambda: self._struct("<d"),
            ord("x"): lambda: (self._float_text(self._byte()), self._float_text(self._byte())),
            ord("y"): lambda: self._struct("<dd"),
            ord("s"): lambda: self._take(self._size()),
            ord("t"): lambda: self._text(self._size()),
            ord("u"): lambda: self._text(self._size()),
            ord("a"): lambda: self._text(self._size()),
            ord("A"): lambda: self._text(self._size()),
            ord("z"): lambda: self._text(self._byte()),
            ord("Z"): lambda: self._text(self._byte()),
        }

    def value(self, depth: int) -> Any:
        """Read the next value."""
        self._count += 1
        if depth > _DEEPEST or self._count > _MOST_OBJECTS:
            raise MarshalError("it holds more than is believed")
        byte = self._byte()
        kind, shared = byte & ~_REFERENCE, bool(byte & _REFERENCE)
        if kind == ord("r"):
            number = self._size()
            if number >= len(self._shared):
                raise MarshalError("it refers to an object that is not there")
            return self._shared[number]
        slot = len(self._shared)
        if shared:
            self._shared.append(None)  # what it holds may refer to it before it is complete
        reader = self._readers.get(kind)
        found = reader() if reader is not None else self._container(kind, depth, slot if shared else None)
        if shared:
            self._shared[slot] = found
        return found

    def _container(self, kind: int, depth: int, slot: int | None) -> Any:
        if kind == ord("c"):
            code = Code()
            if slot is not None:
                self._shared[slot] = code
            self._code(code, depth)
            return code
        if kind == ord(")"):
            return self._values(self._byte(), depth)
        if kind in b"([<>":
            return self._values(self._size(), depth)
        if kind == ord("{"):
            return self._pairs(depth)
        if kind == ord(":"):
            self._values(3, depth)
            return Opaque()
        raise MarshalError(f"it holds a value of the unknown kind {kind}")

    def _values(self, count: int, depth: int) -> tuple[Any, ...]:
        if count > len(self._data) - self._at:  # each takes a byte at least
            raise MarshalError("a list is longer than the file")
        return tuple([self.value(depth + 1) for _ in range(count)])

    def _pairs(self, depth: int) -> tuple[Any, ...]:
        found: list[Any] = []
        while self._peek() != ord("0"):
            found.append((self.value(depth + 1), self.value(depth + 1)))
        self._at += 1
        return tuple(found)

    def _code(self, code: Code, depth: int) -> None:
        layout = self._layout
        for _ in range(2 + layout.positional_only + (not layout.fast_locals) + 2):
            self._int()  # counts of arguments and locals, stack size, flags
        self.value(depth + 1)  # the instructions themselves are not looked at
        code.consts = self.value(depth + 1)
        code.names = self.value(depth + 1)
        code.variables = self.value(depth + 1)
        self.value(depth + 1)  # free variables, or the kinds of the locals
        if not layout.fast_locals:
            self.value(depth + 1)
        code.filename = _as_text(self.value(depth + 1))
        code.name = _as_text(self.value(depth + 1))
        if layout.fast_locals:
            code.qualname = _as_text(self.value(depth + 1))
        code.first_line = self._int()
        self.value(depth + 1)
        if layout.fast_locals:
            self.value(depth + 1)

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if count < 0 or end > len(self._data):
            raise MarshalError("it ends before its contents do")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def _peek(self) -> int:
        if self._at >= len(self._data):
            raise MarshalError("it ends before its contents do")
        return self._data[self._at]

    def _byte(self) -> int:
        return self._take(1)[0]

    def _int(self) -> int:
        return int.from_bytes(self._take(4), "little", signed=True)

    def _size(self) -> int:
        return int.from_bytes(self._take(4), "little")

    def _long(self) -> int:
        digits = self._int()
        raw = self._take(2 * abs(digits))
        if abs(digits) > 10_000:
            return 0  # of no use here, and slow to make
        value = 0
        for at in range(len(raw) - 2, -1, -2):
            value = (value << 15) | int.from_bytes(raw[at : at + 2], "little")
        return -value if digits < 0 else value

    def _struct(self, form: str) -> Any:
        found = struct.unpack(form, self._take(struct.calcsize(form)))
        return found[0] if len(found) == 1 else found

    def _float_text(self, count: int) -> float:
        try:
            return float(self._take(count))
        except ValueError as error:
            raise MarshalError("a number is none") from error

    def _text(self, count: int) -> str:
        return self._take(count).decode("utf-8", "replace")


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else ""
