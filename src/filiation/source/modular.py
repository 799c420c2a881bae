"""Inheritance that a file itself states: the banner of a generated file, and the classes of a modular one."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

from filiation.source.model import Disclosed
from filiation.source.uses import holders

_HEAD = 4_000  # characters in which a banner is looked for
_BANNER = re.compile(r"automatically generated from\s{1,4}([\w./-]{1,200}?)\.?\s", re.IGNORECASE)
_MODEL = re.compile(
    r"(?:modeling|modular|configuration|image_processing|processing|tokenization)_(?:tf_|flax_)?(\w+)$"
)


def disclosed(path: str, text: str, tree: ast.Module) -> tuple[Disclosed, ...]:
    """Return what a file says of where it comes from, by banner and by the classes that it extends.

    Classes count where they are imported from another model's module (``..llama.modeling_llama`` or
    ``transformers.models.llama.modeling_llama``).
    """
    found: list[Disclosed] = []
    banner = _BANNER.search(text[:_HEAD])
    if banner:
        line = text.count("\n", 0, banner.start()) + 1
        found.append(Disclosed(path, line, "generated", banner.group(1)))
    sources = _imported_classes(tree)
    inherited: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                if isinstance(base, ast.Name) and base.id in sources:
                    inherited[sources[base.id]].append((node.lineno, f"{node.name}({base.id})"))
    for source, classes in sorted(inherited.items()):
        found.append(Disclosed(path, classes[0][0], "inherits", source, tuple(name for _, name in classes)))
    return tuple(found)


def parents(tree: ast.Module) -> tuple[str, ...]:
    """Return the models from whose modeling modules a file takes classes that it extends, sorted."""
    sources = _imported_classes(tree, code_only=True)
    bases = {
        b.id for n in holders(tree) if isinstance(n, ast.ClassDef) for b in n.bases if isinstance(b, ast.Name)
    }
    return tuple(sorted({_model(sources[b]) for b in bases if b in sources}))


def _imported_classes(tree: ast.Module, *, code_only: bool = False) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in holders(tree):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        of_a_model = node.module.startswith("transformers.models.") or (node.level and "." in node.module)
        if not of_a_model or node.module.startswith("auto."):
            continue
        last = node.module.rpartition(".")[2]
        if not _MODEL.match(last) or (code_only and not last.startswith(("modeling_", "modular_"))):
            continue
        for alias in node.names:
            found[alias.asname or alias.name] = node.module.lstrip(".")
    return found


def _model(module: str) -> str:
    """Return the model of a module's name: ``llama`` for ``llama.modeling_llama``."""
    said = _MODEL.match(module.rpartition(".")[2])
    return said.group(1) if said else module
