"""Training text that every CPython brings: two domains and one set of instruction pairs.

Domain A is technical prose: the language reference that `pydoc` shows (`pydoc_data.topics`) and the docstrings of
the standard library. Domain B is code: the sources of the standard library with their docstrings cut out, so that
the two domains share no passage. Nothing is downloaded. The text differs between CPython versions, which is why
`digest` is recorded beside every model trained on it.
"""

from __future__ import annotations

import ast
import hashlib
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Domain = Literal["prose", "code"]
Split = Literal["train", "tune", "held_out"]

# Tests repeat themselves, encodings and data tables are numbers rather than text, and what a build generates
# (`_sysconfigdata*`) would make the digest depend on the machine.
_LEFT_OUT_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "encodings", "pydoc_data", "ensurepip",
     "__pycache__", "lib-dynload", "turtledemo", "__phello__"}
)  # fmt: skip
_LEFT_OUT_PREFIXES = ("_sysconfigdata", "config-")
_SHORTEST_DOCSTRING = 40
_Documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Document:
    """One piece of training text.

    Attributes:
        name: where it comes from, as `topics/NAME` or a path relative to the standard library.
        domain: `prose` (domain A) or `code` (domain B).
        text: the text itself.
    """

    name: str
    domain: Domain
    text: str

    @property
    def split(self) -> Split:
        """The split this document belongs to, decided by a hash of its name alone (13/16, 2/16, 1/16)."""
        bucket = hashlib.sha256(self.name.encode()).digest()[0] % 16
        return "held_out" if bucket == 0 else "tune" if bucket <= 2 else "train"


@dataclass(frozen=True)
class Pair:
    """One supervised example: a signature asks, the docstring answers."""

    prompt: str
    answer: str


@dataclass(frozen=True)
class Corpus:
    """All documents of both domains, in the order of their names."""

    documents: tuple[Document, ...]
    pairs: tuple[Pair, ...]

    def texts(self, domain: Domain, split: Split) -> Iterator[str]:
        """Yield the texts of one domain and split, in the order of their names."""
        return (d.text for d in self.documents if d.domain == domain and d.split == split)

    def digest(self) -> str:
        """Return the sha256 of names and texts, which pins what a model was trained on."""
        running = hashlib.sha256()
        for document in self.documents:
            for part in (document.domain, document.name, document.text):
                data = part.encode()
                running.update(len(data).to_bytes(8, "little") + data)
        return running.hexdigest()


def stdlib_modules(root: Path | None = None) -> list[Path]:
    """List the `.py` files of the standard library that are text worth learning from, in path order.

    Args:
        root: the folder to walk; the running interpreter's standard library when None.
    """
    base = Path(sysconfig.get_paths()["stdlib"]) if root is None else root
    kept = [path for path in base.rglob("*.py") if _is_kept(path.relative_to(base))]
    return sorted(kept, key=lambda path: path.relative_to(base).as_posix())


def _is_kept(relative: Path) -> bool:
    return not any(
        part in _LEFT_OUT_FOLDERS or part.startswith(_LEFT_OUT_PREFIXES) for part in relative.parts
    )


def load_corpus(root: Path | None = None) -> Corpus:
    """Read both domains from the standard library under `root` (the running interpreter's when None).

    Files that do not parse (there are a few by design, for other Python versions) are left out.
    """
    base = Path(sysconfig.get_paths()["stdlib"]) if root is None else root
    documents = list(_topics()) if root is None else []
    pairs: list[Pair] = []
    for path in stdlib_modules(base):
        name = path.relative_to(base).as_posix()
        try:
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source)
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
        code = Document(name, "code", strip_docstrings(source, tree))
        prose = Document(name, "prose", "\n\n".join(docstrings(tree)))
        documents.extend(d for d in (code, prose) if d.text.strip())
        if prose.split == "tune":
            pairs.extend(signature_pairs(tree))
    documents.sort(key=lambda d: (d.domain, d.name))
    return Corpus(tuple(documents), tuple(pairs))


def _topics() -> Iterable[Document]:
    from pydoc_data.topics import topics

    return (Document(f"topics/{name}", "prose", text) for name, text in sorted(topics.items()))


def docstrings(tree: ast.Module) -> list[str]:
    """Return the cleaned docstrings of a module, its classes and functions, from the outside in."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, _Documented))
    found = (ast.get_docstring(node) for node in nodes)
    return [text for text in found if text is not None and len(text) >= _SHORTEST_DOCSTRING]


def strip_docstrings(source: str, tree: ast.Module) -> str:
    """Return `source` without the lines of its docstrings."""
    cut: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, _Documented) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            cut.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines = source.splitlines()
    return "\n".join(line for number, line in enumerate(lines, start=1) if number not in cut) + "\n"


def signature_pairs(tree: ast.Module) -> list[Pair]:
    """Return (signature, docstring) pairs of the functions of a module, for supervised tuning."""
    pairs: list[Pair] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = ast.get_docstring(node)
        if text is not None and len(text) >= _SHORTEST_DOCSTRING:
            arguments = ast.unparse(node.args)
            pairs.append(Pair(f"What does def {node.name}({arguments}) do?\n", text.split("\n\n")[0] + "\n"))
    return pairs
