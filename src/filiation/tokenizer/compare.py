"""The walk of the wing: load both tokenizers, count what they share, say how they are related and what explains it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filiation.errors import InputError
from filiation.evidence import Effect, Evidence, Place, Scale, Status, Wing
from filiation.repository.model import Repository
from filiation.tokenizer import comparing, encoding
from filiation.tokenizer.fingerprint import Fingerprint, Held, fingerprints, hashes_of, held, ordinary
from filiation.tokenizer.loading import load
from filiation.tokenizer.model import Explanation, Tokenizer, TokenizerFinding, TokenizerRelation

_LIMITS = ("cannot_show.tokenizer_not_weights", "cannot_show.public_tokenizer")


def compare(suspect: Repository, reference: Repository, number: int = 0) -> TokenizerFinding:
    """Compare the tokenizers of two repositories.

    The relation is that of the suspect's tokenizer to the reference's. It never decides anything about weights: a
    tokenizer can be copied in seconds, and public ones are shared by unrelated models. ``explanation`` names the public
    tokenizers that explain what the two share.

    Args:
        suspect: the repository in question.
        reference: what it is compared with.
        number: of the reference, for the evidence records.
    """
    mine, why = _loaded(suspect)
    theirs, other = _loaded(reference)
    if mine is None or theirs is None:
        return _cannot_tell(why, other, number)
    found = comparing.overlap(mine, theirs)
    relation = comparing.relation(found, mine, theirs)
    explanation, recognised = _explanation(mine, theirs)
    numbers: dict[str, Any] = {
        "suspect_file": mine.file,
        "reference_file": theirs.file,
        "suspect_tokens": found.suspect,
        "reference_tokens": found.reference,
        "shared": found.shared,
        "jaccard": found.jaccard,
        "of_suspect": found.of_suspect,
        "of_reference": found.of_reference,
        "equal_ids": found.equal_ids,
        "equal_ids_share": found.same_ids,
        "ascending": found.ascending,
        "order": found.order,
        "merges": comparing.merges(mine, theirs),
        "added": comparing.added(mine, theirs),
        "steps": comparing.pipeline(mine, theirs),
        "encodings": encoding.compare(suspect, mine, reference, theirs),
        "recognised": recognised,
        "beyond_ancestor": _beyond(found, explanation),
    }
    evidence = _evidence(relation, found, numbers, explanation, mine, number)
    return TokenizerFinding(relation, numbers, explanation, evidence)


def published_as(repository: Repository) -> tuple[str, ...]:
    """Return the names of the public tokenizers that a repository's tokenizer is, not of those that it only holds."""
    found, _ = _loaded(repository)
    return () if found is None else tuple(f.name for f, h in _held(found) if h.is_it)


def recognise(repository: Repository) -> tuple[str, ...]:
    """Return the names of the public tokenizers that a repository's tokenizer is or holds, what it is first."""
    found, _ = _loaded(repository)
    if found is None:
        return ()
    shares = _held(found)
    is_it = [f.name for f, h in shares if h.is_it]
    return (*is_it, *(f.name for f, h in shares if h.holds and not h.is_it))


def _loaded(repository: Repository) -> tuple[Tokenizer | None, str]:
    try:
        found = load(repository)
    except InputError:
        return None, "tokenizer_unreadable"
    return found, "" if found is not None else "no_tokenizer"


def _held(tokenizer: Tokenizer) -> list[tuple[Fingerprint, Held]]:
    hashes = hashes_of(ordinary(tokenizer.keys, tokenizer.added))
    return [(fingerprint, held(fingerprint, hashes)) for fingerprint in fingerprints()]


def _explanation(
    suspect: Tokenizer, reference: Tokenizer
) -> tuple[tuple[Explanation, ...], dict[str, str | None]]:
    """Return what explains the agreement, and which public tokenizer each of the two is."""
    found: list[Explanation] = []
    recognised: dict[str, str | None] = {"suspect": None, "reference": None}
    for (fingerprint, mine), (_, theirs) in zip(_held(suspect), _held(reference), strict=True):
        kinds = [
            ("suspect_is", mine.is_it),
            ("reference_is", theirs.is_it),
            ("common_ancestor", mine.holds and theirs.holds),
        ]
        for side, is_it in (("suspect", mine.is_it), ("reference", theirs.is_it)):
            if is_it and recognised[side] is None:
                recognised[side] = fingerprint.name
        for kind in (kind for kind, applies in kinds if applies):
            found.append(
                Explanation(
                    kind,
                    fingerprint.name,
                    fingerprint.tokens,
                    mine.share,
                    theirs.share,
                    mine.equal_ids,
                    theirs.equal_ids,
                    fingerprint.source,
                )
            )
    return tuple(found), recognised


def _beyond(found: comparing.Overlap, explanation: tuple[Explanation, ...]) -> dict[str, Any] | None:
    """Return what is shared beyond the largest common ancestor, estimated from its sample; None without one."""
    ancestor = next((e for e in explanation if e.kind == "common_ancestor"), None)
    if ancestor is None:
        return None
    mine, theirs = (
        round(share * ancestor.tokens) for share in (ancestor.suspect_share, ancestor.reference_share)
    )
    return {
        "name": ancestor.name,
        "shared": max(0, found.shared - min(mine, theirs)),
        "suspect_tokens": max(0, found.suspect - mine),
        "reference_tokens": max(0, found.reference - theirs),
    }


def _evidence(
    relation: TokenizerRelation,
    found: comparing.Overlap,
    numbers: Mapping[str, Any],
    explanation: tuple[Explanation, ...],
    tokenizer: Tokenizer,
    number: int,
) -> tuple[Evidence, ...]:
    place = Place(file=tokenizer.file, digest=tokenizer.digest)
    shares = {"of_suspect": found.of_suspect, "of_reference": found.of_reference, "order": found.order}
    records = [
        _record(
            "tokens", place, number, found.shared, found.suspect, shares, shows=f"shows.tokenizer_{relation}"
        )
    ]
    for test, statistic, of in (
        ("merges", "ascending", "shared"),
        ("added", "equal_ids", "suspect"),
        ("encodings", "equal_ids", "lines"),
    ):
        part: Mapping[str, Any] = numbers[test]
        records.append(_part(test, part, statistic, of, place, number))
    steps: Mapping[str, Any] = numbers["steps"]
    if "not_measured" in steps:
        records.append(_unmeasured("steps", str(steps["not_measured"]), number))
    else:
        equal = sum(value == "equal" for value in steps.values())
        records.append(_record("steps", place, number, equal, len(steps), {}))
    records += [
        _record(
            "ancestor",
            place,
            number,
            explained.tokens,
            None,
            {"suspect_share": explained.suspect_share, "reference_share": explained.reference_share},
            shows=f"shows.tokenizer_{explained.kind}",
            suffix=f"/{explained.kind}/{explained.name}",
        )
        for explained in explanation
    ]
    return tuple(records)


def _part(test: str, part: Mapping[str, Any], statistic: str, of: str, place: Place, number: int) -> Evidence:
    if "not_measured" in part:
        return _unmeasured(test, str(part["not_measured"]), number)
    return _record(test, place, number, part[statistic], part[of], {})


def _record(
    test: str,
    place: Place,
    number: int,
    value: float,
    of: int | None,
    effects: Mapping[str, float],
    *,
    shows: str | None = None,
    suffix: str = "",
) -> Evidence:
    return Evidence(
        id=f"tokenizer.{test}/reference={number}{suffix}",
        wing=Wing.TOKENIZER,
        question=f"question.tokenizer_{test}",
        scale=Scale.FACT,
        test=f"tokenizer_{test}",
        statistic_name=f"tokenizer_{test}",
        statistic=float(value),
        n=of,
        effect=tuple(Effect(name, float(share)) for name, share in effects.items()),
        candidate=number,
        places=(place,),
        shows=shows or f"shows.tokenizer_{test}",
        cannot_show=_LIMITS,
    )


def _unmeasured(test: str, reason: str, number: int) -> Evidence:
    return Evidence(
        id=f"tokenizer.{test}/reference={number}",
        wing=Wing.TOKENIZER,
        question=f"question.tokenizer_{test}",
        status=Status.NOT_MEASURED,
        reason=f"reason.{reason}",
        scale=Scale.FACT,
        test=f"tokenizer_{test}",
        candidate=number,
    )


def _cannot_tell(suspect: str, reference: str, number: int) -> TokenizerFinding:
    """One of the two has no tokenizer that can be read: say which and why."""
    reasons = {side: why for side, why in (("suspect", suspect), ("reference", reference)) if why}
    side, why = next(iter(reasons.items()))
    record = _unmeasured("tokens", f"{why}_{side}", number)
    return TokenizerFinding(TokenizerRelation.CANNOT_TELL, {"not_measured": reasons}, (), (record,))
