"""What the derivation analysis hands over: steps with numbers, the change of each tensor, evidence, notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from filiation.evidence import Derivation, Effect, Evidence, Location, Scale, Wing
from filiation.origin.infull import Alike

#: Every kind a step can have, in the order in which steps are told: what the model is made of, how its units lie,
#: what happened to the values, how it is stored.
KINDS = (
    "identical",
    "grafted",
    "layers_changed",
    "blocks_inserted",
    "width_pruned",
    "heads_converted",
    "networks_rewritten",
    "moe_upcycled",
    "moe_extracted",
    "vocabulary_changed",
    "permuted",
    "rotated",
    "rescaled",
    "merged",
    "fine_tuned",
    "low_rank_update",
    "continued_pretraining",
    "noise_added",
    "sparsified",
    "requantised",
    "cannot_tell",
    "settings_changed",
    "re_encoded",
    "renamed",
)


@dataclass(frozen=True, slots=True)
class Delta:
    """How one tensor of the suspect differs from what the candidate's would be after alignment.

    Attributes:
        tensor: the suspect's tensor.
        relative_delta: ``|S - C| / |C|`` in Frobenius norm; None where the candidate's part is zero, 0 where a
            computed prediction (after a rotation, a folded gain) differs by no more than its arithmetic.
        cosine: of all elements; None where one part is zero.
        rank: of the difference, where it is numerically low; counted on ``sampled`` rows when the tensor is tall.
        equal: share of elements that are equal; None where the prediction is computed and rounding decides that.
        elements: how many were compared.
    """

    tensor: str
    component: str
    role: str
    layer: int | None
    candidate_layer: int | None
    relative_delta: float | None
    cosine: float | None
    rank: int | None
    equal: float | None
    elements: int
    expert: int | None = None
    candidate_expert: int | None = None


@dataclass(frozen=True, slots=True)
class Derived:
    """How the suspect came from the candidate, as far as the weights tell.

    ``contents``: of each layer whose feed-forward units were read whole in a full reading of large models, how alike
    they are.
    """

    steps: tuple[Derivation, ...]
    deltas: tuple[Delta, ...]
    evidence: tuple[Evidence, ...]
    notes: tuple[str, ...] = ()
    contents: Mapping[int, Alike] = field(default_factory=dict[int, Alike])

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of the steps."""
        return frozenset(step.kind for step in self.steps)

    def step(self, kind: str) -> Derivation | None:
        """Return the first step of a kind, or None."""
        return next((step for step in self.steps if step.kind == kind), None)


def ordered(steps: Iterable[Derivation]) -> tuple[Derivation, ...]:
    """Return steps in the order of :data:`KINDS`."""
    return tuple(sorted(steps, key=lambda step: KINDS.index(step.kind)))


#: The number of each kind that its evidence record carries as statistic.
_MAIN = {
    "grafted": "share",
    "layers_changed": "layers",
    "blocks_inserted": "layers",
    "width_pruned": "to",
    "heads_converted": "to",
    "networks_rewritten": "computed_alike",
    "moe_upcycled": "cosine",
    "moe_extracted": "cosine",
    "vocabulary_changed": "tokens_shared",
    "permuted": "share",
    "rotated": "agreement",
    "rescaled": "spread",
    "fine_tuned": "median_relative_delta",
    "continued_pretraining": "median_relative_delta",
    "low_rank_update": "rank",
    "noise_added": "level",
    "requantised": "error",
    "sparsified": "zeros",
    "merged": "gain",
}


def evidence_of(step: Derivation, component: str, serial: int = 0) -> Evidence:
    """Return the record of one step: a plain fact with its main number as statistic."""
    name = _MAIN.get(step.kind)
    value = _number(step.numbers.get(name)) if name is not None else None
    words = [f"derivation.{step.kind}", component]
    words += [f"{key}={step.numbers[key]}" for key in ("what", "lattice") if key in step.numbers]
    words += [f"candidate={step.candidate}"] if step.candidate else []
    words += [f"number={serial}"] if serial else []
    return Evidence(
        id="/".join(words),
        wing=Wing.DERIVATION,
        question="question.derivation",
        part=Location(component),
        scale=Scale.FACT,
        test=step.kind,
        statistic_name=name if value is not None else None,
        statistic=value,
        effect=tuple(_effects(step.numbers)),
        candidate=step.candidate,
        shows=f"derivation.{step.kind}.text",
        cannot_show=("cannot_show.direction",),
    )


def _effects(numbers: Mapping[str, Any]) -> Iterable[Effect]:
    for key, found in numbers.items():
        value = _number(found)
        if value is not None:
            yield Effect(key, value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def evidence_for(steps: Iterable[Derivation], component: str) -> tuple[Evidence, ...]:
    """Return one record for each step; equal ids get a serial number."""
    seen: dict[str, int] = {}
    records: list[Evidence] = []
    for step in steps:
        plain = evidence_of(step, component)
        count = seen[plain.id] = seen.get(plain.id, -1) + 1
        records.append(evidence_of(step, component, count) if count else plain)
    return tuple(records)


def order_and_signs_gone(found: Derived) -> bool:
    """Return whether feed-forward units were recovered by content, in another order and with other signs."""
    return any(
        s.kind == "permuted" and s.numbers.get("what") == "ffn" and s.numbers.get("flipped", 0)
        for s in found.steps
    )


def without_components(found: Derived, shared: Set[str]) -> Derived:
    """Return the derivation where ``grafted`` names no component that turned out to be shared itself.

    A model may hold several towers of one kind, each compared with the candidate's one: then none of them is absent.
    """
    steps = [_naming(step, shared) for step in found.steps]
    kept = tuple(step for step in steps if step is not None)
    dropped = len(kept) < len(steps)
    evidence = tuple(e for e in found.evidence if e.test != "grafted") if dropped else found.evidence
    return replace(found, steps=kept, evidence=evidence)


def _naming(step: Derivation, shared: Set[str]) -> Derivation | None:
    """Return the step without these components; None where nothing foreign is left."""
    told: Sequence[str] = step.numbers.get("components", ())
    if step.kind != "grafted" or shared.isdisjoint(told):
        return step
    left = [component for component in told if component not in shared]
    numbers = {k: v for k, v in step.numbers.items() if k != "components"}
    if left:
        numbers["components"] = left
    return (
        replace(step, numbers=numbers) if any(k == "components" or "foreign" in k for k in numbers) else None
    )


def joined(found: Sequence[Derived]) -> Derived:
    """Return the derivations of several components as one; steps told twice are kept once."""
    steps: list[Derivation] = []
    for derived in found:
        steps += [s for s in derived.steps if s not in steps]
    return Derived(
        ordered(steps),
        tuple(d for x in found for d in x.deltas),
        tuple({e.id: e for x in found for e in x.evidence}.values()),
        tuple(dict.fromkeys(n for x in found for n in x.notes)),
    )
