"""Two files: definitions assigned, statements aligned, names mapped, shares counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from filiation.source.align import align, longest_run
from filiation.source.assign import assignment
from filiation.source.model import CodePlace, Match, RenameMap
from filiation.source.prints import Gathered, Print
from filiation.source.renames import agree, rename_map

_MOST_LINES = 4_000  # pairs of lines that a match holds


@dataclass(frozen=True, eq=False)
class Pair:
    """What two files have in common.

    ``share``: of the suspect's nodes, equal after the one map; ``reverse``: of the reference's; ``blind``: of the
    suspect's, without asking for one map. ``statements`` are the equal ones (positions in suspect and reference).
    """

    suspect: Print
    reference: Print
    definitions: tuple[tuple[int, int], ...]
    statements: tuple[tuple[int, int], ...]
    share: float
    reverse: float
    blind: float
    run: int
    renames: RenameMap
    same: bool


def compare(suspect: Print, reference: Print) -> Pair:
    """Compare two fingerprints."""
    definitions = assignment(suspect, reference)
    aligned = align(suspect, reference, definitions)
    agreed = agree(suspect, reference, aligned)
    sizes, others = suspect.statements.sizes, reference.statements.sizes
    ours = max(suspect.statements.nodes, 1)
    equal = int(sum(int(sizes[i]) for i, _ in agreed.agreeing))
    back = int(sum(int(others[j]) for _, j in agreed.agreeing))
    return Pair(
        suspect,
        reference,
        tuple(definitions),
        agreed.agreeing,
        equal / ours,
        back / max(reference.statements.nodes, 1),
        sum(int(sizes[i]) for i, _ in aligned) / ours,
        longest_run(aligned),
        rename_map(suspect, reference, agreed),
        suspect.plain == reference.plain,
    )


def matches(pair: Pair, suspect: str, reference: str) -> tuple[Match, ...]:
    """Return the definitions that belong together, by the suspect's lines. The names are those of the repositories.

    Moved statements are told with the definition of the reference that most of them come from.
    """
    homes = _homes(pair.suspect)
    theirs = _homes(pair.reference)
    grouped: dict[int, list[tuple[int, int]]] = {}
    for i, j in pair.statements:
        grouped.setdefault(homes[i], []).append((i, j))
    found: list[Match] = []
    for number, equal in sorted(grouped.items()):
        there = Counter(theirs[j] for _, j in equal).most_common(1)[0][0]
        mine, other = pair.suspect.definitions[number], pair.reference.definitions[there]
        nodes = int(pair.suspect.statements.sizes[mine.start : mine.stop].sum())
        share = sum(int(pair.suspect.statements.sizes[i]) for i, _ in equal) / max(nodes, 1)
        found.append(
            Match(
                CodePlace(suspect, pair.suspect.path, mine.line, mine.end, mine.name),
                CodePlace(reference, pair.reference.path, other.line, other.end, other.name),
                nodes,
                share,
                _lines(pair, equal),
            )
        )
    return tuple(found)


def _homes(source: Print) -> list[int]:
    homes = [0] * len(source.statements.digests)
    for number, definition in enumerate(source.definitions):
        for at in range(definition.start, definition.stop):
            homes[at] = number
    return homes


def _lines(pair: Pair, equal: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return pairs of lines; none for a shipped fingerprint, which has no lines of statements."""
    if not pair.reference.digest:
        return ()
    ours, theirs = pair.suspect.statements.lines, pair.reference.statements.lines
    lines = dict.fromkeys((int(ours[i]), int(theirs[j])) for i, j in equal)
    return tuple(lines)[:_MOST_LINES]


def overlap(pair: Pair, what: str) -> float | None:
    """Return the share of the suspect's calls, constants, attributes or parameters that matched definitions share.

    Multisets; None where the reference's are not known or the suspect has none.
    """
    if not pair.reference.gathered or not pair.suspect.gathered:
        return None
    ours = Counter(_all(pair.suspect.gathered, what))
    theirs: Counter[str] = Counter()
    for _, j in pair.definitions:
        theirs.update(getattr(pair.reference.gathered[j], what))
    total = sum(ours.values())
    return sum((ours & theirs).values()) / total if total else None


def _all(gathered: Iterable[Gathered], what: str) -> Iterable[str]:
    for each in gathered:
        yield from getattr(each, what)
