"""Which maker makes a model, and writing what it made as a public repository would hold it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from filiation.errors import UsageError
from filiation.lab.material import Material, load
from filiation.lab.recipe import Node
from filiation.lab.save import save_model


def bred(node: Node, zoo: Path, state: Path, folder: Path) -> dict[str, Any]:
    """Make one model, write its folder and return what was measured.

    Args:
        state: where a training run keeps what it needs to go on.
        folder: where the model is written; empty.
    """
    material = _material(zoo / ".state")
    parents = [zoo / parent for parent in node.parents]
    if node.maker == "train":
        from filiation.lab.teach import teach

        model = teach(node, parents, material, state)
        save_model(folder, model.tensors, model.config, material.tokenizer_json)
        return model.record
    raise UsageError(f"there is no maker {node.maker}")


@functools.cache
def _material(folder: Path) -> Material:
    return load(folder)
