"""The head of a file: whose copyright it states, under which licence, and from where it says its code comes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from filiation.source import statements
from filiation.source.model import HeaderFinding, HeaderState, Notice

_HEAD_LINES = 80
_LINE = 400  # characters of a line that are read

_COPYRIGHT = re.compile(
    r"(?:copyright|©|\(c\))(?:\s{0,4}(?:©|\(c\)))?[\s:,]{0,4}"
    r"(?P<years>(?:19|20)\d\d(?:\s{0,2}[-,–]\s{0,2}(?:(?:19|20)\d\d|present))*)?[\s,]{0,4}(?:by\s)?(?P<holder>.*)",
    re.IGNORECASE,
)
_RIGHTS = re.compile(r"[\s.,;]*(?:all rights reserved|inc\. team\. all).*$", re.IGNORECASE)
_AND = re.compile(r",\s+and\s+|\s+and\s+|,\s+(?!inc\b|ltd\b|llc\b|co\b)|\s+&\s+", re.IGNORECASE)
_THE = re.compile(r"^the\s+", re.IGNORECASE)
_LICENCES = (
    ("Apache-2.0", ("apache license", "version 2.0")),
    ("Apache-2.0", ("spdx-license-identifier: apache-2.0",)),
    ("MIT", ("permission is hereby granted, free of charge",)),
    ("MIT", ("mit license",)),
    ("MIT", ("spdx-license-identifier: mit",)),
    ("BSD-3-Clause", ("redistribution and use in source and binary forms", "neither the name")),
    ("BSD-3-Clause", ("bsd-style license",)),
    ("GPL-3.0", ("gnu general public license", "version 3")),
    ("LGPL", ("gnu lesser general public license",)),
    ("Llama", ("llama", "community license agreement")),
)


@dataclass(frozen=True, slots=True)
class Header:
    """What the head of a file says.

    ``attributions`` are comments of the whole file that name where code comes from, ``denied`` those that say of
    something that it is no source.
    """

    notices: tuple[Notice, ...]
    licence: str | None
    attributions: tuple[tuple[int, str], ...]
    denied: tuple[tuple[int, str], ...] = ()

    @property
    def holders(self) -> tuple[str, ...]:
        """Every holder, in order, once."""
        return tuple(dict.fromkeys(n.holder for n in self.notices))

    @property
    def year(self) -> int | None:
        """The first year of the first notice that has one."""
        years = [int(n.years[:4]) for n in self.notices if n.years]
        return years[0] if years else None


def read(text: str) -> Header:
    """Return what the comments and the docstring at the head of a file say, and its attributions."""
    lines = text.split("\n")
    head = _head(lines)
    notices = [n for number, line in head for n in _notices(number, line)]
    low = " ".join(line.lower() for _, line in head)
    licence = next((name for name, marks in _LICENCES if all(mark in low for mark in marks)), None)
    return Header(tuple(notices), licence, *statements.of_comments(_comments(lines, head)))


def _head(lines: Sequence[str]) -> list[tuple[int, str]]:
    """Return the comment and docstring lines before the first statement, without their marks."""
    found: list[tuple[int, str]] = []
    closing = ""
    for number, raw in enumerate(lines[:_HEAD_LINES], 1):
        line = raw.strip()[:_LINE]
        if closing:
            found.append((number, line.replace(closing, "")))
            closing = "" if closing in line else closing
        elif line.startswith("#"):
            found.append((number, line.lstrip("#!: ").rstrip("# ")))
        elif line.lstrip("rRuU").startswith(('"""', "'''")):
            mark = line.lstrip("rRuU")[:3]
            body = line.lstrip("rRuU")[3:]
            found.append((number, body.replace(mark, "")))
            closing = "" if mark in body else mark
        elif line:
            break
    return found


def _notices(number: int, line: str) -> list[Notice]:
    said = _COPYRIGHT.search(line)
    if not said or not (said.group("years") or line.lower().lstrip().startswith(("copyright", "©", "(c)"))):
        return []
    holders = _RIGHTS.sub("", said.group("holder"))
    if "notice" in holders.lower() or "holder" in holders.lower():
        return []
    years = (said.group("years") or "").strip()
    return [Notice(name, years, number) for part in _AND.split(holders) if (name := _tidy(part))]


def _tidy(holder: str) -> str:
    """Return a holder's name without article, brackets and final stop."""
    name = _THE.sub("", holder.strip(" \t.,;:#*<>\"'"))
    name = re.sub(r"\s+", " ", name)
    return re.sub(r"\s+team$", "", name, flags=re.IGNORECASE)[:120]


def _comments(lines: Sequence[str], head: list[tuple[int, str]]) -> dict[int, str]:
    """Return the comment lines of a file and the lines of its head, without their marks."""
    comments = dict(head)
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if line.startswith("#"):
            comments.setdefault(number, line.lstrip("#!: ")[:_LINE])
    return comments


def compare(
    file: str,
    suspect: Header,
    reference: Header | None,
    names: Sequence[str],
    where: tuple[str | None, str | None],
) -> HeaderFinding:
    """Return what became of the reference's head.

    Args:
        file: the suspect's file.
        suspect, reference: the two heads; no reference where nothing was matched.
        names: how the reference may be called in an attribution (its package, its folder, its class prefix).
        where: repository and file of the reference.
    """
    ours = {_key(h): h for h in suspect.holders}
    theirs = {_key(h): h for h in reference.holders} if reference else {}
    kept = tuple(theirs[k] for k in theirs if k in ours)
    removed = tuple(theirs[k] for k in theirs if k not in ours)
    added = tuple(ours[k] for k in ours if k not in theirs)
    named = any(_names_it(text, names) for _, text in suspect.attributions)
    return HeaderFinding(
        file,
        where[0],
        where[1],
        _state(theirs, kept, removed),
        kept,
        removed,
        added,
        suspect.licence,
        reference.licence if reference else None,
        suspect.attributions[:50],
        bool(reference) and (named or bool(kept and not removed)),
        suspect.denied[:50],
        reference is not None and not added and not named and _later(suspect, reference, removed),
    )


def _later(suspect: Header, reference: Header, others: Sequence[str]) -> bool:
    """Return whether the reference's other holders begin later than all of the suspect's."""
    ours = [int(n.years[:4]) for n in suspect.notices if n.years]
    first: dict[str, int] = {}
    for notice in reference.notices:
        if notice.years:
            first[notice.holder] = min(int(notice.years[:4]), first.get(notice.holder, 9999))
    theirs = [first.get(holder) for holder in others]
    return bool(ours and theirs) and all(year is not None and year > max(ours) for year in theirs)


def _state(theirs: dict[str, str], kept: tuple[str, ...], removed: tuple[str, ...]) -> HeaderState:
    if not theirs:
        return HeaderState.NONE_IN_REFERENCE
    if not removed:
        return HeaderState.KEPT
    return HeaderState.PARTLY_KEPT if kept else HeaderState.REMOVED


def _key(holder: str) -> str:
    plain = re.sub(r"\b(?:inc|ltd|llc|co|corp|corporation|limited)\b", "", holder.lower())
    return re.sub(r"[^0-9a-z\u0080-\uffff]+", "", plain)


def _names_it(text: str, names: Sequence[str]) -> bool:
    plain = _key(text)
    return any(len(name) >= 3 and _key(name) in plain for name in names)
