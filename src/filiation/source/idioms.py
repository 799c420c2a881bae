"""One form for what can be written in several ways, so that a rewritten loop still meets the original.

The rules are those seen in real rewritings: loop with append and comprehension, counting ``while`` and ``range``,
search for a minimum and ``min(key=)``, swapped branches, branch and conditional expression, assignment of tuples,
temporaries that are used once in the next statement, ``x += y``, ``x.size(0)`` and ``x.shape[0]``. They are meant for
comparison: a rule may ignore evaluation order, which a program that runs could not.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from filiation.source import loops
from filiation.source.dead import unused
from filiation.source.uses import loads, names_in, same, substitute, walk

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
_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_SMALL = 60  # an expression with more nodes is not moved: nobody inlines those by hand
_LONG = 400  # in a longer block temporaries stay: the search for later uses would grow with its square


def canonical(tree: ast.Module) -> ast.Module:
    """Return ``tree`` in the one form. The tree itself is changed."""
    return _Canonical().visit(tree)


class _Canonical(ast.NodeTransformer):
    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block:
                setattr(node, name, _block(block))
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return unused(self.generic_visit(unused(node)))

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return unused(self.generic_visit(unused(node)))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        super().generic_visit(node)
        inner = node.operand
        if not isinstance(node.op, ast.Not):
            return node
        if isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.Not):
            return inner.operand
        if isinstance(inner, ast.Compare) and len(inner.ops) == 1 and type(inner.ops[0]) in _NEGATED:
            inner.ops = [_NEGATED[type(inner.ops[0])]()]
            return inner
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        super().generic_visit(node)
        if not isinstance(node.target, ast.Name):
            return node
        read = ast.copy_location(ast.Name(node.target.id, ast.Load()), node)
        value = ast.copy_location(ast.BinOp(read, node.op, node.value), node)
        return ast.copy_location(ast.Assign([node.target], value), node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        super().generic_visit(node)
        test, swapped = _positive(node.test)
        if swapped:
            node.test, node.body, node.orelse = test, node.orelse, node.body
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        super().generic_visit(node)
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
        return node


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
    return test, False


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
    result: list[ast.stmt] = []
    for at, node in enumerate(body):
        name = _named(result[-1]) if result else None
        if name and _used_once(name, node, body[at + 1 :]):
            value = result.pop()
            assert isinstance(value, ast.Assign)
            node = substitute(node, name, value.value)
        result.append(node)
    return result


def _named(node: ast.stmt) -> str | None:
    if (
        not isinstance(node, ast.Assign)
        or len(node.targets) != 1
        or not isinstance(node.targets[0], ast.Name)
    ):
        return None
    small = sum(1 for _ in walk(node.value)) <= _SMALL
    return node.targets[0].id if small and not isinstance(node.value, ast.Yield | ast.Await) else None


def _used_once(name: str, following: ast.stmt, later: list[ast.stmt]) -> bool:
    if not isinstance(following, ast.Assign | ast.Return | ast.Expr | ast.AugAssign):
        return False
    read, written = loads(following, name)
    if read != 1 or written:  # ``x = f(x)``: what is read later is the new value
        return False
    for node in later:
        again, stored = loads(node, name)
        if again:
            return False
        if stored and isinstance(node, ast.Assign):
            return True
    return True


_RULES: tuple[Rule, ...] = (
    _tuples,
    loops.counted,
    loops.searched,
    loops.collected,
    _branches,
    _temporaries,
)
