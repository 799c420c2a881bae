"""Contents judged on everything, where everything was read (ADR 0018).

Which part of the weights a partial reading reads can be known beforehand, and rows copied there. Where every byte is
read all the same, what the units hold is judged on all of them: matching tests stay sampled, their labels with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from filiation.errors import BudgetError
from filiation.evidence import Relation
from filiation.origin.computed import computed_alike, network_bytes
from filiation.origin.cosines import WEIGHT_COSINE
from filiation.origin.examine import Examination
from filiation.origin.gather import seeded_windows
from filiation.origin.history import History, Shared, by_function, measure
from filiation.origin.pairing import Pairing, Plan
from filiation.origin.verdict import RELATED, Finding, judge

#: Why labels that agree in a sample are no finding.
ELSEWHERE = "contents_elsewhere"
#: Units of a layer by which partners, and what is read of the channels, are looked at again.
UNITS = 1024
#: Layers that are asked what they compute: each is read once more, and multiplied.
COMPUTED = 4


@dataclass(frozen=True, slots=True)
class Alike:
    """The mean cosine of a layer's units with their counterparts, and of how many units it is."""

    cosine: float
    units: int


def after_reading(
    examination: Examination,
    found: tuple[Finding, History | None],
    plan: Plan,
    contents: Mapping[int, Alike],
    *,
    full: bool,
    nothing_agrees: bool,
) -> tuple[Finding, History | None]:
    """Return the finding on one component, and its history, after its weights were laid beside the candidate's.

    Where everything was read, contents are judged again by all of it. Where labels were found in place and, in the
    sample that was laid beside the candidate's, nothing agrees, they stand for no more than where they were read. No
    finding beside which nothing agrees names a share.

    Args:
        found: what was judged by the sample.
        contents: of the suspect's layers that were read whole.
        nothing_agrees: no part of the suspect that was read is like the candidate's.
    """
    finding, history = found
    stage = "" if examination.best is None else examination.best.name
    related = finding.relation in RELATED
    if full and not plan.whole:
        history = None if history is None else read_in_full(examination, history, plan, contents)
        finding = judge(examination, history)
        # Without a common basis nothing could be laid beside anything: that nothing agrees says nothing then.
        refuted = related and nothing_agrees and stage != "basis_free"
        refuted = refuted or finding.relation is Relation.SUGGESTIVE
    else:
        whole = finding.relation is Relation.COMMON_ORIGIN
        refuted = whole and nothing_agrees and stage == "direct" and not plan.whole
    if refuted:
        otherwise = history is not None and history.shared is Shared.OTHERWISE
        reasons = finding.reasons if otherwise else (ELSEWHERE,)
        finding = Finding(Relation.SUGGESTIVE, examination.log10_e, (), reasons, 0, 0)
    return (replace(finding, inherited=0, tested=0) if nothing_agrees else finding), history


def read_in_full(
    examination: Examination, history: History, plan: Plan, contents: Mapping[int, Alike]
) -> History:
    """Return the effect sizes with the contents of all units in place of those of the sample."""
    best = examination.best
    if best is None or not contents:
        return history
    carrying = set(best.carrying())
    layers = tuple(p for p in best.pairing.layers if p[0] in contents and (not carrying or p[0] in carrying))
    if not layers:
        return history
    merged = {**history.contents, **{i: contents[i].cosine for i, _ in layers}}
    alike = {i for i, _ in layers if merged[i] >= WEIGHT_COSINE}
    # As in the sample: one layer that was copied must not vouch for others.
    kept = tuple(p for p in layers if p[0] in alike) or layers
    cosines = {i: np.full(contents[i].units, contents[i].cosine) for i, _ in kept}
    everywhere = {i: a.cosine for i, a in contents.items()}
    try:
        found = measure(_widely(replace(best.pairing, layers=kept), plan), plan, cosines)
        found = by_function(found, _computed(best.pairing, kept, plan))
    except BudgetError:  # what the sample said of the rest stands
        return replace(history, contents=merged, everywhere=everywhere)
    return replace(
        found,
        contents=merged,
        values=history.values,
        channels_stand_out=history.channels_stand_out,
        layers=() if len(kept) == len(best.pairing.layers) else tuple(i for i, _ in kept),
        everywhere=everywhere,
        exchanged=history.exchanged,
        unnamed=history.unnamed,
    )


def _computed(pairing: Pairing, layers: Sequence[tuple[int, int]], plan: Plan) -> list[float]:
    """Return how alike some of the layers compute, at seeded places, as far as a byte budget reaches."""
    chosen = plan.rng("computed/layers").permutation(len(layers))[:COMPUTED]
    found: list[float] = []
    for pair in (layers[n] for n in sorted(chosen)):
        if not _affords(pairing, [pair], plan, 1.0):
            break
        alike = computed_alike(pairing, pair, plan, full=True)
        found += [] if alike is None else [alike]
    return found


def _widely(pairing: Pairing, plan: Plan) -> Pairing:
    """Return the pairing with more units of each layer, where equal positions are compared and a budget allows it."""
    width = pairing.suspect.ffn_width
    if pairing.match_anywhere or width != pairing.candidate.ffn_width or not width:
        return pairing
    window = seeded_windows(width, UNITS, 1, plan.rng("in full"))[0]
    if not _affords(pairing, pairing.layers, plan, min(1.0, UNITS / width)):
        return pairing
    return replace(pairing, window=window, rows={}, unsigned=frozenset())


def _affords(pairing: Pairing, layers: Sequence[tuple[int, int]], plan: Plan, share: float) -> bool:
    """Return whether a share of each of these layers' networks may be read of both models."""
    return all(
        plan.affords(
            side.anatomy.checkpoint, ceil(share * sum(network_bytes(side, pair[n]) for pair in layers))
        )
        for n, side in enumerate((pairing.suspect, pairing.candidate))
    )
