"""How wide is the model? Whole vectors of log-probabilities span as many dimensions, with no candidate at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from filiation.behaviour import vectors
from filiation.behaviour.heads import Integers
from filiation.behaviour.rank import Rank, hidden_size
from filiation.behaviour.recording import applied
from filiation.behaviour.records import Found
from filiation.behaviour.rounds import asked
from filiation.endpoint.model import Asker, Call
from filiation.evidence import Effect, Evidence, Scale
from filiation.vocabulary import Vocabulary

NAME = "output_layer"
_BATCH = 8  # answers with a whole vocabulary each: more would not fit into memory
_LEAST = 3


@dataclass(frozen=True, slots=True)
class Setting:
    """What is collected: ``count`` vectors for prompts drawn from ``seed``, of the endpoint ``role``."""

    seed: int
    count: int
    role: str = "suspect"


def collect(
    asker: Asker, setting: Setting, known: Vocabulary | None, usable: Integers | None = None
) -> Rank | None:
    """Return how many dimensions the vectors span; None where none were asked for, or no request gives them whole.

    Args:
        known: the candidate's vocabulary, for servers that state no ids.
        usable: the ids to keep, or some of them; None for all that the first answers hold.
    """
    able = asker.records[setting.role].capabilities if setting.role in asker.records else None
    if setting.count < _LEAST or able is None or able.top_logprobs != -1:
        return None
    asks = vectors.requests_for_all(able, vectors.texts(setting.seed, setting.count))[:-1]
    rows: list[list[float]] = []
    ids: Sequence[int] | None = None if usable is None else _some(usable, setting)
    for start in range(0, len(asks), _BATCH):
        replies = asked(asker, [Call(setting.role, ask, NAME) for ask in asks[start : start + _BATCH]])
        if replies is None:
            break
        tables = [table for reply in replies if (table := vectors.table(reply, known))]
        if ids is None and tables:
            ids = _some(np.array(sorted(set.intersection(*map(set, tables))), np.int64), setting)
        rows += [[t[i] for i in ids] for t in tables if ids is not None and all(i in t for i in ids)]
    return hidden_size(np.array(rows)) if len(rows) >= _LEAST else None


def _some(usable: Integers, setting: Setting) -> list[int]:
    """Return a few more tokens than twice the vectors: the span of the rest is the same."""
    wanted = min(len(usable), 2 * setting.count + 64)
    return sorted(
        np.random.default_rng([0x51DE, setting.seed]).choice(usable, wanted, replace=False).tolist()
    )


def record(id: str, size: Rank, candidate: int | None = None) -> Evidence:
    """Return the record of what was found; ``candidate`` is the width of the model it is held against."""
    shows = "hidden_size" if candidate is not None else "hidden_size_alone"
    return applied(
        f"{id}/hidden_size/vectors={size.vectors}",
        "hidden_size",
        scale=Scale.FACT,
        reason=None if size.size is not None else "rank_not_clear",
        statistic_name="dimensions",
        statistic=None if size.size is None else float(size.size),
        expected=None if candidate is None else float(candidate),
        n=size.vectors,
        effect=(Effect("log10_drop", size.drop),),
        shows=shows if size.size is not None else "hidden_size_unclear",
        cannot_show=("body_of_model",),
    )


def beside(asker: Asker, found: Found, setting: Setting) -> Found:
    """Add the width to a test that could not be applied for want of a candidate."""
    size = collect(asker, setting, None)
    if size is None:
        return found
    row = {"size": size.size, "log10_drop": size.drop, "vectors": size.vectors}
    test = replace(found.test, requests=setting.count, figures={**found.test.figures, "hidden_size": row})
    return Found(test, (*found.evidence, record(found.test.evidence, size)))
