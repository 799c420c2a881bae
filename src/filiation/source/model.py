"""The records of the source wing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from filiation.evidence import Evidence


class Level(StrEnum):
    """What two source files have in common, strongest first. No level says who wrote first, or that it was wrong."""

    IDENTICAL = "identical"
    SAME_AFTER_RENAMING = "same_after_renaming"
    REFACTORED = "refactored"
    SHARES_ANCESTOR = "shares_ancestor"
    NO_FINDING = "no_finding"


LEVELS = tuple(Level)
SAME = 0.8  # share of nodes that are equal after one rename map


class HeaderState(StrEnum):
    """What became of the reference's copyright lines in the suspect."""

    KEPT = "kept"
    PARTLY_KEPT = "partly_kept"
    REMOVED = "removed"
    NONE_IN_REFERENCE = "none_in_reference"


class CopyStatus(StrEnum):
    """What became of a ``# Copied from`` statement when it was checked against the release that it names.

    ``agrees``: equal after the stated renaming. ``agrees_after_other_renaming``: equal after one renaming, but not
    the stated one. ``drifted``: the source is there and differs. ``not_there``: the release has no such definition.
    ``not_checked``: no release at hand holds the package, or nothing stands under the comment.
    """

    AGREES = "agrees"
    AGREES_OTHERWISE = "agrees_after_other_renaming"
    DRIFTED = "drifted"
    NOT_THERE = "not_there"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, slots=True)
class CodePlace:
    """Lines ``line`` to ``end`` of a file of ``repository`` (a locator, or a release of the corpus)."""

    repository: str
    file: str
    line: int
    end: int
    definition: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """Two definitions that belong together.

    ``share`` is the share of the suspect definition's nodes that are equal after the one rename map of the two files;
    ``lines`` are pairs of equal lines (suspect, reference), from which a view beside one another is drawn. It is empty
    where the reference is known by its fingerprint only.
    """

    suspect: CodePlace
    reference: CodePlace
    nodes: int
    share: float
    lines: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Renaming:
    """One entry of a rename map: ``reference`` became ``suspect``, at ``count`` places of matched code.

    ``reference`` is null where only the hash of the name is known.
    """

    suspect: str
    reference: str | None
    count: int


@dataclass(frozen=True, slots=True)
class RenameMap:
    """How the names of one file turn into those of the other.

    Attributes:
        names: every name that changed, most frequent first.
        rules: parts of names that changed throughout (``Llama`` became ``Yi``), most frequent first.
        kept: places of matched code where the name stayed.
        places: all places of matched code where a name stands.
        one_to_one: share of the places that agree with the one-to-one map.
        survivors: names of the suspect that still hold what a rule replaces elsewhere.
    """

    names: tuple[Renaming, ...] = ()
    rules: tuple[Renaming, ...] = ()
    kept: int = 0
    places: int = 0
    one_to_one: float | None = None
    survivors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A reference file as the ranking sees it.

    Attributes:
        repository, file: which one.
        score: geometric mean of the two containments of weighted features, 0 to 1.
        contained: share of the suspect's weight that stands in the reference.
        rare: shared structures that at most two works of the corpus have.
        year: year of the reference's first copyright line.
        released: date of the release that holds it (ISO 8601); null for a given reference.
        p_value: how often the best unrelated file of the corpus scores as high, plus one.
    """

    repository: str
    file: str
    score: float
    contained: float
    rare: int
    year: int | None
    released: str | None
    p_value: float | None


@dataclass(frozen=True, slots=True)
class FileFound:
    """What was found for one file of the suspect.

    ``share`` (and ``reverse_share``: of the reference's nodes) is of nodes equal after one rename map, ``blind_share``
    without asking for one map. ``library_calls``, ``constants``, ``attributes`` and ``parameters`` are overlaps of what
    matched definitions use, null where the reference is known by its fingerprint only. ``margin`` is the best
    candidate's score over that of the best one of another work. ``longest_run`` counts statements. ``explained_by``
    is a file that holds nearly all that the two share, ``beyond`` the part of it that it does not hold. ``own`` is the
    part of what the two share that no third work of the corpus has, ``sibling_margin`` the suspect's amount of it over
    the largest amount that a sibling of the reference has with the reference alone.
    """

    file: str
    level: Level
    reference: str | None
    reference_file: str | None
    share: float
    reverse_share: float
    blind_share: float
    longest_run: int
    nodes: int
    margin: float | None
    candidates: tuple[Candidate, ...]
    rename_map: RenameMap
    explained_by: str | None = None
    beyond: float | None = None
    own: float | None = None
    sibling_margin: float | None = None
    library_calls: float | None = None
    constants: float | None = None
    attributes: float | None = None
    parameters: float | None = None

    @property
    def holds(self) -> bool:
        """Whether nearly all of the reference stands in the file, beside so much else that the levels say less."""
        less = self.level in (Level.REFACTORED, Level.SHARES_ANCESTOR)
        return less and self.reverse_share >= SAME

    @property
    def best(self) -> Candidate | None:
        """The candidate that the level speaks of, or the first where there is no finding."""
        of_level = (
            c for c in self.candidates if (c.repository, c.file) == (self.reference, self.reference_file)
        )
        return next(of_level, self.candidates[0] if self.candidates else None)


@dataclass(frozen=True, slots=True)
class Notice:
    """A copyright or licence line: whose, since when, where."""

    holder: str
    years: str
    line: int


@dataclass(frozen=True, slots=True)
class HeaderFinding:
    """The heads of a suspect's file and of the reference it matches.

    ``kept``, ``removed`` and ``added`` are holders. ``attributions`` are the suspect's own statements of where code
    comes from, with their lines; ``source_attributed`` says whether one of them, or a kept holder, names the reference.
    ``denied`` are statements that something is no source; they attribute nothing and contradict nothing by themselves.
    ``later_there``: the reference has every holder that the file has, and others of later years only, as a file has
    that was made from this one; which came from which cannot be told from such heads.
    """

    file: str
    reference: str | None
    reference_file: str | None
    state: HeaderState
    kept: tuple[str, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]
    licence: str | None
    reference_licence: str | None
    attributions: tuple[tuple[int, str], ...]
    source_attributed: bool
    denied: tuple[tuple[int, str], ...] = ()
    later_there: bool = False


@dataclass(frozen=True, slots=True)
class CopiedFrom:
    """One ``# Copied from`` statement and what a check of it gave."""

    file: str
    line: int
    source: str
    renames: tuple[tuple[str, str], ...]
    status: CopyStatus
    release: str | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Disclosed:
    """Inheritance that a file itself states: ``generated`` (a banner), ``inherits`` (a modular file's classes)."""

    file: str
    line: int
    kind: str
    source: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotExamined:
    """A file that was left out, and why (a phrase key): ``notebook``, ``other_language``, ``too_large``, ..."""

    file: str
    why: str


@dataclass(frozen=True, slots=True)
class SourceFound:
    """What an examination found. ``level`` is the strongest of ``files``; ``rename_map`` that of its file."""

    level: Level
    files: tuple[FileFound, ...] = ()
    matches: tuple[Match, ...] = ()
    rename_map: RenameMap = field(default_factory=RenameMap)
    headers: tuple[HeaderFinding, ...] = ()
    copied_from: tuple[CopiedFrom, ...] = ()
    disclosed: tuple[Disclosed, ...] = ()
    not_examined: tuple[NotExamined, ...] = ()
    corpus: Mapping[str, str] = field(default_factory=dict[str, str])
    evidence: tuple[Evidence, ...] = ()
