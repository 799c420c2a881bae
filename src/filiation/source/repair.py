"""Broken or old syntax: tree-sitter finds the statements, those that Python cannot parse are passed over.

A statement that is passed over becomes ``pass``, its lines become empty, so that every other line keeps its number and
is hashed as in a file without mistakes.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from typing import Any

from filiation.errors import MissingExtraError
from filiation.source.parse import Parsed, tree_of

try:
    import tree_sitter_python
    from tree_sitter import Language, Parser
except ImportError as error:
    raise MissingExtraError("Reading source with broken syntax", "code", "tree-sitter-python") from error

_MOST_ROUNDS = 40
_HEADS = ("if 1:", "except Exception:", "elif 1:")
_COMPOUND = frozenset(
    {
        "class_definition",
        "decorated_definition",
        "for_statement",
        "function_definition",
        "if_statement",
        "match_statement",
        "try_statement",
        "while_statement",
        "with_statement",
    }
)


def repaired(text: str) -> Parsed | None:
    """Return the tree of what can be parsed, or None where too little is left."""
    lines = text.split("\n")
    lost: set[int] = set()
    for first, last in _unparsable(text):
        _pass_over(lines, first, last, lost)
    for _ in range(_MOST_ROUNDS):
        whole = "\n".join(lines)
        tree = tree_of(whole)
        if isinstance(tree, ast.Module):
            return (
                Parsed(tree, text, tuple(sorted(n + 1 for n in lost)))
                if len(lost) <= len(lines) / 2
                else None
            )
        at = _line_of_error(whole)
        if tree == "too_deep" or at is None or at >= len(lines):
            return None
        at = _in_the_way(lines, at, lost)
        _pass_over(lines, at, at, lost)
    return None


def _unparsable(text: str) -> Iterator[tuple[int, int]]:
    """Yield the lines (from 0, first and last) of the innermost statements with an error or of an old Python."""
    data = text.encode("utf-8", "replace")
    tree = Parser(Language(tree_sitter_python.language())).parse(data)
    stack: list[Any] = [tree.root_node]
    while stack:
        node = stack.pop()
        inner = [child for child in node.children if child.is_named]
        simple = node.type.endswith("statement") and node.type not in _COMPOUND
        lost = node.type == "ERROR" and not any(child.has_error or _is_block(child) for child in inner)
        if lost or (simple and not _parses(data[node.start_byte : node.end_byte])):
            yield node.start_point[0], node.end_point[0]
        elif not simple:
            stack += inner


def _is_block(node: Any) -> bool:
    return node.type == "block" or node.type.endswith(("statement", "definition"))


def _parses(piece: bytes) -> bool:
    """Return whether a simple statement is one of today's Python, taken for itself inside a function and a loop."""
    body = textwrap.indent(textwrap.dedent(piece.decode("utf-8", "replace")), "  ")
    return isinstance(tree_of(f"async def f():\n while 1:\n{body}"), ast.Module)


def _line_of_error(text: str) -> int | None:
    try:
        ast.parse(text)
    except SyntaxError as error:
        return (error.lineno or 1) - 1
    except (ValueError, RecursionError, MemoryError):
        return None
    return None


def _in_the_way(lines: list[str], at: int, lost: set[int]) -> int:
    """Return the line to pass over: the one with the error, or a ``pass`` above it that ended its block too soon."""
    above = at - 1
    while above >= 0 and not lines[above].strip():
        above -= 1
    deeper = len(lines[at]) - len(lines[at].lstrip()) > len(lines[max(above, 0)]) - len(
        lines[max(above, 0)].lstrip()
    )
    return above if above in lost and lines[above].strip() == "pass" and deeper else at


def _pass_over(lines: list[str], first: int, last: int, lost: set[int]) -> None:
    """Put ``pass`` in place of a line and empty those after it; the head of a block becomes one that parses.

    A line that stays in the way loses first its head, then its ``pass``.
    """
    for at in range(first, min(last, len(lines) - 1) + 1):
        line = lines[at].strip()
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        if at > first or line == "pass":
            lines[at] = ""
        elif line.endswith(":") and line not in _HEADS:
            word = line.split(maxsplit=1)[0].rstrip(":")
            lines[at] = indent + {"except": _HEADS[1], "elif": _HEADS[2]}.get(word, _HEADS[0])
        else:
            lines[at] = f"{indent}pass"
        lost.add(at)
