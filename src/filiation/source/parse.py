"""From the bytes of a file to its syntax tree, or the reason why there is none. Nothing is executed or imported."""

from __future__ import annotations

import ast
import codecs
import re
import warnings
from dataclasses import dataclass

from filiation.errors import MissingExtraError

MOST_BYTES = 2 * 2**20
_MOST_LINE = 20_000  # characters of one line; longer ones are data that a program wrote
_MOST_STATEMENTS = (
    20_000  # at most, by ends of lines and semicolons; four times the longest file of transformers
)
_ENCODING = re.compile(rb"^[ \t\f]*#[^\n]{0,200}?coding[:=][ \t]*([-\w.]{1,40})")
_SOURCE = (".py", ".pyi")
_NOTEBOOK = ".ipynb"
_OTHER = (
    ".c", ".cc", ".cpp", ".cu", ".cuh", ".go", ".h", ".hpp", ".java", ".jl", ".js", ".kt", ".lua", ".m", ".mjs",
    ".mm", ".pyx", ".r", ".rs", ".scala", ".sh", ".swift", ".ts", ".tsx",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parsed:
    """A tree, the text it was made from, and the lines that could not be parsed."""

    tree: ast.Module
    text: str
    repaired: tuple[int, ...] = ()


def left_out(path: str) -> str | None:
    """Return why a file is not examined by its name (a notebook, another language), None for Python and no code."""
    name = path.lower()
    if name.endswith(_NOTEBOOK):
        return "notebook"
    return "other_language" if name.endswith(_OTHER) else None


def is_python(path: str) -> bool:
    """Return whether a file is Python source by its name."""
    return path.lower().endswith(_SOURCE)


def decode(data: bytes) -> str:
    """Return source as text: as its mark or its first two lines say, else UTF-8, else Latin-1."""
    if data.startswith(codecs.BOM_UTF8):
        return data.decode("utf-8-sig", "replace")
    for line in data.split(b"\n", 2)[:2]:
        said = _ENCODING.match(line)
        if said:
            try:
                name = codecs.lookup(said.group(1).decode("ascii")).name
                return data.decode(name)
            except (LookupError, UnicodeError, ValueError):
                break
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def parse(data: bytes) -> Parsed | str:
    """Return the tree of a Python file, or why there is none (a phrase key).

    Where the syntax is broken or of an old Python, the statements that cannot be parsed are passed over, which takes
    the extra ``code``.
    """
    if len(data) > MOST_BYTES:
        return "too_large"
    text = decode(data).replace("\r\n", "\n").replace("\r", "\n").replace("\f", " ")
    if "\0" in text:
        return "not_text"
    statements = text.count("\n") + text.count(";")
    if statements > _MOST_STATEMENTS or max(map(len, text.split("\n")), default=0) > _MOST_LINE:
        return "generated"
    tree = tree_of(text)
    if isinstance(tree, ast.Module):
        return Parsed(tree, text)
    if tree == "too_deep":
        return tree
    try:
        from filiation.source.repair import repaired
    except MissingExtraError:
        return "broken_syntax"
    return repaired(text) or "broken_syntax"


def tree_of(text: str) -> ast.Module | str:
    """Return the tree of ``text``, or ``broken`` or ``too_deep``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in somebody's text is no news
            return ast.parse(text)
    except (RecursionError, MemoryError):
        return "too_deep"
    except (SyntaxError, ValueError) as error:
        return "too_deep" if "too many nested" in str(error) else "broken"
