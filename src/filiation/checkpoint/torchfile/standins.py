"""The closed list of names that a weights pickle may use, and the inert values they stand for here.

A pickle names functions and asks for them to be called. None of those functions is ever looked up: each name on the
list below has a stand-in that only writes down what was asked for. A name that is not on the list stops the reading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, cast


class PickleError(Exception):
    """The pickle contradicts itself, or asks for something in a form that torch does not write."""


class UnsafePickleError(Exception):
    """The pickle names something that is not on the list; its first argument is that name."""


class UnsupportedPickleError(Exception):
    """The pickle holds a kind of tensor that cannot be read; its first argument says which."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A storage class or a dtype: the encoding's name, or None for an untyped storage of bytes."""

    encoding: str | None


@dataclass(frozen=True, slots=True)
class Storage:
    """One block of values; ``first`` is where a legacy file's view into it begins."""

    kind: Kind
    key: str
    count: int
    first: int = 0


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as the pickle describes it: sizes and strides over a storage, in values."""

    storage: Storage
    encoding: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Opaque:
    """Something that is not a tensor (a device, a random state, a numpy scalar); nothing is known of it."""


OPAQUE = Opaque()


@dataclass(frozen=True, slots=True)
class Name:
    """A name the pickle may use; ``call`` gives what a call of it stands for, or None where it is not callable."""

    path: str
    value: Any = OPAQUE
    call: Callable[[tuple[Any, ...]], Any] | None = None


_MAX_DIMENSIONS = 64


def _counts(value: Any, what: str) -> tuple[int, ...]:
    if not isinstance(value, tuple) or len(cast(tuple[Any, ...], value)) > _MAX_DIMENSIONS:
        raise PickleError(f"a tensor's {what} is not a short tuple")
    if any(type(n) is not int or n < 0 for n in cast(tuple[Any, ...], value)):
        raise PickleError(f"a tensor's {what} is not a tuple of whole numbers")
    return cast(tuple[int, ...], value)


def _rebuild(args: tuple[Any, ...]) -> Tensor:
    """``_rebuild_tensor(storage, offset, size, stride)``, and v2 with more that does not matter here."""
    if len(args) < 4 or not isinstance(args[0], Storage):
        raise PickleError("a tensor is rebuilt from something that is not a storage")
    encoding = args[0].kind.encoding
    if encoding is None:
        raise PickleError("a tensor over an untyped storage has no dtype")
    return _tensor(args, encoding)


def _rebuild_v3(args: tuple[Any, ...]) -> Tensor:
    """``_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata)``."""
    if len(args) < 7 or not isinstance(args[0], Storage):
        raise PickleError("a tensor is rebuilt from something that is not a storage")
    dtype = args[6].value if isinstance(args[6], Name) else None
    if not isinstance(dtype, Kind) or dtype.encoding is None:
        raise PickleError("a tensor's dtype is not a dtype")
    return _tensor(args, dtype.encoding)


def _tensor(args: tuple[Any, ...], encoding: str) -> Tensor:
    (offset,) = _counts((args[1],), "offset")
    shape, strides = _counts(args[2], "shape"), _counts(args[3], "strides")
    if len(shape) != len(strides):
        raise PickleError("a tensor has not as many strides as dimensions")
    return Tensor(args[0], encoding, offset, shape, strides)


def _first(args: tuple[Any, ...]) -> Any:
    """``_rebuild_parameter(data, requires_grad, hooks)``: the data."""
    if not args:
        raise PickleError("a parameter is rebuilt from nothing")
    return args[0]


def _from_type(args: tuple[Any, ...]) -> Any:
    """``_rebuild_from_type_v2(function, type, args, state)``: what the function gives; the type is a wrapper."""
    function, inner = (args[0], args[2]) if len(args) > 2 else (None, None)
    if not isinstance(function, Name) or function.call in (None, _from_type) or not isinstance(inner, tuple):
        raise PickleError("a tensor is rebuilt by something that is not a function")
    assert function.call is not None
    return function.call(cast(tuple[Any, ...], inner))


def _dictionary(args: tuple[Any, ...]) -> dict[Any, Any]:
    """``OrderedDict()`` or ``OrderedDict([(key, value), ...])``."""
    result: dict[Any, Any] = {}
    for pair in cast(list[Any], args[0]) if args and isinstance(args[0], list) else []:
        if not isinstance(pair, list | tuple) or len(cast(tuple[Any, ...], pair)) != 2:
            raise PickleError("a dictionary is made of something that is not pairs")
        key, value = cast(tuple[Any, Any], pair)
        result[plain_key(key)] = value
    return result


def plain_key(key: Any) -> Any:
    """Return a dictionary key if it is plain; anything nested could take for ever to hash."""
    if key is None or isinstance(key, str | int | float | bytes):
        return key
    raise PickleError("a dictionary key is neither text nor a number")


def _size(args: tuple[Any, ...]) -> tuple[int, ...]:
    """``torch.Size([...])``."""
    if len(args) != 1 or not isinstance(args[0], list | tuple):
        raise PickleError("a torch.Size is not made of a list")
    if len(cast(list[Any], args[0])) > _MAX_DIMENSIONS:
        raise PickleError("a torch.Size is too long")
    return _counts(tuple(cast(list[Any], args[0])), "size")


def _opaque(_: tuple[Any, ...]) -> Opaque:
    return OPAQUE


def _unsupported(what: str) -> Callable[[tuple[Any, ...]], Any]:
    def call(_: tuple[Any, ...]) -> Any:
        raise UnsupportedPickleError(what)

    return call


_DTYPES = {
    "float64": "F64", "double": "F64", "float32": "F32", "float": "F32", "float16": "F16", "half": "F16",
    "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e8m0fnu": "F8_E8M0", "int64": "I64", "long": "I64", "int32": "I32",
    "int": "I32", "int16": "I16", "short": "I16", "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32",
    "uint64": "U64", "bool": "BOOL", "complex64": "C64", "complex128": "C128",
}  # fmt: skip
_STORAGES = {
    "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Long": "I64", "Int": "I32",
    "Short": "I16", "Char": "I8", "Byte": "U8", "Bool": "BOOL", "ComplexFloat": "C64", "ComplexDouble": "C128",
}  # fmt: skip
_CALLS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_tensor_v3": _rebuild_v3,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch._utils._rebuild_qtensor": _unsupported("a tensor quantised by torch.quantization"),
    "torch._utils._rebuild_sparse_tensor": _unsupported("a sparse tensor"),
    "torch._utils._rebuild_nested_tensor": _unsupported("a nested tensor"),
    "torch._utils._rebuild_meta_tensor_no_storage": _unsupported("a tensor without data (meta device)"),
    "collections.OrderedDict": _dictionary,
    "torch.Size": _size,
}
# Met in training checkpoints beside the weights. Each stands for nothing and does nothing.
_INERT = (
    "torch.device", "torch.serialization._get_layout", "torch.per_tensor_affine", "torch.per_channel_affine",
    "torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer",
    "numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct", "_codecs.encode",
    "builtins.set", "builtins.frozenset", "builtins.complex", "builtins.bytearray",
    "__builtin__.set", "__builtin__.frozenset", "__builtin__.complex", "__builtin__.bytearray",
)  # fmt: skip


def _all() -> dict[str, Name]:
    names = [Name(path, call=call) for path, call in _CALLS.items()]
    names += [Name(path, call=_opaque) for path in _INERT]
    names += [Name(f"torch.{dtype}", Kind(encoding)) for dtype, encoding in _DTYPES.items()]
    names += [Name(f"torch.{s}Storage", Kind(encoding)) for s, encoding in _STORAGES.items()]
    names += [Name(f"torch.{m}UntypedStorage", Kind(None)) for m in ("", "storage.")]
    return {name.path: name for name in names}


NAMES: Mapping[str, Name] = MappingProxyType(_all())
"""Every name a weights pickle may use, by its dotted path."""


def look_up(module: str, name: str) -> Name:
    """Return the stand-in for a global.

    Raises:
        UnsafePickleError: it is not on the list.
    """
    found = NAMES.get(f"{module}.{name}")
    if found is None:
        raise UnsafePickleError(f"{module}.{name}")
    return found


def storage_of(persistent: Any) -> Storage:
    """Return the storage that a persistent id speaks of: ``("storage", class, key, location, count[, view])``.

    Raises:
        PickleError: it is anything else.
    """
    if not isinstance(persistent, tuple) or len(cast(tuple[Any, ...], persistent)) not in (5, 6):
        raise PickleError("a persistent id is not torch's")
    tag, kind, key, _, count, *view = cast(tuple[Any, ...], persistent)
    value = kind.value if isinstance(kind, Name) else None
    if tag != "storage" or not isinstance(value, Kind) or not isinstance(key, str):
        raise PickleError("a persistent id is not a storage's")
    (size,) = _counts((count,), "storage size")
    storage = Storage(value, key, size)
    if not view or view[0] is None:
        return storage
    if not isinstance(view[0], tuple) or len(cast(tuple[Any, ...], view[0])) != 3:
        raise PickleError("a storage's view is not torch's")
    (first,) = _counts((cast(tuple[Any, ...], view[0])[1],), "view offset")
    return replace(storage, first=first)
