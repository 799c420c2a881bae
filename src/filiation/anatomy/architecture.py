"""What is new in the suspect's architecture: a fact about names and sizes, no evidence about weights."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from filiation.anatomy.model import Anatomy


def architecture_difference(suspect: Anatomy, candidate: Anatomy) -> dict[str, Any]:
    """Return which kinds of parts were added and removed and which sizes and kinds changed, per component.

    Keys: ``added`` and ``removed`` (``component: role``), ``changed`` (``what``, ``suspect``, ``candidate``) and
    ``same``: whether nothing of these differs.
    """
    mine, theirs = _kinds(suspect), _kinds(candidate)
    changed: list[dict[str, Any]] = []
    for component in (c for c in suspect.components if c in candidate.components):
        a, b = suspect.geometry[component], candidate.geometry[component]
        changed += [
            {"what": f"{component}: {f.name}", "suspect": getattr(a, f.name), "candidate": getattr(b, f.name)}
            for f in fields(a)
            if getattr(a, f.name) != getattr(b, f.name)
        ]
    added, removed = sorted(mine - theirs), sorted(theirs - mine)
    return {"added": added, "removed": removed, "changed": changed, "same": not (added or removed or changed)}


def _kinds(model: Anatomy) -> set[str]:
    return {f"{p.component}: {p.role}" for p in model.parts}
