"""Whose labels are uniformly random: the model that an exact test randomises.

Under H0 one model's uniform labels suffice (evidence contract, section 2), but then it must be that model which a test
takes for random: which unit bets in what order, and which unit enters once, differ between the two sides.
"""

from __future__ import annotations

from collections.abc import Sequence

from filiation.anatomy.model import Symmetry
from filiation.origin.copies import repeated
from filiation.origin.gather import Side
from filiation.origin.pattern import order_is_arbitrary, signs_are_free
from filiation.origin.units import Units

Pairs = Sequence[tuple[Units, Units]]

#: Kinds that come in small numbers and are copied as wholes (repeated kv heads, cloned experts).
SMALL = frozenset({"kv_group", "expert", "query_head"})
BLOCK_QUANTISED = "block_quantised"


def doubt(side: Side, symmetry: Symmetry, units: Sequence[Units]) -> str | None:
    """Return why this model's labels cannot be taken as uniformly random, None where they can.

    :data:`BLOCK_QUANTISED` comes last: there the order still is a label inside the blocks.
    """
    ruling = side.anatomy.holds(symmetry, side.component)
    if not ruling.holds:
        return ruling.reason
    if symmetry.endswith("sign"):
        return None if all(signs_are_free(u) for u in units) else "units_are_copies"
    if not all(order_is_arbitrary(u) for u in units):
        return "order_not_arbitrary"
    if any(u.kind in SMALL and repeated(u) for u in units):
        return "units_are_copies"
    return BLOCK_QUANTISED if any(u.blocked for u in units) else None


def randomised(
    suspect: Side, candidate: Side | None, symmetry: Symmetry, pairs: Pairs
) -> tuple[Pairs, bool] | str:
    """Return the pairs with the random model's units first, and whether that turned them round.

    Args:
        candidate: None where its labels were read before, so that only the suspect can be the random one.

    Returns:
        The reason, where neither model's labels can be taken as random.
    """
    mine = doubt(suspect, symmetry, [s for s, _ in pairs])
    if mine is None:
        return pairs, False
    theirs = "read_before" if candidate is None else doubt(candidate, symmetry, [c for _, c in pairs])
    if theirs is None:
        return [(c, s) for s, c in pairs], True
    if BLOCK_QUANTISED not in (mine, theirs):
        return mine
    turned = mine != BLOCK_QUANTISED
    inside = [(s.inside_blocks(), c.inside_blocks()) for s, c in pairs]
    return [(c, s) for s, c in inside] if turned else inside, turned
