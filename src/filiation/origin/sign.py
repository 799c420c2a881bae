"""Sign test: given who matches whom, are the signs of the matched units equal? (Evidence contract, section 3.3.)

Signs of a gated FFN's (up row, down column) pairs are fair coins for independent models whatever else they
share, and they survive permutation of the neurons and permutation and rotation of the residual stream, which defeat
the published weight fingerprints.

A unit enters once, on either side: where several of the suspect's units match one of the candidate's, the most
similar one speaks for them. So the coins are independent when the suspect's signs are arbitrary, when the candidate's
are, and also where units of the suspect are copies that flip together (they match the same unit).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from filiation.origin import evalues
from filiation.origin.matching import Matchable, nearest, same_position
from filiation.origin.testing import KINDS_WITH_SIGN, Abstention, Outcome, Weights
from filiation.origin.units import Doubles, Integers, Units, signed_agreement

Matching = Callable[[Units, Units], Integers]


class Signs:
    """Signs of content-matched units: blind to the order of the units."""

    name = "sign"
    labels = "sign"
    kinds = KINDS_WITH_SIGN
    sizes = "any"
    symmetric = False
    statistic_name = "equal_signs"
    counts_units = True

    def measure(
        self, suspect: Units, candidate: Units, rng: np.random.Generator, weights: Weights | None = None
    ) -> Outcome | Abstention:
        """Abstain where the sign is no label or no unit has a defined agreement."""
        return _measure(suspect, candidate, weights, partial(nearest, rng=rng))


class SignsInPlace:
    """Signs of units at the same index: more power under drift; it reads the order label, so it comes second."""

    name = "sign_in_place"
    labels = "sign"
    kinds = KINDS_WITH_SIGN
    sizes = "any"
    symmetric = True
    statistic_name = "equal_signs"
    counts_units = True

    def measure(
        self, suspect: Units, candidate: Units, rng: np.random.Generator, weights: Weights | None = None
    ) -> Outcome | Abstention:
        """Abstain where the sign is no label or no unit has a defined agreement."""
        return _measure(suspect, candidate, weights, same_position)


def _measure(
    suspect: Units, candidate: Units, weights: Weights | None, matching: Matching
) -> Outcome | Abstention:
    if not suspect.signed or not candidate.signed:
        return Abstention("sign_is_no_label")
    s, c = suspect.alive(), candidate.alive()
    if not len(s) or not len(c):
        return Abstention("too_few_units")
    match = matching(s, c)
    found = once(s, c, match)
    return judged(signed_agreement(s.take(found), c, match[found]), s.block[found], weights)


def judged(values: Doubles, blocks: Integers, weights: Weights | None = None) -> Outcome | Abstention:
    """Return what the signs of matched units show.

    Args:
        values: ``(n,)`` the agreement of each unit's signed contents with its partner's.
        blocks: ``(n,)`` each unit's block.
    """
    defined = np.abs(values) > 1e-9
    values, blocks = values[defined], blocks[defined]
    if values.size < 2:
        return Abstention("too_few_units")
    positive = int((values > 0).sum())
    return Outcome(_log_e(values, blocks, weights), positive, values.size / 2, values.size)


def once(suspect: Units, candidate: Matchable, match: Integers) -> Integers:
    """Return the suspect's matched units, only the most similar one for each unit of the candidate."""
    found = np.flatnonzero(match >= 0)
    partners = candidate.normed_at(match[found])
    cosines = np.einsum("ij,ij->i", suspect.normed[found], partners, dtype=np.float64)
    likeness = np.abs(cosines) if suspect.sign_free else cosines
    ranked = found[np.argsort(-likeness, kind="stable")]
    return np.sort(ranked[np.unique(match[ranked], return_index=True)[1]])


def _log_e(values: evalues.Array, blocks: object, weights: Weights | None) -> float:
    """Return the log e-value; blocks that are copies of one another enter as a weighted geometric mean."""
    if not weights:
        return evalues.signs(values)
    numbers = np.asarray(blocks)
    return sum(weights.get(int(b), 1.0) * evalues.signs(values[numbers == b]) for b in np.unique(numbers))
