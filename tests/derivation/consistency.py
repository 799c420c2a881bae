"""What a report must not say in one breath: a checker of a verdict, its derivation and the map beside it."""

from __future__ import annotations

from collections.abc import Iterable

from filiation.comparison import Pair
from filiation.derivation import Derived
from filiation.evidence import Derivation, Relation, Verdict
from filiation.origin.maps import inheritance_table

#: Kinds that say how the values of a whole model changed; at most one of them can be what happened.
VALUES = ("fine_tuned", "continued_pretraining", "noise_added", "low_rank_update")


def contradictions(pair: Pair, verdict: Verdict) -> list[str]:
    """Return every statement of a verdict that another one denies."""
    steps, found = verdict.derivation, list[str]()
    found += _of_steps(steps, pair.derived)
    found += _of_layers(pair, verdict)
    found += _of_share(pair, verdict)
    if verdict.relation is Relation.SHARED_PARTS and not verdict.scope:
        found.append("shared_parts of no part")
    if verdict.relation is Relation.COMMON_ORIGIN and not steps:
        found.append("common_origin, and nothing is said of how")
    return found


def _of_steps(steps: Iterable[Derivation], derived: Derived) -> Iterable[str]:
    kinds = [s.kind for s in steps]
    if sum(kind in VALUES for kind in kinds) > 1:
        yield f"several stories of the values: {kinds}"
    if "identical" in kinds and set(kinds) & {*VALUES, "grafted", "permuted", "rotated", "sparsified"}:
        yield f"identical beside {kinds}"
    for step in steps:
        n = step.numbers
        if step.kind == "permuted" and not n.get("moved"):
            yield f"permuted, and nothing moved: {dict(n)}"
        if step.kind == "rescaled" and not (n.get("spread") or n.get("flipped") or n.get("norms")):
            yield f"rescaled, and nothing has another scale: {dict(n)}"
        if step.kind in VALUES and not (n.get("median_relative_delta") or n.get("level")):
            yield f"{step.kind} by nothing: {dict(n)}"
        if step.kind == "sparsified" and not n.get("zeros"):
            yield f"sparsified, and nothing is zero: {dict(n)}"
        if step.kind == "rotated" and n.get("agreement", 1.0) < 0.1:
            yield f"rotated, and nothing agrees afterwards: {dict(n)}"
        if step.kind == "grafted" and set(n.get("inherited", ())) & set(_foreign(step)):
            yield f"layers both inherited and foreign: {dict(n)}"
        if step.kind == "moe_upcycled" and not n.get("reversed") and n["inherited"] > n["looked_at"]:
            yield f"more experts inherited than looked at: {dict(n)}"
    cosines = [d.cosine for d in derived.deltas if d.cosine is not None]
    if "identical" in kinds and cosines and min(cosines) < 0.999:
        yield "identical, and a tensor differs"


def _of_share(pair: Pair, verdict: Verdict) -> Iterable[str]:
    """Hold the share of inherited layers, and the layers that a verdict rests on, against what is foreign."""
    steps = [s for s in verdict.derivation if s.kind == "grafted"]
    shares = [s.numbers["share"] for s in steps if "share" in s.numbers]
    told = verdict.inherited_share
    if shares and told is not None and len(pair.examinations) == 1 and told > min(shares) + 1e-9:
        yield f"inherited {told:.0%} beside a share of {min(shares):.0%}"
    related = verdict.relation in (Relation.COMMON_ORIGIN, Relation.SHARED_PARTS)
    rests = set(pair.finding.layers)
    for step in steps:
        whole = {int(layer) for layer in step.numbers.get("foreign", ())}
        if related and rests and rests <= whole and not step.numbers.get("reversed"):
            yield f"{verdict.relation} on layers {sorted(rests)}, all of which are foreign"
    if any("no_part_agrees" in note for note in verdict.notes) and steps:
        yield "nothing could be laid side by side, and parts are foreign"
    if "networks_compute_same" in (verdict.reason, *verdict.notes):
        yield from _of_rewritten(verdict)


def _of_rewritten(verdict: Verdict) -> Iterable[str]:
    """Nothing is told of neurons that are no counterparts."""
    kinds = {s.kind for s in verdict.derivation}
    if verdict.relation is Relation.COMMON_ORIGIN and "networks_rewritten" not in kinds:
        yield "networks compute the same with other units, and nothing is said of it"
    if kinds & set(VALUES) or any(s.numbers.get("what") in ("ffn", "ffn_signs") for s in verdict.derivation):
        yield f"units hold something else, and it is told how they changed: {sorted(kinds)}"


def _foreign(step: Derivation) -> set[int]:
    keys = ("foreign", "foreign_attention", "foreign_ffn")
    return {int(layer) for key in keys for layer in step.numbers.get(key, ())}


def _of_layers(pair: Pair, verdict: Verdict) -> Iterable[str]:
    """Hold foreign layers against the exact tests and against what was read."""
    steps = [s for s in verdict.derivation if s.kind == "grafted"]
    foreign = {layer for step in steps for layer in _foreign(step)}
    if foreign and verdict.inherited_share == 1.0:
        yield f"layers {sorted(foreign)} foreign beside inherited 100 %"
    measured = {d.layer for d in pair.derived.deltas}
    if foreign - measured:
        yield f"layers {sorted(foreign - measured)} foreign and never read"
    for x in pair.examinations:
        inherited = {r["layer"] for r in inheritance_table(x, 0) if r["state"] == "inherited"}
        whole = {int(layer) for step in steps for layer in step.numbers.get("foreign", ())}
        if whole & inherited:
            yield f"layers {sorted(whole & inherited)} foreign and inherited"
