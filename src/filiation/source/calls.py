"""One form for calls that the tensor library knows under several names: ``F.softmax(x, dim=1)`` and ``x.softmax(1)``.

Functions of a tensor become its methods, what has an operator becomes the operator, synonyms one word, keywords that
stand where a position would do become positions. Meant for comparison, as everything in
:mod:`filiation.source.idioms`: ``view`` and ``reshape`` are told apart by a program that runs, not by a reader.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from filiation.source.vocabulary import METHODS

_OPERATORS: Mapping[str, type[ast.operator]] = {
    "matmul": ast.MatMult, "bmm": ast.MatMult, "mm": ast.MatMult, "mul": ast.Mult, "sub": ast.Sub, "div": ast.Div,
    "pow": ast.Pow,
}  # fmt: skip
_SYNONYMS = {"swapaxes": "transpose", "swapdims": "transpose", "view": "reshape", "type": "to"}
_WIDTHS = {"float32": "float", "float16": "half", "float64": "double", "int64": "long", "int32": "int"}
_CASTS = frozenset({*_WIDTHS.values(), "bool", "bfloat16"})
_NO_METHOD = frozenset(
    {"where", "einsum", "stack", "full", "arange", "zeros", "finfo", "tile", "broadcast_to"}
)
_OF_A_TENSOR = frozenset({"torch", "torch.nn.functional"})
_ALONG = frozenset(
    {
        "all", "amax", "amin", "any", "argmax", "argmin", "cumsum", "max", "mean", "min", "prod", "softmax", "squeeze",
        "std", "sum", "unbind", "unsqueeze", "var",
    }
)  # fmt: skip
_JOINED = {"torch.cat": "cat", "torch.concat": "cat", "torch.concatenate": "cat", "torch.stack": "stack"}
_DIMENSION = frozenset({"dim", "axis"})
_CONVOLUTION = ("in_channels", "out_channels", "kernel_size", "stride", "padding")
_LAYERS: Mapping[str, tuple[str, ...]] = {
    "Linear": ("in_features", "out_features", "bias"),
    "Embedding": ("num_embeddings", "embedding_dim", "padding_idx"),
    "LayerNorm": ("normalized_shape", "eps"),
    "Dropout": ("p",),
    "Conv1d": _CONVOLUTION,
    "Conv2d": _CONVOLUTION,
    "Conv3d": _CONVOLUTION,
}


def one_call(node: ast.Call, imported: Mapping[str, str]) -> ast.expr:
    """Return a call in the one form. ``imported``: what names stand for in other packages."""
    if isinstance(node.func, ast.Name) and node.func.id == "getattr":
        return _spelled_out(node)
    if isinstance(node.func, ast.Name) and node.func.id not in imported:
        return node
    path = library_path(node.func, imported)
    if path is None:
        return _method(node, imported)
    package, _, name = path.rpartition(".")
    if path in _JOINED:
        _along(node, 1)
    elif package == "torch.nn" and name in _LAYERS:
        _placed(node, _LAYERS[name])
    elif package in _OF_A_TENSOR and name in METHODS and name not in _NO_METHOD:
        return _of_a_tensor(node, name, imported)
    return node


def library_path(node: ast.expr, imported: Mapping[str, str]) -> str | None:
    """Return the dotted path of a name that an import from another package brings, else None."""
    below: list[str] = []
    while isinstance(node, ast.Attribute):
        below.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    root = imported.get(node.id)
    return None if root is None else ".".join([root, *reversed(below)])


def one_width(node: ast.Attribute, imported: Mapping[str, str]) -> ast.Attribute:
    """Return ``torch.float32`` as ``torch.float``."""
    if node.attr in _WIDTHS and library_path(node.value, imported) == "torch":
        node.attr = _WIDTHS[node.attr]
    return node


def _spelled_out(node: ast.Call) -> ast.expr:
    """Return ``getattr(x, "name")`` as ``x.name``."""
    if len(node.args) != 2 or node.keywords or not isinstance(node.args[1], ast.Constant):
        return node
    name = node.args[1].value
    if not isinstance(name, str) or not name.isidentifier():
        return node
    return ast.copy_location(ast.Attribute(node.args[0], name, ast.Load()), node)


def _of_a_tensor(node: ast.Call, name: str, imported: Mapping[str, str]) -> ast.expr:
    if not node.args or isinstance(node.args[0], ast.Starred):
        return node
    node.func = ast.copy_location(ast.Attribute(node.args.pop(0), name, ast.Load()), node)
    return _method(node, imported)


def _method(node: ast.Call, imported: Mapping[str, str]) -> ast.expr:
    """Return ``x.name(...)`` in the one form."""
    called = node.func
    if not isinstance(called, ast.Attribute) or called.attr not in METHODS:
        return node
    plain = not node.keywords and not any(isinstance(a, ast.Starred) for a in node.args)
    if called.attr == "contiguous" and plain and not node.args:
        return called.value
    if called.attr in _OPERATORS and plain and len(node.args) == 1:
        made = ast.BinOp(called.value, _OPERATORS[called.attr](), node.args[0])
        return ast.copy_location(made, node)
    if called.attr != "type" or len(node.args) == 1:
        called.attr = _SYNONYMS.get(called.attr, called.attr)
    if called.attr == "to":
        return _cast(node, called, imported)
    if called.attr in _ALONG:
        _along(node, 0)
    return node


def _cast(node: ast.Call, called: ast.Attribute, imported: Mapping[str, str]) -> ast.expr:
    """Return ``x.to(torch.float32)`` as ``x.float()``."""
    if len(node.args) + len(node.keywords) != 1 or (node.keywords and node.keywords[0].arg != "dtype"):
        return node
    path = library_path((node.args or [node.keywords[0].value])[0], imported) or ""
    package, _, name = path.rpartition(".")
    name = _WIDTHS.get(name, name)
    if package == "torch" and name in _CASTS:
        called.attr, node.args, node.keywords = name, [], []
    elif node.keywords:
        node.args, node.keywords = [node.keywords[0].value], []
    return node


def _along(node: ast.Call, position: int) -> None:
    """Put ``dim=`` where its position is."""
    if len(node.args) != position:
        return
    for at, keyword in enumerate(node.keywords):
        if keyword.arg in _DIMENSION:
            node.args.append(keyword.value)
            del node.keywords[at]
            return


def _placed(node: ast.Call, parameters: tuple[str, ...]) -> None:
    """Put keywords where their positions are, as long as none is left out before them."""
    if any(isinstance(a, ast.Starred) for a in node.args):
        return
    for name in parameters[len(node.args) :]:
        at = next((n for n, k in enumerate(node.keywords) if k.arg == name), None)
        if at is None:
            return
        node.args.append(node.keywords.pop(at).value)
