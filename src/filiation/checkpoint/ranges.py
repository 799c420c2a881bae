"""Tensors that lie as one run of values in a file: reading and decoding just the rows that were asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation.checkpoint.encodings import Encoding, decode
from filiation.checkpoint.indexing import Plan, plan
from filiation.checkpoint.model import Floats, Index, Span, TensorInfo
from filiation.checkpoint.sources.base import Source
from filiation.errors import CorruptCheckpointError, FiliationError

CHUNK = 1 << 20
"""Bytes decoded at a time: small enough to stay in the processor's cache between the read and the decoding."""

_ROWS_AT_ONCE = 1 << 19  # values decoded at once where only some columns of each row are wanted

_FAR = 1 << 14  # a gap of this many bytes between wanted rows is skipped rather than read

_APART = 1 << 10  # in a local file a gap of this many bytes between wanted pieces of rows


@dataclass(frozen=True, slots=True)
class Run:
    """A run of values of one kind in one file.

    ``offset`` is where it begins, in bytes; where that is only known after another read, ``base`` finds out when
    the run is first used, and ``offset`` counts from there.
    """

    source: Source
    file: str
    offset: int
    encoding: Encoding
    tensor: str
    base: Callable[[], int] | None = None

    def span(self, start: int, stop: int) -> Span:
        """Return the bytes of the blocks that hold the values ``start:stop``."""
        first, last = self._blocks(start, stop)
        size, begin = self.encoding.size, self._begin()
        return Span(self.source, self.file, begin + first * size, begin + last * size)

    def shifted(self, values: int) -> Run:
        """Return the run that begins ``values`` values further on (a kind with one value a block)."""
        return replace(self, offset=self.offset + values * self.encoding.size) if values else self

    @contextmanager
    def _named(self) -> Generator[None]:
        """Let an error of the place say which tensor was being read; the place itself knows only its file."""
        try:
            yield
        except FiliationError as error:
            error.tensor = error.tensor or self.tensor
            raise

    def _begin(self) -> int:
        return self.offset + (self.base() if self.base is not None else 0)

    def raw(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Return the bytes of the blocks that hold the values ``start:stop``."""
        with self._named():
            span = self.span(start, stop)
            out = np.empty(span.stop - span.start, np.uint8)
            self._fill(span.start, out)
            return out

    def values(self, start: int, stop: int) -> Floats:
        """Return the values ``start:stop`` as float32."""
        first, last = self._blocks(start, stop)
        block = self.encoding.block
        out = np.empty((last - first) * block, np.float32)
        with self._named():
            if self.encoding.is_float32:
                self._fill(self._begin() + 4 * first, out.view(np.uint8))
            elif len(out):
                self._decode(first, last, out)
        return out[start - first * block : stop - first * block]

    def pieces(self, start: int, width: int, *, count: int, apart: int) -> Floats:
        """Return ``count`` pieces of ``width`` values as rows, each read by itself; their starts lie ``apart``.

        Args:
            start, width, apart: in values, and multiples of a block's.
        """
        size, block = self.encoding.size, self.encoding.block
        each, step = width // block * size, apart // block * size
        raw, out = np.empty(count * each, np.uint8), np.empty(count * width, np.float32)
        with self._named():
            begin = self._begin() + start // block * size
            into = getattr(self.source, "read_pieces_into", None)
            if into is not None:
                into(self.file, begin, raw.data, each, step)
            else:
                for row in range(count):
                    self._fill(begin + row * step, raw[row * each : (row + 1) * each])
            if self.encoding.is_float32:
                out.view(np.uint8)[:] = raw
            elif len(out):
                decode(self.encoding, raw, out, file=self.file, tensor=self.tensor)
        return out.reshape(count, width)

    def _blocks(self, start: int, stop: int) -> tuple[int, int]:
        if stop <= start:
            return start // self.encoding.block, start // self.encoding.block
        return start // self.encoding.block, -(-stop // self.encoding.block)

    def _decode(self, first: int, last: int, out: Floats) -> None:
        size, block, begin = self.encoding.size, self.encoding.block, self._begin()
        step = max(1, CHUNK // size)
        local = _reader_into(self.source) is not None
        # A remote file is asked once for everything; a local one chunk by chunk, so that no second copy is held.
        whole = None if local else self._bytes(begin + first * size, begin + last * size)
        buffer = np.empty(min(step, last - first) * size, np.uint8) if local else None
        for low in range(first, last, step):
            high = min(low + step, last)
            if buffer is not None:
                raw = buffer[: (high - low) * size]
                self._fill(begin + low * size, raw)
            else:
                assert whole is not None
                raw = whole[(low - first) * size : (high - first) * size]
            target = out[(low - first) * block : (high - first) * block]
            decode(self.encoding, raw, target, file=self.file, tensor=self.tensor)

    def _bytes(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        data = self.source.read(self.file, start, stop) if stop > start else b""
        if len(data) != stop - start:
            raise CorruptCheckpointError(
                "A file ended before the tensor did.",
                file=self.file,
                tensor=self.tensor,
                reason=f"{stop - start} bytes were asked for at {start}, {len(data)} came.",
                next_step="Download the file again.",
            )
        return np.frombuffer(data, np.uint8)

    def _fill(self, start: int, out: npt.NDArray[np.uint8]) -> None:
        into = _reader_into(self.source)
        if not len(out):
            return
        if into is not None:
            into(self.file, start, out.data)
        else:
            out[...] = self._bytes(start, start + len(out))


def _reader_into(source: Source) -> Any:
    """Return the source's ``read_into(name, start, buffer)``, which spares a copy, or None where it has none."""
    return getattr(source, "read_into", None)


@dataclass(frozen=True, slots=True)
class RangeTensor:
    """A C-contiguous tensor in one run of bytes."""

    info: TensorInfo
    run: Run

    def read(self, index: Index = ()) -> Floats:
        """Return ``tensor[index]`` as float32; leading integers and the first slice save bytes.

        Raises:
            IndexError: the index does not fit the shape.
            UnsupportedFormatError: the stored kind has no real values.
        """
        wanted = plan(self.info.shape, index)
        if self._narrow(wanted):
            pieces = self._pieces(wanted)
            return _columns(wanted, self.run.values) if pieces is None else pieces
        return _gather(wanted, self._gaps(wanted), self.run.values)

    def read_raw(self, index: Index = ()) -> npt.NDArray[Any]:
        """Return ``tensor[index]`` in its stored kind, or as float32 where numpy has no such kind."""
        native = self.run.encoding.native
        if native is None:
            return self.read(index)

        def read(start: int, stop: int) -> npt.NDArray[Any]:
            return self.run.raw(start, stop).view(native)

        wanted = plan(self.info.shape, index)
        return _gather(wanted, self._gaps(wanted), read)

    def spans(self, index: Index = ()) -> Sequence[Span]:
        """Return the bytes that :meth:`read` would read."""
        wanted = plan(self.info.shape, index)
        if self._gaps(wanted):
            row = math.prod(wanted.shape[1:])
            return [self.run.span(at, at + row) for at in _row_starts(wanted)]
        return [self.run.span(wanted.start, wanted.stop)] if wanted.stop > wanted.start else []

    def _narrow(self, wanted: Plan) -> bool:
        """Whether columns of many rows of a local file are wanted: then some rows are decoded at a time."""
        if wanted.step != 1 or len(wanted.rest) != 2 or len(wanted.shape) != 2:
            return False
        columns, length = wanted.rest[1], wanted.shape[1]
        aligned = not wanted.start % self.run.encoding.block and not length % self.run.encoding.block
        partial = isinstance(columns, slice) and len(range(*columns.indices(length))) < length
        large = wanted.stop - wanted.start > _ROWS_AT_ONCE
        return partial and aligned and large and _reader_into(self.run.source) is not None

    def _pieces(self, wanted: Plan) -> Floats | None:
        """Return a window of columns, of each row no more than its blocks; None where rows are short beside them."""
        count, length = wanted.shape
        down, across = wanted.rest
        assert isinstance(across, slice)
        columns, block = range(*across.indices(length)), self.run.encoding.block
        if not len(columns) or columns.step != 1:
            return None
        low, high = columns.start // block * block, -(-columns.stop // block) * block
        if (length - (high - low)) * self.run.encoding.size // block < _APART:
            return None
        found = self.run.pieces(wanted.start + low, high - low, count=count, apart=length)
        return np.ascontiguousarray(found[:, columns.start - low : columns.stop - low][down])

    def _gaps(self, wanted: Plan) -> bool:
        row = math.prod(wanted.shape[1:]) * self.run.encoding.size // self.run.encoding.block
        return wanted.step > 1 and (wanted.step - 1) * row >= _FAR


def _row_starts(wanted: Plan) -> range:
    row = math.prod(wanted.shape[1:])
    return range(wanted.start, wanted.stop, wanted.step * row)


def _columns(wanted: Plan, read: Callable[[int, int], Floats]) -> Floats:
    """Return a window of columns; memory never holds all of the rows that they are cut from."""
    count, length = wanted.shape
    down, across = wanted.rest
    assert isinstance(across, slice)
    out = np.empty((count, len(range(*across.indices(length)))), np.float32)
    step = max(1, _ROWS_AT_ONCE // length)
    for low in range(0, count, step):
        high = min(low + step, count)
        rows = read(wanted.start + low * length, wanted.start + high * length)
        out[low:high] = rows.reshape(high - low, length)[:, across]
    return out if down == slice(None, None, 1) else out[down]


def _gather(wanted: Plan, gaps: bool, read: Callable[[int, int], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    if not gaps:
        return read(wanted.start, wanted.stop).reshape(wanted.shape)[wanted.rest]
    row = math.prod(wanted.shape[1:])
    rows = [read(at, at + row).reshape(1, *wanted.shape[1:]) for at in _row_starts(wanted)]
    first = wanted.rest[0]
    backward = isinstance(first, slice) and first.step is not None and first.step < 0
    return np.concatenate(rows)[(slice(None, None, -1 if backward else 1), *wanted.rest[1:])]
