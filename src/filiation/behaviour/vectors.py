"""Getting log-probabilities of many tokens out of a server: all at once, or chosen ids in batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from filiation.behaviour.heads import Doubles, Integers
from filiation.behaviour.prompts import apart, questions
from filiation.behaviour.rounds import said
from filiation.endpoint.model import Answer, Ask, Capabilities, Failure, Support, TokenChance
from filiation.vocabulary import Vocabulary

BATCH = 128
ANCHORS = 8


class Way(StrEnum):
    """How the log-probabilities come."""

    ALL = "all_at_once"
    IDS = "chosen_ids"


@dataclass(frozen=True, eq=False)
class Observed:
    """Log-probabilities of the next token.

    Attributes:
        way: how they came.
        ids: token ids that every prompt has a value of, ascending.
        values: shape ``[ids, prompts]``, in nats.
        noise: variance between two answers to one request, over tokens; 0 where they were equal.
        step: the decimal step to which the values are rounded, 0 for none.
    """

    way: Way
    ids: Integers
    values: Doubles
    noise: float
    step: float

    @property
    def floor(self) -> float:
        """The share of the variance of a log-probability that is noise of the server or rounding."""
        spread = float(self.values.var(0).min()) if self.values.size else 1.0
        return (self.noise + self.step**2 / 12) / max(spread, np.finfo(np.float64).tiny)


def way_of(able: Capabilities, needed: int) -> Way | None:
    """Return how ``needed`` log-probabilities can be had, None where they cannot."""
    if able.top_logprobs is not None and (able.top_logprobs < 0 or able.top_logprobs >= needed):
        return Way.ALL
    return Way.IDS if able.token_logprob_ids is Support.SUPPORTED else None


def texts(seed: int, count: int) -> tuple[str, ...]:
    """Return ordinary questions drawn from the seed, unlike those of other tests: none can be known beforehand."""
    return tuple(p.text for p in questions(apart(seed, "output_layer"), count))


def requests_for_all(able: Capabilities, texts: Sequence[str]) -> list[Ask]:
    """Return the requests for whole vectors: every prompt once, the first one once more, to see the noise."""
    return [
        said(able, t, max_tokens=1, temperature=1.0, top_logprobs=able.top_logprobs)
        for t in (*texts, texts[0])
    ]


def requests_for_ids(able: Capabilities, ids: Integers, text: str) -> list[Ask]:
    """Return the requests for chosen ids, 128 a request; the first eight are in every one, to see the noise."""
    anchors, rest = ids[:ANCHORS], ids[ANCHORS:]
    width = BATCH - ANCHORS
    batches = [np.concatenate([anchors, rest[s : s + width]]) for s in range(0, len(rest), width)]
    return [
        said(able, text, max_tokens=1, temperature=1.0, top_logprobs=0, token_ids=tuple(batch.tolist()))
        for batch in batches
    ]


def whole(
    replies: Sequence[Answer | Failure], known: Vocabulary | None, needed: int, *, noise: bool = True
) -> Observed | None:
    """Return the vectors of :func:`requests_for_all`, None where an answer lacks them.

    Where a server gives the most likely tokens only, prompts may share fewer than ``needed``; then the first one alone
    is kept. ``noise`` says that the last answer repeats the first request.
    """
    where = _where(known)
    tables = [_table(reply, where) for reply in replies]
    if not tables or any(not table for table in tables):
        return None
    shared = _shared(tables)
    if noise and len(shared) < needed:
        tables = [tables[0], tables[-1]]
        shared = _shared(tables)
    values = np.array([[table[i] for table in tables] for i in shared], np.float64).reshape(-1, len(tables))
    changed = float(((values[:, 0] - values[:, -1]) ** 2).mean() / 2) if noise and shared else 0.0
    kept = values[:, :-1] if noise else values
    return Observed(Way.ALL, np.array(shared, np.int64), kept, changed, _step(values))


def _shared(tables: Sequence[Mapping[int, float]]) -> list[int]:
    return sorted(set.intersection(*(set(table) for table in tables)))


def batched(replies: Sequence[Answer | Failure], ids: Integers, known: Vocabulary | None) -> Observed | None:
    """Return the one vector of :func:`requests_for_ids`, None where an answer lacks it.

    Batches are brought onto the first one's level by the anchors, for a server may compute each request anew.
    """
    where = _where(known)
    tables = [_table(reply, where) for reply in replies]
    anchors = ids[:ANCHORS].tolist()
    if any(not table or not all(a in table for a in anchors) for table in tables):
        return None
    levels = np.array([[table[a] for a in anchors] for table in tables])
    shifts = (levels - levels[0]).mean(1)
    noise = float((levels - levels[0] - shifts[:, None]).var()) / 2 if len(tables) > 1 else 0.0
    wanted = set(ids.tolist())
    merged: dict[int, float] = {}
    for table, shift in zip(tables, shifts.tolist(), strict=True):
        for number, value in table.items():
            if number in wanted:
                merged.setdefault(number, value - shift)
    shared = sorted(merged)
    values = np.array([[merged[n]] for n in shared])
    raw = np.array([v for table in tables for v in table.values()])
    return Observed(Way.IDS, np.array(shared, np.int64), values, noise, _step(raw))


def table(reply: Answer | Failure, known: Vocabulary | None) -> dict[int, float]:
    """Return the first position's log-probabilities by id; empty where there are none."""
    return _table(reply, _where(known))


def _table(reply: Answer | Failure, where: Mapping[bytes, int]) -> dict[int, float]:
    """Return the first position's log-probabilities by id; values that stand for minus infinity are left out."""
    if isinstance(reply, Failure) or not reply.steps:
        return {}
    step = reply.steps[0]
    found: dict[int, float] = {}
    for token in (*step.top, step.chosen):
        number = _id(token, where)
        if number is not None and token.logprob is not None and -1000 < token.logprob <= 1e-6:
            found.setdefault(number, token.logprob)
    return found


def _id(token: TokenChance, where: Mapping[bytes, int]) -> int | None:
    if token.id is not None:
        return token.id
    return where.get(token.raw if token.raw is not None else token.token.encode())


def _where(known: Vocabulary | None) -> dict[bytes, int]:
    """Return the ids of tokens that stand at one id only: a text that two tokens share cannot be placed."""
    ids: dict[bytes, int] = {}
    twice: set[bytes] = set()
    for number, token in enumerate(known.tokens if known is not None else ()):
        if token is not None:
            twice |= {token} if token in ids else set()
            ids[token] = number
    return {token: number for token, number in ids.items() if token not in twice}


def _step(values: Doubles) -> float:
    """Return 10^-k for the fewest decimals that all values have, 0 for more than eight."""
    flat: Iterable[float] = values.ravel()[:4096].tolist()
    listed = [v for v in flat if math.isfinite(v)]
    for places in range(1, 9):
        if listed and all(abs(v - round(v, places)) < 1e-12 for v in listed):
            return float(10.0**-places)
    return 0.0
