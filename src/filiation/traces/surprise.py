"""How much of an agreement of tensor names is left when public naming has explained what it can.

Most names of a language model are convention: whoever builds a Llama-like model writes ``self_attn.q_proj``. So the
names of each component (what stands under one first segment) are first explained by the one released family whose
names cover most of them, for nothing. Each remaining name counts minus log10 of the share of released families that
have it at all, half a family where none has. What the choice of the rename map could have fitted is taken off:
log10 of the number of renames it was chosen from, per rename. The result is a description length in decimal digits, no
probability: names are not chosen independently of one another.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from filiation.anatomy.rename import apply
from filiation.traces.public import Public, hash_of, public

_MOST_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Surprise:
    """``log10`` decimal digits that public naming leaves open, never below 0; ``rare`` are the names they rest on."""

    log10: float
    rare: tuple[str, ...]


def surprise(
    names: Sequence[str], others: Sequence[str], mapping: Mapping[str, str], family: str | None = None
) -> Surprise:
    """Return how surprising it is that ``mapping`` turns so many of ``names`` into ``others``.

    Args:
        names: the suspect's tensor names.
        others: the reference's.
        mapping: the renames, as :func:`filiation.anatomy.rename.smallest_rename` gives them.
        family: the reference's ``model_type``; families of its own line explain nothing.
    """
    table = public()
    components = _shared_segments(names, set(others), mapping)
    families = [f for f in table.named_families if not _of_one_line(f, family)]
    rare: dict[str, float] = {}
    for segments in components.values():
        rare |= _unexplained(segments, families, table)
    candidates = len(_segments(names)) * len(_segments(others))
    paid = len(mapping) * math.log10(max(1, candidates))
    shown = sorted(rare, key=lambda name: (-rare[name], name))
    return Surprise(round(max(0.0, sum(rare.values()) - paid), 2), tuple(shown[:_MOST_SHOWN]))


def _shared_segments(
    names: Sequence[str], others: set[str], mapping: Mapping[str, str]
) -> dict[str, set[str]]:
    """Return, by component, the segments that stand unrenamed in names that are matched; numbers are none."""
    renamed = set(mapping) | set(mapping.values())
    touched = {part for run in renamed for part in run.split(".")}
    found: dict[str, set[str]] = defaultdict(set)
    for name in names:
        if apply(mapping, name) in others:
            parts = name.split(".")
            found[parts[0]] |= {p for p in parts if p and not p.isdecimal() and p not in touched}
    return found


def _unexplained(segments: set[str], families: Sequence[str], table: Public) -> dict[str, float]:
    """Return the segments that the best one family lacks, with what each counts."""
    cost = {s: _cost(s, table) for s in segments}
    hashes = {s: hash_of(s) for s in segments}

    def left(family: str) -> float:
        names = table.names_of(family)
        return sum(cost[s] for s in segments if hashes[s] not in names)

    best = min(families, key=lambda f: (left(f), f), default=None)
    own = frozenset[int]() if best is None else table.names_of(best)
    return {s: cost[s] for s in segments if hashes[s] not in own and cost[s] > 0}


def _cost(segment: str, table: Public) -> float:
    count, of = table.families_with_name(segment), len(table.named_families)
    return -math.log10(min(1.0, max(count, 1 / 2) / of)) if of else 0.0


def _segments(names: Sequence[str]) -> set[str]:
    return {part for name in names for part in name.split(".") if part and not part.isdecimal()}


def _of_one_line(family: str, other: str | None) -> bool:
    """Whether two family names begin alike (``minicpmv``, ``minicpmv4_6``)."""
    if other is None:
        return False
    a, b = ("".join(c for c in name.lower() if c.isalnum()) for name in (family, other))
    return bool(a and b) and (a.startswith(b) or b.startswith(a))
