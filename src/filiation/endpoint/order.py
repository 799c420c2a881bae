"""The order in which a batch is sent: drawn from the seed, and interleaved between endpoints."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Hashable, Sequence

from filiation.endpoint.model import Call


def sending_order(calls: Sequence[Call], seed: int, batch: int) -> list[int]:
    """Return the positions of ``calls`` in the order in which they are to be sent.

    Requests that are equal but for the endpoint go out one right after the other, in an order drawn for each such
    group; the groups are shuffled. So a drift of an endpoint in time cannot pass for a difference between two.
    """
    rng = random.Random(f"{seed}/{batch}")
    groups: dict[Hashable, list[int]] = defaultdict(list)
    seen: dict[tuple[str, str], int] = defaultdict(int)
    for i, call in enumerate(calls):
        key = call.ask.key()
        turn = seen[call.role, key]
        seen[call.role, key] += 1
        groups[key, turn].append(i)
    shuffled = list(groups.values())
    rng.shuffle(shuffled)
    for group in shuffled:
        rng.shuffle(group)
    return [i for group in shuffled for i in group]
