"""Which licence a text is: by the best margin over the word runs that tell near ties apart, never by one score.

A licence text is recognised when it holds most of a licence's fingerprint *and* the word runs on which that licence
and its nearest competitor differ speak for it. Where they do not decide (the Llama 3.x family, Qwen and Tongyi), the
answer is *unknown* with the candidates, and unknown is never read as permissive.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from filiation.disclosure.model import Fingerprint, Licence, Recognised
from filiation.disclosure.registry import licences
from filiation.disclosure.text import MAX_TEXT, flat, runs, words

MIN_COVERAGE = 0.5
"""Share of a licence's kept word runs that a copy must hold."""

MIN_MARGIN = 0.1
"""By how much the discriminating word runs must speak for the answer."""

MAX_FOREIGN = 12
"""Word runs that no licence accounts for: a title or an address adds so many, a further condition adds more."""

BLANK = 14
"""Word runs that each place adds where a copy fills in an owner's name (BSD)."""

MIN_INTACT = 0.8
"""Coverage under which a recognised text counts as changed."""

MIN_INTACT_SHORT = 0.9
"""The same for licences of under four hundred word runs: they have no appendix to lose."""

MIN_OWN = 8
"""Word runs of its own that a second licence in one file must show."""

MIN_APART = 3
"""Word runs under which two licences are not told apart by what one has and the other lacks."""

BEYOND = 5.0
"""How steeply words that only the longer of two nested licences has speak against the shorter."""

MENTION_LENGTH = 3000
"""Characters up to which a text that only names a licence is read for that name."""

_KEEP = 400


def fingerprint(text: str) -> Fingerprint:
    """Return the fingerprint of a licence text: what the registry keeps instead of the text."""
    found = set(runs(words(text)))
    modulus = 1
    while len(found) > _KEEP * modulus:
        modulus *= 2
    return Fingerprint(modulus, frozenset(h for h in found if h % modulus == 0))


def recognise(text: str) -> Recognised:
    """Return what a licence text is.

    Args:
        text: the file's text; at most :data:`~filiation.disclosure.text.MAX_TEXT` characters are looked at.
    """
    held = frozenset(runs(words(text)))
    ranked = _ranked(held)
    if not ranked:
        return _mentioned(text)
    coverage, best = ranked[0]
    margin, rival = _closest(held, best, [licence for _, licence in ranked[1:]])
    if margin is not None and margin < MIN_MARGIN:
        ties = tuple(sorted({best.id, rival.id} if rival else {best.id}))
        return Recognised(None, "none", coverage, margin, rival.id if rival else None, candidates=ties)
    also = _also(held, best)
    explained = _explained(held, [best, *also])
    named = _by_mark(text, best)
    return Recognised(
        licence=(named or best).id,
        basis="version_mark" if named else "text",
        coverage=round(coverage, 4),
        margin=None if margin is None else round(margin, 4),
        runner_up=rival.id if rival else None,
        explained=round(explained, 4),
        modified=_foreign(held, explained, best) or coverage < _intact(best),
        also=tuple(licence.id for licence in also),
    )


def _ranked(held: frozenset[int]) -> list[tuple[float, Licence]]:
    """Return coverage and licence for each that the text may be, the winner of all duels first."""
    found = [(_coverage(held, x), x) for x in _printed()]
    found = [(share, x) for share, x in found if share >= MIN_COVERAGE]
    found.sort(key=lambda entry: (-entry[0], entry[1].id))
    for place in range(1, len(found)):  # a challenger that wins its duel takes the first place
        if _duel(held, found[place][1], found[0][1]) > 0:
            found[0], found[place] = found[place], found[0]
    return found


@cache
def _printed() -> tuple[Licence, ...]:
    return tuple(licence for licence in licences().values() if licence.fingerprints)


def _coverage(held: frozenset[int], licence: Licence) -> float:
    """The best of the licence's texts: one licence may have an English and a Chinese one."""
    return max(_share(held, f.hashes) or 0.0 for f in licence.fingerprints)


def _share(held: frozenset[int], wanted: frozenset[int]) -> float | None:
    return len(held & wanted) / len(wanted) if wanted else None


def _apart(one: Licence, other: Licence) -> list[frozenset[int]]:
    """Return, for each text of ``one``, the hashes that ``other`` lacks, on the coarser sampling of the two."""
    modulus = max(f.modulus for x in (one, other) for f in x.fingerprints)
    theirs = frozenset[int]().union(*(f.hashes for f in other.fingerprints))
    return [frozenset(h for h in f.hashes - theirs if h % modulus == 0) for f in one.fingerprints]


def _own_share(held: frozenset[int], one: Licence, other: Licence) -> float | None:
    """Return the share that the text holds of what ``one`` has and ``other`` lacks; the best of its texts.

    None where nothing tells ``one`` from ``other``: all of it stands in ``other`` too (MIT in a modified MIT).
    """
    shares = [_share(held, part) for part in _apart(one, other) if len(part) >= MIN_APART]
    return max((s for s in shares if s is not None), default=None)


def _duel(held: frozenset[int], one: Licence, other: Licence) -> float:
    """Return how much more of what tells them apart speaks for ``one``, -1 to 1."""
    mine, theirs = _own_share(held, one, other), _own_share(held, other, one)
    if mine is None and theirs is None:
        return 0.0
    if mine is None or theirs is None:
        return -_beyond(theirs or 0.0) if mine is None else _beyond(mine)
    return mine - theirs


def _beyond(share: float) -> float:
    """Return how much the longer of two licences, of which one holds the other whole, is spoken for.

    What only the longer one has cannot come from the shorter: a little of it counts for much.
    """
    return share - max(0.0, 1.0 - BEYOND * share)


def _closest(
    held: frozenset[int], best: Licence, others: Sequence[Licence]
) -> tuple[float | None, Licence | None]:
    """Return the smallest margin over the competitors, and against whom.

    A licence that stands in the same file whole, with words of its own, is a second licence and no competitor.
    """
    rivals = [x for x in others if not (_stands_alone(held, x, best) and _stands_alone(held, best, x))]
    duels = [(_duel(held, best, other), other.id, other) for other in rivals]
    if not duels:
        return None, None
    margin, _, rival = min(duels, key=lambda duel: duel[:2])
    return margin, rival


def _also(held: frozenset[int], best: Licence) -> list[Licence]:
    """Return further licences in the file: those whose own word runs, shared with none before, are nearly all there."""
    found: list[Licence] = []
    for licence in _printed():
        if licence is best or _coverage(held, licence) < MIN_INTACT:
            continue
        if all(_stands_alone(held, licence, known) for known in (best, *found)):
            found.append(licence)
    return found


def _stands_alone(held: frozenset[int], licence: Licence, known: Licence) -> bool:
    parts = _apart(licence, known)
    return any(len(part) >= MIN_OWN and (_share(held, part) or 0.0) >= MIN_INTACT for part in parts)


def _explained(held: frozenset[int], found: Sequence[Licence]) -> float:
    """Return the share of the text's word runs that these licences hold, on the coarsest of their samplings."""
    prints = [f for licence in found for f in licence.fingerprints]
    modulus = max(f.modulus for f in prints)
    kept = frozenset(h for h in held if h % modulus == 0)
    covered = kept & frozenset[int]().union(*(f.hashes for f in prints))
    return len(covered) / len(kept) if kept else 1.0


def _foreign(held: frozenset[int], explained: float, best: Licence) -> bool:
    """Whether more stands in the text than the licence, a title, an address and an owner's name."""
    coarse = (
        max(f.modulus for f in best.fingerprints) - 1
    )  # what one kept hash stands for is uncertain by as many
    return (1.0 - explained) * len(held) > MAX_FOREIGN + 2 * coarse + BLANK * best.blanks


def _intact(licence: Licence) -> float:
    """The coverage under which a text counts as cut: a long licence may come without its appendix."""
    whole = all(f.modulus == 1 for f in licence.fingerprints)
    return MIN_INTACT_SHORT if whole else MIN_INTACT


def _by_mark(text: str, best: Licence) -> Licence | None:
    """Return the sibling whose version line the text carries, when it does not carry the recognised one's."""
    plain = f" {flat(text[:MAX_TEXT])} "
    if not best.marks or any(f" {flat(mark)} " in plain for mark in best.marks):
        return None
    siblings = (x for x in licences().values() if x.family == best.family and x is not best)
    return next((x for x in siblings if any(f" {flat(m)} " in plain for m in x.marks)), None)


def _mentioned(text: str) -> Recognised:
    """Recognise a short text that only names or links a licence; one that names several says nothing."""
    if len(text) > MENTION_LENGTH:
        return Recognised(None, "none")
    plain, low = f" {flat(text)} ", text.lower()
    found = {
        x.id: max((len(n) for n in (x.name, *x.names) if f" {flat(n)} " in plain), default=0)
        for x in licences().values()
        if any(f" {flat(n)} " in plain for n in (x.name, *x.names) if len(n) > 8)
        or any(link.lower() in low for link in x.links)
    }
    longest = max(found.values(), default=0)
    best = sorted(ident for ident, length in found.items() if length == longest)
    if len(best) == 1:
        return Recognised(best[0], "mention")
    return Recognised(None, "none", candidates=tuple(best))
