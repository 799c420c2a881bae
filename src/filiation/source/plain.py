"""One hash of code as it is written, names and constants included, that every version of Python gives alike.

``ast.dump`` is not used: what it writes of empty lists and new fields changed from one version to the next.
"""

from __future__ import annotations

import ast
from hashlib import blake2b
from typing import Any

_LEFT_OUT = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {}


def plain_hash(tree: ast.AST) -> int:
    """Return the hash (64 bits) of a tree without its lines.

    Raises:
        RecursionError: the tree is deeper than Python's stack.
    """
    pieces: list[str] = []
    _write(tree, pieces)
    data = "\0".join(pieces).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def _write(node: ast.AST, pieces: list[str]) -> None:
    """Append a node: its kind, then each field that is not empty, then a bracket."""
    kind = type(node)
    known = _FIELDS.get(kind)
    if known is None:
        known = _FIELDS[kind] = tuple(f for f in kind._fields if f not in _LEFT_OUT)
    pieces.append(kind.__name__)
    for name in known:
        value: Any = getattr(node, name, None)
        if value is None and kind is not ast.Constant:
            continue
        if isinstance(value, ast.AST):
            pieces.append(name)
            _write(value, pieces)
        elif type(value) is not list:
            pieces += (name, _spelled(value))
        elif value:
            pieces.append(name)
            for each in value:
                if kind is ast.JoinedStr and isinstance(each, ast.Constant) and each.value == "":
                    continue  # Python 3.12 ends a format with an empty text, the others do not
                if isinstance(each, ast.AST):
                    _write(each, pieces)
                else:
                    pieces.append(_spelled(each))
    pieces.append(")")


def _spelled(value: object) -> str:
    """Return a word or a constant with its type; a huge integer by its bytes, since decimal digits cost time."""
    if isinstance(value, int) and value.bit_length() > 64:
        return f"integer {value:x}"
    return f"{type(value).__name__} {value!r}"
