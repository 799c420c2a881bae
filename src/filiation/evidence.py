"""The records every wing produces and every report reads.

A :class:`Report` is what one command found: the models, the evidence, the verdict, the limits. Records are frozen
dataclasses; they hold no time, host or duration, so equal inputs give equal bytes (:func:`to_json`). The
published JSON Schema is :func:`json_schema`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any, Protocol

SCHEMA = "https://filiation.org/schema/report/1"
AUDIT_SCHEMA = "https://filiation.org/schema/audit/1"
PROBE_SCHEMA = "https://filiation.org/schema/probe/1"


class Wing(StrEnum):
    """The part of the toolkit that produced a piece of evidence."""

    ORIGIN = "origin"
    LIKENESS = "likeness"
    DERIVATION = "derivation"
    ANATOMY = "anatomy"
    TRACES = "traces"
    TOKENIZER = "tokenizer"
    SOURCE = "source"
    DISCLOSURE = "disclosure"
    BEHAVIOUR = "behaviour"
    MARKS = "marks"


class Status(StrEnum):
    """Whether a test ran. A test that did not run is a result with a reason, never a missing row."""

    APPLIED = "applied"
    NOT_APPLICABLE = "not_applicable"
    NOT_MEASURED = "not_measured"


class Scale(StrEnum):
    """What a number is worth: an exact bound, a calibrated statistic, or a plain fact."""

    EXACT = "exact"
    CALIBRATED = "calibrated"
    FACT = "fact"


class RestsOn(StrEnum):
    """What the labels come from: random initial values, constants that training moved, or nothing."""

    RANDOM = "random_initialised"
    CONSTANT = "constant_initialised"
    NONE = "none"


class Relation(StrEnum):
    """How the two models as wholes are related (section 6 of the evidence contract)."""

    IDENTICAL = "identical"
    COMMON_ORIGIN = "common_origin"
    SHARED_PARTS = "shared_parts"
    SHARED_INITIALISATION = "shared_initialisation"
    SUGGESTIVE = "suggestive"
    NONE_FOUND = "none_found"
    CANNOT_TEST = "cannot_test"


@dataclass(frozen=True, slots=True)
class Location:
    """Which part of the models a piece of evidence speaks of.

    ``layer`` is the suspect's layer and ``candidate_layer`` the candidate's; they differ where layers were
    dropped, repeated or moved.
    """

    component: str = "language"
    layer: int | None = None
    role: str | None = None
    candidate_layer: int | None = None
    expert: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader can look: a file, a line, a tensor, a digest, a request."""

    file: str | None = None
    line: int | None = None
    tensor: str | None = None
    digest: str | None = None
    request: str | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect size with its interval, e.g. ``matched units = 250 of 256``."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Background:
    """What a statistic shows on unrelated pairs: quantiles, how many pairs and families, and the source."""

    description: str
    n_pairs: int
    quantiles: Mapping[str, float]
    source: str
    n_families: int | None = None
    false_positive_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """One finding.

    Attributes:
        id: stable; encodes every parameter that changes the value, e.g.
            ``origin.ffn_order/language/layer=7/block=256/stage=direct``.
        wing: who produced it.
        question: what was asked, in one sentence.
        part: what it speaks of.
        status: applied, not applicable or not measured; ``reason`` says why it did not run.
        scale: exact (``log10_e`` is a bound under the stated null), calibrated, or fact.
        statistic: the observed value, named by ``statistic_name``; ``expected`` is its value by chance.
        n: how many units it rests on.
        log10_e: decimal logarithm of the e-value ("bans"); null where the scale is not exact.
        p_value: only where a test has one that is not ``1/e``.
        rests_on: what the labels come from.
        label_set: evidence with one label set is averaged, of different label sets multiplied.
        shows, cannot_show: keys of the phrase files; never free text in one language only.
    """

    id: str
    wing: Wing
    question: str
    part: Location = field(default_factory=Location)
    status: Status = Status.APPLIED
    reason: str | None = None
    scale: Scale = Scale.EXACT
    test: str = ""
    statistic_name: str | None = None
    statistic: float | None = None
    expected: float | None = None
    n: int | None = None
    log10_e: float | None = None
    p_value: float | None = None
    effect: tuple[Effect, ...] = ()
    background: Background | None = None
    rests_on: RestsOn = RestsOn.NONE
    label_set: str | None = None
    symmetry: str | None = None
    candidate: int = 0
    places: tuple[Place, ...] = ()
    shows: str | None = None
    cannot_show: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """What a model says of itself, and where."""

    subject: str
    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class Duty:
    """What a licence asks of whoever passes the model on, with the clause."""

    licence: str
    clause: str
    asks: str
    place: Place


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of a checkpoint: name inside it, size in bytes, SHA-256 or the reason why it was not hashed."""

    name: str
    size: int
    sha256: str | None = None
    not_hashed: str | None = None


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """One of the models: what was opened, pinned as well as it can be.

    ``digest_covers``: ``contents``, or ``names_sizes_headers`` where weight files were not hashed and the digest says
    nothing of what they hold.
    """

    locator: str
    name: str
    format: str
    digest: str
    files: tuple[FileRecord, ...]
    revision: str | None = None
    family: str | None = None
    geometry: Mapping[str, Any] = field(default_factory=dict[str, Any])
    inferred: tuple[str, ...] = ()
    dtypes: Mapping[str, int] = field(default_factory=dict[str, int])
    parameters: int | None = None
    total_bytes: int = 0
    bytes_read: int = 0
    digest_covers: str | None = None


@dataclass(frozen=True, slots=True)
class Derivation:
    """One step that led from candidate to suspect: ``kind`` (see the contract, section 7) and its numbers."""

    kind: str
    numbers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    candidate: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from the evidence.

    ``log10_e`` is null, with ``reason``, when no exact test could be applied. ``false_positive_bound`` is
    ``1/e`` capped at 1: how often, at most, evidence this strong arises between independent models; it is
    not the probability that the finding is wrong.
    """

    relation: Relation
    log10_e: float | None
    scope: tuple[str, ...] = ()
    reason: str | None = None
    candidate: int = 0
    false_positive_bound: float | None = None
    inherited_share: float | None = None
    derivation: tuple[Derivation, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What follows from an audit of a repository. It says nothing of weights: no :class:`Relation` is made of it.

    Attributes:
        outcome: ``owed`` where a rule found something missing or contradicted, ``open`` where nothing is owed and a
            rule could not tell, ``met`` where every rule that applies is satisfied.
        source: level of the strongest code finding (``no_finding`` too where there was no code); ``notices`` what
            became of the reference's copyright lines there, ``attributed`` whether the file names that source; both
            null where nothing was matched.
        tokenizer: the closest relation of the tokenizer to that of a reference.
        traces: how many traces of each kind were found.
        rules: how many results each status has.
        reasons: phrase keys of what could not be asked, such as a comparison without a reference.
    """

    outcome: str
    source: str
    tokenizer: str
    notices: str | None = None
    attributed: bool | None = None
    traces: Mapping[str, int] = field(default_factory=dict[str, int])
    rules: Mapping[str, int] = field(default_factory=dict[str, int])
    reasons: tuple[str, ...] = ()


class Outcome(StrEnum):
    """What a test on an endpoint says of the relation it asks for; the four are never mixed.

    ``SUPPORTED``: chance is rejected in favour of the relation. ``CONTRADICTED``: the data rule it out, by the test's
    own rule. ``UNDECIDED``: neither, with the smallest effect that the budget could have seen.
    """

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    NOT_MEASURED = "not_measured"


class ProbeRelation(StrEnum):
    """How the model behind an endpoint is related to the one it was held against."""

    SAME_WEIGHTS = "same_weights"
    DERIVATIVE = "derivative"
    TRAINED_ON_OUTPUTS = "trained_on_outputs"
    ASSOCIATED = "associated"
    DIFFERENT = "different"
    NONE_FOUND = "none_found"
    CANNOT_TEST = "cannot_test"


@dataclass(frozen=True, slots=True)
class ProbeVerdict:
    """What follows from the tests on an endpoint.

    Attributes:
        relation: the strongest relation that the tests carry together; never from one signal that a proxy can forge.
        rests_on: names of the tests it rests on.
        against: the role or name of the model it speaks of, such as ``reference``.
        p: the largest p-value of the tests it rests on, where they have one; ``log10_e`` likewise the smallest.
        reasons: phrase keys of what kept it from more.
        attention: phrase keys of contradictions that deserve a look (a claim against the tokenizer), without weight.
    """

    relation: ProbeRelation
    rests_on: tuple[str, ...] = ()
    against: str | None = None
    p: float | None = None
    log10_e: float | None = None
    reasons: tuple[str, ...] = ()
    attention: tuple[str, ...] = ()


class Document(Protocol):
    """What has a canonical JSON: the report of a comparison, of an audit."""

    @property
    def schema(self) -> str:
        """The version of its format."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """What one command found. ``extra`` holds the walk's own keys (maps, curves, stages)."""

    tool: Mapping[str, str]
    command: Mapping[str, Any]
    models: Mapping[str, Any]
    evidence: tuple[Evidence, ...]
    verdict: Verdict
    limits: tuple[str, ...]
    validation: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    schema: str = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, with ``extra`` merged at the top level."""
        record = plain(self)
        record.update(record.pop("extra"))
        return record

    def _repr_html_(self) -> str:
        import html

        rows = "".join(
            f"<tr><td>{html.escape(e.id)}</td><td>{html.escape(_figure(e))}</td></tr>" for e in self.evidence
        )
        head = f"<p><b>{html.escape(self.verdict.relation)}</b> log10 e = {_number(self.verdict.log10_e)}</p>"
        return f"{head}<table><tr><th>evidence</th><th>log10 e</th></tr>{rows}</table>"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _figure(evidence: Evidence) -> str:
    return _number(evidence.log10_e) if evidence.status is Status.APPLIED else str(evidence.reason)


def plain(value: Any) -> Any:
    """Turn records, enums, tuples and numpy scalars into JSON types; floats are rounded to 9 significant digits.

    Raises:
        ValueError: for NaN or infinity, which no record may hold.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, StrEnum):
        return str(value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [plain(v) for v in value]
    as_python = getattr(value, "tolist", None)
    if as_python is not None:  # numpy scalar or array
        return plain(as_python())
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a record may not hold NaN or infinity: say 'not measured' with a reason")
        return float(f"{value:.9g}")
    raise TypeError(f"not a record value: {type(value).__name__}")


def to_json(report: Document) -> str:
    """Return the canonical JSON of a report: sorted keys, UTF-8, two-space indent, final newline."""
    return json.dumps(report.to_dict(), sort_keys=True, ensure_ascii=False, indent=2) + "\n"


@cache
def measured_null() -> Mapping[str, Any] | None:
    """Return what was measured on models that share no origin, for :attr:`Report.validation`; None if nothing was.

    The file is written by ``python -m docs._generate --null`` and says by which version it was measured.
    """
    try:
        data = pkgutil.get_data(
            "filiation", "validation.json"
        )  # importlib.resources takes far longer to import
    except FileNotFoundError:
        return None
    return None if data is None else json.loads(data)


@cache
def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a report's canonical JSON."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(Report).json_schema(mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$id"] = SCHEMA
    schema["properties"].pop("extra", None)  # merged at the top level: the walk's own keys
    schema["additionalProperties"] = True
    return schema
