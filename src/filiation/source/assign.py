"""Which definition of the suspect belongs to which of the reference: a best assignment, so moved ones are found."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from filiation.source.prints import Print

_MOST_PAIRS = (
    9_000_000  # entries of the table of similarities; beyond, only definitions of one name are compared
)
_CLASS_BONUS, _NAME_BONUS, _ORDER_BONUS = 0.10, 0.05, 0.01

Floats = npt.NDArray[np.float64]


def assignment(suspect: Print, reference: Print) -> list[tuple[int, int]]:
    """Return pairs of positions of definitions that share statements, each definition at most once.

    Similarity is the weight of shared statements, rarer ones counting more; that the classes around two methods belong
    together, equal names and equal places break ties.
    """
    if not suspect.definitions or not reference.definitions:
        return []
    if len(suspect.definitions) * len(reference.definitions) > _MOST_PAIRS:
        return _by_name(suspect, reference)
    from scipy.optimize import linear_sum_assignment

    shared = _overlap(suspect, reference)
    gain = shared * (1 + _bonus(suspect, reference, shared))
    rows, columns = linear_sum_assignment(-gain)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if shared[i, j] > 0]


def _by_name(suspect: Print, reference: Print) -> list[tuple[int, int]]:
    there = {d.name: j for j, d in reversed(list(enumerate(reference.definitions)))}
    pairs = {there[d.name]: i for i, d in reversed(list(enumerate(suspect.definitions))) if d.name in there}
    return sorted((i, j) for j, i in pairs.items())


def _overlap(suspect: Print, reference: Print) -> Floats:
    """Return the weight of the statements that each two definitions share, shape (suspect's, reference's)."""
    from scipy import sparse

    known, of_suspect, of_reference = _common(suspect, reference)
    weight = np.zeros(len(known))
    sizes = suspect.statements.sizes.astype(np.float64)
    inside = of_suspect >= 0
    weight[of_suspect[inside]] = sizes[inside]
    counts = np.bincount(of_reference[of_reference >= 0], minlength=len(known))
    weight = weight / np.sqrt(np.maximum(counts, 1))
    left = _incidence(suspect, of_suspect, len(known))
    right = _incidence(reference, of_reference, len(known))
    product = sparse.csr_matrix(left @ sparse.diags(weight)) @ right.T
    return np.asarray(sparse.csr_matrix(product).todense(), np.float64)


def _common(
    suspect: Print, reference: Print
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    a, b = suspect.statements.digests, reference.statements.digests
    known = np.intersect1d(a, b)
    return known, _position(a, known), _position(b, known)


def _position(values: npt.NDArray[np.uint64], known: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return where each value stands in the sorted ``known``, or -1."""
    if not len(known):
        return np.full(len(values), -1, np.int64)
    at = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[at] == values, at, -1)


def _incidence(source: Print, ids: npt.NDArray[np.int64], width: int):
    from scipy import sparse

    owner = np.zeros(len(ids), np.int64)
    for number, definition in enumerate(source.definitions):
        owner[definition.start : definition.stop] = number
    inside = ids >= 0
    shape = (len(source.definitions), width)
    table = sparse.coo_matrix((np.ones(int(inside.sum())), (owner[inside], ids[inside])), shape=shape).tocsr()
    table.data = np.sqrt(
        table.data
    )  # sqrt(m) * sqrt(n): a repeated statement counts, but not with its square
    return table


def _bonus(suspect: Print, reference: Print, shared: Floats) -> Floats:
    bonus = np.zeros(shared.shape)
    last_s = [d.name.rpartition(".")[2] for d in suspect.definitions]
    last_r = [d.name.rpartition(".")[2] for d in reference.definitions]
    names = {name: n for n, name in enumerate({*last_s, *last_r})}
    left = np.array([names[n] for n in last_s])
    right = np.array([names[n] for n in last_r])
    bonus += _NAME_BONUS * (left[:, None] == right[None, :])
    places_s = np.arange(len(last_s)) / max(len(last_s), 1)
    places_r = np.arange(len(last_r)) / max(len(last_r), 1)
    bonus += _ORDER_BONUS * (1 - np.abs(places_s[:, None] - places_r[None, :]))
    for (owner_s, owner_r), (rows, columns) in _classes(suspect, reference, shared).items():
        if owner_s and owner_r:
            bonus[np.ix_(rows, columns)] += _CLASS_BONUS
    return bonus


def _classes(
    suspect: Print, reference: Print, shared: Floats
) -> dict[tuple[str, str], tuple[list[int], list[int]]]:
    """Return the classes that belong together (best for one another by what they share) with their definitions."""
    of_suspect, of_reference = _members(suspect), _members(reference)
    totals = _membership(of_suspect, shared.shape[0]) @ shared @ _membership(of_reference, shared.shape[1]).T
    names_s, names_r = list(of_suspect), list(of_reference)
    found: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
    if not totals.size:
        return found
    from scipy.optimize import linear_sum_assignment

    for i, j in zip(*linear_sum_assignment(-totals), strict=True):
        if totals[i, j] > 0:
            found[names_s[i], names_r[j]] = (of_suspect[names_s[i]], of_reference[names_r[j]])
    return found


def _membership(members: dict[str, list[int]], width: int) -> Floats:
    """Return which definitions belong to which class, shape (classes, width)."""
    table = np.zeros((len(members), width))
    for row, each in enumerate(members.values()):
        table[row, each] = 1
    return table


def _members(source: Print) -> dict[str, list[int]]:
    members: dict[str, list[int]] = defaultdict(list)
    for number, definition in enumerate(source.definitions):
        if definition.kind == "class":
            members[definition.name].append(number)
        elif definition.kind == "method":
            members[definition.name.rpartition(".")[0]].append(number)
    return dict(members)
