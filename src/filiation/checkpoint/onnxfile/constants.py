"""The arrays that an ONNX file stores: in the file, in a file beside it, or as numbers within the graph."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from filiation.checkpoint.encodings import ENCODINGS, Encoding, RawBytes
from filiation.checkpoint.formats.base import record_of
from filiation.checkpoint.model import Floats, Index, RawTensor, Span, TensorInfo
from filiation.checkpoint.ranges import RangeTensor, Run
from filiation.checkpoint.sources.base import Source
from filiation.errors import CorruptCheckpointError, UnsafeCheckpointError, UnsupportedFormatError

_MAX_DIMENSIONS = 16
_EXTERNAL = 1  # TensorProto.DataLocation


def _halves(kind: Any) -> Callable[[RawBytes, Floats], None]:
    table = np.arange(16, dtype=np.uint8).view(kind).astype(np.float32)

    def decode(raw: RawBytes, out: Floats) -> None:
        out[0::2] = table[raw & 15]
        out[1::2] = table[raw >> 4]

    return decode


# TensorProto.DataType. Two 4-bit integers lie in a byte, the low half first.
_KINDS: Mapping[int, Encoding] = {
    **{number: ENCODINGS[name] for number, name in ((1, "F32"), (10, "F16"), (11, "F64"), (16, "BF16"))},
    **{number: ENCODINGS[name] for number, name in ((2, "U8"), (4, "U16"), (12, "U32"), (13, "U64"))},
    **{
        number: ENCODINGS[name]
        for number, name in ((3, "I8"), (5, "I16"), (6, "I32"), (7, "I64"), (9, "BOOL"))
    },
    **{number: ENCODINGS[name] for number, name in ((17, "F8_E4M3"), (18, "F8_E4M3FNUZ"), (19, "F8_E5M2"))},
    **{number: ENCODINGS[name] for number, name in ((20, "F8_E5M2FNUZ"), (23, "F4"), (24, "F8_E8M0"))},
    21: Encoding("U4", 2, 1, _halves(ml_dtypes.uint4)),
    22: Encoding("I4", 2, 1, _halves(ml_dtypes.int4)),
}
FLOATS = frozenset({"F32", "F16", "BF16", "F64", "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ"})
INTEGERS = frozenset({"I8", "U8", "I4", "U4", "I16", "U16", "I32"})
FLOAT_TYPES = frozenset({1, 10, 11, 16})
"""Numbers of TensorProto.DataType that a Cast to floats names."""


@dataclass(frozen=True, slots=True)
class Inline:
    """A small array that was parsed with the graph."""

    info: TensorInfo
    values: npt.NDArray[Any]

    def read(self, index: Index = ()) -> Floats:
        """Return ``tensor[index]`` as float32."""
        return np.asarray(self.values[index], dtype=np.float32)

    def read_raw(self, index: Index = ()) -> npt.NDArray[Any]:
        """Return ``tensor[index]`` in its own type."""
        return np.asarray(self.values[index])

    def spans(self, index: Index = ()) -> tuple[Span, ...]:
        """Nothing is read from a file."""
        return ()


def constant(
    source: Source, file: str, name: str, proto: Any, payload: tuple[int, int] | None
) -> RawTensor | None:
    """Return the array of a TensorProto, or None for one that holds no numbers (strings, complex numbers).

    Args:
        source: where the model lies.
        file: the ONNX file, relative to the source.
        name: what the graph knows it by.
        proto: the TensorProto, perhaps without its raw data.
        payload: the file's bytes that hold its raw data, where they were left out.

    Raises:
        CorruptCheckpointError: the data do not have the size that the shape says.
        NotFoundError: the external file is missing. UnsafeCheckpointError: it lies outside the model's folder.
    """
    encoding = _KINDS.get(proto.data_type)
    if encoding is None:
        return None
    shape = _shape(file, name, proto)
    nbytes = encoding.nbytes(_padded(math.prod(shape), encoding)) or 0
    info = TensorInfo(name, shape, encoding.name, nbytes, file)
    if proto.data_location == _EXTERNAL:
        return _external(source, file, proto, info, encoding)
    if payload is not None:
        _check_size(file, info, payload[1] - payload[0])
        return RangeTensor(info, Run(source, file, payload[0], encoding, name))
    return Inline(info, _inline(file, proto, info, encoding))


def _padded(count: int, encoding: Encoding) -> int:
    return -(-count // encoding.block) * encoding.block


def _shape(file: str, name: str, proto: Any) -> tuple[int, ...]:
    shape = tuple(int(size) for size in proto.dims)
    if len(shape) > _MAX_DIMENSIONS or any(size < 0 for size in shape):
        raise _corrupt(file, name, f"Its shape is {list(shape)[:_MAX_DIMENSIONS]}.")
    return shape


def _external(source: Source, file: str, proto: Any, info: TensorInfo, encoding: Encoding) -> RawTensor:
    entries = {text(entry.key): text(entry.value) for entry in proto.external_data}
    location = _inside(file, info.name, entries.get("location", ""))
    size = record_of(source, location).size
    offset, length = (
        _number(file, info, entries, "offset", 0),
        _number(file, info, entries, "length", info.nbytes),
    )
    _check_size(file, info, length)
    if offset + info.nbytes > size:
        raise _corrupt(
            location, info.name, f"It takes bytes {offset} to {offset + info.nbytes}, the file has {size}."
        )
    described = TensorInfo(info.name, info.shape, info.dtype, info.nbytes, location)
    return RangeTensor(described, Run(source, location, offset, encoding, info.name))


def _inside(file: str, tensor: str, location: str) -> str:
    """Return the external file's name relative to the source.

    Raises:
        UnsafeCheckpointError: the name leads out of the folder of the ONNX file.
    """
    parts = location.replace("\\", "/").split("/")
    if not location or location.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise UnsafeCheckpointError(
            "An ONNX file asks for weights outside its own folder.",
            file=file,
            tensor=tensor,
            reason=f"Its external data are said to lie at {location!a}.",
            next_step="Do not use this file, or ask its publisher; a well-formed model names a file beside it.",
        )
    return posixpath.normpath(posixpath.join(posixpath.dirname(file), *parts))


def _number(file: str, info: TensorInfo, entries: Mapping[str, str], key: str, default: int) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise _corrupt(file, info.name, f"The {key} of its external data is {text[:40]!a}.")
    return int(text)


def _check_size(file: str, info: TensorInfo, length: int) -> None:
    if length != info.nbytes:
        raise _corrupt(
            file,
            info.name,
            f"{info.dtype} of the shape {list(info.shape)} takes {info.nbytes} bytes, {length} are stored.",
        )


def _inline(file: str, proto: Any, info: TensorInfo, encoding: Encoding) -> npt.NDArray[Any]:
    """Decode raw data or the typed lists that stand for it."""
    if proto.raw_data or not info.nbytes:
        _check_size(file, info, len(proto.raw_data))
        raw = np.frombuffer(proto.raw_data, dtype=np.uint8)
    else:
        raw = _listed(file, proto, info, encoding)
        _check_size(file, info, raw.nbytes)
    if encoding.native is not None:
        return raw.view(encoding.native).reshape(info.shape)
    out = np.empty(_padded(math.prod(info.shape), encoding), dtype=np.float32)
    assert encoding.decode is not None
    encoding.decode(raw, out)
    return out[: math.prod(info.shape)].reshape(info.shape)


def _listed(file: str, proto: Any, info: TensorInfo, encoding: Encoding) -> npt.NDArray[np.uint8]:
    if encoding.name == "F32":
        listed = np.asarray(proto.float_data, dtype=np.float32)
    elif encoding.name == "F64":
        listed = np.asarray(proto.double_data, dtype=np.float64)
    elif encoding.name == "I64":
        listed = np.asarray(proto.int64_data, dtype=np.int64)
    elif encoding.name in ("U32", "U64"):
        listed = np.asarray(proto.uint64_data, dtype=np.uint64).astype(f"<u{encoding.size}")
    elif encoding.native is not None or encoding.name in ("U4", "I4"):
        # Smaller kinds lie in int32 lists, floats among them as their bits.
        listed = np.asarray(proto.int32_data, dtype=np.int64).astype(f"<i{encoding.size}")
    else:
        raise UnsupportedFormatError(
            f"An ONNX tensor of kind {encoding.name} is stored as a list of numbers.",
            file=file,
            tensor=info.name,
            reason="Only raw data are read for this kind.",
            next_step="Save the model again with the onnx package.",
        )
    return np.ascontiguousarray(listed).view(np.uint8)


def text(value: str | bytes) -> str:
    """Return a protobuf string, which comes as bytes when it is not UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def _corrupt(file: str, tensor: str, reason: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        "A tensor of an ONNX file contradicts its data.",
        file=file,
        tensor=tensor,
        reason=reason,
        next_step="Download the model again, with its external data files, and compare sizes with the publisher's.",
    )
