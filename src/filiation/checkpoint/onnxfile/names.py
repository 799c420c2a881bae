"""Names for weights that an exporter left without one (``onnx::MatMul_470``, ``val_109``).

Three places know better: the bias that is added to the product (``...query.bias``), the node's name, which the
TorchScript exporter makes from the module's path (``/encoder/layer.0/attention/self/query/MatMul``), and the scopes
that torch's newer exporter writes into the node's metadata.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from filiation.checkpoint.onnxfile.graph import Graph, Node, Use
from filiation.checkpoint.onnxfile.uses import following

_ANONYMOUS = re.compile(
    r"(onnx::\w+|/.*|.*_output_\d+|_?val_\d+|_?v_?\d+|const\w*|\d+|\w*_\d+)", re.IGNORECASE
)
_DECODED = re.compile(r"(_DequantizeLinear_Output|_dequantized|_quantized|_q|_f|_Q\d\w*)$")
_OPERATOR = re.compile(r"\.(MatMul|Gemm|Gather)(?:_\w+)?(?=\.)")
_PRODUCTS = (
    "MatMul",
    "FusedMatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "MatMulNBits",
)
# What an anonymous input of an operator is to its module: operator -> input -> name.
_ROLES: Mapping[str, Mapping[int, str]] = {
    **{op: {1: "weight"} for op in (*_PRODUCTS, "Conv", "SimplifiedLayerNormalization")},
    **{op: {3: "weight"} for op in ("QLinearMatMul", "QGemm")},
    **{op: {1: "weight", 2: "bias"} for op in ("Gemm", "LayerNormalization", "BatchNormalization")},
    "Gather": {0: "weight"},
}
# Beside these inputs stands a bias whose name may be known.
_BIAS_INPUT = {
    "Gemm": 2,
    "LayerNormalization": 2,
    "DynamicQuantizeMatMul": 4,
    "MatMulIntegerToFloat": 6,
    "QGemm": 6,
}


@dataclass(frozen=True, slots=True)
class Name:
    """What a weight is called, and whether the graph rather than the file says so."""

    text: str
    inferred: bool


def choose(graph: Graph, exposed: Mapping[str, Sequence[Use]]) -> dict[str, Name]:
    """Name every stored array in ``exposed`` (with its uses); a name that two would get goes to neither.

    A tied embedding may be stored under its head's name, which the head's own copy then gets from the graph: in
    such a case the graph names the first one too.
    """
    chosen = {stored: _name(graph, stored, uses) for stored, uses in exposed.items()}
    counts = Counter(name.text for name in chosen.values())
    for stored, name in chosen.items():
        if counts[name.text] > 1 and not name.inferred:
            other = _from_graph(graph, exposed[stored])
            if other is not None and counts[other.text] == 0:
                chosen[stored] = other
    counts = Counter(name.text for name in chosen.values())
    return {
        stored: name if counts[name.text] == 1 else Name(stored, inferred=False)
        for stored, name in chosen.items()
    }


def is_anonymous(name: str) -> bool:
    """Whether a name is a number that an exporter gave."""
    return _ANONYMOUS.fullmatch(name) is not None


def _name(graph: Graph, stored: str, uses: Sequence[Use]) -> Name:
    for name in uses[0].value.names if uses else (stored,):
        plain = _DECODED.sub("", name) if name != stored or _is_code(uses) else name
        if _is_path(plain):
            cleaned = _OPERATOR.sub("", plain)
            return Name(cleaned, inferred=cleaned != plain)
    return _from_graph(graph, uses) or Name(stored, inferred=False)


def _is_path(name: str) -> bool:
    """Whether a name tells the module: ``encoder.layer.0.weight``, ``bert/encoder/kernel:0``."""
    return not is_anonymous(name) and ("." in name or "/" in name)


def _from_graph(graph: Graph, uses: Sequence[Use]) -> Name | None:
    for use in uses:
        role = _role(use)
        module = _by_bias(graph, use) or _by_scopes(use.node) or _by_node_name(use.node)
        if role is not None and module is not None:
            return Name(f"{module}.{role}", inferred=True)
    return None


def _is_code(uses: Sequence[Use]) -> bool:
    return bool(uses) and not uses[0].value.numbers.info.dtype.startswith(("F", "BF"))


def _role(use: Use) -> str | None:
    role = _ROLES.get(use.node.op, {}).get(use.position)
    if role is None and use.node.op in ("Add", "Mul") and len(use.value.numbers.info.shape) == 1:
        return "bias" if use.node.op == "Add" else "weight"
    return role


def _by_bias(graph: Graph, use: Use) -> str | None:
    """Return the module whose named bias is added to the product that the weight makes."""
    at = _BIAS_INPUT.get(use.node.op)
    beside = use.node.inputs[at : at + 1] if at is not None else ()
    added = [
        name
        for step in following(graph, use.node, ("Cast", "Mul", "Add"))
        if step.op == "Add"
        for name in step.inputs
    ]
    for name in (*beside, *added[:2]):
        value = graph.values.get(name)
        if (
            value is not None
            and len(value.numbers.info.shape) == 1
            and name.endswith(".bias")
            and not is_anonymous(name)
        ):
            return name.removesuffix(".bias")
    return None


def _by_scopes(node: Node) -> str | None:
    """Return the innermost module of the scopes that torch writes as a Python list of strings."""
    try:
        scopes = ast.literal_eval(node.scopes) if node.scopes else []
    except (ValueError, SyntaxError):
        return None
    modules = [scope for scope in scopes if isinstance(scope, str)] if isinstance(scopes, list) else []
    # The last entry is the operation itself.
    return next((scope for scope in reversed(modules[:-1]) if scope), None)


def _by_node_name(node: Node) -> str | None:
    """Return the module path of ``/model/model.0/encoder/MatMul``; members repeat their container's name."""
    if not node.name.startswith("/"):
        return None
    path = node.name.strip("/").split("/")[:-1]
    kept = [
        part for i, part in enumerate(path) if i + 1 == len(path) or not path[i + 1].startswith(f"{part}.")
    ]
    return ".".join(kept) if kept and all(kept) else None
