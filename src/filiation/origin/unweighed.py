"""What layers say that could not be weighed, under a budget (ADR 0021).

Units without effect can be added to any model. Under a budget some of the layers are weighed. Where all of these agree
they speak for the others; where one does not, the others are not known to agree; where there is none, nothing is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from filiation.origin.cosines import WEIGHT_COSINE
from filiation.origin.pairing import Pairing, Plan
from filiation.origin.weighing import chosen, weighed

#: Layers of those that carry labels that are weighed at least, where every read is a request.
LEAST = 2


def with_weighed(pairing: Pairing, carrying: Sequence[int], plan: Plan) -> Pairing:
    """Return the pairing with enough of the layers that carry labels among those that are weighed under a budget."""
    if not plan.frugal:
        return pairing
    before = [p[0] for p in pairing.layers if chosen(pairing, p, plan)]
    missing = LEAST - len({*before} & {*carrying})
    others = [i for i in carrying if i not in before]
    if missing <= 0 or not others:
        return pairing
    drawn = plan.rng("weighed").permutation(len(others))[:missing]
    return replace(pairing, weighed=frozenset(before) | {others[int(n)] for n in drawn})


def spoken_for(
    pairing: Pairing, contents: Mapping[int, float], without_effect: Collection[int], plan: Plan
) -> tuple[dict[int, float], bool]:
    """Return the contents of the layers that are known to hold the same or not, and whether any was weighed.

    Args:
        contents: the cosine of each layer's matched units.
        without_effect: layers of the pairing that do next to nothing in one of the models.
    """
    if not plan.frugal:
        return dict(contents), True
    heavy = {p[0] for p in pairing.layers if p[0] in contents and weighed(pairing, p, plan)}
    agree = all(contents[i] >= WEIGHT_COSINE for i in heavy) and not without_effect
    kept = dict(contents) if agree or not heavy else {i: contents[i] for i in heavy}
    return kept, bool(heavy)
