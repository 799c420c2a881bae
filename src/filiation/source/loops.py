"""Loops in one form: what collects is a comprehension, what counts a ``range``, what searches ``min`` or ``max``."""

from __future__ import annotations

import ast

from filiation.source.uses import assigned, loads, names_in, substitute


def collected(body: list[ast.stmt]) -> list[ast.stmt]:
    """Write ``x = []`` and a loop that only appends to it as a comprehension."""
    result: list[ast.stmt] = []
    for node in body:
        made = _comprehension(result[-1], node) if result else None
        if made is None:
            result.append(node)
        else:
            result[-1] = made
    return result


def _comprehension(before: ast.stmt, loop: ast.stmt) -> ast.stmt | None:
    first = assigned(before)
    if first is None or not isinstance(first[1], ast.List) or first[1].elts:
        return None
    name = first[0]
    generators: list[ast.comprehension] = []
    inner: list[ast.stmt] = [loop]
    while len(inner) == 1 and isinstance(inner[0], ast.For | ast.If) and not inner[0].orelse:
        step = inner[0]
        if isinstance(step, ast.For):
            generators.append(ast.comprehension(step.target, step.iter, [], 0))
        elif generators:
            generators[-1].ifs.append(step.test)
        else:
            return None
        inner = step.body
    element = _appended(inner, name)
    if element is None or not generators or any(name in names_in(g) for g in generators):
        return None
    value = ast.copy_location(ast.ListComp(element, generators), loop)
    return ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], value), before)


def _appended(body: list[ast.stmt], name: str) -> ast.expr | None:
    """Return what a loop body appends to ``name``, with the temporaries before it put in place."""
    if not body or len(body) > 4 or not isinstance(body[-1], ast.Expr):
        return None
    last: ast.stmt = body[-1]
    for node in reversed(body[:-1]):
        named = assigned(node)
        if named is None or loads(last, named[0])[0] != 1:
            return None
        last = substitute(last, *named)
    call = last.value if isinstance(last, ast.Expr) else None
    if not isinstance(call, ast.Call) or len(call.args) != 1 or call.keywords:
        return None
    method = call.func
    if not isinstance(method, ast.Attribute) or method.attr != "append":
        return None
    if not isinstance(method.value, ast.Name) or method.value.id != name or name in names_in(call.args[0]):
        return None
    return call.args[0]


def counted(body: list[ast.stmt]) -> list[ast.stmt]:
    """Write a ``while`` that counts up from a number as ``for`` over ``range``."""
    result: list[ast.stmt] = []
    for node in body:
        made = _range(result[-1], node) if result and isinstance(node, ast.While) else None
        if made is None:
            result.append(node)
        else:
            result[-1] = made
    return result


def _range(before: ast.stmt, loop: ast.While) -> ast.stmt | None:
    first = assigned(before)
    test = loop.test
    if first is None or loop.orelse or len(loop.body) < 2 or not isinstance(test, ast.Compare):
        return None
    if len(test.ops) != 1 or not isinstance(test.ops[0], ast.Lt):
        return None
    if not isinstance(test.left, ast.Name) or test.left.id != first[0]:
        return None
    step = assigned(loop.body[-1])  # ``i += 1`` has been written as ``i = i + 1``
    if step is None or step[0] != first[0] or not isinstance(step[1], ast.BinOp):
        return None
    by = step[1]
    if not isinstance(by.op, ast.Add) or not isinstance(by.left, ast.Name) or by.left.id != first[0]:
        return None
    if any(loads(node, first[0])[1] for node in loop.body[:-1]):
        return None
    bounds = [test.comparators[0]]
    one = isinstance(by.right, ast.Constant) and by.right.value == 1
    zero = isinstance(first[1], ast.Constant) and first[1].value == 0
    if not (one and zero):
        bounds = [first[1], *bounds]
    if not one:
        bounds.append(by.right)
    numbers = ast.copy_location(ast.Call(ast.Name("range", ast.Load()), bounds, []), loop)
    made = ast.For(ast.Name(first[0], ast.Store()), numbers, loop.body[:-1], [])
    return ast.copy_location(made, loop)


def searched(body: list[ast.stmt]) -> list[ast.stmt]:
    """Write a loop that keeps the best element (or the best value) as ``min`` or ``max``."""
    result: list[ast.stmt] = []
    for node in body:
        made = _search(node) if isinstance(node, ast.For) else None
        if made is None:
            result.append(node)
            continue
        value, names = made
        while (
            result and (first := assigned(result[-1])) and first[0] in names
        ):  # where the search starts from
            result.pop()
        result.append(value)
    return result


def _search(loop: ast.For) -> tuple[ast.stmt, set[str]] | None:
    """Return the statement that a searching loop stands for and the names that are set before it."""
    if loop.orelse or not isinstance(loop.target, ast.Name) or not 1 <= len(loop.body) <= 3:
        return None
    branch = loop.body[-1]
    if not isinstance(branch, ast.If) or branch.orelse or not isinstance(branch.test, ast.Compare):
        return None
    test = branch.test
    if len(test.ops) != 1 or not isinstance(test.ops[0], ast.Lt):
        return None
    kept = [assigned(node) for node in branch.body]
    if not 1 <= len(kept) <= 2 or any(pair is None for pair in kept):
        return None
    pairs = dict(pair for pair in kept if pair is not None)
    sides = (
        test.left,
        test.comparators[0],
    )  # ``key < low`` looks for the least, ``high < key`` for the greatest
    bounds = [n for n, side in enumerate(sides) if isinstance(side, ast.Name) and side.id in pairs]
    if not bounds:
        return None
    at = bounds[-1]
    bound, key = sides[at], sides[1 - at]
    assert isinstance(bound, ast.Name)
    whole: ast.stmt = ast.Expr(key)
    for node in reversed(loop.body[:-1]):
        named = assigned(node)
        if named is None:
            return None
        whole = substitute(whole, *named)
    assert isinstance(whole, ast.Expr)
    called = "min" if at == 1 else "max"
    target = next((name for name in pairs if name != bound.id), bound.id)
    return _extreme(called, target, loop, whole.value), set(pairs)


def _extreme(called: str, target: str, loop: ast.For, key: ast.expr) -> ast.stmt:
    assert isinstance(loop.target, ast.Name)
    element = ast.arguments([], [ast.arg(loop.target.id)], None, [], [], None, [])
    function = ast.Lambda(element, key)
    call = ast.Call(ast.Name(called, ast.Load()), [loop.iter], [ast.keyword("key", function)])
    made = ast.Assign([ast.Name(target, ast.Store())], ast.copy_location(call, loop))
    return ast.copy_location(made, loop)
