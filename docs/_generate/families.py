"""The model families, for `docs/families.md`: taken from the tables and from what the tests dissect."""

from __future__ import annotations

from collections import defaultdict

from docs._generate.pages import code, table
from filiation.anatomy.families import families
from filiation.anatomy.names import find_stacks
from filiation.anatomy.tables import Family
from filiation.anatomy.towers import Clues, raise_towers
from filiation.checkpoint import Checkpoint

PAGE = "docs/families.md"
#: Tables that give names to any architecture, so that nothing of their own can be stored.
GENERAL = {"gguf", "gguf_vision"}


def parts() -> dict[str, str]:
    """Return every generated part of the page.

    Raises:
        LookupError: a family is checked against nothing.
    """
    checked = _checked()
    rows: list[list[str]] = []
    loose = [f.name for f in families() if f.name not in checked and f.name not in GENERAL]
    for family in families():
        if family.name in GENERAL:
            continue
        rows.append([f"`{family.name}`", *_called(family), checked.get(family.name, "names only")])
    head = ["family", "`model_type`", "GGUF architecture", "checked against"]
    counts = (
        f"{len(rows)} tables, {len(rows) - len(loose)} of them checked by a test; the others are names only."
    )
    return {"families": f"{counts}\n\n{table(head, sorted(rows))}"}


def _called(family: Family) -> tuple[str, str]:
    types = code((*family.model_types, *(() if family.model_types else family.architectures)))
    return types or "-", code(family.gguf) or "-"


def _checked() -> dict[str, str]:
    """Return what each family was checked against, by its name."""
    from tests.anatomy import test_families, test_gguf, test_remote_code

    found: dict[str, list[str]] = defaultdict(list)
    versions: set[str] = set()
    for name in test_families.FAMILIES:
        record = test_families.inventory(name)
        versions.add(record["transformers"])
        for family in _towers(test_families.dissected(name).checkpoint):
            found[family].append(f"`{record['class']}`")
    if len(versions) != 1:
        raise LookupError(f"the inventories come from several versions of transformers: {sorted(versions)}")
    stated = {k: f"{', '.join(dict.fromkeys(v))} of transformers {min(versions)}" for k, v in found.items()}
    for name in test_remote_code.CASES:
        stated[name] = _joined(stated.get(name), "stored names of its published code")
    for name, _ in test_gguf._PAIRS:  # pyright: ignore[reportPrivateUsage]
        stated[name] = _joined(stated.get(name), "`gguf` package's names")
    return stated


def _joined(before: str | None, more: str) -> str:
    return more if before is None else before if more in before else f"{before}; {more}"


def _towers(checkpoint: Checkpoint) -> list[str]:
    """Return the tables that name the towers of a checkpoint."""
    tensors = checkpoint.tensors
    stacks, loose = find_stacks(tensors)
    clues = Clues({n: t.shape for n, t in tensors.items()}, list(loose), checkpoint.config, None)
    return [tower.family.name for tower in raise_towers(stacks.values(), tensors, clues)]
