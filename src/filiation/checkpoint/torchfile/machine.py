"""A pickle interpreter that can only build data: no import, no call, no attribute is ever made.

Python's own unpickler is not used, not even a restricted one. The opcodes are decoded by :mod:`pickletools` (which
only reads) and act on a plain stack; every global becomes one of the inert stand-ins of
:mod:`filiation.checkpoint.torchfile.standins`, and a global that is not listed there stops the reading. How many
steps are taken, how deep marks nest and how much is remembered is bounded.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import IO, Any, cast

from filiation.checkpoint.torchfile.standins import (
    OPAQUE,
    Name,
    Opaque,
    PickleError,
    Tensor,
    UnsafePickleError,
    look_up,
    plain_key,
    storage_of,
)

MAX_STEPS = 8_000_000
"""Opcodes obeyed at most; a pickle of a hundred thousand tensors has about half as many."""

_MAX_MARKS = 1_000
_IGNORED = frozenset({"PROTO", "FRAME"})
_LITERALS = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)


def interpret(file: IO[bytes]) -> Any:
    """Return what one pickle describes; the file stands just behind it afterwards.

    Raises:
        PickleError: it is damaged or does what torch's pickles do not.
        UnsafePickleError: it names a global that is not on the list.
        UnsupportedPickleError: it holds a kind of tensor that cannot be read.
    """
    machine = _Machine()
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if step >= MAX_STEPS:
                raise PickleError(f"it has more than {MAX_STEPS} steps")
            if opcode.name == "STOP":
                return machine.pop()
            machine.obey(opcode.name, argument)
    except (
        IndexError,
        KeyError,
        TypeError,
        OverflowError,
        Warning,
    ) as error:  # a warning may be made an error
        raise PickleError(f"it is damaged ({type(error).__name__})") from error
    except ValueError as error:  # pickletools' word for what it cannot decode
        raise PickleError(f"it is damaged: {str(error)[:100]}") from error
    raise PickleError("it ends before its end mark")


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0

    def pop(self) -> Any:
        return self.stack.pop()

    def obey(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self.stack.append(argument)
            return
        if name in _IGNORED:
            return
        action = _ACTIONS.get(name)
        if action is None:
            self._refuse(name, argument)
        else:
            action(self, argument)

    def _refuse(self, name: str, argument: Any) -> None:
        if name == "INST" and isinstance(argument, str):
            look_up(*argument.split(" ", 1))
        if name.startswith("EXT"):
            raise UnsafePickleError(f"extension registry entry {argument}")
        raise PickleError(f"it uses the opcode {name}, which torch's pickles do not")

    def mark(self, _: Any) -> None:
        if len(self.marks) >= _MAX_MARKS:
            raise PickleError(f"it nests more than {_MAX_MARKS} deep")
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def drop_mark(self, _: Any) -> None:
        self.since_mark()

    def pop_item(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def put(self, key: Any) -> None:
        self.memo[key] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, key: Any) -> None:
        self.stack.append(self.memo[key])

    def short_tuple(self, length: int) -> None:
        if len(self.stack) < length:
            raise PickleError("it takes more from the stack than is there")
        items = self.stack[len(self.stack) - length :]
        del self.stack[len(self.stack) - length :]
        self.stack.append(tuple(items))

    def append(self, items: list[Any]) -> None:
        _expect(self.stack[-1], list).extend(items)

    def set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise PickleError("a dictionary gets a key without a value")
        target = self.stack[-1]
        if isinstance(target, Opaque):
            return
        entries = _expect(target, dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            entries[plain_key(key)] = value

    def dictionary(self, _: Any) -> None:
        items = self.since_mark()
        self.stack.append({})
        self.set_items(items)

    def name(self, argument: str) -> None:
        self.stack.append(look_up(*argument.split(" ", 1)))

    def stack_name(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("a global's name is not text")
        self.stack.append(look_up(module, name))

    def reduce(self, _: Any) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Name) or function.call is None or not isinstance(args, tuple):
            raise PickleError("it calls something that is not a function")
        arguments = cast(tuple[Any, ...], args)
        if arguments and isinstance(arguments[0], list):
            # One long list may be named in many calls, each of which copies it.
            self.copied += len(cast(list[Any], arguments[0]))
            if self.copied > MAX_STEPS:
                raise PickleError(f"it copies more than {MAX_STEPS} items")
        self.stack.append(function.call(arguments))

    def new_with_keywords(self, _: Any) -> None:
        self.stack.pop()
        self.reduce(None)

    def build(self, _: Any) -> None:
        """State for an object: torch gives it to ordered dictionaries and parameters, where it says nothing."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict | Tensor | Opaque):
            raise PickleError("it gives state to something that has none")

    def persistent(self, _: Any) -> None:
        self.stack.append(storage_of(self.stack.pop()))


def _expect(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise PickleError(f"it fills a {type(value).__name__} as if it were a {kind.__name__}")
    return value


def _push(value: Any) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.stack.append(value)


def _close(kind: Callable[[list[Any]], Any]) -> Callable[[_Machine, Any], None]:
    def action(machine: _Machine, _: Any) -> None:
        value = kind(machine.since_mark())  # first: it brings back the stack that the value goes on
        machine.stack.append(value)

    return action


_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.pop_item,
    "POP_MARK": _Machine.drop_mark,
    "DUP": lambda m, _: m.stack.append(m.stack[-1]),
    "NONE": _push(None),
    "NEWTRUE": _push(True),
    "NEWFALSE": _push(False),
    "EMPTY_TUPLE": _push(()),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    # Sets hold no weights; what goes into one is dropped.
    "EMPTY_SET": _push(OPAQUE),
    "ADDITEMS": _Machine.drop_mark,
    "FROZENSET": _close(lambda _: OPAQUE),
    "LIST": _close(list),
    "TUPLE": _close(tuple),
    "TUPLE1": lambda m, _: m.short_tuple(1),
    "TUPLE2": lambda m, _: m.short_tuple(2),
    "TUPLE3": lambda m, _: m.short_tuple(3),
    "DICT": _Machine.dictionary,
    "APPEND": lambda m, _: m.append([m.pop()]),
    "APPENDS": lambda m, _: m.append(m.since_mark()),
    "SETITEM": lambda m, _: m.set_items([*reversed([m.pop(), m.pop()])]),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "MEMOIZE": _Machine.memoize,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "NEWOBJ_EX": _Machine.new_with_keywords,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
}
