"""What does not change what code does is taken out: docstrings, annotations, log lines, assertions, bare constants.

Works on a tree of its own; lines stay those of the file.
"""

from __future__ import annotations

import ast

from filiation.source.vocabulary import LOGGING

_DOCUMENTING = ("docstring", "_doc", "doc_")


def clean(tree: ast.Module) -> ast.Module:
    """Return ``tree`` without what does not change what the code does. The tree itself is changed."""
    return _Cleaner().visit(tree)


class _Cleaner(ast.NodeTransformer):
    """Drops statements; a block that would be left empty holds ``pass``."""

    def _block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        kept: list[ast.stmt] = []
        for statement in body:
            result = None if _says_nothing(statement) else self.visit(statement)
            if isinstance(result, ast.stmt):
                kept.append(result)
        return kept

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                setattr(node, name, self._block(block))
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            node.body = [ast.copy_location(ast.Pass(), node)]  # type: ignore[attr-defined]
        for handler in getattr(node, "handlers", ()):
            self.generic_visit(handler)
        for case in getattr(node, "cases", ()):
            self.generic_visit(case)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        arguments = node.args
        for each in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
            each.annotation = None
        for each in (arguments.vararg, arguments.kwarg):
            if each is not None:
                each.annotation = None
        node.decorator_list = [d for d in node.decorator_list if not _documents(d)]
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list = [d for d in node.decorator_list if not _documents(d)]
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:  # a bare field: the name stays, its annotation goes
            return ast.copy_location(ast.Expr(node.target), node)
        return ast.copy_location(ast.Assign([node.target], node.value), node)


def _says_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assert | ast.Pass):
        return True
    if not isinstance(node, ast.Expr):
        return False
    value = node.value
    if isinstance(value, ast.Constant):
        return True
    return isinstance(value, ast.Call) and _root(value.func) in LOGGING


def _documents(decorator: ast.expr) -> bool:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
    return any(mark in name for mark in _DOCUMENTING)


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
