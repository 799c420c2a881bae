"""Heads of code files: who holds the copyright, under which licence, what is said of sources and changes.

A head is the comments and the docstring before the first statement; nothing is parsed or run, so broken code does not
matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from filiation.disclosure.text import line_key

MAX_HEAD = 120
"""Lines that a head may have."""

_HOLDER = re.compile(r"(?:copyright|\(c\)|©|版权)[^\n]{2,200}", re.I)
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([^\n*#]{2,120})", re.I)
_NAMED = (
    (re.compile(r"licensed under the apache license,?\s+version 2\.0", re.I), "apache-2.0"),
    (re.compile(r"\bMIT licen[sc]e\b", re.I), "mit"),
    (re.compile(r"\bBSD[- ]3|BSD 3-Clause", re.I), "bsd-3-clause"),
    (re.compile(r"\bBSD[- ]style\b|\bBSD 2-Clause", re.I), "bsd-2-clause"),
    (re.compile(r"GNU Affero General Public License", re.I), "agpl-3.0"),
    (re.compile(r"GNU Lesser General Public License", re.I), "lgpl-3.0"),
    (re.compile(r"GNU General Public License", re.I), "gpl-3.0"),
    (re.compile(r"Llama\s+(2|3|3\.1|3\.2|3\.3|4)\s+Community License", re.I), None),
)
_CHANGED = re.compile(
    r"(?:this file (?:has been|was|is) (?:modified|changed|adapted)|\bmodified by\b|"
    r"\bmodifications? (?:by|made|copyright|to)\b|\bmodified from\b|\badapted from\b|"
    r"\bcopied from\b|\bchanges (?:made|from|to|include)|\bhas been modified\b|\bderived from\b|\bbased on\b|"
    r"修改自|改编自|有修改|已修改)[^\n]{0,200}",
    re.I,
)
_COMMENT = re.compile(r"^\s*(?:#|//|/\*|\*|<!--|--|;|%)")


@dataclass(frozen=True, slots=True)
class Found:
    """Something said in a head, with its line (from 1)."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a code file; ``lines`` is its length, where a statement of changes could be put."""

    holders: tuple[Found, ...]
    licence: Found | None
    changed: tuple[Found, ...]
    lines: int


def read_head(text: str) -> Head:
    """Return what the head of a code file says."""
    lines = list(_head(text))
    joined = "\n".join(line for _, line in lines)
    holders = [Found(_plain(m.group()), n) for n, line in lines if (m := _HOLDER.search(line))]
    holders = [h for h in holders if not re.search(r"copyright (?:notice|owner|holder|law)", h.text, re.I)]
    changed = [Found(_plain(m.group()), n) for n, line in lines if (m := _CHANGED.search(line))]
    return Head(tuple(holders), _licence(lines, joined), tuple(changed), len(lines))


def _head(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines of the head."""
    quote: str | None = None
    block = False
    for number, line in enumerate(text[:40_000].splitlines()[:MAX_HEAD], 1):
        bare = line.strip()
        if quote is not None:
            yield number, line
            quote = None if quote in bare else quote
            continue
        opened = re.match(r"^[rRuU]?(\"\"\"|''')", bare)
        if opened:
            yield number, line
            quote = None if opened.group(1) in bare[opened.end() :] else opened.group(1)
            continue
        block = (block or bare.startswith("/*")) and "*/" not in bare
        if not bare or block or _COMMENT.match(line) or bare.endswith("*/") or bare.startswith("@"):
            yield number, line
            continue
        return


def _licence(lines: list[tuple[int, str]], joined: str) -> Found | None:
    spdx = _SPDX.search(joined)
    if spdx:
        return Found(_plain(spdx.group(1)), _line(lines, joined, spdx.start()))
    for pattern, ident in _NAMED:
        found = pattern.search(joined)
        if found:
            return Found(ident or f"llama{found.group(1)}", _line(lines, joined, found.start()))
    return None


def _line(lines: list[tuple[int, str]], joined: str, at: int) -> int:
    return lines[joined[:at].count("\n")][0]


def _plain(text: str) -> str:
    return " ".join(text.strip().strip("#*/-<>!").split())


def holder_key(line: str) -> str:
    """Return what is compared of a copyright line: the holder's words, without years and formulas."""
    words = [w for w in line_key(line).split() if w not in _FORMULA]
    return " ".join(words)


_FORMULA = frozenset(
    {
        "copyright",
        "c",
        "all",
        "rights",
        "reserved",
        "the",
        "inc",
        "ltd",
        "co",
        "llc",
        "版权所有",
        "by",
        "and",
        "authors",
    }
)


def missing_holders(reference: tuple[str, ...], suspect: tuple[str, ...]) -> tuple[str, ...]:
    """Return the reference's copyright lines whose holder no line of the suspect names."""
    kept = [holder_key(line) for line in suspect]
    return tuple(
        line
        for line in reference
        if (key := holder_key(line)) and not any(key in k or k == key for k in kept)
    )


_LINE = re.compile(
    r"^\W{0,8}(?:(?:portions |parts )?copyright|\(c\)|©|版权所有)\W{0,6}(?:\(c\)|©|\d{4}|[A-Z0-9])", re.I
)


def is_copyright_line(line: str) -> bool:
    """Return whether a line is one that a holder wrote to say whose the file is, and no sentence about copyright."""
    return bool(_LINE.match(line)) and not re.search(
        r"copyright (?:notice|owner|holder|law|licen)", line, re.I
    )
