"""Licence texts as streams of words: the same words whatever the line breaks, quotes, bullets and markup are."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence

RUN = 7
"""Words in a run; a run of fewer is shared by strangers, a longer one is lost with any small edit."""

MAX_TEXT = 600_000
"""Characters that are looked at; the longest licence of the registry has 36,000."""

_LINK = re.compile(r"\[([^\]\[\n]{0,300})\]\([^()\s]{0,500}\)")
_WORD = re.compile(r"[0-9]+(?:\.[0-9]+)*|[^\W\d_]+")
_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_COPYRIGHT = re.compile(
    r"^\W{0,8}(?:copyright\s{0,4}(?:\(c\)|©|\d{4}|[\[<{])|\(c\)\s{0,4}\d{4}|©)[^\n]{0,300}$", re.I
)
_RIGHTS = re.compile(r"^\W{0,8}all rights reserved\.?\W{0,4}$", re.I)


def words(text: str) -> list[str]:
    """Return the words of a text: lower case, no punctuation, each Chinese character a word of its own.

    Version numbers stay whole (``3.1``); single letters (``a.``, ``i.``) and a copyright owner's own line go: they
    differ from copy to copy of one licence.
    """
    kept = (line for line in text[:MAX_TEXT].splitlines() if not _own_line(line))
    flat = unicodedata.normalize("NFKC", "\n".join(kept)).lower()
    flat = _LINK.sub(r"\1", flat.replace("\\", "").replace("*", "").replace("’", "'"))
    found: list[str] = []
    for match in _WORD.finditer(flat.replace("'", "")):
        word = match.group()
        found.extend(word) if _CJK.search(word) else found.append(word)
    return [w for w in found if len(w) > 1 or not w.isascii() or w.isdigit()]


def _own_line(line: str) -> bool:
    """Whether a line is an owner's copyright line, which every copy of a licence fills in differently."""
    short = line.strip()
    return len(short) < 200 and bool(_COPYRIGHT.match(short) or _RIGHTS.match(short))


def runs(stream: Sequence[str]) -> Iterator[int]:
    """Yield the 32-bit hash of each run of :data:`RUN` words; a shorter text is one run."""
    last = max(1, len(stream) - RUN + 1)
    for start in range(last if stream else 0):
        joined = " ".join(stream[start : start + RUN])
        yield int.from_bytes(hashlib.blake2b(joined.encode(), digest_size=4).digest(), "big")


def flat(text: str) -> str:
    """Return the words joined by one space: for asking whether a line stands in a text."""
    return " ".join(words(text))


_YEARS = re.compile(r"\b(?:19|20)\d\d(?:\s*[-–,]\s*(?:19|20)?\d\d)*\b")


def line_key(line: str) -> str:
    """Return what is compared of a notice or copyright line: words without years, marks and punctuation."""
    plain = unicodedata.normalize("NFKC", line).lower().replace("(c)", " ").replace("©", " ")
    return " ".join(re.findall(r"[^\W_]+", _YEARS.sub(" ", plain).replace("'", "").replace("’", "")))
