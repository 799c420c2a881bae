"""From rank, margin, rarity and equal nodes to a level. The lines that are drawn here stand in docs/audit/source.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from filiation.source.given import Given
from filiation.source.library import Library
from filiation.source.model import LEVELS, SAME, Candidate, FileFound, Level, RenameMap
from filiation.source.pair import Pair, compare, overlap
from filiation.source.prints import Print
from filiation.source.ranking import Document, Ranked
from filiation.source.siblings import most_of_siblings, own

MARGIN = 1.5  # the first work's score over the second's
RARE_STRUCTURES = 3  # that at most two works of the corpus have
UNUSUAL = 0.05  # how often the best of a whole corpus of unrelated files may score as high
OWN = 0.15  # of what two files share stands in no third work, where siblings are too near for the margin
EXPLAINED = 0.10  # of what two files share may be missing in the third that explains it
_ANSWERS = (Level.IDENTICAL, Level.SAME_AFTER_RENAMING, Level.REFACTORED)
_NOTHING_LESS = 0.001  # the score of a second that shares nothing, so that a margin stays a number
ONE_WORK = 0.95  # of a file's nodes stand in another: two copies of one work, not two works
HELD_MARGIN = 1.1  # of what is held of a reference, or of what it explains of the file, over any other work
_TOLD = 5  # candidates in the record
_KEPT = 8  # given files that stand beside the corpus's candidates
_LOOKED_AT = 3  # candidates of the corpus, and of the given ones, that are compared node by node


@dataclass(frozen=True, eq=False)
class Judged:
    """What was found for a file; pair and document are those of the level, null where nothing was found."""

    found: FileFound
    pair: Pair | None
    document: Document | None


@dataclass(frozen=True, eq=False)
class _Option:
    level: Level
    ranked: Ranked
    pair: Pair
    margin: float | None
    apart: Apart | None


@dataclass(frozen=True, slots=True)
class Apart:
    """What a file and its reference share that no third work has, and how the reference's siblings stand to that.

    ``own`` is its part of all that the two share; ``margin`` the file's part over the largest part of a sibling.
    """

    own: float
    margin: float


def judge(source: Print, given: Given | None, library: Library) -> Judged:
    """Return the level of one file.

    Where a given reference is at least ``refactored``, the level answers the question that was asked; else it is the
    strongest that any candidate reaches. The candidates of the corpus are in the record either way.
    """
    known = library.index.rank(source)
    mine = sorted(given.rank(source), key=_place)[:_KEPT] if given is not None else []
    if given is not None:
        mine = [given.known_as(source, r) if r.score > 0 else r for r in mine]
    ranked = sorted([*known, *mine], key=_place)
    looked = [some[:_LOOKED_AT] for some in (mine, known)]
    options = [option for some in looked for option in _options(source, some, ranked, library)]
    best = min(options, key=_order, default=None)
    told = [r for r in ranked if r.score > 0][:_TOLD]
    if best is not None and best.ranked not in told:
        told.append(best.ranked)
    candidates = tuple(_candidate(r, library) for r in told)
    if best is None:
        return Judged(_nothing(source, candidates), None, None)
    return _judged(source, best, ranked, candidates, library)


def _place(ranked: Ranked) -> tuple[float, str, str]:
    return -ranked.score, ranked.document.repository, ranked.document.path


def _options(
    source: Print, some: Sequence[Ranked], every: Sequence[Ranked], library: Library
) -> list[_Option]:
    """Compare candidates, the best first, until one is nearly all of the suspect or none can be anything any more."""
    found: list[_Option] = []
    for each in some:
        if each.score <= 0:
            break
        found.append(_option(source, each, every, library))
        if found[-1].pair.share >= ONE_WORK or found[-1].level is Level.NO_FINDING:
            break
    return found


def _order(option: _Option) -> tuple[bool, int, float]:
    asked = option.ranked.document.given is not None and option.level in _ANSWERS
    return not asked, LEVELS.index(option.level), -round(option.pair.share, 3)


def _option(source: Print, ranked: Ranked, every: Sequence[Ranked], library: Library) -> _Option:
    pair = compare(source, ranked.document.fingerprint())
    if library.index.works <= 1:
        return _Option(_level(pair, ranked, None, None, library), ranked, pair, None, None)
    next_one = next((r for r in every if not _one_work(r, ranked, library)), None)
    margin = ranked.score / max(next_one.score if next_one else 0.0, _NOTHING_LESS)
    known = (r for r in every if r.document.given is None)
    works = frozenset(r.document.work for r in known if _one_work(r, ranked, library))
    apart = _apart(source, ranked, works | {ranked.document.work}, library)
    level = _level(pair, ranked, margin, apart, library)
    if (
        level is Level.SHARES_ANCESTOR
        and _is_rare(ranked, library)
        and _held(source, pair, ranked, every, library)
    ):
        level = Level.REFACTORED
    return _Option(level, ranked, pair, margin, apart)


def _held(source: Print, pair: Pair, ranked: Ranked, every: Sequence[Ranked], library: Library) -> bool:
    """Return whether the file holds nearly all of the reference, and of every other work less, or a smaller one.

    Code that was put around a copy, or between its statements, thins the file's own share and leaves this one.
    """
    if pair.reverse < SAME:
        return False
    others = [r for r in every if not _one_work(r, ranked, library)][:_LOOKED_AT]
    pairs = (compare(source, r.document.fingerprint()) for r in others)
    return all(
        HELD_MARGIN * other.reverse <= pair.reverse or HELD_MARGIN * other.share <= pair.share
        for other in pairs
    )


def _apart(source: Print, ranked: Ranked, works: frozenset[str], library: Library) -> Apart:
    index = library.index
    mine = own(index, source, ranked.document.fingerprint(), works)
    if mine.structures < RARE_STRUCTURES:
        return Apart(mine.of_shared, 0.0)
    siblings = most_of_siblings(index, ranked.document, works)
    return Apart(mine.of_shared, mine.of_file / max(siblings, _NOTHING_LESS))


def _one_work(left: Ranked, right: Ranked, library: Library) -> bool:
    """Return whether two candidates are one work: the same file, or one that is nearly a copy of the other."""
    if left.document == right.document or left.document.work == right.document.work:
        return True
    if left.document.given is None and right.document.given is None:
        return False
    pair = (left.document, right.document)
    known = library.index.one_work.get(pair)
    if known is None:
        share = compare(left.document.fingerprint(), right.document.fingerprint()).share
        known = library.index.one_work[pair] = share >= ONE_WORK
    return known


def _level(pair: Pair, ranked: Ranked, margin: float | None, apart: Apart | None, library: Library) -> Level:
    if pair.same:
        return Level.IDENTICAL
    if pair.share >= SAME:
        return Level.SAME_AFTER_RENAMING
    if _is_rare(ranked, library) and _ahead(margin, apart):
        return Level.REFACTORED
    return Level.SHARES_ANCESTOR if _unusual(library.null.p_value(ranked.score)) else Level.NO_FINDING


def _is_rare(ranked: Ranked, library: Library) -> bool:
    return ranked.rare >= RARE_STRUCTURES and _unusual(library.null.joint(ranked.contained, ranked.rare))


def _ahead(margin: float | None, apart: Apart | None) -> bool:
    """Return whether a candidate is the first by a margin: over all other works, or over its own siblings.

    Works of one family are nearly as near to a copy as the work that it was taken from, so there the margin is asked of
    what no third work has: a copy holds more of it than the siblings do.
    """
    if margin is None or margin < 1:
        return False
    return margin >= MARGIN or (apart is not None and apart.own >= OWN and apart.margin >= MARGIN)


def _unusual(p_value: float | None) -> bool:
    return p_value is not None and p_value <= UNUSUAL


def _judged(
    source: Print,
    best: _Option,
    ranked: Sequence[Ranked],
    candidates: tuple[Candidate, ...],
    library: Library,
) -> Judged:
    pair, document = best.pair, best.ranked.document
    nothing = best.level is Level.NO_FINDING
    explained, beyond = (None, None) if nothing else _explained(source, best.ranked, ranked, library)
    found = FileFound(
        source.path,
        best.level,
        None if nothing else document.repository,
        None if nothing else document.path,
        pair.share,
        pair.reverse,
        pair.blind,
        pair.run,
        source.statements.nodes,
        best.margin,
        candidates,
        RenameMap() if nothing else pair.renames,
        explained,
        beyond,
        None if best.apart is None else best.apart.own,
        None if best.apart is None else best.apart.margin,
        overlap(pair, "calls"),
        overlap(pair, "constants"),
        overlap(pair, "attributes"),
        overlap(pair, "parameters"),
    )
    return Judged(found, None, None) if nothing else Judged(found, pair, document)


def _explained(
    source: Print, best: Ranked, ranked: Sequence[Ranked], library: Library
) -> tuple[str | None, float | None]:
    """Return the file of another work that holds most of what the two share, if nearly all, and what it lacks."""
    here: list[tuple[float, str]] = []
    reference = best.document.fingerprint()
    for each in ranked:
        if each.document.given is not None or _one_work(each, best, library):
            continue
        left = library.index.beyond(source, reference, each.document.fingerprint())
        here.append((left, f"{each.document.repository}: {each.document.path}"))
    if not here:
        return None, None
    beyond, name = min(here)
    return (name if beyond <= EXPLAINED else None), beyond


def _candidate(ranked: Ranked, library: Library) -> Candidate:
    document = ranked.document
    return Candidate(
        document.repository,
        document.path,
        ranked.score,
        ranked.contained,
        ranked.rare,
        document.year,
        document.released,
        library.null.p_value(ranked.score),
    )


def _nothing(source: Print, candidates: tuple[Candidate, ...]) -> FileFound:
    nodes = source.statements.nodes
    return FileFound(
        source.path, Level.NO_FINDING, None, None, 0.0, 0.0, 0.0, 0, nodes, None, candidates, RenameMap()
    )
