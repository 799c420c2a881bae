"""What an ONNX graph does with its constants: which are weights, how they are dequantised, and where they are used.

The graph is never run. Constants are followed through the nodes that only decode them (Cast, DequantizeLinear, a
multiplication by a scale, a transposition); every other node that takes one is a use.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from filiation.checkpoint.model import RawTensor
from filiation.checkpoint.onnxfile.constants import FLOAT_TYPES, FLOATS, INTEGERS, text

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its operator, name, inputs, outputs and scalar or list attributes."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    scopes: str = ""

    def number(self, key: str, default: int) -> int:
        """Return an integer attribute."""
        value = self.attributes.get(key, default)
        return value if isinstance(value, int) else default


@dataclass(frozen=True, slots=True)
class Value:
    """A constant as the graph decodes it.

    Attributes:
        numbers: the stored array.
        names: every name it has on the way, the last first; the stored one is the last of them.
        scale: what it is multiplied by, with the shape it is given for that (of the stored array's dimensions).
        zero: what is subtracted before, with its shape.
        transposed: whether its two axes are swapped on the way.
    """

    numbers: RawTensor
    names: tuple[str, ...]
    scale: tuple[RawTensor, Shape] | None = None
    zero: tuple[RawTensor, Shape] | None = None
    transposed: bool = False

    @property
    def stored(self) -> str:
        """The stored array's name."""
        return self.names[-1]

    @property
    def is_float(self) -> bool:
        """Whether real numbers come out of it."""
        return self.scale is not None or self.numbers.info.dtype in FLOATS


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a value: the node and which of its inputs it is."""

    node: Node
    position: int
    value: Value


@dataclass
class Graph:
    """A graph's constants, nodes and uses.

    Attributes:
        values: every value that is made of constants alone, by name.
        uses: the uses of each stored array, by its name, in the order of the nodes.
        consumers: the nodes that take a value, by its name.
    """

    nodes: Sequence[Node]
    values: dict[str, Value]
    uses: dict[str, list[Use]] = field(default_factory=dict[str, list[Use]])
    consumers: dict[str, list[Node]] = field(default_factory=dict[str, list[Node]])
    made_by: dict[str, Node] = field(default_factory=dict[str, Node])


def analyse(nodes: Sequence[Node], constants: Mapping[str, RawTensor]) -> Graph:
    """Follow every constant through the nodes (which ONNX stores in an order in which they can run)."""
    graph = Graph(nodes, {name: Value(tensor, (name,)) for name, tensor in constants.items()})
    uses: defaultdict[str, list[Use]] = defaultdict(list)
    consumers: defaultdict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        for name in node.inputs:
            consumers[name].append(node)
        graph.made_by.update(dict.fromkeys(node.outputs, node))
        decoded = _decode(node, graph.values)
        if decoded is not None:
            graph.values[node.outputs[0]] = replace(decoded, names=(node.outputs[0], *decoded.names))
            continue
        for position, name in enumerate(node.inputs):
            if name in graph.values:
                value = graph.values[name]
                uses[value.stored].append(Use(node, position, value))
    graph.uses, graph.consumers = dict(uses), dict(consumers)
    return graph


def _decode(node: Node, values: Mapping[str, Value]) -> Value | None:
    """Return the value that a node makes of constants alone, if it only decodes one."""
    known = [values.get(name) for name in node.inputs]
    if node.op == "Mul" and len(known) == 2:
        return _scaled(known[0], known[1]) or _scaled(known[1], known[0])
    first = known[0] if known else None
    if first is None:
        return None
    if node.op == "Identity" or (node.op == "Cast" and node.number("to", 0) in FLOAT_TYPES):
        return first
    if node.op == "DequantizeLinear":
        return _dequantised(node, first, known)
    if (
        node.op == "Sub"
        and len(known) == 2
        and _is_codes(first)
        and first.zero is None
        and known[1] is not None
    ):
        shape = _broadcast(first, known[1])
        return replace(first, zero=(known[1].numbers, shape)) if shape is not None else None
    if node.op == "Transpose" and len(first.numbers.info.shape) == 2:
        swapped = tuple(node.attributes.get("perm", (1, 0))) == (1, 0)
        return replace(first, transposed=first.transposed != swapped)
    return None


def _is_codes(value: Value) -> bool:
    return value.numbers.info.dtype in INTEGERS and value.scale is None and len(value.numbers.info.shape) >= 2


def _scaled(value: Value | None, scale: Value | None) -> Value | None:
    """Return ``value`` times ``scale`` where the one is integers and the other floats that spread over it."""
    if (
        value is None
        or scale is None
        or not _is_codes(value)
        or not scale.is_float
        or scale.scale is not None
    ):
        return None
    shape = _broadcast(value, scale)
    return replace(value, scale=(scale.numbers, shape)) if shape is not None else None


def _broadcast(value: Value, other: Value) -> Shape | None:
    """Return the shape, in the stored array's axes, that ``other`` has when it is spread over ``value``."""
    of, given = value.numbers.info.shape, other.numbers.info.shape
    shape = (*(1,) * (len(of) - len(given)), *given)
    if value.transposed:
        shape = shape[::-1]
    if len(shape) != len(of) or any(size not in (1, full) for size, full in zip(shape, of, strict=True)):
        return None
    return shape


def _dequantised(node: Node, value: Value, known: Sequence[Value | None]) -> Value | None:
    scale = known[1] if len(known) > 1 else None
    zero = known[2] if len(known) > 2 else None
    if scale is None or value.scale is not None:
        return None
    shape = quantisation_shape(value.numbers.info.shape, scale.numbers.info.shape, node.number("axis", 1))
    if shape is None:
        return None
    return replace(
        value, scale=(scale.numbers, shape), zero=(zero.numbers, shape) if zero is not None else None
    )


def quantisation_shape(of: Shape, scale: Shape, axis: int = 1) -> Shape | None:
    """Return the shape of a scale in the axes of what it scales: one number, one along ``axis``, or one a block."""
    if all(size == 1 for size in scale) and len(scale) <= 1:
        return (1,) * len(of)
    if len(scale) == len(of):
        # A block is as long as the axis divided by the number of scales, rounded up.
        fits = all(
            0 < n <= full and -(-full // -(-full // n)) == n for n, full in zip(scale, of, strict=True)
        )
        return scale if fits else None
    if len(scale) == 1 and -len(of) <= axis < len(of) and scale[0] == of[axis]:
        place = axis % len(of)
        return tuple(size if i == place else 1 for i, size in enumerate(of))
    return None


def read_nodes(graph: Any) -> Iterator[Node]:
    """Yield the nodes of a GraphProto and of the graphs within it, in order."""
    for proto in graph.node:
        attributes: dict[str, Any] = {}
        for attribute in proto.attribute:
            if attribute.HasField("g"):
                yield from read_nodes(attribute.g)
            elif attribute.ints:
                attributes[text(attribute.name)] = tuple(attribute.ints)
            else:
                attributes[text(attribute.name)] = attribute.i
        properties = {text(entry.key): text(entry.value) for entry in getattr(proto, "metadata_props", ())}
        inputs, outputs = (tuple(text(name) for name in names) for names in (proto.input, proto.output))
        scopes = properties.get("pkg.torch.onnx.name_scopes", "")
        yield Node(text(proto.op_type), text(proto.name), inputs, outputs, attributes, scopes)


def read_tensors(graph: Any) -> Iterator[tuple[str, Any]]:
    """Yield the TensorProtos of a GraphProto with their names: its initialisers first, then those further in."""
    yield from ((text(proto.name), proto) for proto in graph.initializer)
    for proto in graph.node:
        for attribute in proto.attribute:
            if attribute.HasField("g"):
                yield from read_tensors(attribute.g)
            elif proto.op_type == "Constant" and attribute.HasField("t") and proto.output:
                # A constant node's tensor is known by the node's output.
                yield text(proto.output[0]), attribute.t
