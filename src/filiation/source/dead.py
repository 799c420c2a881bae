"""Statements of a function that do nothing: a value that calls nothing, given to a name that nobody reads."""

from __future__ import annotations

import ast

from filiation.source.uses import holders, walk

_ACTS = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr, ast.Subscript)


def unused(function: ast.AST) -> ast.AST:
    """Take assignments out of ``function`` whose names it never reads and whose values call and index nothing."""
    read: set[str] = set()
    for node in walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            read.add(node.id)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            read.update(node.names)
    for node in holders(function):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and not isinstance(node, ast.ClassDef):
                kept = [each for each in block if not _does_nothing(each, read)]
                if kept != block:
                    first = block[0]
                    setattr(
                        node, name, kept or ([ast.copy_location(ast.Pass(), first)] if name == "body" else [])
                    )
    return function


def _does_nothing(node: ast.stmt, read: set[str]) -> bool:
    if (
        not isinstance(node, ast.Assign)
        or len(node.targets) != 1
        or not isinstance(node.targets[0], ast.Name)
    ):
        return False
    return node.targets[0].id not in read and not any(isinstance(n, _ACTS) for n in walk(node.value))
