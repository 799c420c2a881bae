"""Which tower of the suspect is examined against which of the candidate, and what several of them amount to.

A tower may lie under any name, so every tower is examined against every tower of its kind, not against its namesake
alone. The choice among them is paid for: their e-values are averaged (evidence contract, section 3.6).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from filiation.anatomy.loaded import DRAFT
from filiation.anatomy.model import Anatomy
from filiation.anatomy.standing import kind_of
from filiation.evidence import Evidence, Location, Place, Relation, Status, Wing
from filiation.origin.examine import Examination
from filiation.origin.overall import RANK, above_its_line, mean_of_named, named_with, strength
from filiation.origin.pairing import TokenRows
from filiation.origin.verdict import RELATED, Finding

#: Pairs of towers of different names that are examined at most; the rest is told as not tested.
MOST_CROSSED = 12
TEST = "towers"
#: Why a finding is one of parts: a loader that follows the config would not read the tower it speaks of.
NOT_LOADED = "tower_not_loaded"
#: The same of layers that only predict further tokens, which stand beside a model's own rightly.
DRAFT_ONLY = "draft_not_loaded"
#: The same where several towers could be the one that is loaded, and not all of them have that in common.
CONTESTED = "tower_contested"
#: Why layers were compared with nothing: they lie beyond the number that the model's config says.
BEYOND = "layers_not_loaded"
#: The same of tensors inside layers: loaders of the stated family drop them, or two claim to be one part.
UNREAD, DISPUTED = "tensors_not_loaded", "claimed_twice"
_ASIDE = {"beyond": BEYOND, "unread": UNREAD, "disputed": DISPUTED}
#: The limit of a report in which some towers or tensors were compared with nothing.
NOT_EXAMINED = "towers_not_examined"


@dataclass(frozen=True, slots=True)
class TowerPair:
    """A tower of the suspect and one of the candidate, and the one name under which both are examined.

    ``is_loaded`` says whether loaders that follow the configs read both. Where nothing says which of several towers
    of a model they read, ``with_rivals`` names the pairs of which one is the pair that they read.
    """

    mine: str
    theirs: str
    name: str
    is_loaded: bool
    with_rivals: tuple[str, ...] = ()

    def views(self, suspect: Anatomy, candidate: Anatomy) -> tuple[Anatomy, Anatomy]:
        """Return the two models with these towers under the name that they share here."""
        return suspect.renamed(self.mine, self.name), candidate.renamed(self.theirs, self.name)

    def tokens(self, suspect: Anatomy, candidate: Anatomy, rows: TokenRows | None) -> TokenRows | None:
        """Return the shared token rows where both towers have the embedding tables that they are rows of."""
        if kind_of(self.name) != "language":
            return None
        sides = ((suspect, self.mine), (candidate, self.theirs))
        fits = (model.geometry[c].vocab == model.geometry[model.components[0]].vocab for model, c in sides)
        return rows if all(fits) else None


def tower_pairs(suspect: Anatomy, candidate: Anatomy) -> tuple[TowerPair, ...]:
    """Return the pairs to examine: namesakes first, then other towers of one kind, fixed by names alone."""
    same = [_pair(suspect, candidate, c, c) for c in suspect.components if c in candidate.components]
    crossed = [
        _pair(suspect, candidate, mine, theirs)
        for mine in suspect.components
        for theirs in candidate.components
        if mine != theirs and kind_of(mine) == kind_of(theirs)
    ]
    # Those that a loader reads come first: sorting is stable.
    crossed.sort(key=lambda p: (p.mine in suspect.spare) + (p.theirs in candidate.spare))
    pairs = (*same, *crossed[:MOST_CROSSED])
    return tuple(replace(p, with_rivals=_with_rivals(p, pairs, suspect, candidate)) for p in pairs)


def _with_rivals(
    pair: TowerPair, pairs: Sequence[TowerPair], suspect: Anatomy, candidate: Anatomy
) -> tuple[str, ...]:
    mine, theirs = _rivals(suspect, pair.mine), _rivals(candidate, pair.theirs)
    if len(mine) == 1 and len(theirs) == 1:
        return ()
    # Two models that hold the same towers are loaded alike: what is read of both has one name.
    meant = [(c, c) for c in mine] if {*mine} == {*theirs} else [(m, t) for m in mine for t in theirs]
    named = {(p.mine, p.theirs): p.name for p in pairs}
    return tuple(named.get(both, "") for both in meant)


def _rivals(model: Anatomy, component: str) -> tuple[str, ...]:
    """Return the towers of a model of which one is loaded: the one itself, where nothing else could be."""
    if component not in model.contested:
        return (component,)
    return tuple(c for c in model.contested if kind_of(c) == kind_of(component))


def _pair(suspect: Anatomy, candidate: Anatomy, mine: str, theirs: str) -> TowerPair:
    is_loaded = mine not in suspect.spare and theirs not in candidate.spare
    name = f"{mine}~{theirs}"
    if mine == theirs or (":" not in theirs and mine not in candidate.components):
        name = mine
    elif ":" not in mine and theirs not in suspect.components:
        name = theirs
    return TowerPair(mine, theirs, name, is_loaded)


def in_shared_channels(
    examinations: Sequence[Examination],
    pairs: Sequence[TowerPair],
    models: tuple[Anatomy, Anatomy],
    findings: Mapping[str, Finding],
) -> tuple[Examination, ...]:
    """Return the examinations, marked where the channels are those of towers that have an origin in common.

    Args:
        examinations: of the pairs, in their order.
        pairs: what was examined.
        models: the suspect and the candidate.
        findings: of each pair, by its name.
    """
    at = {(p.mine, p.theirs): x for p, x in zip(pairs, examinations, strict=True)}
    suspect, candidate = models

    def marked(pair: TowerPair, examination: Examination) -> Examination:
        whose = at.get((suspect.continues.get(pair.mine, ""), candidate.continues.get(pair.theirs, "")))
        if whose is None or whose.best is None or whose.best.pairing.basis != "identity":
            return examination
        shared = findings[whose.component].relation is Relation.COMMON_ORIGIN
        return replace(examination, in_shared_channels=shared)

    return tuple(marked(p, x) for p, x in zip(pairs, examinations, strict=True))


def over_towers(pairs: Sequence[TowerPair], findings: Mapping[str, Finding]) -> dict[str, Finding]:
    """Return one finding for each tower of the suspect, from its pairs with the candidate's towers.

    Args:
        pairs: what was examined.
        findings: of each pair, by its name.
    """
    found: dict[str, list[tuple[TowerPair, Finding]]] = {}
    for pair in pairs:
        found.setdefault(pair.mine, []).append((pair, findings[pair.name]))
    return {mine: _of_tower(members, findings) for mine, members in found.items()}


def is_certain(pair: TowerPair, findings: Mapping[str, Finding]) -> bool:
    """Whether a finding about two towers holds of what is loaded, whichever of their rivals that is."""
    found = RANK.index(findings[pair.name].relation)
    return all(name in findings and RANK.index(findings[name].relation) <= found for name in pair.with_rivals)


def _of_tower(members: Sequence[tuple[TowerPair, Finding]], findings: Mapping[str, Finding]) -> Finding:
    """Return the strongest finding, paid for; layers are counted as inherited only where loaders read both towers."""
    tested = [m for m in members if m[1].relation is not Relation.CANNOT_TEST]
    if not tested:
        return members[0][1]
    pair, best = max(tested, key=lambda m: (strength(m[1], identical=False), m[0].is_loaded))
    together = mean_of_named([f for _, f in tested], named_with(best.relation))
    relation, reasons = best.relation, best.reasons
    counted = next((f for p, f in tested if p.is_loaded), None) if not pair.is_loaded else best
    if relation in RELATED and not is_certain(pair, findings):
        relation, reasons, counted = Relation.SHARED_PARTS, (CONTESTED, *reasons), None
    if not pair.is_loaded and relation is not Relation.NONE_FOUND:
        relation = Relation.SHARED_PARTS if relation is Relation.COMMON_ORIGIN else relation
        reasons = (DRAFT_ONLY if kind_of(pair.mine) == DRAFT else NOT_LOADED, *reasons)
    relation, reasons = above_its_line(relation, reasons, together)
    inherited, of = (0, 0) if counted is None else (counted.inherited, counted.tested)
    return replace(best, relation=relation, log10_e=together, reasons=reasons, inherited=inherited, tested=of)


def not_examined(
    suspect: Anatomy,
    candidate: Anatomy,
    pairs: Sequence[TowerPair],
    findings: Mapping[str, Finding],
    number: int,
) -> tuple[Evidence, ...]:
    """Return a record of each tower, and of the tensors without a name, that were compared with nothing."""
    records: list[Evidence] = []
    told: set[tuple[str, str]] = set()
    for side, model in (("suspect", suspect), ("candidate", candidate)):
        for component, reason, tensors in _open(model, pairs, findings, is_suspect=side == "suspect"):
            if component in candidate.components and (component, reason) in told:
                continue  # namesakes that could not be tested against each other
            told.add((component, reason))
            records.append(_nothing_read(f"{component}/of={side}", component, reason, tensors, number))
        records += [
            _nothing_read(f"{component}/{kind}/of={side}", component, _ASIDE[kind], tensors, number)
            for kind, of in model.aside.items()
            for component, tensors in of.items()
        ]
    return tuple(records)


def _nothing_read(what: str, component: str, reason: str, tensors: Sequence[str], number: int) -> Evidence:
    return Evidence(
        f"origin.{TEST}/{what}" + (f"/candidate={number}" if number else ""),
        Wing.ORIGIN,
        f"question.{TEST}",
        Location(component),
        Status.NOT_MEASURED,
        reason,
        test=TEST,
        n=len(tensors),
        candidate=number,
        places=tuple(Place(tensor=name) for name in tensors[:3]),
    )


def _open(
    model: Anatomy, pairs: Sequence[TowerPair], findings: Mapping[str, Finding], *, is_suspect: bool
) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each part of a model that no test read: its name, why, and its tensors."""
    for component in model.components:
        own = [p for p in pairs if (p.mine if is_suspect else p.theirs) == component]
        found = [findings[p.name] for p in own]
        if any(f.relation is not Relation.CANNOT_TEST for f in found):
            continue
        reason = next((r for f in found for r in f.reasons), None)
        tensors = list(dict.fromkeys(p.tensor for p in model.parts if p.component == component))
        yield component, reason or _why_unpaired(pairs, component), tensors
    matrices = [name for name in model.unnamed if len(model.checkpoint.tensors[name].shape) > 1]
    if matrices:
        yield "unnamed", "part_unnamed", matrices


def _why_unpaired(pairs: Sequence[TowerPair], component: str) -> str:
    crossed = any(kind_of(p.name) == kind_of(component) for p in pairs)
    return "too_many_towers" if crossed else "component_missing"
