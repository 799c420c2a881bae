"""What was found as evidence records. Sentences stand in the phrase files; here are keys and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from filiation.evidence import Background, Effect, Evidence, Location, Place, Scale, Status, Wing
from filiation.source.library import Library
from filiation.source.model import CopyStatus, FileFound, HeaderFinding, HeaderState, Level, SourceFound

_CODE = Location(component="code")
_ALWAYS = ("cannot_show.source_direction", "cannot_show.source_permission")
_CANNOT: Mapping[Level, tuple[str, ...]] = {
    Level.IDENTICAL: _ALWAYS,
    Level.SAME_AFTER_RENAMING: _ALWAYS,
    Level.REFACTORED: (*_ALWAYS, "cannot_show.source_one_prompt"),
    Level.SHARES_ANCESTOR: ("cannot_show.source_one_parent", *_ALWAYS),
    Level.NO_FINDING: ("cannot_show.source_other_language", "cannot_show.source_not_in_corpus"),
}


def evidence_of(found: SourceFound, digests: Mapping[str, str], library: Library) -> SourceFound:
    """Return ``found`` with its evidence. ``digests`` are the SHA-256 of the suspect's files."""
    records = [
        *(_code(each, digests, library) for each in found.files),
        *_renames(found, digests),
        *(_header(each, digests) for each in found.headers if each.reference is not None),
        *_copies(found, digests),
        *_disclosures(found, digests),
        *_left_out(found),
    ]
    return replace(found, evidence=tuple(records))


def _place(file: str, line: int | None, digests: Mapping[str, str]) -> Place:
    digest = digests.get(file)
    return Place(file=file, line=line, digest=f"sha256:{digest}" if digest else None)


def _code(found: FileFound, digests: Mapping[str, str], library: Library) -> Evidence:
    places = [_place(found.file, 1, digests)]
    if found.reference_file is not None:
        places.append(Place(file=f"{found.reference}/{found.reference_file}", line=1))
    best = found.best
    effects = [Effect("reverse_share", found.reverse_share), Effect("longest_run", found.longest_run)]
    if best is not None:
        effects += [Effect("score", best.score), Effect("rare_structures", best.rare)]
    if found.margin is not None:
        effects.append(Effect("margin", found.margin))
    if found.own is not None and found.sibling_margin is not None:
        effects += [Effect("own", found.own), Effect("sibling_margin", found.sibling_margin)]
    if found.beyond is not None:
        effects.append(Effect("beyond_ancestor", found.beyond))
    return Evidence(
        id=f"source.code/{found.file}",
        wing=Wing.SOURCE,
        question="question.source_code",
        part=_CODE,
        scale=Scale.CALIBRATED,
        test="source_code",
        statistic_name="equal_after_renaming",
        statistic=found.share,
        n=found.nodes,
        p_value=best.p_value if best is not None else None,
        effect=tuple(effects),
        background=background(library),
        places=tuple(places),
        shows=f"shows.source_{found.level}{'_whole' if found.holds else ''}",
        cannot_show=_CANNOT[found.level],
    )


def background(library: Library) -> Background | None:
    """Return what the best of all unrelated files of the corpus scores, by file; None without a corpus."""
    null = library.null
    if not len(null.scores):
        return None
    quantiles = {f"{q:g}": float(np.quantile(null.scores, q)) for q in (0.5, 0.9, 0.95, 0.99)}
    source = ", ".join(f"{name} ({fact})" for name, fact in library.facts().items())
    return Background("background.source_best_unrelated_file", null.pairs, quantiles, source)


def _renames(found: SourceFound, digests: Mapping[str, str]) -> Iterator[Evidence]:
    for each in found.files:
        renames = each.rename_map
        if each.level is Level.NO_FINDING or not renames.names or renames.one_to_one is None:
            continue
        yield Evidence(
            id=f"source.renames/{each.file}",
            wing=Wing.SOURCE,
            question="question.source_renames",
            part=_CODE,
            scale=Scale.FACT,
            test="source_renames",
            statistic_name="one_to_one",
            statistic=renames.one_to_one,
            n=renames.places,
            effect=(
                Effect("names_changed", len(renames.names)),
                Effect("names_kept", renames.kept),
                Effect("survivors", len(renames.survivors)),
            ),
            places=(_place(each.file, None, digests),),
            shows="shows.source_renames",
            cannot_show=("cannot_show.source_renames_innocent",),
        )


_HEADERS = {
    HeaderState.KEPT: "shows.source_header_kept",
    HeaderState.PARTLY_KEPT: "shows.source_header_partly_kept",
    HeaderState.REMOVED: "shows.source_header_removed",
    HeaderState.NONE_IN_REFERENCE: "shows.source_header_none",
}


def _header(found: HeaderFinding, digests: Mapping[str, str]) -> Evidence:
    lines = [line for line, _ in found.attributions[:10]]
    return Evidence(
        id=f"source.header/{found.file}",
        wing=Wing.SOURCE,
        question="question.source_header",
        part=_CODE,
        scale=Scale.FACT,
        test="source_header",
        statistic_name="holders_kept",
        statistic=float(len(found.kept)),
        n=len(found.kept) + len(found.removed),
        effect=(
            Effect("holders_removed", len(found.removed)),
            Effect("holders_added", len(found.added)),
            Effect("source_attributed", float(found.source_attributed)),
            Effect("sources_denied", len(found.denied)),
        ),
        places=tuple(_place(found.file, line, digests) for line in (lines or [1])),
        shows=_HEADERS[found.state],
        cannot_show=("cannot_show.source_header_elsewhere",),
    )


def _copies(found: SourceFound, digests: Mapping[str, str]) -> Iterator[Evidence]:
    counts = Counter((c.file, c.status) for c in found.copied_from)
    for (file, status), count in sorted(counts.items()):
        applied = status is not CopyStatus.NOT_CHECKED
        lines = [c.line for c in found.copied_from if c.file == file and c.status is status]
        yield Evidence(
            id=f"source.copied_from/{file}/{status}",
            wing=Wing.SOURCE,
            question="question.source_copied_from",
            part=_CODE,
            status=Status.APPLIED if applied else Status.NOT_MEASURED,
            reason=None if applied else "reason.source_no_release",
            scale=Scale.FACT,
            test="source_copied_from",
            statistic_name="statements",
            statistic=float(count),
            n=sum(n for (f, _), n in counts.items() if f == file),
            places=tuple(_place(file, line, digests) for line in lines[:20]),
            shows=f"shows.source_copied_{status}",
            cannot_show=("cannot_show.source_other_release",),
        )


def _disclosures(found: SourceFound, digests: Mapping[str, str]) -> Iterator[Evidence]:
    for each in found.disclosed:
        yield Evidence(
            id=f"source.disclosed/{each.file}/{each.kind}/{each.source}",
            wing=Wing.SOURCE,
            question="question.source_disclosed",
            part=_CODE,
            scale=Scale.FACT,
            test="source_disclosed",
            statistic_name="classes",
            statistic=float(len(each.names)),
            places=(_place(each.file, each.line, digests),),
            shows=f"shows.source_{each.kind}",
            cannot_show=("cannot_show.source_stated_only",),
        )


def _left_out(found: SourceFound) -> Iterator[Evidence]:
    for why, count in sorted(Counter(n.why for n in found.not_examined).items()):
        files = [n.file for n in found.not_examined if n.why == why]
        yield Evidence(
            id=f"source.not_examined/{why}",
            wing=Wing.SOURCE,
            question="question.source_code",
            part=_CODE,
            status=Status.NOT_MEASURED,
            reason=f"reason.source_{why}",
            scale=Scale.FACT,
            test="source_code",
            statistic_name="files",
            statistic=float(count),
            places=tuple(Place(file=f) for f in files[:20]),
        )
