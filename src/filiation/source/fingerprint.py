"""From a parsed file to its fingerprint."""

from __future__ import annotations

import ast
import copy
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from filiation.source.clean import clean
from filiation.source.hashing import Hashed, Hasher, name_hash
from filiation.source.idioms import canonical
from filiation.source.plain import plain_hash
from filiation.source.prints import Definition, Gathered, Print, Statements
from filiation.source.uses import holders, walk
from filiation.source.vocabulary import PORTED

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BLOCKS = ("body", "orelse", "finalbody")


@dataclass
class _Writing:
    """A fingerprint in the making."""

    imported: Mapping[str, str]
    definitions: list[Definition] = field(default_factory=list[Definition])
    gathered: list[Gathered] = field(default_factory=list[Gathered])
    pieces: list[tuple[Hashed, int]] = field(default_factory=list[tuple[Hashed, int]])
    subtrees: dict[int, int] = field(default_factory=dict[int, int])


def fingerprint(tree: ast.Module, path: str, data: bytes, repaired: tuple[int, ...] = ()) -> Print:
    """Return the fingerprint of a file. ``tree`` is changed.

    Raises:
        RecursionError: the tree is deeper than Python's stack.
    """
    tree = clean(tree)
    plain = plain_hash(tree)
    imported = _imports(tree)
    writing = _Writing(imported)
    tree = canonical(tree, imported)
    _module(writing, tree)
    return _finished(writing, path, data, plain, repaired)


def _imports(tree: ast.Module) -> dict[str, str]:
    """Return what names stand for in other packages; what comes from the ported package keeps its name only."""
    found: dict[str, str] = {}
    for node in holders(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in PORTED:
                    continue
                if alias.asname:
                    found[alias.asname] = alias.name
                else:
                    root = alias.name.partition(".")[0]
                    found[root] = root
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module.partition(".")[0] in PORTED:
                continue
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def _module(writing: _Writing, tree: ast.Module) -> None:
    rest: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, _FUNCTIONS):
            _function(writing, node, "")
        elif isinstance(node, ast.ClassDef):
            _class(writing, node, "")
        else:
            rest.append(node)
    _definition(writing, rest, "", "module", None)


def _class(writing: _Writing, node: ast.ClassDef, inside: str) -> None:
    name = f"{inside}{node.name}"
    rest = [n for n in node.body if not isinstance(n, (*_FUNCTIONS, ast.ClassDef))]
    shell = copy.copy(node)
    shell.body = rest or [ast.copy_location(ast.Pass(), node)]
    _definition(writing, [shell], name, "class", node)
    for each in node.body:
        if isinstance(each, _FUNCTIONS):
            _function(writing, each, f"{name}.")
        elif isinstance(each, ast.ClassDef):
            _class(writing, each, f"{name}.")


def _function(writing: _Writing, node: ast.FunctionDef | ast.AsyncFunctionDef, inside: str) -> None:
    _definition(writing, [node], f"{inside}{node.name}", "method" if inside else "function", node)


def _definition(
    writing: _Writing,
    body: list[ast.stmt],
    name: str,
    kind: str,
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None,
) -> None:
    start = len(writing.pieces)
    function = node if isinstance(node, _FUNCTIONS) else None
    local, parameters = _bound(function) if function is not None else (frozenset[str](), ())
    receiver = parameters[0] if kind == "method" and parameters and not _static(function) else None
    hasher = Hasher(writing.imported, local, receiver)
    for statement in body:
        for piece, line in _statements(hasher, statement):
            writing.pieces.append((piece, line))
    stop = len(writing.pieces)
    if start == stop and kind == "module":
        return
    first = min((line for _, line in writing.pieces[start:stop]), default=1)
    last = max((line for _, line in writing.pieces[start:stop]), default=1)
    line, end = (node.lineno, node.end_lineno or node.lineno) if node is not None else (first, last)
    writing.definitions.append(Definition(name, kind, line, end, start, stop))
    found = hasher.collected
    writing.subtrees.update(found.subtrees)
    writing.gathered.append(
        Gathered(
            tuple(sorted(found.calls)),
            tuple(sorted(found.constants)),
            tuple(sorted(set(found.attributes))),
            tuple(sorted(parameters)),
        )
    )


def _bound(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the names that a function binds, and its parameters."""
    arguments = node.args
    parameters = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    bound, outside = set(parameters), set[str]()
    for each in walk(node):
        if isinstance(each, ast.arg):
            bound.add(each.arg)
        elif isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load):
            bound.add(each.id)
        elif (
            isinstance(each, ast.ExceptHandler | ast.FunctionDef | ast.AsyncFunctionDef) and each is not node
        ):
            bound.add(each.name or "")
        elif isinstance(each, ast.Global):
            outside.update(each.names)
    return frozenset(bound - outside), tuple(parameters)


def _static(node: ast.FunctionDef | ast.AsyncFunctionDef | None) -> bool:
    return node is not None and any(
        isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list
    )


def _statements(hasher: Hasher, node: ast.stmt) -> Iterator[tuple[Hashed, int]]:
    """Yield a statement, then those inside it; of a statement with a body only its head."""
    kind = type(node).__name__
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from _imported_names(hasher, node)
        return
    head: list[ast.AST] = []
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        head.append(ast.copy_location(ast.Name(node.name, ast.Store()), node))
    if isinstance(node, ast.Raise):  # which error, not its text
        called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        yield hasher.piece([called] if called is not None else [], kind), node.lineno
        return
    blocks: list[ast.AST] = []
    for name, value in ast.iter_fields(node):
        values = value if isinstance(value, list) else [value]
        inner = [v for v in values if isinstance(v, ast.AST)]
        if name in _BLOCKS or name in ("handlers", "cases"):
            blocks += inner
        else:
            head += inner
    yield hasher.piece((h for h in head if not isinstance(h, ast.operator)), kind), node.lineno
    for block in blocks:
        yield from _inside(hasher, block)


def _inside(hasher: Hasher, node: ast.AST) -> Iterator[tuple[Hashed, int]]:
    if isinstance(node, ast.stmt):
        yield from _statements(hasher, node)
    elif isinstance(node, ast.ExceptHandler):
        if node.type is not None:
            yield hasher.piece([node.type], "handler"), node.lineno
        for each in node.body:
            yield from _statements(hasher, each)
    elif isinstance(node, ast.match_case):
        for each in node.body:
            yield from _statements(hasher, each)


def _imported_names(hasher: Hasher, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[Hashed, int]]:
    """Yield one statement for each imported name. From where a ported package is imported does not count."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom) and (
            node.level or (node.module or "").partition(".")[0] in PORTED
        ):
            yield hasher.piece([ast.Name(alias.name, ast.Load())], "import"), node.lineno
        else:
            origin = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            yield hasher.piece([], f"import {origin}{alias.name}"), node.lineno


def _finished(writing: _Writing, path: str, data: bytes, plain: int, repaired: tuple[int, ...]) -> Print:
    spelling: dict[int, str] = {}
    hashes: dict[tuple[int, str], int] = {}
    names: list[int] = []
    first = [0]
    for piece, _ in writing.pieces:
        for name in piece.names:
            known = hashes.get(name)
            if known is None:
                known = hashes[name] = name_hash(*name)
                spelling[known] = name[1]
            names.append(known)
        first.append(len(names))
    order = sorted(writing.subtrees)
    statements = Statements(
        np.array([p.digest for p, _ in writing.pieces], np.uint64),
        np.array([p.size for p, _ in writing.pieces], np.int32),
        np.array([line for _, line in writing.pieces], np.int32),
        np.array(first, np.int32),
        np.array(names, np.uint64),
    )
    return Print(
        path,
        hashlib.sha256(data).hexdigest(),
        plain,
        tuple(writing.definitions),
        statements,
        np.array(order, np.uint64),
        np.array([writing.subtrees[h] for h in order], np.int32),
        spelling,
        tuple(writing.gathered),
        data.count(b"\n") + 1,
        repaired,
    )
