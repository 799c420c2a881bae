"""What a derivation that finds foreign layers leaves of a finding: both must say the same of each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from filiation.evidence import Derivation, Relation
from filiation.origin.counted import DENIED
from filiation.origin.verdict import RELATED, Finding

#: What a step that finds foreign layers calls those of which one half is the candidate's.
_HALVES = ("foreign_attention", "foreign_ffn")


def beside_grafts(finding: Finding, steps: Sequence[Derivation]) -> Finding:
    """Return the finding beside what the derivation says does not come from the candidate.

    No more layers are called inherited than the derivation leaves. Where it leaves a half of each, there is no share
    of layers; where everything that the finding names is foreign, the labels stand on something else.
    """
    if finding.relation not in RELATED:
        return finding
    for numbers in (s.numbers for s in steps if s.kind == "grafted"):
        share = numbers.get("share")
        if not isinstance(share, int | float):
            continue
        foreign = numbers.get("foreign", ())
        if _denied(finding, numbers):
            return Finding(Relation.SUGGESTIVE, finding.log10_e, (), (DENIED,), 0, 0)
        if not (numbers.get("inherited", True) or foreign) and any(numbers.get(half) for half in _HALVES):
            return replace(finding, inherited=0, tested=0)
        finding = replace(finding, inherited=min(finding.inherited, share * finding.tested))
    return finding


def _denied(finding: Finding, numbers: Mapping[str, Any]) -> bool:
    """Return whether all layers that the finding rests on are foreign, with both of their halves."""
    foreign = set(numbers.get("foreign", ()))
    if not finding.layers or not foreign:
        return False
    if numbers.get("reversed"):  # told by the candidate's numbers
        return not numbers.get("share") and len(foreign) >= len(finding.layers)
    return foreign >= set(finding.layers)
