"""What the operators say of their weights: which way round they lie, and the scale of integers they multiply with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from filiation.checkpoint.onnxfile.constants import FLOATS
from filiation.checkpoint.onnxfile.graph import Graph, Node, Use, Value, quantisation_shape

IN_OUT = "in_out"
OUT_IN = "out_in"

# Operator -> which input is the weight of a matrix product that is used as [in, out].
_MATRIX_INPUT = {
    **dict.fromkeys(("MatMul", "Gemm", "FusedMatMul", "FusedGemm"), 1),
    **dict.fromkeys(("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"), 1),
    **dict.fromkeys(("QLinearMatMul", "QGemm"), 3),
}
# Operator -> inputs that hold (weight, scale, zero point), where the operator takes integers.
_INTEGER_INPUTS = {
    "MatMulInteger": (1, None, 3),
    "MatMulIntegerToFloat": (1, 3, 5),
    "DynamicQuantizeMatMul": (1, 2, 3),
    "QLinearMatMul": (3, 4, 5),
    "QGemm": (3, 4, 5),
}


def orientation(use: Use) -> str | None:
    """Say whether the stored matrix is ``[in, out]`` or ``[out, in]``, or None where the use does not tell."""
    if len(use.value.numbers.info.shape) != 2:
        return None
    if use.node.op in ("MatMul", "FusedMatMul") and use.position == 0:
        flipped = not use.value.transposed
    elif _MATRIX_INPUT.get(use.node.op) == use.position:
        flipped = use.value.transposed != bool(use.node.number("transB", 0))
    else:
        return None
    return OUT_IN if flipped else IN_OUT


def is_table(use: Use) -> bool:
    """Whether the use looks rows up: an embedding."""
    return use.node.op == "Gather" and use.position == 0 and use.node.number("axis", 0) == 0


def completed(graph: Graph, use: Use) -> Value:
    """Return the value with the scale and zero point that the operator itself takes beside it."""
    value, inputs = use.value, _INTEGER_INPUTS.get(use.node.op)
    if value.scale is not None or inputs is None or inputs[0] != use.position:
        return value
    _, at_scale, at_zero = inputs
    scale = _input(graph, use.node, at_scale) if at_scale is not None else _scale_after(graph, use.node)
    zero = _input(graph, use.node, at_zero)
    shape = value.numbers.info.shape
    # One scale a channel is one for each output.
    axis = 0 if orientation(use) == OUT_IN else len(shape) - 1
    if scale is not None and (laid := quantisation_shape(shape, scale.numbers.info.shape, axis)) is not None:
        value = replace(value, scale=(scale.numbers, laid))
    if zero is not None and (laid := quantisation_shape(shape, zero.numbers.info.shape, axis)) is not None:
        value = replace(value, zero=(zero.numbers, laid))
    return value


def _input(graph: Graph, node: Node, at: int) -> Value | None:
    return graph.values.get(node.inputs[at]) if at < len(node.inputs) else None


def _scale_after(graph: Graph, node: Node) -> Value | None:
    """Find the weight's scale behind a MatMulInteger: its result, cast, times (input scale times weight scale)."""
    for step in following(graph, node, ("Cast", "Mul")):
        if step.op != "Mul":
            continue
        for name in step.inputs:
            direct = graph.values.get(name)
            product = graph.made_by.get(name)
            if direct is not None and direct.numbers.info.dtype in FLOATS:
                return direct
            if product is not None and product.op == "Mul":
                for factor in product.inputs:
                    value = graph.values.get(factor)
                    if value is not None and value.numbers.info.dtype in FLOATS:
                        return value
    return None


def following(graph: Graph, node: Node, ops: tuple[str, ...], limit: int = 4) -> Iterator[Node]:
    """Yield the nodes after ``node`` along its first output, as long as they are of ``ops``."""
    for _ in range(limit):
        after = [n for n in graph.consumers.get(node.outputs[0], ()) if n.op in ops] if node.outputs else []
        if not after:
            return
        node = after[0]
        yield node
