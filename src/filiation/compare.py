"""The walk: open -> name the parts -> pair -> test -> derive -> judge -> report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from filiation import anatomy, checkpoint, derivation, likeness, origin, vocabulary
from filiation._version import __version__
from filiation.anatomy.model import Anatomy
from filiation.evidence import Derivation, Evidence, ModelRecord, Relation, Report, Verdict
from filiation.origin.examine import Examination, examine
from filiation.origin.history import History
from filiation.origin.history import measure as measure_history
from filiation.origin.pairing import Plan, TokenRows
from filiation.origin.verdict import Finding, judge

Progress = Callable[[str, int, int | None], None]

#: Models up to this size are read whole; larger ones are sampled unless ``full`` is asked for.
WHOLE_UP_TO = 64 * 2**20
#: Default budget of bytes read from a remote model.
REMOTE_BUDGET = 10**9


@dataclass(frozen=True, eq=False)
class Pair:
    """What was found about the suspect and one candidate."""

    number: int
    examinations: tuple[Examination, ...]
    history: History | None
    finding: Finding
    derived: derivation.Derived
    evidence: tuple[Evidence, ...]
    curves: tuple[dict[str, Any], ...]
    architecture: dict[str, Any]
    missing: tuple[str, ...]


def compare(
    suspect: str,
    candidates: Sequence[str],
    *,
    full: bool = False,
    budget: int | None = None,
    base: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Compare one suspect with one or several candidates and return the report.

    Args:
        suspect, candidates: locators: a folder, a file, a hub id ``org/name[@revision]``, a URL.
        full: read every byte for the inheritance map and the derivation (matching tests stay sampled).
        budget: most bytes to read from each model; by default 1 GB from remote ones, no bound on local ones.
        base: the base model of the suspect, where the suspect is a PEFT adapter.
        progress: called with (stage, done bytes, total bytes or None).

    Raises:
        UsageError: no candidate. InputError: a model is missing, unreadable, corrupt or cannot be named.
    """
    tell = progress or _silent
    mine = open_model(suspect, base, tell)
    others = [open_model(c, None, tell) for c in candidates]
    plan_of = [make_plan(mine, other, full, budget) for other in others]
    pairs = [examine_pair(mine, o, p, full, n, tell) for n, (o, p) in enumerate(zip(others, plan_of, strict=True))]
    verdict = overall_verdict(mine, others, pairs, plan_of)
    return assemble(mine, others, pairs, verdict, {"full": full, "budget": budget, "base": base})


def _silent(stage: str, done: int, total: int | None) -> None:
    del stage, done, total


def open_model(locator: str, base: str | None, progress: Progress) -> Anatomy:
    """Open a checkpoint and name its parts."""
    progress(f"opening {locator}", 0, None)
    return anatomy.dissect(checkpoint.open(locator, base=base))


def make_plan(suspect: Anatomy, candidate: Anatomy, full: bool, budget: int | None) -> Plan:
    """Return how much to read: fixed by sizes and digests, before any weight is seen."""
    digests = f"{suspect.checkpoint.digest}\n{candidate.checkpoint.digest}"
    small = max(suspect.checkpoint.total_bytes, candidate.checkpoint.total_bytes) <= WHOLE_UP_TO
    remote = any(not c.is_local for c in (suspect.checkpoint, candidate.checkpoint))
    del full  # every byte is read by the derivation; matching tests stay sampled
    limit = budget if budget is not None else (REMOTE_BUDGET if remote else None)
    return Plan(hashlib.sha256(digests.encode()).hexdigest(), whole=small, budget=limit)


def shared_tokens(suspect: Anatomy, candidate: Anatomy) -> TokenRows | None:
    """Return which embedding rows belong to the same token: by string where both tokenizers are there, else by id."""
    import numpy as np

    mine, theirs = vocabulary.read(suspect.checkpoint), vocabulary.read(candidate.checkpoint)
    rows = min(_vocab_rows(suspect), _vocab_rows(candidate))
    if mine is not None and theirs is not None:
        ids_s, ids_c = vocabulary.shared_rows(mine, theirs)
        keep = (ids_s < _vocab_rows(suspect)) & (ids_c < _vocab_rows(candidate))
        return TokenRows(ids_s[keep], ids_c[keep], by_string=True)
    return TokenRows(np.arange(rows), np.arange(rows), by_string=False) if rows else None


def _vocab_rows(model: Anatomy) -> int:
    part = model.part("embedding")
    return 0 if part is None else part.shape[0]


def examine_pair(
    suspect: Anatomy, candidate: Anatomy, plan: Plan, full: bool, number: int, progress: Progress
) -> Pair:
    """Examine every component both models have, judge, and say how the suspect came from the candidate."""
    progress("exact tests", 0, None)
    tokens = shared_tokens(suspect, candidate)
    shared = [c for c in suspect.components if c in candidate.components]
    examinations = tuple(
        examine(suspect, candidate, c, plan, tokens if c == "language" else None, origin.TESTS, number)
        for c in shared
    )
    histories = {x.component: _history(x, plan) for x in examinations}
    findings = {x.component: judge(x, histories[x.component]) for x in examinations}
    finding = origin.over_components(findings, suspect.components)
    main = examinations[0] if examinations else None
    progress("how it was changed", 0, None)
    derived = derivation.derive_all(suspect, candidate, examinations, findings, plan, tokens, full, number)
    progress("published statistics", 0, None)
    alike = likeness.measure(suspect, candidate, main, plan, tokens, number)
    records = [e for x in examinations for e in x.evidence()]
    history = histories.get(main.component) if main else None
    return Pair(
        number,
        examinations,
        history,
        finding,
        derived,
        (*records, *origin.history_evidence(main, history, number), *alike.evidence, *derived.evidence),
        alike.curves,
        anatomy.architecture_difference(suspect, candidate),
        tuple(c for c in suspect.components if c not in candidate.components),
    )


def _history(examination: Examination, plan: Plan) -> History | None:
    best = examination.best
    return None if best is None or not best.pairing.layers else measure_history(best.pairing, plan)


def overall_verdict(
    suspect: Anatomy, candidates: Sequence[Anatomy], pairs: Sequence[Pair], plans: Sequence[Plan]
) -> Verdict:
    """Return the verdict for the candidate with the strongest evidence, paid for by the number of candidates."""
    ranked = max(pairs, key=lambda p: origin.strength(p.finding, identical=p.derived.identical))
    merged = derivation.decompose(
        suspect, candidates, [p.examinations for p in pairs], plans[0]
    ) if len(pairs) > 1 else None
    steps: tuple[Derivation, ...] = ranked.derived.steps + ((merged,) if merged else ())
    return origin.word_verdict(ranked.finding, ranked.number, len(pairs), steps, ranked.derived.identical)
