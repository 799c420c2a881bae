"""Whether two models are equal, as far as a byte budget reaches."""

from __future__ import annotations

from filiation.anatomy.model import Anatomy
from filiation.derivation.identity import Sameness, same_weights
from filiation.origin.ledger import Ledger


def same_within(suspect: Anatomy, candidate: Anatomy, budget: int | None) -> Sameness | None:
    """Return whether two models hold the same weights; None where the budget does not allow to say so.

    Raises:
        NonFiniteWeightsError: a part holds NaN or infinity.
    """
    ledger = Ledger(budget)
    return ledger.attempt(lambda: same_weights(ledger.hold(suspect), ledger.hold(candidate)), None)
