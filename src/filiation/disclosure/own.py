"""The licence of the repository itself: what its card declares and what its licence files hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from filiation.disclosure import expression, registry, spelled
from filiation.disclosure.model import Licence
from filiation.disclosure.papers import Papers
from filiation.evidence import Claim, Place

_OTHER = frozenset({"other", "unknown", "proprietary", "none", ""})
_PERMISSIVE = frozenset({"permissive"})


@dataclass(frozen=True, slots=True)
class Own:
    """The repository's own licence.

    Attributes:
        written: what the card says, as written; None where it says nothing.
        in_prose: whether only the card's prose says so, and no licence tag.
        place: where it says so.
        declared: for each name in what is written, the licences of the registry it can mean (an empty tuple: unknown).
        way: how they are joined: names that all hold (``AND``) or of which one is chosen (``OR``).
        shown: the licences whose text is in the repository.
        unread: licence files whose text was not recognised.
    """

    written: str | None
    place: Place | None
    declared: tuple[tuple[Licence, ...], ...]
    choice: bool
    shown: frozenset[str]
    unread: tuple[Place, ...]
    in_prose: bool = False

    @property
    def known(self) -> bool:
        """Whether every declared name is one that the registry knows."""
        return bool(self.declared) and all(self.declared)

    @property
    def declared_ids(self) -> frozenset[str]:
        """Every licence that the card can mean."""
        return frozenset(licence.id for group in self.declared for licence in group)

    @property
    def permissive(self) -> bool:
        """Whether what is declared lets others drop the terms; an unknown licence is never permissive."""
        if not self.known:
            return False
        each = [all(x.kind in _PERMISSIVE for x in group) for group in self.declared]
        return any(each) if self.choice else all(each)

    def may_be(self, licence: Licence) -> bool:
        """Return whether the card declares this licence, or the repository holds its text."""
        return licence.id in self.declared_ids or (licence.id in self.shown and self.written is None)


def own_licence(claims: Sequence[Claim], papers: Papers) -> Own:
    """Return the repository's own licence from its claims and papers."""
    tags = [c for c in claims if c.subject in {"license", "gguf_license"}]
    card = [c for c in tags if c.subject == "license"] or tags[:1]
    in_prose = not card
    card = card or [c for c in claims if c.subject == "prose_license"]
    names: list[tuple[Licence, ...]] = []
    choice = False
    for claim in card:
        found, either = _meant(claim, claims)
        names += found
        choice = choice or either
    unread = tuple(x.paper.place(1) for x in papers.licences if x.found.licence is None or x.found.modified)
    return Own(
        written=" AND ".join(c.text for c in card) if card else None,
        place=card[0].place if card else None,
        declared=tuple(names),
        choice=choice,
        shown=papers.licence_ids,
        unread=unread,
        in_prose=in_prose and bool(card),
    )


def _meant(claim: Claim, claims: Sequence[Claim]) -> tuple[list[tuple[Licence, ...]], bool]:
    """Return the licences that one tag can mean: an expression, or ``other`` with a name and a link."""
    if claim.subject == "prose_license":
        named = spelled.meant(claim.text)
        return [named.licences if named else ()], False
    if claim.text.strip().lower() in _OTHER:
        return [_named(claims)], False
    read = expression.parse(claim.text)
    whole = lookup(claim.text)
    if whole or read is None:
        return [whole], False
    return [lookup(name) for name in read.names], len(read.alternatives) > 1


def _named(claims: Sequence[Claim]) -> tuple[Licence, ...]:
    """Return what ``license_name`` and ``license_link`` mean; the name speaks first."""
    for subject, find in (
        ("license_name", registry.by_name),
        ("gguf_license_name", registry.by_name),
        ("license_link", registry.by_link),
        ("gguf_license_link", registry.by_link),
    ):
        for claim in claims:
            found = find(claim.text) if claim.subject == subject else ()
            if found:
                return found
    return ()


def lookup(name: str) -> tuple[Licence, ...]:
    """Return the licences that a tag, an SPDX id, a registry id, a title or a link can mean."""
    found = registry.by_tag(name) or _without_suffix(name) or registry.by_name(name) or registry.by_link(name)
    if found:
        return found
    named = spelled.meant(name)
    return named.licences if named and (named.exact or len(named.licences) > 1) else ()


def _without_suffix(name: str) -> tuple[Licence, ...]:
    """SPDX tells ``GPL-3.0-only`` from ``-or-later`` and ``+``; what they ask of a copy is the same."""
    low = name.strip().lower()
    for ending in ("-only", "-or-later", "+"):
        if low.endswith(ending):
            return registry.by_tag(low.removesuffix(ending))
    return ()
