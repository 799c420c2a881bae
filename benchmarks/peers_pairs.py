"""Which pairs of a zoo the tools are asked about. The rule is fixed here, before any tool has answered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from filiation.lab.kin import Case, Category, Zoo

RULE = """Of every kind of derivation, and of every way in which one was made, the first pair of the zoo;
every model that was laundered in all ways at once after fine-tuning, and what was trained from it, against
the model it began as; every distilled and framed pair; every pair of one initialisation; {each} independent
pairs of one shape, those whose names have the smallest sha256."""


@dataclass(frozen=True)
class Asked:
    """One pair that every tool is asked about.

    Attributes:
        what: the kinds of the line from the candidate to the suspect, each with the way in which it was made.
        group: `true`, `parts` (a graft that must be named as parts), `apart`, `quiet` or `initialisation`.
    """

    suspect: str
    candidate: str
    what: str
    group: str


def chosen(zoo: Zoo, each: int) -> list[Asked]:
    """Return the pairs of :data:`RULE`, each once, in the order of the zoo's cases; `each`: independent pairs."""
    cases = zoo.cases()
    derived = [case for case in cases if case.category is Category.DERIVED]
    firsts = {id(case) for case in _firsts(zoo, derived)}
    kept = [case for case in derived if id(case) in firsts or _is_goal(zoo, case)]
    kept += [case for case in cases if case.category in (Category.QUIET, Category.INITIALISATION)]
    apart = [case for case in cases if case.category is Category.INDEPENDENT and case.same_shape]
    kept += sorted(apart, key=_draw)[:each]
    return list(dict.fromkeys(_asked(zoo, case) for case in kept))


def _firsts(zoo: Zoo, derived: Iterable[Case]) -> Iterator[Case]:
    """Yield the first one-step pair of every kind and of every way in which one was made."""
    seen: set[str] = set()
    for case in derived:
        names = {case.kinds[0], name(zoo, case)}
        if len(case.kinds) == 1 and not names <= seen:
            seen |= names
            yield case


def _is_goal(zoo: Zoo, case: Case) -> bool:
    """Tell whether a case is a model laundered in all ways after fine-tuning, against the model it began as."""
    return "all_together" in case.kinds and len(case.kinds) > 1 and case.candidates[0] in zoo.roots()


def _draw(case: Case) -> str:
    return hashlib.sha256(f"{case.suspect}/{case.candidates[0]}".encode()).hexdigest()


def name(zoo: Zoo, case: Case) -> str:
    """Return what a pair is called in the tables: the steps from the candidate to the suspect."""
    if case.category is not Category.DERIVED:
        return case.kinds[0]
    steps, model = list[str](), case.suspect
    for kind in case.kinds:
        entry = zoo.models[model]
        how = str(entry.get("how") or "")
        steps.append(f"{kind} ({how})" if how else kind)
        parents = [*entry["parents"], model]
        model = parents[0]
    return " + ".join(reversed(steps))


def _asked(zoo: Zoo, case: Case) -> Asked:
    groups = {
        Category.DERIVED: "parts" if case.expected.relations == ("shared_parts",) else "true",
        Category.QUIET: "quiet",
        Category.INITIALISATION: "initialisation",
        Category.INDEPENDENT: "apart",
    }
    return Asked(case.suspect, case.candidates[0], name(zoo, case), groups[case.category])
