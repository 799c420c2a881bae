"""Builds the table of what is public, from transformers' wheels and from published tokenizers.

Usage: ``python -m filiation.traces.build WHEEL... TOKENIZER_JSON...``

The classes are read as syntax trees and never imported. What is kept are hashes and counts, no text of theirs: for
every config key and every (key, default) pair, how many families have it; for every family, the names of the modules
and parameters that its classes make.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import struct
import sys
import warnings
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filiation.traces.public import HERE, hash_of, value_key

_BASE = "transformers/configuration_utils.py"
_MODELS = "transformers/models/"
_SHARED = tuple(
    f"transformers/{name}.py"
    for name in (
        "tokenization_utils", "tokenization_utils_base", "tokenization_utils_fast", "tokenization_utils_tokenizers",
        "tokenization_utils_sentencepiece", "tokenization_python", "processing_utils", "image_processing_utils",
        "image_processing_utils_fast", "feature_extraction_utils", "modeling_utils",
    )
)  # fmt: skip


def table(wheels: list[Path], tokenizers: list[Path]) -> dict[str, Any]:
    """Return the table of these wheels and tokenizer.json files, as JSON types."""
    classes: set[str] = set()
    tokens: set[str] = set()
    for path in tokenizers:
        document = json.loads(path.read_text(encoding="utf-8"))
        tokens |= {entry["content"] for entry in document["added_tokens"]}
    keys: dict[str, set[str]] = defaultdict(set)
    values: dict[str, set[str]] = defaultdict(set)
    names: dict[str, set[str]] = defaultdict(set)
    sources: list[dict[str, str]] = []
    for wheel in wheels:
        sources.append(
            {"file": wheel.name, "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()},
        )
        for path, tree in _modules(wheel):
            classes |= {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
            if path == _BASE:
                for key, _ in _defaults(tree):
                    keys[key].add("*")
                continue
            family, _, file = path.removeprefix(_MODELS).rpartition("/")
            if file.startswith("configuration_"):
                for key, value in _defaults(tree):
                    keys[key].add(family)
                    values[value_key(key, value)].add(family)
            elif file.startswith("modeling_"):
                names[family] |= _attributes(tree)
    families = set[str]().union(*keys.values()) - {"*"}
    return {
        "sources": sources,
        "families": len(families),
        "keys": _packed({key: len(families) if "*" in who else len(who) for key, who in keys.items()}),
        "values": _packed({key: len(who) for key, who in values.items()}),
        "classes": _hashes(classes),
        "tokens": _hashes(tokens),
        "names": {family: _hashes(found) for family, found in sorted(names.items())},
    }


def _modules(wheel: Path) -> Iterator[tuple[str, ast.Module]]:
    with zipfile.ZipFile(wheel) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(archive.namelist()):
            file = path.rpartition("/")[2]
            wanted = (path.startswith(_MODELS) and file.endswith(".py")) or path in _SHARED
            if path == _BASE or (wanted and "_tf_" not in file and "_flax_" not in file):
                yield path, ast.parse(archive.read(path))


def _defaults(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """Yield the fields and arguments of config classes with their literal defaults (None where it is no literal)."""
    for cls in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for node in cls.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield node.target.id, _literal(node.value)
            elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
                arguments = [*node.args.posonlyargs, *node.args.args][1:]
                padding: list[ast.expr | None] = [None] * (len(arguments) - len(node.args.defaults))
                for argument, default in zip(arguments, [*padding, *node.args.defaults], strict=True):
                    yield argument.arg, _literal(default)
                for inner in ast.walk(node):  # kwargs.pop("return_dict", True), as the base class reads them
                    if (
                        isinstance(inner, ast.Call)
                        and isinstance(inner.func, ast.Attribute)
                        and inner.func.attr in ("pop", "get")
                        and len(inner.args) == 2
                        and isinstance(inner.args[0], ast.Constant)
                        and isinstance(inner.args[0].value, str)
                    ):
                        yield inner.args[0].value, _literal(inner.args[1])


def _literal(node: ast.expr | None) -> Any:
    if isinstance(node, ast.Call):  # interval(min=0.0, max=1.0)(default=0.02)
        named = next((k.value for k in node.keywords if k.arg == "default"), None)
        return None if named is None else _literal(named)
    try:
        return None if node is None else ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return None


def _attributes(tree: ast.Module) -> set[str]:
    """Return the names that ``self.x = Something(...)`` and ``register_buffer("x", ...)`` give."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call | ast.Name):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {
                t.attr
                for t in targets
                if isinstance(t, ast.Attribute) and isinstance(t.value, ast.Name) and t.value.id == "self"
            }
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            first = node.args[0]
            registers = node.func.attr in ("register_buffer", "register_parameter", "add_module")
            if registers and isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.add(first.value)
    return found


def _packed(counts: Mapping[str, int]) -> str:
    merged: Counter[int] = Counter()
    for key, count in counts.items():
        merged[hash_of(key)] = max(merged[hash_of(key)], count)
    rows = b"".join(
        struct.pack("<IH", number, min(count, 65_535)) for number, count in sorted(merged.items())
    )
    return base64.b64encode(rows).decode("ascii")


def _hashes(found: set[str]) -> str:
    rows = b"".join(struct.pack("<I", number) for number in sorted({hash_of(name) for name in found}))
    return base64.b64encode(rows).decode("ascii")


def main(arguments: list[str]) -> None:
    """Write the table of the wheels that are named."""
    wheels = [Path(argument) for argument in arguments if argument.endswith(".whl")]
    document = table(wheels, [Path(argument) for argument in arguments if argument.endswith(".json")])
    text = json.dumps(document, indent=1, sort_keys=True)
    (HERE / "public.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
