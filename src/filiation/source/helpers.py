"""What a rewriter takes out of a method is put back: one-line helpers that are called once, names for ``self.x``."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Mapping

from filiation.source.uses import walk
from filiation.source.vocabulary import fixed_attribute

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_LONGEST = 60  # nodes of an expression that is put back


def inlined(node: ast.ClassDef) -> ast.ClassDef:
    """Put methods that only return an expression, and that the class calls once, where they are called."""
    helpers = {m.name: m for m in node.body if isinstance(m, ast.FunctionDef) and _is_helper(m)}
    if not helpers:
        return node
    named = Counter(each.attr for each in walk(node) if isinstance(each, ast.Attribute))
    putting = _Putting({name: m for name, m in helpers.items() if named[name] == 1})
    for each in node.body:
        if isinstance(each, _Function) and each.args.args:
            putting.receiver = each.args.args[0].arg
            putting.visit(each)
    node.body = [m for m in node.body if not (isinstance(m, ast.FunctionDef) and m.name in putting.done)]
    node.body = node.body or [ast.copy_location(ast.Pass(), node)]
    return node


def _is_helper(method: ast.FunctionDef) -> bool:
    a = method.args
    plain = not (a.posonlyargs or a.kwonlyargs or a.vararg or a.kwarg or a.defaults or method.decorator_list)
    if not plain or len(a.args) < 1 or len(method.body) != 1 or fixed_attribute(method.name):
        return False
    only = method.body[0]
    return isinstance(only, ast.Return) and only.value is not None and len(walk(only.value)) <= _LONGEST


class _Putting(ast.NodeTransformer):
    """Puts what a helper returns in the place of its call."""

    def __init__(self, helpers: Mapping[str, ast.FunctionDef]) -> None:
        self.helpers = dict(helpers)
        self.done: set[str] = set()
        self.receiver = ""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        called = node.func
        if (
            isinstance(called, ast.Attribute)
            and isinstance(called.value, ast.Name)
            and called.value.id == self.receiver
            and called.attr in self.helpers
            and not node.keywords
            and not any(isinstance(a, ast.Starred) for a in node.args)
        ):
            helper = self.helpers[called.attr]
            if len(node.args) == len(helper.args.args) - 1:
                del self.helpers[called.attr]  # once, so that helpers that call one another come to an end
                self.done.add(called.attr)
                return self.visit(_returned(helper, self.receiver, node.args))
        return self.generic_visit(node)


def _returned(helper: ast.FunctionDef, receiver: str, values: list[ast.expr]) -> ast.expr:
    only = helper.body[0]
    assert isinstance(only, ast.Return)
    assert only.value is not None
    first, *others = (a.arg for a in helper.args.args)
    meant: dict[str, ast.expr] = {first: ast.Name(receiver, ast.Load())}
    meant.update(zip(others, values, strict=True))
    return _Standing(meant).visit(copy.deepcopy(only.value))


class _Standing(ast.NodeTransformer):
    """Puts expressions where names stand for them."""

    def __init__(self, meant: Mapping[str, ast.expr]) -> None:
        self.meant = meant

    def visit_Name(self, node: ast.Name) -> ast.AST:
        value = self.meant.get(node.id) if isinstance(node.ctx, ast.Load) else None
        return node if value is None else ast.copy_location(copy.deepcopy(value), node)


def spoken(function: _Function) -> _Function:
    """Put ``self.x`` where a name stands for it that is set once, at the function's own level."""
    if not function.args.args:
        return function
    receiver = function.args.args[0].arg
    found: dict[str, ast.expr] = {}
    for each in function.body:
        if (
            isinstance(each, ast.Assign)
            and len(each.targets) == 1
            and isinstance(each.targets[0], ast.Name)
            and isinstance(each.value, ast.Attribute)
            and isinstance(each.value.value, ast.Name)
            and each.value.value.id == receiver
        ):
            found[each.targets[0].id] = each.value
    if not found:
        return function
    meant = {
        name: value for name, value in found.items() if name not in _otherwise_set(function, receiver, found)
    }
    if meant:
        kept = [n for n in function.body if not (isinstance(n, ast.Assign) and _target(n) in meant)]
        function.body = kept or [ast.copy_location(ast.Pass(), function)]
        _Standing(meant).visit(function)
    return function


def _target(node: ast.Assign) -> str | None:
    return node.targets[0].id if len(node.targets) == 1 and isinstance(node.targets[0], ast.Name) else None


def _otherwise_set(function: _Function, receiver: str, found: Mapping[str, ast.expr]) -> set[str]:
    """Return the names that are set more than once or whose attribute is set in the function."""
    names: Counter[str] = Counter()
    attributes: set[str] = set()
    for each in walk(function):
        if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load):
            names[each.id] += 1
        elif isinstance(each, ast.arg):
            names[each.arg] += 1
        elif isinstance(each, ast.Attribute) and not isinstance(each.ctx, ast.Load):
            attributes.add(each.attr)
    values = {name: value.attr for name, value in found.items() if isinstance(value, ast.Attribute)}
    return {
        name for name, attr in values.items() if names[name] != 1 or attr in attributes or name == receiver
    }
