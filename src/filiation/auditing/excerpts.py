"""Short excerpts of matched definitions, read from the repositories when they are at hand; never stored in a report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from filiation.auditing.walk import Audited
from filiation.repository import Repository
from filiation.source import CodePlace, Match

MOST = 8
"""Definitions that are shown of one audit."""

MOST_PER_FILE = 4
"""Definitions that are shown of one file."""

MOST_ROWS = 14
"""Rows that are shown of one definition: enough to see, short enough to quote."""

_LONG = 160
_NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of two files beside one another: line number and text on each side; ``equal`` after renaming."""

    line: int | None
    text: str
    reference_line: int | None
    reference_text: str
    equal: bool


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of two matched definitions; ``left`` rows are not shown."""

    match: Match
    rows: tuple[Row, ...]
    left: int


def excerpts(audited: Audited) -> tuple[Excerpt, ...]:
    """Return excerpts of the largest matched definitions whose two files can both be read."""
    at_hand = {repository.locator: repository for repository in (audited.suspect, *audited.references)}
    told = sorted(
        (m for m in audited.report.source.matches if m.lines and m.reference.repository in at_hand),
        key=lambda m: (-m.nodes * m.share, m.suspect.file, m.suspect.line),
    )
    found: list[Excerpt] = []
    maps = {f.file: {r.suspect: r.reference for r in f.rename_map.names} for f in audited.report.source.files}
    for match in told:
        same_file = sum(e.match.suspect.file == match.suspect.file for e in found)
        if same_file < MOST_PER_FILE and not any(_overlap(e.match, match) for e in found):
            found.append(_excerpt(match, at_hand, maps.get(match.suspect.file, {})))
        if len(found) == MOST:
            break
    return tuple(found)


def _overlap(one: Match, other: Match) -> bool:
    """A class and its method are one piece of text."""
    a, b = one.suspect, other.suspect
    return a.file == b.file and a.line <= b.end and b.line <= a.end


def _excerpt(match: Match, at_hand: dict[str, Repository], renames: Mapping[str, str | None]) -> Excerpt:
    mine = _lines(at_hand[match.suspect.repository], match.suspect)
    theirs = _lines(at_hand[match.reference.repository], match.reference)
    rows = list(_rows(match, mine, theirs))
    start = _telling(rows)
    shown = [_marked(row, renames) for row in rows[start : start + MOST_ROWS]]
    return Excerpt(match, _dedented(shown), max(0, len(rows) - MOST_ROWS))


def _marked(row: Row, renames: Mapping[str, str | None]) -> Row:
    """Lines of one text after renaming are equal too: they continue a statement, or were put into the next one."""
    text = _NAME.sub(lambda word: renames.get(word.group()) or word.group(), row.text.strip())
    same = bool(text) and row.reference_text.strip() in (text, row.text.strip())
    return replace(row, equal=True) if same else row


def _telling(rows: Sequence[Row]) -> int:
    """Return where the rows begin that hold most equal statements whose text differs, then most equal statements."""
    spans = range(max(1, len(rows) - MOST_ROWS + 1))

    def weight(start: int) -> tuple[int, int, int]:
        shown = [row for row in rows[start : start + MOST_ROWS] if row.equal]
        return sum(row.text.strip() != row.reference_text.strip() for row in shown), len(shown), -start

    return max(spans, key=weight)


def _dedented(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Take away the indentation that all lines of a side have in common."""
    ours = _common([row.text for row in rows if row.text.strip()])
    theirs = _common([row.reference_text for row in rows if row.reference_text.strip()])
    return tuple(replace(r, text=r.text[ours:], reference_text=r.reference_text[theirs:]) for r in rows)


def _common(texts: Sequence[str]) -> int:
    return min((len(text) - len(text.lstrip()) for text in texts), default=0)


def _lines(repository: Repository, place: CodePlace) -> Sequence[str]:
    """Return the whole file's lines, so that line numbers hold; empty where it cannot be read any more."""
    return repository.text(place.file).split("\n") if repository.readable(place.file) else ()


def _rows(match: Match, mine: Sequence[str], theirs: Sequence[str]) -> Iterator[Row]:
    """Yield rows in the suspect's order: equal lines beside one another, others of both sides as they come between."""
    i, j = match.suspect.line, match.reference.line
    for a, b in [*_ascending(match.lines), (match.suspect.end + 1, match.reference.end + 1)]:
        ours, others = (
            list(range(i, min(a, match.suspect.end + 1))),
            list(range(j, min(b, match.reference.end + 1))),
        )
        for n in range(max(len(ours), len(others))):
            left, right = (side[n] if n < len(side) else None for side in (ours, others))
            yield Row(left, _text(mine, left), right, _text(theirs, right), False)
        if a <= match.suspect.end and b <= match.reference.end:
            yield Row(a, _text(mine, a), b, _text(theirs, b), True)
        i, j = a + 1, b + 1


def _ascending(pairs: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Leave out pairs that cross an earlier one: two columns can only be read downwards."""
    last = (0, 0)
    for pair in sorted(pairs):
        if pair[0] > last[0] and pair[1] > last[1]:
            last = pair
            yield pair


def _text(lines: Sequence[str], number: int | None) -> str:
    return lines[number - 1].rstrip()[:_LONG] if number is not None and 0 < number <= len(lines) else ""
