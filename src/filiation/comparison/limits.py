"""What a report cannot show, as keys of the phrase files."""

from __future__ import annotations

from collections.abc import Sequence

from filiation import origin
from filiation.anatomy.model import Anatomy
from filiation.checkpoint.hashing import pinned
from filiation.comparison.pair import Pair
from filiation.evidence import Verdict
from filiation.origin.history import History
from filiation.origin.verdict import RELATED

ALWAYS = (
    "arranged",
    "direction_unknown",
    "common_ancestor_possible",
    "shared_initialisation",
    "distillation",
    "full_scramble",
)


def limits(verdict: Verdict, pairs: Sequence[Pair], sampled: Sequence[str] = ()) -> tuple[str, ...]:
    """Return what this report cannot show, as keys of the phrase files."""
    found = [*ALWAYS, "copies_are_easy", *sampled]
    if any(e.test == origin.TOWERS for p in pairs for e in p.evidence):
        found.append(origin.NOT_EXAMINED)
    if any(_computes_unknown(p) for p in pairs):
        found.append("what_layers_compute")
    elif "tests_sampled" not in sampled and any(_computes_through_few(p) for p in pairs):
        found.append("computes_through_few")
    if any(origin.NOT_LOADED in p.finding.reasons for p in pairs):
        found.append(origin.NOT_LOADED)
    reasons = {e.reason for p in pairs for e in p.evidence}
    found += [reason for reason in (origin.BEYOND, origin.UNREAD, origin.DISPUTED) if reason in reasons]
    found += [note for p in pairs for x in p.examinations for note in x.notes]
    kinds = {step.kind for step in verdict.derivation}
    # Value channels and rotary pairs can be turned too; the residual stream alone is what such methods turn.
    if any(s.kind == "rotated" and s.numbers.get("what") == "residual" for s in verdict.derivation):
        found.append("dense_rotation")
    elif any(step.numbers.get("flipped") for step in verdict.derivation if step.kind == "permuted"):
        found.append("signs_destroyed")
    elif "permuted" in kinds:
        found.append("order_destroyed")
    return tuple(dict.fromkeys(found))


def sampled(
    suspect: Anatomy, candidates: Sequence[Anatomy], pairs: Sequence[Pair], word: str | None, *, full: bool
) -> tuple[str, ...]:
    """Return what is to be said of a partial reading: whoever makes a file whose contents enter no seed knows it.

    Of a ``full`` reading that no budget could cut short, only that the exact tests count in samples.
    """
    partly = [p for p in pairs if not p.plan.whole]
    if not partly:
        return ()
    if full and all(p.plan.budget is None for p in partly):
        return ("tests_sampled",)
    models = [suspect, *(candidates[p.number] for p in partly)]
    if all(pinned(model.checkpoint.files) for model in models):
        return ("sampled",)
    return "sampled", "sample_predictable" if word is None else "sample_with_word"


def of_files(models: Sequence[Anatomy]) -> tuple[str, ...]:
    """Return what is to be said of values that stand in the files and were not compared."""
    opened = [model.checkpoint for model in models]
    found = {
        "scales_passed_over": any(c.unscaled for c in opened),
        "rows_not_finite": any(c.rows_left_out for c in opened),
    }
    return tuple(key for key, holds in found.items() if holds)


def _computes_unknown(pair: Pair) -> bool:
    """Return whether a finding rests on what units hold in layers that were not asked what they compute."""
    return any(h.computed_alike is None for h in _held(pair))


def _computes_through_few(pair: Pair) -> bool:
    """Return whether layers of a finding were asked what they compute through a few channels alone."""
    return pair.plan.budget is None and any(h.computed_alike is not None for h in _held(pair))


def _held(pair: Pair) -> list[History]:
    """Return what was measured of the contents that a finding of a partial reading rests on."""
    if pair.plan.whole or pair.finding.relation not in RELATED:
        return []
    return [h for h in pair.histories if h is not None and h.weight_cosine is not None]
