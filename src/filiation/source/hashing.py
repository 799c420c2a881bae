"""Merkle hashes of syntax trees with the names taken out, and the names in the order in which they stood.

The hash of a node is BLAKE2b (8 bytes) over its kind, its operator or number, the hashes of its parts, and those names
that a rename keeps (:mod:`filiation.source.vocabulary`, and what an import from another package brings). Names that can
be chosen, and strings, are blank. Two pieces of code with one hash are therefore equal up to a renaming; whether it is
one renaming throughout is asked of the names (:mod:`filiation.source.renames`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from filiation.source.uses import fields
from filiation.source.vocabulary import BUILTINS, fixed_attribute

LOCAL, SHARED = 0, 1
Name = tuple[int, str]

_SMALLEST, _LARGEST = 12, 400  # nodes of a subtree that counts as a feature
_COMMUTING = (ast.Add, ast.Mult, ast.BitAnd, ast.BitOr, ast.BitXor)


@dataclass(frozen=True, slots=True)
class Hashed:
    """A piece of code: its hash, the number of its nodes, the names in it (scope, spelling), its features."""

    digest: int
    size: int
    names: tuple[Name, ...]


@dataclass
class Collected:
    """What is gathered while hashing a definition: subtrees, library calls, constants, attributes of ``self``."""

    subtrees: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    calls: list[str] = field(default_factory=list[str])
    constants: list[str] = field(default_factory=list[str])
    attributes: list[str] = field(default_factory=list[str])


class Hasher:
    """Hashes the statements of one definition.

    Args:
        imported: what a name at module level stands for in another package (``F`` -> ``torch.nn.functional``).
        local: the names that the definition binds itself.
        receiver: what the definition calls the object it belongs to (``self``).
    """

    def __init__(self, imported: Mapping[str, str], local: frozenset[str], receiver: str | None) -> None:
        self.imported, self.local, self.receiver = imported, local, receiver
        self.collected = Collected()
        self._names: list[Name] = []
        self._order: dict[str, int] = {}

    def piece(self, nodes: Iterable[ast.AST], label: str) -> Hashed:
        """Hash ``nodes`` as one statement of the kind ``label``."""
        self._names = []
        digest, size = self._combined(label, (self._node(node) for node in nodes))
        return Hashed(int.from_bytes(digest, "little"), size, tuple(self._names))

    def _combined(self, label: str, parts: Iterable[tuple[bytes, int]]) -> tuple[bytes, int]:
        whole = blake2b(label.encode("utf-8", "surrogatepass"), digest_size=8)
        size = 1
        for digest, count in parts:
            whole.update(digest)
            size += count
        return whole.digest(), size

    def _node(self, node: ast.AST) -> tuple[bytes, int]:
        made = self._leaf(node)
        if made is None:
            made = self._combined(self._label(node), self._inner(node))
        digest, size = made
        if _SMALLEST <= size <= _LARGEST:
            self.collected.subtrees.append((int.from_bytes(digest, "little"), size))
        return made

    def _inner(self, node: ast.AST) -> Iterable[tuple[bytes, int]]:
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, _COMMUTING):
            return self._unordered(_chained(node))
        if isinstance(node, ast.BoolOp):
            return self._unordered(node.values)
        if (
            isinstance(node, ast.Compare)
            and len(node.ops) == 1
            and isinstance(node.ops[0], ast.Eq | ast.NotEq)
        ):
            return self._unordered([node.left, *node.comparators])
        return self._parts(node)

    def _parts(self, node: ast.AST) -> list[tuple[bytes, int]]:
        parts: list[tuple[bytes, int]] = []
        for name in fields(type(node)):
            value = getattr(node, name, None)
            if type(value) is list:
                parts += [self._node(v) for v in value if isinstance(v, ast.AST)]
            elif isinstance(value, ast.AST):
                parts.append(self._node(value))
        return parts

    def _call(self, node: ast.Call) -> list[tuple[bytes, int]]:
        """Hash a call; keyword arguments count by their values' hashes, then by which value was named first."""
        return [
            self._node(node.func),
            *(self._node(a) for a in node.args),
            *self._unordered(node.keywords, own=1),
        ]

    def _unordered(self, nodes: Sequence[ast.AST], own: int = 0) -> list[tuple[bytes, int]]:
        """Hash what may stand in any order: by the hashes, then by which was named first.

        ``own``: names at the beginning of each that say nothing of its place, such as a keyword's.
        """
        if not nodes:
            return []
        found: list[tuple[bytes, int, int, list[Name]]] = []
        known = len(self._order)
        for each in nodes:
            start = len(self._names)
            digest, size = self._node(each)
            names = self._names[start:]
            seen = min((self._order[name] for _, name in names[own:]), default=known)
            found.append((digest, min(seen, known), size, names))
            del self._names[start:]
        parts: list[tuple[bytes, int]] = []
        for digest, _, size, names in sorted(found, key=lambda k: k[:2]):
            self._names += names
            parts.append((digest, size))
        return parts

    def _label(self, node: ast.AST) -> str:
        kind = type(node).__name__
        if isinstance(node, ast.BinOp | ast.UnaryOp | ast.BoolOp | ast.AugAssign):
            return f"{kind} {type(node.op).__name__}"
        if isinstance(node, ast.Compare):
            return f"{kind} {' '.join(type(op).__name__ for op in node.ops)}"
        if isinstance(node, ast.arguments):
            return (
                f"{kind} {len(node.posonlyargs)} {len(node.args)} {len(node.kwonlyargs)} {len(node.defaults)}"
            )
        for name in _named_by(node):
            self._record(SHARED, name)
        return kind

    def _leaf(self, node: ast.AST) -> tuple[bytes, int] | None:
        if isinstance(node, ast.Name):
            return self._name(node.id), 1
        if isinstance(node, ast.arg):
            return self._name(node.arg), 1
        if isinstance(node, ast.Constant):
            return self._constant(node), 1
        if isinstance(node, ast.JoinedStr):
            return _label_digest("text"), 1
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        return None

    def _constant(self, node: ast.Constant) -> bytes:
        if isinstance(node.value, str | bytes):
            self.collected.constants.append(repr(node.value[:80]))
            return _label_digest("text")
        if isinstance(node.value, int | float | complex) and not isinstance(node.value, bool):
            self.collected.constants.append(_number(node.value))
            return _label_digest(f"number {_number(node.value)}")
        return _label_digest(f"constant {node.value!r}")

    def _name(self, name: str) -> bytes:
        if name == self.receiver:
            return _label_digest("self")
        if name in self.local:
            self._record(LOCAL, name)
            return _label_digest("name")
        path = self.imported.get(name)
        if path is not None:
            self.collected.calls.append(path)
            return _label_digest(f"library {path}")
        if name in BUILTINS:
            return _label_digest(f"builtin {name}")
        self._record(SHARED, name)
        return _label_digest("name")

    def _attribute(self, node: ast.Attribute) -> tuple[bytes, int]:
        path, depth = self._library_path(node)
        if path is not None:
            self.collected.calls.append(path)
            return _label_digest(f"library {path}"), depth
        digest, size = self._node(node.value)
        if isinstance(node.value, ast.Name) and node.value.id == self.receiver:
            self.collected.attributes.append(node.attr)
        if fixed_attribute(node.attr):
            self.collected.calls.append(f".{node.attr}")
            return self._combined(f"attribute {node.attr}", [(digest, size)])
        self._record(SHARED, node.attr)
        return self._combined("attribute", [(digest, size)])

    def _library_path(self, node: ast.Attribute) -> tuple[str | None, int]:
        """Return the dotted path of an attribute of an imported package, and the number of its nodes."""
        below: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            below.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name) or inner.id in self.local or inner.id not in self.imported:
            return None, 0
        return ".".join([self.imported[inner.id], *reversed(below)]), len(below) + 1

    def _record(self, scope: int, name: str) -> None:
        self._names.append((scope, name))
        self._order.setdefault(name, len(self._order))


_DIGESTS: dict[str, bytes] = {}


def _label_digest(label: str) -> bytes:
    known = _DIGESTS.get(label)
    if known is None:
        known = blake2b(label.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        if len(_DIGESTS) < 100_000:  # a file with a million numbers does not stay in memory
            _DIGESTS[label] = known
    return known


def _chained(node: ast.BinOp) -> list[ast.expr]:
    """Return the operands of ``a + b + c``, however they are bracketed."""
    found: list[ast.expr] = []
    waiting: list[ast.expr] = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, ast.BinOp) and type(each.op) is type(node.op):
            waiting += (each.right, each.left)
        else:
            found.append(each)
    return found


def _named_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.keyword):
        return [node.arg] if node.arg is not None else []
    if isinstance(node, ast.Global | ast.Nonlocal):
        return node.names
    return []


def _number(value: complex) -> str:
    if isinstance(value, int) and value.bit_length() > 64:
        return f"integer of {value.bit_length()} bits"  # decimal digits of a huge integer cost time
    return repr(value)


def name_hash(scope: int, name: str) -> int:
    """Return the 40-bit hash under which a name is kept; the lowest bit is its scope."""
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=5).digest()
    return (int.from_bytes(digest, "little") & ~1) | scope
