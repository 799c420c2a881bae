"""Measuring filiation on a zoo: every kin pair, every independent pair, every child against strangers.

Comparisons run in processes of their own and are kept line by line, so that a run that was cut off goes on, and a
second run on the same models and version only draws the tables anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from filiation._version import __version__
from filiation.comparison import compare_models
from filiation.errors import FiliationError, ReportError
from filiation.evidence import Evidence, Report, Scale, Status, Wing
from filiation.lab.kin import Case, Category, Zoo
from filiation.lab.workers import workers, write_whole, writing

Say = Callable[[str], None]
Row = dict[str, Any]
_HISTORY = ("gain_correlation", "gains_in_place", "weight_cosine", "partners_agree")


def measure(
    zoo: Zoo,
    out: Path,
    *,
    processes: int = 2,
    only: Sequence[str] = (),
    newest: bool = False,
    say: Say,
) -> list[Row]:
    """Make every comparison of a zoo and return a row for each, in the order of the cases.

    Args:
        out: folder for ``rows.jsonl``; rows found there are not measured again.
        only: categories to measure; all when empty.
        newest: forget rows measured by another state of the source.

    Raises:
        CorruptCheckpointError: a model is not as it was bred. ReportError: earlier rows cannot be read. StorageError:
            the disk is full.
    """
    zoo.check()
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    cases = [case for case in zoo.cases() if not only or case.category in only]
    store = out / "rows.jsonl"
    code = source_digest() if newest else ""
    known = _known(store)
    waiting = [case for case in cases if _key(zoo, case, code) not in known]
    say(f"{len(cases)} comparisons, {len(cases) - len(waiting)} measured before")
    began = time.monotonic()
    with workers(processes) as pool:
        futures = {pool.submit(measured, zoo.folder, case): case for case in waiting}
        for count, future in enumerate(as_completed(futures), start=1):
            row = {"key": _key(zoo, futures[future], code), **future.result()}
            known[row["key"]] = row
            with writing(store), store.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            if count % 50 == 0 or count == len(waiting):
                say(f"{count}/{len(waiting)} in {time.monotonic() - began:.0f} s")
    return [judged(known[_key(zoo, case, code)], case) for case in cases]


def _known(store: Path) -> dict[str, Row]:
    """Return the rows of earlier runs by key. What failed then is measured again, and so is a row cut off half-way."""
    if not store.is_file():
        return {}
    text = store.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_whole(store, whole)
    rows: list[Row] = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            rows.append(cast("Row", json.loads(line)))
        except ValueError as error:
            raise ReportError(
                "What was measured before cannot be read.",
                file=str(store),
                reason=f"Line {number}: {error}",
                next_step="Remove the line; its comparison is then made again.",
            ) from error
    return {row["key"]: row for row in rows if row["relation"] != "error"}


def _key(zoo: Zoo, case: Case, code: str) -> str:
    digests = [zoo.models[name]["digest"] for name in (case.suspect, *case.candidates)]
    fixed = [__version__, code, case.suspect, case.candidates, digests]
    return hashlib.sha256(json.dumps(fixed).encode()).hexdigest()


def source_digest() -> str:
    """Return a sha256 over the package's source outside the lab: which state of the program measured."""
    root = Path(__file__).resolve().parents[1]
    running = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root)
        if place.parts[0] not in ("lab", "cli", "report"):
            running.update(place.as_posix().encode() + path.read_bytes())
    return running.hexdigest()


def measured(folder: Path, case: Case, *, full: bool = False) -> Row:
    """Make one comparison and return what it found; ``full`` reads models whole that a sample would do for."""
    began = time.monotonic()
    row: Row = {"suspect": case.suspect, "candidates": list(case.candidates)}
    try:
        report = compare_models(
            str(folder / case.suspect), [str(folder / c) for c in case.candidates], full=full
        )
    except FiliationError as error:
        return {
            **row,
            "relation": "error",
            "error": f"{error.code}: {error.message}",
            "derivation": [],
            "undecided": [],
        }
    verdict = report.verdict
    row |= {
        "relation": str(verdict.relation),
        "log10_e": verdict.log10_e,
        "reason": verdict.reason,
        "scope": list(verdict.scope),
        "derivation": [step.kind for step in verdict.derivation],
        "undecided": sorted(
            {str(k) for step in verdict.derivation for k in step.numbers.get("candidates", ())}
        ),
        "inherited_share": verdict.inherited_share,
        "bytes": int(report.extra["bytes_read"]),
        "seconds": round(time.monotonic() - began, 3),
        "history": _history(report),
        "likeness": {e.test: e.statistic for e in report.evidence if e.wing is Wing.LIKENESS and e.statistic},
    }
    row["by_test"] = _by_test(report)
    if case.category in (Category.INDEPENDENT, Category.STRANGER, Category.FIXTURE):
        row["tests"] = [_test(e) for e in report.evidence if _counts(e)]
    return row


def _history(report: Report) -> dict[str, float]:
    effects = [e for record in report.evidence if record.test == "history" for e in record.effect]
    return {e.name: round(e.value, 4) for e in effects if e.name in _HISTORY}


def _counts(record: Evidence) -> bool:
    return record.scale is Scale.EXACT and record.status is Status.APPLIED and record.log10_e is not None


def _by_test(report: Report) -> dict[str, float]:
    """Return what each exact test came to over all label sets of one stage, the stage where it came to most."""
    sums: dict[tuple[str, str], float] = {}
    for record in report.evidence:
        if _counts(record):
            at = record.test, _stage(record)
            sums[at] = sums.get(at, 0.0) + float(record.log10_e or 0.0)
    best: dict[str, float] = {}
    for (test, _), value in sums.items():
        best[test] = round(max(value, best.get(test, value)), 2)
    return dict(sorted(best.items()))


def _stage(record: Evidence) -> str:
    return record.id.partition("stage=")[2].partition("/")[0]


def _test(record: Evidence) -> list[Any]:
    return [
        record.test,
        _stage(record),
        record.label_set,
        record.statistic,
        record.expected,
        record.n,
        record.log10_e,
    ]


def judged(found: Mapping[str, Any], case: Case) -> Row:
    """Return what was found with what was expected, and whether it came."""
    kinds = set(found["derivation"])
    groups = case.expected.right
    missing = [list(group) for group in groups if not kinds.intersection(group)]
    right = found["relation"] in case.expected.relations
    return {
        **{key: value for key, value in found.items() if key != "key"},
        **{k: v for k, v in asdict(case).items() if k not in ("suspect", "candidates", "expected")},
        "category": str(case.category),
        "expected": list(case.expected.relations),
        "right": right,
        "mechanism": None if not groups else right and not missing,
        "missing": missing,
        # Not named, but among the kinds that a step left open.
        "left_open": bool(missing)
        and right
        and all(found["undecided"] and set(g) & set(found["undecided"]) for g in missing),
        # Left open, and every kind that is left counts as right.
        "open_right": bool(missing)
        and right
        and bool(found["undecided"])
        and all(any(kind in group for group in missing) for kind in found["undecided"])
        and all(set(group) & set(found["undecided"]) for group in missing),
        # Kinds that no step of the line asked for: not counted as wrong, but told.
        "beyond": sorted(kinds - {kind for group in groups for kind in group}),
    }
