"""Feed-forward networks that compute the same with other units: what was aligned of these units says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from filiation.derivation.records import Derived, evidence_for, ordered
from filiation.evidence import Derivation

#: What steps call that they tell of the units of feed-forward networks.
_OF_UNITS = frozenset({"ffn", "ffn_signs"})
#: Steps that are told from the values of all tensors that were laid beside the candidate's, those units among them.
_OF_VALUES = frozenset(
    {
        "fine_tuned",
        "continued_pretraining",
        "low_rank_update",
        "noise_added",
        "sparsified",
        "merged",
        "cannot_tell",
    }
)


def rewritten(
    found: Derived, layers: Sequence[int], computed_alike: float, component: str, number: int
) -> Derived:
    """Return the derivation where the feed-forward networks of these of the suspect's layers hold other units.

    Units that were laid beside one another there are no counterparts: what is told of them, and of how values changed,
    is left out.
    """
    kept = [s for s in found.steps if s.kind not in _OF_VALUES and s.numbers.get("what") not in _OF_UNITS]
    told = {"layers": list(layers), "computed_alike": computed_alike}
    steps = ordered([*kept, Derivation("networks_rewritten", told, number)])
    turned = any(s.numbers.get("reversed") for s in steps)
    notes = tuple(n for n in found.notes if turned or n != "derivation.reversed")
    return replace(found, steps=steps, evidence=evidence_for(steps, component), notes=notes)
