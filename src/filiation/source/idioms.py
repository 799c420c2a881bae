"""One form for what can be written in several ways, so that a rewritten loop still meets the original.

The rules are those seen in real rewritings: loop with append and comprehension, counting ``while`` and ``range``,
search for a minimum and ``min(key=)``, swapped branches, branch and conditional expression, assignment of tuples,
temporaries that are used once in the next statement, ``x += y``, ``x.size(0)`` and ``x.shape[0]``, ``a > b`` and
``b < a``, calls under several names (:mod:`filiation.source.calls`), what was taken out of a method
(:mod:`filiation.source.helpers`). They are meant for comparison: a rule may ignore evaluation order, which a program
that runs could not.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from filiation.source import loops
from filiation.source.calls import one_call, one_width
from filiation.source.dead import unused
from filiation.source.helpers import inlined, spoken
from filiation.source.uses import fields, names_in, same, substitute, uses, walk

_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.NotEq: ast.Eq,
    ast.IsNot: ast.Is,
    ast.NotIn: ast.In,
}
_NEGATED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    **_OPPOSITE,
    ast.Eq: ast.NotEq,
    ast.Is: ast.IsNot,
    ast.In: ast.NotIn,
}
_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Gt: ast.Lt, ast.GtE: ast.LtE}
_BELOW: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt}
_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_BODIES = ("body", "orelse", "finalbody")
_SMALL = 60  # an expression with more nodes is not moved: nobody inlines those by hand
_LONG = 400  # in a longer block temporaries stay: the search for later uses would grow with its square


def canonical(tree: ast.Module, imported: Mapping[str, str]) -> ast.Module:
    """Return ``tree`` in the one form. The tree itself is changed.

    ``imported``: what names stand for in other packages.
    """
    return _Canonical(imported).visit(tree)


class _Canonical(ast.NodeTransformer):
    def __init__(self, imported: Mapping[str, str]) -> None:
        self.imported = imported

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for name in fields(type(node)):
            value = getattr(node, name, None)
            if type(value) is list:
                value[:] = [self.visit(v) if _open(v) else v for v in value]
                if value and name in _BODIES:
                    setattr(node, name, _block(value))
            elif _open(value):
                setattr(node, name, self.visit(value))
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return unused(self.generic_visit(unused(node)))

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return unused(self.generic_visit(unused(node)))

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node = inlined(node)
        for each in node.body:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                each.body = _tuples(each.body)
                spoken(each)
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        return one_width(node, self.imported)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        turned = _TURNED.get(type(node.ops[0])) if len(node.ops) == 1 else None
        if turned is not None:
            node.left, node.comparators, node.ops = node.comparators[0], [node.left], [turned()]
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        inner = node.operand
        if not isinstance(node.op, ast.Not):
            return node
        if isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.Not):
            return inner.operand
        if isinstance(inner, ast.Compare) and len(inner.ops) == 1 and type(inner.ops[0]) in _NEGATED:
            inner.ops = [_NEGATED[type(inner.ops[0])]()]
            return inner
        if isinstance(inner, ast.Compare) and len(inner.ops) == 1 and type(inner.ops[0]) in _BELOW:
            return _reversed(inner)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.target, ast.Name):
            return node
        read = ast.copy_location(ast.Name(node.target.id, ast.Load()), node)
        value = ast.copy_location(ast.BinOp(read, node.op, node.value), node)
        return ast.copy_location(ast.Assign([node.target], value), node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        test, swapped = _positive(node.test)
        if swapped:
            node.test, node.body, node.orelse = test, node.orelse, node.body
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr == "size" and not node.keywords:
            return _shape(node, called)
        if isinstance(called, ast.Name) and called.id == "super":
            node.args = []
        if (
            isinstance(called, ast.Name)
            and not node.args
            and not node.keywords
            and called.id in {"list", "dict"}
        ):
            empty = ast.List([], ast.Load()) if called.id == "list" else ast.Dict([], [])
            return ast.copy_location(empty, node)
        return one_call(node, self.imported)


def _open(value: Any) -> TypeGuard[ast.AST]:
    """Return whether a value is a node in which something can be written in another way."""
    return isinstance(value, ast.AST) and type(value) is not ast.Name and type(value) is not ast.Constant


def _shape(call: ast.Call, called: ast.Attribute) -> ast.expr:
    shape = ast.copy_location(ast.Attribute(called.value, "shape", ast.Load()), call)
    if not call.args:
        return shape
    if len(call.args) > 1:
        return call
    return ast.copy_location(ast.Subscript(shape, call.args[0], ast.Load()), call)


def _positive(test: ast.expr) -> tuple[ast.expr, bool]:
    """Return a test without an outer negation, and whether its branches have to be swapped."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand, True
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and type(test.ops[0]) in _OPPOSITE:
        test.ops = [_OPPOSITE[type(test.ops[0])]()]
        return test, True
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.LtE):
        return _reversed(test), True
    return test, False


def _reversed(test: ast.Compare) -> ast.Compare:
    """Return the opposite of ``a < b`` or ``a <= b``: ``b <= a`` or ``b < a``. (Not so for NaN.)"""
    left, right = test.left, test.comparators[0]
    test.left, test.comparators, test.ops = right, [left], [_BELOW[type(test.ops[0])]()]
    return test


Rule = Callable[[list[ast.stmt]], list[ast.stmt]]


def _block(body: list[ast.stmt]) -> list[ast.stmt]:
    for rule in _RULES:
        body = rule(body)
    return body


def _branches(body: list[ast.stmt]) -> list[ast.stmt]:
    """Put the positive test first, a leaving branch without ``else``, and two assignments as one expression."""
    result: list[ast.stmt] = []
    for node in body:
        if not isinstance(node, ast.If):
            result.append(node)
            continue
        if node.orelse:
            test, swapped = _positive(node.test)
            node.test = test
            if swapped:
                node.body, node.orelse = node.orelse, node.body
        chosen = _choice(node)
        if chosen is not None:
            result.append(chosen)
        elif node.orelse and isinstance(node.body[-1], _LEAVES):
            rest, node.orelse = node.orelse, []
            result += [node, *rest]
        else:
            result.append(node)
    return result


def _choice(node: ast.If) -> ast.stmt | None:
    """Return ``x = a if c else b`` for a branch that does only that (or returns only that), else None."""
    if len(node.body) != 1 or len(node.orelse) != 1:
        return None
    first, second = node.body[0], node.orelse[0]
    if isinstance(first, ast.Return) and isinstance(second, ast.Return) and first.value and second.value:
        value = ast.copy_location(ast.IfExp(node.test, first.value, second.value), node)
        return ast.copy_location(ast.Return(value), node)
    if not isinstance(first, ast.Assign) or not isinstance(second, ast.Assign):
        return None
    if len(first.targets) != 1 or len(second.targets) != 1 or not same(first.targets[0], second.targets[0]):
        return None
    value = ast.copy_location(ast.IfExp(node.test, first.value, second.value), node)
    return ast.copy_location(ast.Assign(first.targets, value), node)


def _tuples(body: list[ast.stmt]) -> list[ast.stmt]:
    """Write ``a, b = x, y`` as two assignments where no value reads an earlier target."""
    result: list[ast.stmt] = []
    for node in body:
        parts = _parts(node)
        result += parts or [node]
    return result


def _parts(node: ast.stmt) -> list[ast.stmt]:
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return []
    target, value = node.targets[0], node.value
    if not isinstance(target, ast.Tuple) or not isinstance(value, ast.Tuple):
        return []
    if len(target.elts) != len(value.elts) or any(
        isinstance(e, ast.Starred) for e in [*target.elts, *value.elts]
    ):
        return []
    written: set[str] = set()
    for to, source in zip(target.elts, value.elts, strict=True):
        if not isinstance(to, ast.Name) or names_in(source) & written:
            return []
        written.add(to.id)
    return [
        ast.copy_location(ast.Assign([to], source), source)
        for to, source in zip(target.elts, value.elts, strict=True)
    ]


def _temporaries(body: list[ast.stmt]) -> list[ast.stmt]:
    """Put a value that is named only to be used once, in the next statement, where it is used."""
    if len(body) > _LONG:
        return body
    counted: dict[int, Uses] = {}
    result: list[ast.stmt] = []
    for at, node in enumerate(body):
        before = _named(result[-1]) if result else None
        if before and _used_once(before[0], body, at, counted) and _movable(before[1]):
            result.pop()
            node = substitute(node, *before)
        result.append(node)
    return result


Uses = tuple[Counter[str], set[str]]


def _named(node: ast.stmt) -> tuple[str, ast.expr] | None:
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return None
    target = node.targets[0]
    return (target.id, node.value) if isinstance(target, ast.Name) else None


def _movable(value: ast.expr) -> bool:
    return not isinstance(value, ast.Yield | ast.Await) and len(walk(value)) <= _SMALL


def _used_once(name: str, body: list[ast.stmt], at: int, counted: dict[int, Uses]) -> bool:
    """Return whether statement ``at`` reads a name once and none after it reads the same value.

    ``counted`` keeps what the statements of this block use, by their place.
    """
    if not isinstance(body[at], ast.Assign | ast.Return | ast.Expr | ast.AugAssign):
        return False
    read, written = _uses(body, at, counted)
    if read[name] != 1 or name in written:  # ``x = f(x)``: what is read later is the new value
        return False
    for later in range(at + 1, len(body)):
        again, stored = _uses(body, later, counted)
        if again[name]:
            return False
        if name in stored and isinstance(body[later], ast.Assign):
            return True
    return True


def _uses(body: list[ast.stmt], at: int, counted: dict[int, Uses]) -> Uses:
    known = counted.get(at)
    if known is None:
        known = counted[at] = uses(body[at])
    return known


_RULES: tuple[Rule, ...] = (
    _tuples,
    loops.counted,
    loops.searched,
    loops.collected,
    _branches,
    _temporaries,
)
