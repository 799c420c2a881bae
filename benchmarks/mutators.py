"""Rewritings of Python source for the benchmark of the source wing: what a copier does, one step a function.

Every mutator takes and gives text and keeps what the code does, except that dead statements are added. ``seed`` fixes
what is random.
"""

from __future__ import annotations

import ast
import builtins
import random
from collections.abc import Callable

Mutator = Callable[[str, int], str]


def strip(source: str, seed: int = 0) -> str:
    """Remove comments, docstrings, annotations and formatting."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    return ast.unparse(ast.fix_missing_locations(tree))


class _Rename(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in ("id", "attr", "arg", "name"):
            value = getattr(node, field, None)
            if isinstance(value, str) and value in self.names and not isinstance(node, ast.alias):
                setattr(node, field, self.names[value])
        return node


def rename(source: str, seed: int = 0) -> str:
    """Rename every class, function, parameter, local name and attribute of ``self`` that the file defines."""
    tree = ast.parse(source)
    defined: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            defined.add(node.attr)
    imported = {
        a.asname or a.name.partition(".")[0]
        for n in ast.walk(tree)
        if isinstance(n, ast.Import | ast.ImportFrom)
        for a in n.names
    }
    kept = (
        set(dir(builtins))
        | imported
        | {"self", "cls", "forward", "weight", "bias", "training", "dtype", "device", "data", "shape"}
        | _parameters_of(imported, tree)
    )
    chosen = sorted(n for n in defined if n not in kept and not n.startswith("__"))
    numbers = list(range(len(chosen)))
    random.Random(seed).shuffle(numbers)
    return ast.unparse(_Rename({n: f"v{k}_q" for n, k in zip(chosen, numbers, strict=True)}).visit(tree))


def _parameters_of(imported: set[str], tree: ast.Module) -> set[str]:
    """Return the keywords in calls of what other packages bring: under another name the program would not run."""
    calls = (n for n in ast.walk(tree) if isinstance(n, ast.Call) and _root(n.func) in imported)
    return {k.arg for call in calls for k in call.keywords if k.arg is not None}


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def reorder(source: str, seed: int = 0) -> str:
    """Shuffle the definitions of the module and the methods of every class."""
    tree, chance = ast.parse(source), random.Random(seed)
    for block in [tree, *(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef))]:
        spots = [i for i, n in enumerate(block.body) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        moved = [block.body[i] for i in spots]
        chance.shuffle(moved)
        for i, node in zip(spots, moved, strict=True):
            block.body[i] = node
    return ast.unparse(tree)


def dead_code(source: str, seed: int = 0) -> str:
    """Put a statement that does nothing after every second statement of every function."""
    tree, chance = ast.parse(source), random.Random(seed)
    for function in [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]:
        body: list[ast.stmt] = []
        for at, node in enumerate(function.body):
            body.append(node)
            if at % 2 and not isinstance(node, ast.Return):
                k = chance.randrange(10_000)
                body += ast.parse(f"unused_{k} = {k} * {chance.randrange(99)} + {chance.randrange(99)}").body
        function.body = body
    return ast.unparse(ast.fix_missing_locations(tree))


def everything(source: str, seed: int = 0) -> str:
    """Strip, rename, reorder and add dead code."""
    return dead_code(reorder(rename(strip(source), seed), seed), seed)


class _Idioms(ast.NodeTransformer):
    """Writes comprehensions as loops, conditional expressions as branches, sums in place as sums; swaps branches."""

    def __init__(self) -> None:
        self.made = 0

    def _block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for node in body:
            result += self._one(node)
        return self._pairs(result)

    def _one(self, node: ast.stmt) -> list[ast.stmt]:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
            if (
                isinstance(target, ast.Name)
                and isinstance(value, ast.ListComp)
                and len(value.generators) == 1
            ):
                return self._loop(target, value)
            if isinstance(value, ast.IfExp):
                branch = ast.If(
                    ast.UnaryOp(ast.Not(), value.test),
                    [ast.Assign([target], value.orelse)],
                    [ast.Assign([target], value.body)],
                )
                return [branch]
            if isinstance(value, ast.BinOp) and isinstance(target, ast.Name) and _is(value.left, target.id):
                return [ast.AugAssign(target, value.op, value.right)]
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
            name = self._name()
            return [
                ast.Assign([ast.Name(name, ast.Store())], node.value),
                ast.Return(ast.Name(name, ast.Load())),
            ]
        if isinstance(node, ast.If) and node.orelse and not isinstance(node.orelse[0], ast.If):
            return [ast.If(ast.UnaryOp(ast.Not(), node.test), node.orelse, node.body)]
        return [node]

    def _pairs(self, body: list[ast.stmt]) -> list[ast.stmt]:
        """Join two assignments to names into one of tuples where the second does not read the first."""
        result: list[ast.stmt] = []
        for node in body:
            last = result[-1] if result else None
            if _simple(last) and _simple(node) and not _reads(node.value, last.targets[0].id):  # type: ignore[union-attr]
                targets = ast.Tuple([last.targets[0], node.targets[0]], ast.Store())  # type: ignore[union-attr]
                result[-1] = ast.Assign([targets], ast.Tuple([last.value, node.value], ast.Load()))  # type: ignore[union-attr]
            else:
                result.append(node)
        return result

    def _loop(self, target: ast.Name, value: ast.ListComp) -> list[ast.stmt]:
        step = value.generators[0]
        append = ast.Attribute(ast.Name(target.id, ast.Load()), "append", ast.Load())
        body: list[ast.stmt] = [ast.Expr(ast.Call(append, [value.elt], []))]
        for test in reversed(step.ifs):
            body = [ast.If(test, body, [])]
        return [ast.Assign([target], ast.List([], ast.Load())), ast.For(step.target, step.iter, body, [])]

    def _name(self) -> str:
        self.made += 1
        return f"result_{self.made}"

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if all(k.arg is not None for k in node.keywords):
            node.keywords = node.keywords[::-1]
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for name in ("body", "orelse"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block and not isinstance(node, ast.Module | ast.ClassDef):
                setattr(node, name, self._block(block))
        return node


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _simple(node: ast.stmt | None) -> bool:
    return (
        isinstance(node, ast.Assign)
        and len(node.targets) == 1
        and isinstance(node.targets[0], ast.Name)
        and not isinstance(node.value, ast.Tuple)
    )


def _reads(node: ast.expr, name: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node))


def idioms(source: str, seed: int = 0) -> str:
    """Rewrite idioms: loops for comprehensions, branches for expressions, tuples for single assignments, and so on."""
    return ast.unparse(ast.fix_missing_locations(_Idioms().visit(ast.parse(source))))


def idioms_and_everything(source: str, seed: int = 0) -> str:
    """Rewrite idioms, then all of :func:`everything`."""
    return everything(idioms(source, seed), seed)


LADDER: dict[str, Mutator] = {
    "as it is": lambda source, seed=0: source,
    "stripped": strip,
    "renamed": rename,
    "reordered": reorder,
    "dead code": dead_code,
    "all four": everything,
    "idioms rewritten": idioms,
    "idioms and all four": idioms_and_everything,
}
