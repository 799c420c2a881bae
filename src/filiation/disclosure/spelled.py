"""Licence names as sentences spell them: "the Apache License, Version 2.0", "GPLv3", "the Llama licence".

A name is compared as the set of its words and numbers, whatever their order, capitals and marks. A name without its
version means every version there is: which one is meant is then not decided here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from filiation.disclosure.model import Licence
from filiation.disclosure.registry import licences

MOST_WORDS = 12
"""Words of a sentence that are looked at for one name."""

_PIECE = re.compile(r"[a-z]+(?:\+\+)?|[0-9]+(?:\.[0-9]+)*|[\u3400-\u9fff]+")
_NOISE = frozenset(
    {"the", "license", "licence", "licenses", "licences", "agreement", "version", "v", "of", "international"}
)
_FILLER = frozenset({
    "the", "a", "an", "terms", "of", "its", "our", "permissive", "open", "source", "same", "standard", "license",
    "licence", "licenses", "licences", "opensource", "both", "dual",
})  # fmt: skip
_LICENCE = re.compile(r"licen[sc]es?|agreement|terms|许可|协议")
_JOIN = frozenset({"and", "or", "/", "&", ","})
_NO_END = _JOIN | {"the", "of", "a", "an", "-", "–", "—", ":"}
_OF_MODELS = frozenset({"community", "rail", "research", "api_terms"})
_SHORT = frozenset(
    {("gpl",), ("lgpl",), ("agpl",), ("bsd",), ("by", "cc"), ("by", "cc", "nc"), ("by", "cc", "sa")}
)
_ARTICLE = re.compile(r"^(?:(?:of|the|an?)\s+)+", re.I)
_WORD = re.compile(r"[^\s,/&()\[\]\"“”]+|[,/&]")

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spelled:
    """A licence's name in a sentence: as written, the licences it can mean, whether it says which version."""

    written: str
    licences: tuple[Licence, ...]
    exact: bool


def key(text: str) -> Key:
    """Return the words and numbers of a name, sorted; "2.0" is "2", and what every licence's name has is dropped."""
    low = re.sub(r"\b([al]?gpl)[-_ ]?v(?=\d)", r"\1 ", text.lower())
    low = re.sub(r"\bv(?=\d)", " ", low)
    pieces = (re.sub(r"(?:\.0)+$", "", p) for p in _PIECE.findall(low))
    return tuple(sorted(p for p in pieces if p not in _NOISE))


@cache
def _table() -> tuple[Mapping[Key, tuple[Licence, ...]], Mapping[Key, tuple[Licence, ...]]]:
    """Return the licences by what they are called: in full, and without the version."""
    full: dict[Key, list[Licence]] = {}
    bare: dict[Key, list[Licence]] = {}
    for licence in licences().values():
        called = (licence.name, licence.id, licence.spdx or "", *licence.hub, *licence.names)
        for own in {key(name) for name in called if name and not name.startswith("LicenseRef-")}:
            if own:
                full.setdefault(own, []).append(licence)
            versionless = tuple(p for p in own if not p[0].isdigit())
            if versionless and versionless != own:
                bare.setdefault(versionless, []).append(licence)
    return {k: tuple(v) for k, v in full.items()}, {k: tuple(v) for k, v in bare.items()}


def meant(name: str) -> Spelled | None:
    """Return what a whole name means, or None."""
    full, bare = _table()
    wanted, written = key(name), _ARTICLE.sub("", name.strip())
    if wanted in full:
        every = dict.fromkeys((*full[wanted], *bare.get(wanted, ())))
        return Spelled(written, tuple(every), len(every) == 1)
    return Spelled(written, bare[wanted], False) if wanted in bare else None


def spelled_in(text: str) -> tuple[Spelled, ...]:
    """Return the licences that a text names from its first words on, several where ``and`` or ``or`` joins them."""
    words = [m.group() for m in _WORD.finditer(text)][: MOST_WORDS * 2]
    found: list[Spelled] = []
    at = 0
    while at < len(words):
        hit = _from(words, at)
        if hit is None:
            break
        named, at = hit
        found.append(named)
        while at < len(words) and (_LICENCE.fullmatch(words[at].lower().rstrip(".")) is not None):
            at += 1
        if at >= len(words) or words[at].lower() not in _JOIN:
            break
        at += 1
    return tuple(found)


def _from(words: Sequence[str], start: int) -> tuple[Spelled, int] | None:
    """Return the longest name that begins at a word, or after words that say nothing."""
    while True:
        for end in range(min(len(words), start + MOST_WORDS), start, -1):
            written = " ".join(words[start:end]).replace(" ,", ",").strip(" .,;:")
            named = meant(written) if written and words[end - 1].lower() not in _NO_END else None
            if named is not None and _plausible(named, words, start, end):
                return named, end
        if start >= len(words) or words[start].lower().strip(".,'") not in _FILLER:
            return None
        start += 1


def _plausible(named: Spelled, words: Sequence[str], start: int, end: int) -> bool:
    """A model's licence is called after the model: there the word licence has to stand with it."""
    if not any(x.kind in _OF_MODELS for x in named.licences) and (
        named.exact or key(named.written) in _SHORT
    ):
        return True
    return bool(_LICENCE.search(" ".join(words[start : end + 3]).lower()))
