"""The walk of the wing: every kind of trace, for the suspect alone and against each reference."""

from __future__ import annotations

from collections.abc import Sequence

from filiation.evidence import Background, Effect, Evidence, Scale, Wing
from filiation.repository.model import Repository
from filiation.traces import compiled, documents, files, history, references, tensors, tokens
from filiation.traces.model import KINDS, Trace, TracesFound

_COUNTS = {
    "same_common_files": "count",
    "equal_json": "entries",
    "tensor_names": "explained",
    "tensor_shapes": "equal",
    "total_bytes": "total_bytes",
    "config_values": "equal",
    "added_tokens": "at_equal_ids",
    "shared_commits": "count",
    "compiled_leftover": "definitions",
}
"""Which of a trace's numbers is its statistic."""

_OF = {
    "tensor_names": "names",
    "tensor_shapes": "compared",
    "config_values": "suspect_values",
    "added_tokens": "suspect_tokens",
}
"""Which of a trace's numbers says out of how many."""

_BACKGROUND = Background(
    description="background.tensor_names",
    n_pairs=1475,
    quantiles={"0.5": 0.0, "0.9": 0.0, "0.99": 0.0, "1.0": 3.93},
    source="python -m benchmarks.traces",
    n_families=83,
)
"""Digits left open between public inventories that a short map joins; the largest is of relatives."""

_EFFECTS = ("log10_surprise", "rare_count")


def find(suspect: Repository, others: Sequence[Repository] = ()) -> TracesFound:
    """Return every trace in the suspect's repository: what it shares with the references, what leads out of it.

    Weights are not read, nothing is executed. Each trace is a fact that a reader can check by itself; none of them says
    how it came about.

    Args:
        suspect: the repository in question.
        others: the repositories it may have to do with; traces give their numbers in this order.
    """
    numbered = dict(enumerate(others))
    skipped: list[tuple[str, str]] = []
    found: list[Trace] = []
    for number, reference in numbered.items():
        for kind in (
            files.traces,
            documents.equal_documents,
            documents.config_values,
            tokens.traces,
            history.traces,
        ):
            found += kind(suspect, reference, number)
        found += tensors.traces(suspect, reference, number, skipped)
    found += references.traces(suspect, numbered, skipped)
    found += compiled.traces(suspect, numbered, skipped)
    rank = {kind: n for n, kind in enumerate(KINDS)}
    ordered = sorted(found, key=lambda t: (-1 if t.reference is None else t.reference, rank[t.kind]))
    evidence = tuple(_evidence(trace, n) for trace, n in _numbered(ordered))
    return TracesFound(tuple(ordered), evidence, tuple(skipped))


def _numbered(traces: Sequence[Trace]) -> list[tuple[Trace, int]]:
    """Pair each trace with how many of its kind, place and reference came before it."""
    seen: dict[tuple[object, ...], int] = {}
    pairs: list[tuple[Trace, int]] = []
    for trace in traces:
        key = (trace.kind, trace.place.file, trace.reference)
        pairs.append((trace, seen.get(key, 0)))
        seen[key] = pairs[-1][1] + 1
    return pairs


def _evidence(trace: Trace, number: int) -> Evidence:
    where = "" if trace.reference is None else f"/reference={trace.reference}"
    again = f"/{number}" if number else ""
    count = trace.numbers.get(_COUNTS.get(trace.kind, ""))
    of = trace.numbers.get(_OF.get(trace.kind, ""))
    effects = [(key, trace.numbers[key]) for key in _EFFECTS if key in trace.numbers]
    return Evidence(
        id=f"traces.{trace.kind}{where}/file={trace.place.file}{again}",
        wing=Wing.TRACES,
        question=f"question.{trace.kind}",
        scale=Scale.FACT,
        test=trace.kind,
        statistic_name=None if count is None else _COUNTS[trace.kind],
        statistic=None if count is None else float(count),
        n=of if isinstance(of, int) else None,
        effect=tuple(Effect(key, float(value)) for key, value in effects),
        background=_BACKGROUND if trace.kind == "tensor_names" else None,
        candidate=trace.reference or 0,
        places=(trace.place,),
        shows=trace.shows,
        cannot_show=trace.cannot_show,
    )
