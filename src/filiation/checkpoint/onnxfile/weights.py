"""The weights of an analysed graph as tensors: named, dequantised, turned to ``[out, in]`` where that is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy.typing as npt

from filiation.checkpoint.model import Floats, Index, RawTensor, Span, StoredTensor, TensorInfo, spans_of
from filiation.checkpoint.onnxfile import names
from filiation.checkpoint.onnxfile.blocks import in_blocks
from filiation.checkpoint.onnxfile.constants import Inline
from filiation.checkpoint.onnxfile.graph import Graph, Shape, Use, Value
from filiation.checkpoint.onnxfile.uses import IN_OUT, OUT_IN, completed, is_table, orientation
from filiation.checkpoint.packing.scaled import Grid, Plain, ScaledTensor
from filiation.checkpoint.packing.window import LazyTensor, Range, to_index
from filiation.checkpoint.ranges import RangeTensor

_KINDS = {
    "I8": "INT8",
    "U8": "UINT8",
    "I4": "INT4",
    "U4": "UINT4",
    "I16": "INT16",
    "U16": "UINT16",
    "I32": "INT32",
}


@dataclass(frozen=True, slots=True)
class Weights:
    """What a graph offers.

    Attributes:
        tensors: by name, in stored order.
        orientation: for matrices whose use tells, ``out_in`` or ``in_out``: how the tensor here lies.
        stored_names: name here -> name in the file, where they differ.
        unscaled: integer matrices that were left out, because the graph does not show their scale.
    """

    tensors: Mapping[str, StoredTensor]
    orientation: Mapping[str, str]
    stored_names: Mapping[str, str]
    unscaled: Sequence[str]


@dataclass(frozen=True)
class Turned(LazyTensor):
    """A matrix with its axes swapped."""

    cut: ClassVar[int] = 1

    matrix: StoredTensor

    def needs(self, ranges: tuple[Range, ...]) -> Sequence[tuple[StoredTensor, Index]]:
        """Say what :meth:`window` reads."""
        return [(self.matrix, to_index(ranges[::-1]))]

    def window(self, ranges: tuple[Range, ...]) -> Floats:
        """Decode the box of ``ranges``."""
        return self.matrix.read(to_index(ranges[::-1])).T


@dataclass(frozen=True, slots=True)
class Spread:
    """A small array of scales, given the axes of what it scales; it is read whole."""

    array: RawTensor
    shape: Shape

    @property
    def info(self) -> TensorInfo:
        """The array's description, with those axes."""
        return replace(self.array.info, shape=self.shape)

    def read(self, index: Index = ()) -> Floats:
        """Decode ``tensor[index]``."""
        return self.array.read(()).reshape(self.shape)[index]

    def read_raw(self, index: Index = ()) -> npt.NDArray[Any]:
        """Return ``tensor[index]`` as stored."""
        return self.array.read_raw(()).reshape(self.shape)[index]

    def spans(self, index: Index = ()) -> tuple[Span, ...]:
        """Say which bytes :meth:`read` would read."""
        return spans_of(self.array, ())


def weights(graph: Graph) -> Weights:
    """Pick the weights out of a graph, name them and make them readable."""
    exposed: dict[str, tuple[Value, Sequence[Use]]] = {}
    helpers: set[str] = set()
    unscaled: list[str] = []
    for stored, tensor in (
        (name, value.numbers) for name, value in graph.values.items() if len(value.names) == 1
    ):
        uses = sorted(graph.uses.get(stored, ()), key=_rank)
        value = completed(graph, uses[0]) if uses else graph.values[stored]
        helpers.update(part[0].info.name for part in (value.scale, value.zero) if part is not None)
        block = in_blocks(graph, uses[0]) if uses else None
        if block is not None:
            helpers.update(block.helpers)
        elif not value.is_float:
            unscaled += [stored] if uses and _is_weight(uses[0]) else []
            continue
        if math.prod(tensor.info.shape) > 1:
            exposed[stored] = (value, uses)
    exposed = {stored: item for stored, item in exposed.items() if stored not in helpers}
    chosen = names.choose(graph, {stored: uses for stored, (_, uses) in exposed.items()})
    return _collect(graph, exposed, chosen, unscaled)


def _rank(use: Use) -> int:
    """Order uses by how much they tell; sorting keeps the graph's order among equals."""
    return 0 if orientation(use) is not None else 1 if is_table(use) else 2


def _is_weight(use: Use) -> bool:
    return orientation(use) is not None or is_table(use)


def _collect(
    graph: Graph,
    exposed: Mapping[str, tuple[Value, Sequence[Use]]],
    chosen: Mapping[str, names.Name],
    unscaled: Sequence[str],
) -> Weights:
    tensors: dict[str, StoredTensor] = {}
    ways: dict[str, str] = {}
    renamed: dict[str, str] = {}
    for stored, (value, uses) in exposed.items():
        name = chosen[stored]
        if names.is_anonymous(name.text) and not (uses and _is_weight(uses[0])):
            continue  # a constant of the computation, not of the model
        block = in_blocks(graph, uses[0]) if uses else None
        way = OUT_IN if block is not None else orientation(uses[0]) if uses else None
        turn = name.inferred and way == IN_OUT
        tensors[name.text] = block.tensor(name.text) if block is not None else _tensor(value, name.text, turn)
        if way is not None:
            ways[name.text] = OUT_IN if turn else way
        if name.text != stored:
            renamed[name.text] = stored
    return Weights(tensors, ways, renamed, tuple(unscaled))


def _tensor(value: Value, name: str, turn: bool) -> StoredTensor:
    plain = value.numbers.info
    if value.scale is None:
        tensor: StoredTensor = _renamed(value.numbers, name)
    else:
        parts = [value.numbers, value.scale[0]] + ([value.zero[0]] if value.zero is not None else [])
        kind = _KINDS.get(plain.dtype, plain.dtype)
        info = replace(plain, name=name, dtype=kind, nbytes=sum(part.info.nbytes for part in parts))
        zeros = _grid(*value.zero, plain.shape) if value.zero is not None else None
        tensor = ScaledTensor(info, Plain(value.numbers), _grid(*value.scale, plain.shape), zeros)
    if not turn:
        return tensor
    return Turned(replace(tensor.info, shape=plain.shape[::-1]), tensor)


def _renamed(tensor: RawTensor, name: str) -> StoredTensor:
    info = replace(tensor.info, name=name)
    return replace(tensor, info=info) if isinstance(tensor, RangeTensor | Inline) else tensor


def _grid(array: RawTensor, shape: Shape, of: Shape) -> Grid:
    laid = array if array.info.shape == shape else Spread(array, shape)
    return Grid(laid, tuple(-(-full // count) if count else 1 for full, count in zip(of, shape, strict=True)))
