"""The records of this room: licences and what they ask, statements of a repository, parents, results of rules."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast

from filiation.evidence import Place
from filiation.repository import Repository


class Reading(StrEnum):
    """How the registry knows what it says of a licence."""

    TEXT = "text"
    SECOND_HAND = "second_hand"
    GENERAL = "general"


class Basis(StrEnum):
    """Why somebody is held to be a parent: weights invoke the model's licence, code the code's licence."""

    WEIGHTS = "weights"
    CODE = "code"
    OUTPUTS = "outputs"
    CLAIM = "claim"
    GIVEN = "given"


class RuleStatus(StrEnum):
    """What a rule found."""

    SATISFIED = "satisfied"
    MISSING = "missing"
    CONTRADICTED = "contradicted"
    NOT_APPLICABLE = "not_applicable"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True, slots=True)
class Obligation:
    """One thing a licence asks, with its clause.

    Attributes:
        kind: ``copy``, ``notice``, ``display``, ``name``, ``changes``, ``keep_notices``, ``use``, ``other_models``,
            ``scale``, ``field``, ``region``.
        clause: where the licence says so.
        line: the line that a notice file must hold (kind ``notice``).
        phrases: any one of which must be displayed (kind ``display``).
        part: what the name must hold, and ``rule`` how: ``starts_with`` or ``includes`` (kind ``name``); for
            ``other_models`` the rule is ``banned`` or ``allowed``.
        outputs: whether it also binds a model that was only trained on outputs.
        link: the policy that must be passed on (kind ``use``).
        asks: own words by language, for what cannot be said by kind alone.
    """

    kind: str
    clause: str
    line: str | None = None
    phrases: tuple[str, ...] = ()
    part: str | None = None
    rule: str | None = None
    outputs: bool = False
    link: str | None = None
    asks: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What recognises a text without keeping it: hashes of word runs.

    Attributes:
        modulus: only hashes divisible by it are kept, so that long texts stay small.
        hashes: 32-bit hashes of runs of seven words of the normalised text.
    """

    modulus: int
    hashes: frozenset[int]


@dataclass(frozen=True, slots=True)
class ModelPattern:
    """Which models a licence governs, and when: shell-style pattern on ``publisher/model``, dates ISO 8601."""

    pattern: str
    since: datetime.date | None = None
    until: datetime.date | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Licence:
    """One version of one licence: facts, clause references and fingerprints in the registry's own words.

    Attributes:
        kind: ``permissive``, ``copyleft``, ``share_alike``, ``non_commercial``, ``community``, ``rail``, ``research``,
            ``api_terms``, ``notice_only``.
        attaches: what it is given for: ``weights``, ``code``, ``data``, ``outputs``.
        hub: values of the hub's ``license`` field that mean it (several versions may share one).
        names: titles and values of ``license_name`` that mean it.
        relicense: what a derivative may be licensed under: ``free``, ``own_terms`` (for the changes, the licence still
            binds the rest) or ``same``.
        marks: phrases that tell this version from its siblings (release date, version line), normalised on reading.
        blanks: places in the text where each copy fills in an owner's name.
        output_clause: the clause by which models trained on outputs count as derivatives, or None.
    """

    id: str
    name: str
    kind: str
    family: str
    reading: Reading
    valid_from: datetime.date | None = None
    valid_to: datetime.date | None = None
    version: str | None = None
    spdx: str | None = None
    attaches: tuple[str, ...] = ()
    hub: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    relicense: str = "free"
    relicense_clause: str | None = None
    output_clause: str | None = None
    blanks: int = 0
    models: tuple[ModelPattern, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    fingerprints: tuple[Fingerprint, ...] = ()

    def asks(self, kind: str) -> tuple[Obligation, ...]:
        """Return the obligations of one kind."""
        return tuple(o for o in self.obligations if o.kind == kind)

    def in_force(self, when: datetime.date | None) -> bool:
        """Return whether it was in force on a day; an unknown day does not exclude it."""
        if when is None:
            return True
        after = self.valid_from is None or self.valid_from <= when
        return after and (self.valid_to is None or when < self.valid_to)


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a licence text was recognised as.

    Attributes:
        licence: the licence's id, or None: then it is *unknown*, which is never read as permissive.
        basis: ``text`` (the text itself), ``version_mark`` (the text of a sibling with this one's version line),
            ``mention`` (named or linked, not contained), ``none``.
        coverage: share of the licence's kept word runs that the text holds.
        margin: by how much the discriminating word runs speak for it against ``runner_up``, -1 to 1.
        explained: share of the text's own word runs that the recognised licences account for.
        modified: the text holds more, or less, than the licence: its terms cannot be taken from the registry alone.
        also: further licences in the same file.
        candidates: near ties, when no one licence is clearly best.
    """

    licence: str | None
    basis: str
    coverage: float = 0.0
    margin: float | None = None
    runner_up: str | None = None
    explained: float = 0.0
    modified: bool = False
    also: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Every licence recognised in the text, the main one first."""
        return () if self.licence is None else (self.licence, *self.also)


@dataclass(frozen=True, slots=True)
class CodeFinding:
    """A code file of the suspect that matches a file of the reference (from the source wing or from a report).

    Attributes:
        level: ``identical``, ``same_after_renaming``, ``refactored``, ``shares_ancestor`` or ``no_finding``.
        suspect_file, reference_file: paths inside the two repositories.
        licence: of the reference file, an id or an expression; None where it is not known.
        suspect_holders, reference_holders: copyright lines in the heads of the two files; None where not read.
    """

    level: str
    suspect_file: str
    reference_file: str | None = None
    licence: str | None = None
    suspect_holders: tuple[str, ...] | None = None
    reference_holders: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Beside:
    """What another wing found, for the rules to set a claim of own making beside.

    Attributes:
        head: ``tokenizer``, ``public_tokenizer`` or ``traces``; findings on weights and code are :class:`Parent`.
        reference: the repository, or the public tokenizer, that it is found with.
        relation: of the two tokenizers.
        count: how many traces there are.
    """

    head: str
    reference: str
    relation: str = ""
    count: int = 0


@dataclass(frozen=True, eq=False)
class Parent:
    """A model (or a code base) that the suspect comes from, says it comes from, or is told to come from.

    Attributes:
        name: ``publisher/model``, a path or a plain name.
        basis: why it is held to be one.
        licence: id or expression of the model's licence, when known; else it is looked up.
        code_licence: of its code.
        when: the day of derivation, ISO 8601 (only the day is used); None where unknown.
        repository: the parent's files, when at hand: notices, licence text and headers are compared with them.
        relation: ``adapter``, ``merge``, ``quantized``, ``finetune``, ``identical`` where evidence shows it.
        code: matched code files.
        place: where the claim stands, for a claimed parent.
    """

    name: str
    basis: frozenset[Basis]
    licence: str | None = None
    code_licence: str | None = None
    when: str | None = None
    repository: Repository | None = None
    relation: str | None = None
    code: tuple[CodeFinding, ...] = ()
    place: Place | None = None

    @property
    def by_weights(self) -> bool:
        """Whether the model's licence is invoked: weights, or a statement that is taken at its word."""
        return bool(self.basis & {Basis.WEIGHTS, Basis.CLAIM, Basis.GIVEN})

    @property
    def by_outputs(self) -> bool:
        """Whether only training on outputs links the two."""
        return Basis.OUTPUTS in self.basis and not self.by_weights

    @property
    def concluded(self) -> bool:
        """Whether somebody other than the repository itself says so."""
        return bool(self.basis & {Basis.WEIGHTS, Basis.OUTPUTS, Basis.GIVEN})

    @property
    def day(self) -> datetime.date | None:
        """The day of derivation as a date."""
        return day(self.when)


def day(text: str | None) -> datetime.date | None:
    """Return the date at the front of an ISO 8601 time, or None."""
    try:
        return datetime.date.fromisoformat((text or "")[:10])
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule found, for one parent and one licence where it speaks of them.

    Attributes:
        id: ``D1`` to ``D4``, ``L1`` to ``L11``, ``T1``.
        status: see :class:`RuleStatus`.
        reason: phrase key, ``disclosure.reason.<reason>``; :meth:`said` gives the values of its placeholders.
        place: the file, line and digest where it shows; None where nothing is there to point at.
        clause: ``<licence id> <clause>``, or None.
    """

    id: str
    status: RuleStatus
    reason: str
    place: Place | None = None
    clause: str | None = None
    licence: str | None = None
    parent: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def said(self, language: str = "en") -> dict[str, str]:
        """Return the values of the phrase's placeholders in a language; what a registry says stands there in each."""
        found: dict[str, str] = {}
        for key, value in self.values.items():
            if isinstance(value, Mapping):
                words = cast("Mapping[str, str]", value)
                found[key] = words.get(language) or words.get("en", "")
            else:
                found[key] = "" if value is None else str(value)
        return found

    @property
    def owed(self) -> bool:
        """Whether something is asked for and not there."""
        return self.status in {RuleStatus.MISSING, RuleStatus.CONTRADICTED}
