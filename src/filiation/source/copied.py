"""``# Copied from`` statements, checked against the fingerprints of a release.

The comment is a disclosure in the words of transformers: the dotted name of the source, and after ``with`` the
renaming, ``Old->New`` as often as needed, perhaps with ``all-casing``. The stated renaming is undone in the suspect's
names, and what is left has to have the hashes of the source. Where that fails, any one-to-one renaming is tried, then
the share that is still equal is told.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from filiation.source.corpus.release import Release
from filiation.source.hashing import name_hash
from filiation.source.model import CopiedFrom, CopyStatus
from filiation.source.prints import Definition, Print
from filiation.source.renames import cased

_STATEMENT = re.compile(r"^\s*#\s*Copied from\s+([\w.]{3,200})(?:\s+with\s+(.{1,400}))?\s*$", re.IGNORECASE)
_RENAME = re.compile(r"([^\s,;>-][^,;>]{0,100}?)\s*->\s*([^\s,;]{1,100})")
_IGNORED = re.compile(r"^\s*#\s*Ignore copy\s*$", re.IGNORECASE)
_BEGINS = re.compile(r"\s*(?:async\s+)?(?:def|class)\s+(\w+)")
_FAR = 30  # lines between the comment and what stands under it: decorators
_MOST = 2_000  # statements of one file that are checked

Renames = tuple[tuple[str, str], ...]
_ORDER = (
    CopyStatus.AGREES,
    CopyStatus.AGREES_OTHERWISE,
    CopyStatus.DRIFTED,
    CopyStatus.NOT_THERE,
    CopyStatus.NOT_CHECKED,
)


@dataclass(frozen=True, slots=True)
class Stated:
    """One comment: its line, what it names, the renaming as written and with all its casings."""

    line: int
    source: str
    renames: Renames
    applied: Renames


def stated(text: str) -> tuple[Stated, ...]:
    """Return the ``Copied from`` comments of a file that name a dotted object."""
    found: list[Stated] = []
    for number, line in enumerate(text.split("\n"), 1):
        said = _STATEMENT.match(line[:800]) if "opied from" in line else None
        if said is None or "." not in said.group(1):
            continue
        clause = said.group(2) or ""
        renames = tuple((old.strip(), new.strip()) for old, new in _RENAME.findall(clause))
        applied = renames
        if "all-casing" in clause:
            applied = tuple(pair for old, new in renames for pair in cased(old, new))
        found.append(Stated(number, said.group(1).rstrip("."), renames, applied))
    return tuple(found[:_MOST])


def check(path: str, text: str, source: Print, releases: Sequence[Release]) -> tuple[CopiedFrom, ...]:
    """Check every comment of a file against the release that agrees best (of equals, the newest)."""
    ignored = {n for n, line in enumerate(text.split("\n"), 1) if _IGNORED.match(line[:200])}
    lines = text.split("\n")
    return tuple(
        _check(path, each, source, releases, ignored, _next_name(lines, each.line)) for each in stated(text)
    )


def _check(
    path: str, said: Stated, source: Print, releases: Sequence[Release], ignored: set[int], name: str | None
) -> CopiedFrom:
    under = _under(source, said.line)
    best = CopiedFrom(path, said.line, said.source, said.renames, CopyStatus.NOT_CHECKED)
    if under is None or under.name.rpartition(".")[2] != name:
        return best  # nothing stands under it, or a helper that was put back where it is called
    unknown = False
    for release in reversed(releases):
        if said.source.partition(".")[0] != release.package:
            continue
        status, share = _against(said, source, under, release, ignored)
        unknown |= status is CopyStatus.NOT_CHECKED
        if _ORDER.index(status) < _ORDER.index(best.status) or (
            status is best.status is CopyStatus.DRIFTED and (share or 0) > (best.share or 0)
        ):
            best = CopiedFrom(path, said.line, said.source, said.renames, status, release.name, share)
        if status is CopyStatus.AGREES:
            break
    if unknown and best.status is CopyStatus.NOT_THERE:
        return CopiedFrom(path, said.line, said.source, said.renames, CopyStatus.NOT_CHECKED)
    return best


def _next_name(lines: Sequence[str], line: int) -> str | None:
    """Return the name of the definition that begins next after a line (from 1)."""
    begins = (_BEGINS.match(text[:400]) for text in lines[line : line + _FAR])
    return next((found.group(1) for found in begins if found), None)


def _under(source: Print, line: int) -> Definition | None:
    below = [d for d in source.definitions if line < d.line <= line + _FAR and d.kind != "module"]
    return min(below, key=lambda d: (d.line, d.name.count(".")), default=None)


def _against(
    said: Stated, source: Print, under: Definition, release: Release, ignored: set[int]
) -> tuple[CopyStatus, float | None]:
    found = _find(said.source, release)
    if found is None:
        return CopyStatus.NOT_THERE, None
    reference, name = found
    ours = {n: d for n, d in _family(source, under.name).items() if not _is_ignored(d, ignored)}
    theirs = _family(reference, name)
    if not theirs:
        owner = name.rpartition(".")[
            0
        ]  # a one-line helper of a class may have been put back where it is called
        inside = bool(owner and _family(reference, owner))
        return CopyStatus.NOT_CHECKED if inside else CopyStatus.NOT_THERE, None
    skipped = set(_family(source, under.name)) - set(ours)
    pairs = [(ours.get(tail), theirs[tail]) for tail in theirs if tail not in skipped]
    judged = [
        _equal(source, mine, reference, other, said.applied) if mine else CopyStatus.DRIFTED
        for mine, other in pairs
    ]
    extra = set(ours) - set(theirs)
    worst = max([*judged, CopyStatus.DRIFTED if extra else CopyStatus.AGREES], key=_ORDER.index)
    if worst is not CopyStatus.DRIFTED:
        return worst, 1.0
    return worst, _share(source, list(ours.values()), reference, list(theirs.values()))


def _find(dotted: str, release: Release) -> tuple[Print, str] | None:
    """Return the file that holds a dotted object, and the object's name in it."""
    parts = dotted.split(".")
    for cut in range(len(parts) - 1, 1, -1):
        number = release.module(".".join(parts[:cut]))
        if number is not None:
            return release.print_of(number), ".".join(parts[cut:])
    return None


def _family(source: Print, name: str) -> dict[str, Definition]:
    """Return a definition and those inside it, by the part of the name after its own."""
    return {
        d.name[len(name) :]: d
        for d in source.definitions
        if d.kind != "module" and (d.name == name or d.name.startswith(f"{name}."))
    }


def _is_ignored(definition: Definition, ignored: set[int]) -> bool:
    return any(definition.line - back in ignored for back in (1, 2, 3))


def _equal(
    source: Print, mine: Definition, reference: Print, other: Definition, renames: Renames
) -> CopyStatus:
    a, b = source.statements, reference.statements
    left, right = a.digests[mine.start : mine.stop], b.digests[other.start : other.stop]
    ours = a.names[a.first[mine.start] : a.first[mine.stop]].tolist()
    theirs = b.names[b.first[other.start] : b.first[other.stop]].tolist()
    if len(left) != len(right) or (left != right).any() or len(ours) != len(theirs):
        return CopyStatus.DRIFTED
    own_name = source.spelling.get(ours[0], "") if ours else ""
    stated_ones = all(
        x == y or _undone(source.spelling.get(x, ""), x, y, renames) or source.spelling.get(x) == own_name
        for x, y in zip(ours, theirs, strict=True)
    )
    if stated_ones and not any(
        _missed(source.spelling.get(x, ""), x, y, renames) for x, y in zip(ours, theirs, strict=True)
    ):
        return CopyStatus.AGREES
    forward = dict(zip(ours, theirs, strict=True))
    consistent = all(forward[x] == y for x, y in zip(ours, theirs, strict=True))
    one_to_one = len(set(forward.values())) == len(forward)
    return CopyStatus.AGREES_OTHERWISE if consistent and one_to_one else CopyStatus.DRIFTED


def _undone(name: str, ours: int, theirs: int, renames: Renames) -> bool:
    """Return whether a name is the source's one after the stated renaming is undone."""
    before = name
    for old, new in reversed(renames):
        before = before.replace(new, old)
    return name_hash(ours & 1, before) == theirs


def _missed(name: str, ours: int, theirs: int, renames: Renames) -> bool:
    """Return whether a name that is the source's own should have been renamed."""
    return ours == theirs and any(old in name and old not in new for old, new in renames)


def _share(source: Print, mine: Sequence[Definition], reference: Print, other: Sequence[Definition]) -> float:
    """Return the share of the suspect's nodes whose statements stand in the source, blind to names."""
    there = Counter(h for d in other for h in reference.statements.digests[d.start : d.stop].tolist())
    total = equal = 0
    for definition in mine:
        for at in range(definition.start, definition.stop):
            size, digest = int(source.statements.sizes[at]), int(source.statements.digests[at])
            total += size
            if there[digest] > 0:
                there[digest] -= 1
                equal += size
    return equal / max(total, 1)
