"""What two files share that no other work of the corpus has, and whether the reference's siblings have as much of it.

Works of one family are near to one another, so the margin of the first over the second says little there. A copy is
told from one more sibling by what remains after everything is taken away that a third work has: of that a copy holds
more than the siblings hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filiation.source.features import features
from filiation.source.prints import Print
from filiation.source.ranking import Document, Index

_SIBLINGS = 8  # works nearest to the reference that are asked
_DOCUMENTS = 120  # of the ranking in which they are looked for: a work stands in several releases


@dataclass(frozen=True, slots=True)
class Own:
    """What two files share that no third work has.

    Attributes:
        structures: how many.
        of_shared: their part of all that the two share, by weight.
        of_file: their part of all that the first file has, by weight.
    """

    structures: int
    of_shared: float
    of_file: float


def own(index: Index, source: Print, reference: Print, works: frozenset[str]) -> Own:
    """Return what ``source`` and ``reference`` share that stands in none of the corpus's works but ``works``."""
    ours, sizes = features(source)
    weights = index.weights(ours, sizes)
    shared = np.isin(ours, features(reference)[0])
    alone = shared & ~index.elsewhere(ours, works)
    total, both, left = (float(weights[part].sum()) for part in (slice(None), shared, alone))
    return Own(int(alone.sum()), left / max(both, 1e-12), left / max(total, 1e-12))


def most_of_siblings(index: Index, document: Document, works: frozenset[str]) -> float:
    """Return the largest part of a file that one of the works nearest to ``document`` shares with it alone."""
    known = index.siblings.get((document, works))
    if known is None:
        known = index.siblings[document, works] = _most(index, document, works)
    return known


def _most(index: Index, document: Document, works: frozenset[str]) -> float:
    reference = document.fingerprint()
    score = index.scores(reference)[0]
    seen = set(works)
    most = 0.0
    for at in np.argsort(-score, kind="stable")[:_DOCUMENTS]:
        other = index.documents[int(at)]
        if other.work in seen or score[at] <= 0:
            continue
        seen.add(other.work)
        most = max(most, own(index, other.fingerprint(), reference, works | {other.work}).of_file)
        if len(seen) - len(works) >= _SIBLINGS:
            break
    return most
