"""An anatomy as plain data: what `filiation inspect` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from filiation.anatomy.model import Anatomy, Part


def describe(anatomy: Anatomy) -> dict[str, Any]:
    """Return everything known about a model's parts as JSON-ready data, in a fixed order.

    Keys: ``name, locator, revision, format, digest, bytes, tensors, dtypes, family, components, unnamed, beyond,
    unread, disputed, inferences, rename_map, notes``. Each component has ``name, geometry, rulings, roles``; each role
    has its count of parts, the layers and experts it occurs in, its shapes and axes. No weights are read.
    """
    checkpoint = anatomy.checkpoint
    tensors = checkpoint.tensors
    return {
        "name": checkpoint.name,
        "locator": checkpoint.locator,
        "revision": checkpoint.revision,
        "format": checkpoint.format,
        "digest": checkpoint.digest,
        "bytes": checkpoint.total_bytes,
        "tensors": len(tensors),
        "dtypes": dict(sorted(Counter(info.dtype for info in tensors.values()).items())),
        "family": anatomy.family,
        "components": [_component(anatomy, name) for name in anatomy.components],
        "unnamed": [{"tensor": name, "shape": list(tensors[name].shape)} for name in anatomy.unnamed],
        "beyond": {component: list(names) for component, names in anatomy.beyond.items()},
        "unread": {component: list(names) for component, names in anatomy.unread.items()},
        "disputed": {component: list(names) for component, names in anatomy.disputed.items()},
        "inferences": [{"what": i.what, "basis": i.basis} for i in anatomy.inferences],
        "rename_map": dict(sorted(anatomy.rename_map.items())),
        "notes": list(checkpoint.notes),
    }


def _component(anatomy: Anatomy, name: str) -> dict[str, Any]:
    parts = [part for part in anatomy.parts if part.component == name]
    roles = dict.fromkeys(part.role for part in parts)
    return {
        "name": name,
        "geometry": asdict(anatomy.geometry[name]),
        "rulings": [
            {"symmetry": str(r.symmetry), "holds": r.holds, "reason": r.reason} for r in anatomy.rulings[name]
        ],
        "roles": [_role(role, [part for part in parts if part.role == role]) for role in roles],
    }


def _role(role: str, parts: Sequence[Part]) -> dict[str, Any]:
    first = parts[0]
    return {
        "role": role,
        "parts": len(parts),
        "layers": _ranges(part.layer for part in parts if part.layer is not None),
        "experts": _ranges(part.expert for part in parts if part.expert is not None),
        "shapes": [list(shape) for shape in dict.fromkeys(part.shape for part in parts)],
        "axes": [str(axis) for axis in first.axes],
        "example": first.tensor,
        "view": _view(first),
    }


def _view(part: Part) -> list[str]:
    """What is done to the stored tensor on reading."""
    view = part.view
    words = [
        ("one of stacked experts", view.expert is not None),
        ("transposed", view.transpose),
        ("rows selected", view.rows is not None),
        (f"{view.offset:+g} added", bool(view.offset)),
    ]
    return [word for word, applies in words if applies]


def _ranges(numbers: Iterable[int]) -> str | None:
    """Numbers as a reader writes them: ``0-3, 5``; None for none."""
    ordered = sorted(set(numbers))
    if not ordered:
        return None
    runs: list[list[int]] = []
    for number in ordered:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
