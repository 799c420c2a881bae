"""Which names a piece of code reads and writes, and one name put in the place of another."""

from __future__ import annotations

import ast
import copy
from collections import Counter

# Fields that hold no code: words, numbers, operators, contexts.
_WORDS = """
arg asname attr conversion ctx id is_async kind kwd_attrs level module op ops rest simple type_comment type_ignores
"""
_SKIPPED = frozenset(_WORDS.split())
_BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {ast.Constant: (), ast.Global: (), ast.Nonlocal: ()}


def fields(kind: type[ast.AST]) -> tuple[str, ...]:
    """Return the fields of a kind of node that can hold other nodes, in the order of the syntax."""
    known = _FIELDS.get(kind)
    if known is None:
        known = _FIELDS[kind] = tuple(f for f in kind._fields if f not in _SKIPPED)
    return known


def walk(node: ast.AST) -> list[ast.AST]:
    """Return ``node`` and all below it but operators and contexts, in no particular order; faster than ``ast.walk``."""
    stack, found = [node], list[ast.AST]()
    while stack:
        each = stack.pop()
        found.append(each)
        for name in fields(type(each)):
            value = getattr(each, name, None)
            if type(value) is list:
                stack += [v for v in value if isinstance(v, ast.AST)]
            elif isinstance(value, ast.AST):
                stack.append(value)
    return found


def holders(node: ast.AST) -> list[ast.AST]:
    """Return ``node`` and everything below it that stands in a block: statements, handlers, cases. No expression."""
    stack, found = [node], list[ast.AST]()
    while stack:
        each = stack.pop()
        found.append(each)
        for name in _BLOCKS:
            block = getattr(each, name, None)
            if type(block) is list:
                stack += block
    return found


def names_in(node: ast.AST) -> set[str]:
    """Return every plain name in ``node``."""
    return {n.id for n in walk(node) if isinstance(n, ast.Name)}


def uses(node: ast.AST) -> tuple[Counter[str], set[str]]:
    """Return how often ``node`` reads each name, and the names that it writes."""
    read: Counter[str] = Counter()
    written: set[str] = set()
    for each in walk(node):
        if type(each) is ast.Name:
            if type(each.ctx) is ast.Load:
                read[each.id] += 1
            else:
                written.add(each.id)
    return read, written


def loads(node: ast.AST, name: str) -> tuple[int, int]:
    """Return how often ``name`` is read and written in ``node``."""
    read = written = 0
    for each in walk(node):
        if isinstance(each, ast.Name) and each.id == name:
            if isinstance(each.ctx, ast.Load):
                read += 1
            else:
                written += 1
    return read, written


def same(left: ast.AST, right: ast.AST) -> bool:
    """Return whether two expressions are spelled alike."""
    return ast.dump(left) == ast.dump(right)


def assigned(node: ast.stmt) -> tuple[str, ast.expr] | None:
    """Return name and value of ``name = value``, else None."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    return None


def substitute(node: ast.stmt, name: str, value: ast.expr) -> ast.stmt:
    """Return ``node`` with ``value`` where it reads ``name``."""
    return _Substitution(name, value).visit(node)


class _Substitution(ast.NodeTransformer):
    def __init__(self, name: str, value: ast.expr) -> None:
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id == self.name and isinstance(node.ctx, ast.Load):
            return copy.copy(self.value)
        return node
