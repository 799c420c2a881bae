"""Who the parents are: what the repository claims, what the caller gives, what evidence shows; and their licences."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, cast

from filiation.disclosure import expression, names, registry
from filiation.disclosure.model import Basis, CodeFinding, Licence, Parent, day
from filiation.disclosure.own import lookup, own_licence
from filiation.disclosure.papers import Papers, read_papers
from filiation.errors import ReportError
from filiation.evidence import Claim, Place
from filiation.repository import Repository

_CLAIMING = ("base_model", "adapter_base", "merge_parent", "gguf_base_model", "prose_parent")
_BY_WEIGHTS = frozenset({"identical", "common_origin", "shared_parts"})
_STEPS = {
    "merged": "merge",
    "low_rank_update": "finetune",
    "fine_tuned": "finetune",
    "continued_pretraining": "finetune",
    "requantised": "quantized",
}


def given(name: str, when: str | None = None, licence: str | None = None) -> Parent:
    """Return a parent that the caller names (``--parent``).

    Args:
        name: ``publisher/model`` or a plain name.
        when: the day of derivation, ISO 8601; the repository's first commit is taken where it is None.
        licence: its licence (tag, SPDX id, registry id or title), where it is known.
    """
    return Parent(name, frozenset({Basis.GIVEN}), licence=licence, when=when)


def from_code(
    reference: str,
    findings: Iterable[CodeFinding],
    licence: str | None = None,
    repository: Repository | None = None,
) -> Parent:
    """Return the parent that code findings show: its code's licence is invoked, its model's is not.

    Args:
        reference: the model or code base whose files match.
        findings: the matched files.
        licence: the licence of the code; taken from the heads of the reference files where it is None.
        repository: the reference, when at hand.
    """
    kept = tuple(f for f in findings if f.level != "no_finding")
    return Parent(reference, frozenset({Basis.CODE}), code_licence=licence, code=kept, repository=repository)


def from_report(report: Mapping[str, Any], repository: Repository | None = None) -> tuple[Parent, ...]:
    """Return the parents that a ``compare`` report (parsed JSON) shows by weights.

    Raises:
        ReportError: it is no report of that kind.
    """
    models, verdicts = report.get("models"), report.get("verdicts") or [report.get("verdict")]
    candidates = cast("Mapping[str, Any]", models).get("candidates") if isinstance(models, Mapping) else None
    if not isinstance(candidates, list) or not all(
        isinstance(v, Mapping) for v in cast("list[Any]", verdicts)
    ):
        raise ReportError(
            "This is not a report of filiation compare.",
            reason="It lacks the models, the candidates or the verdicts.",
            next_step="Write one with: filiation compare SUSPECT CANDIDATE --json.",
        )
    found: list[Parent] = []
    for verdict in cast("list[Mapping[str, Any]]", verdicts):
        number = verdict.get("candidate", 0)
        entries = cast("list[Any]", candidates)
        if verdict.get("relation") not in _BY_WEIGHTS or not 0 <= int(number) < len(entries):
            continue
        entry = cast("Mapping[str, Any]", entries[int(number)])
        found.append(
            Parent(
                _report_name(entry),
                frozenset({Basis.WEIGHTS}),
                relation=_relation(verdict),
                repository=repository,
            )
        )
    return tuple(found)


def _report_name(entry: Mapping[str, Any]) -> str:
    """The hub id where the locator is one (its publisher tells the licence), else the plain name."""
    locator = str(entry.get("locator", "")).removeprefix("hf://").partition("@")[0]
    return (
        locator if names.publisher(locator) and entry.get("revision") else str(entry.get("name") or locator)
    )


def _relation(verdict: Mapping[str, Any]) -> str | None:
    if verdict.get("relation") == "identical":
        return "identical"
    steps = [s for s in verdict.get("derivation") or () if isinstance(s, Mapping)]
    kinds = {str(cast("Mapping[str, Any]", s).get("kind")) for s in steps}
    return next((relation for step, relation in _STEPS.items() if step in kinds), None)


def claimed(claims: Sequence[Claim]) -> tuple[Parent, ...]:
    """Return the parents that the repository's own claims name, and those whose outputs it was trained on."""
    found: list[Parent] = []
    for subject in _CLAIMING:
        for claim in (c for c in claims if c.subject == subject):
            if not any(names.means(claim.text, p.name) for p in found):
                found.append(Parent(claim.text, frozenset({Basis.CLAIM}), place=claim.place))
    outputs = [(c.text, c.place) for c in claims if c.subject == "prose_outputs"]
    for claim in (c for c in claims if c.subject in {"datasets", "gguf_dataset"}):
        for entry in known_datasets(claim.text):
            outputs += [(model, claim.place) for model in entry.get("outputs_of", ())]
    for name, place in outputs:
        found.append(Parent(name, frozenset({Basis.OUTPUTS}), place=place))
    return united(found)


def known_datasets(name: str) -> list[Mapping[str, Any]]:
    """Return what the table of datasets holds on a name."""
    low = name.strip().lower()
    table = registry.datasets()
    return [entry for entry in table if any(fnmatchcase(low, p.lower()) for p in entry["patterns"])]


def united(parents: Iterable[Parent]) -> tuple[Parent, ...]:
    """Join entries that mean the same model: bases and findings add up, what one lacks the other gives."""
    found: list[Parent] = []
    for parent in parents:
        position = next((n for n, p in enumerate(found) if names.same(p.name, parent.name)), None)
        if position is None:
            found.append(parent)
        else:
            found[position] = _joined(found[position], parent)
    return tuple(found)


def _joined(one: Parent, other: Parent) -> Parent:
    longer = one.name if names.publisher(one.name) or not names.publisher(other.name) else other.name
    return Parent(
        longer,
        one.basis | other.basis,
        licence=one.licence or other.licence,
        code_licence=one.code_licence or other.code_licence,
        when=one.when or other.when,
        repository=one.repository or other.repository,
        relation=one.relation or other.relation,
        code=(*one.code, *other.code),
        place=one.place or other.place,
    )


def dated(parents: Iterable[Parent], repository: Repository) -> tuple[Parent, ...]:
    """Give parents without a day of derivation that of the repository's first commit, where there is a history."""
    first = min((c.authored for c in repository.commits), key=lambda t: str(day(t)), default=None)
    return tuple(dataclasses.replace(p, when=p.when or first) for p in parents)


@dataclass(frozen=True, slots=True)
class Terms:
    """The licences that bind whoever derives from a parent.

    Attributes:
        licences: those that hold together.
        options: more than one licence is possible and the day, or the size, does not decide: none is taken.
        not_in_force: named, but not valid on the day of derivation.
        place: where the parent's licence stands, in the parent's repository.
    """

    licences: tuple[Licence, ...] = ()
    options: tuple[Licence, ...] = ()
    not_in_force: tuple[Licence, ...] = ()
    place: Place | None = None


def alike(options: Sequence[Licence]) -> Licence | None:
    """Return the latest of several versions of one licence that treat derivatives alike, else None."""
    if len({(x.family, x.kind, x.relicense) for x in options}) != 1:
        return None
    return max(options, key=lambda x: str(x.valid_from or ""))


def model_terms(parent: Parent) -> Terms:
    """Return the terms of the parent's weights: as given, as its repository shows, or by the registry's patterns."""
    if parent.licence:
        return _named_terms(parent.licence, parent.day)
    if parent.repository is not None:
        shown = _shown_terms(parent)
        if shown.licences or shown.options or shown.not_in_force:
            return shown
    return _settled(registry.of_model(parent.name, parent.day), None, parent.day)


def code_terms(parent: Parent) -> Terms:
    """Return the terms of the parent's code: as given, or as the heads of the matched files say."""
    written = [parent.code_licence, *(f.licence for f in parent.code)]
    named = [name for name in dict.fromkeys(written) if name]
    every = [_named_terms(name, parent.day) for name in named]
    licences = tuple(dict.fromkeys(x for t in every for x in t.licences))
    return Terms(licences, tuple(x for t in every for x in t.options))


def _named_terms(written: str, when: datetime.date | None) -> Terms:
    whole = lookup(written)
    if whole:
        return _settled(whole, None, when)
    read = expression.parse(written)
    if read is None or len(read.alternatives) != 1:
        return Terms()
    each = [_settled(lookup(name), None, when) for name in read.names]
    if not all(t.licences for t in each):
        return Terms(options=tuple(x for t in each for x in t.options))
    return Terms(tuple(dict.fromkeys(x for t in each for x in t.licences)))


def _settled(found: Sequence[Licence], place: Place | None, when: datetime.date | None) -> Terms:
    """Keep what was in force; a notice that goes with a licence is no alternative to it."""
    valid = tuple(x for x in found if x.in_force(when))
    if found and not valid:
        return Terms(not_in_force=tuple(found), place=place)
    main = [x for x in valid if x.kind != "notice_only"]
    if len(main) > 1:
        return Terms(options=valid, place=place)
    return Terms(valid, place=place)


def _shown_terms(parent: Parent) -> Terms:
    """Read the terms in the parent's own repository: its licence text first, then its card."""
    assert parent.repository is not None
    papers = read_papers(parent.repository)
    text = _main_text(papers)
    if text is not None:
        return _settled(registry.known(text[0]), text[1], parent.day)
    from filiation.disclosure.claims import card_claims

    own = own_licence(tuple(card_claims(papers)), papers)
    if not own.known:
        return Terms()
    return _settled(tuple(x for group in own.declared for x in group), own.place, parent.day)


def _main_text(papers: Papers) -> tuple[tuple[str, ...], Place] | None:
    """Return the ids of the main licence file: a model's licence comes before a code licence beside it."""
    held = [x for x in papers.licences if x.found.basis in {"text", "version_mark"} and x.found.licence]
    special = [x for x in held if "model" in x.paper.path.lower()] or held
    if not special:
        return None
    return (special[0].found.licence or "",), special[0].paper.place(1)
