"""What is odd about the log-probabilities of an endpoint: whether they are a law, exact, and of the model itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from filiation.endpoint.dialects.speaking import parse
from filiation.endpoint.dialects.steps import items, mapping, number
from filiation.endpoint.dialects.stream import BrokenStreamError
from filiation.endpoint.model import Answer, Failure, TokenStep

Reply = tuple[Answer | Failure, str]
_SLACK = 1e-3  # what rounding to three digits may add to a sum of probabilities
_FEW_DIGITS = 4
_SURE = 1e-6
_HOPELESS = -50.0


def widest(answer: Answer | Failure) -> int | None:
    """Return the largest number of alternatives at a step; None without log-probabilities."""
    if isinstance(answer, Failure) or not answer.steps:
        return None
    if all(s.chosen.logprob is None and not s.top for s in answer.steps):
        return None
    return max(len(s.top) for s in answer.steps)


def oddities(replies: Sequence[Reply], by_temperature: Sequence[Reply]) -> list[str]:
    """Return phrase keys of what is odd.

    Args:
        replies: with log-probabilities, at the server's own temperature.
        by_temperature: the same request at temperatures 0, 1 and 2.
    """
    steps = [s for answer, _ in replies for s in _steps(answer)]
    found: list[str] = []
    if any(total(step) > 1 + _SLACK for step in steps):
        found.append("logprobs_not_normalised")
    if not all(_is_sorted(text) for _, text in replies):
        found.append("logprobs_unsorted")
    if _few_digits([t.logprob for s in steps for t in s.top if t.logprob is not None]):
        found.append("logprobs_rounded")
    cold, warm, hot = (_steps(answer) for answer, _ in by_temperature)
    if cold and warm and _is_degenerate(cold[0]) and not _is_degenerate(warm[0]):
        found.append("logprobs_degenerate_at_zero")
    if warm and hot and warm[0].top and hot[0].top and _differ(warm[0], hot[0]):
        found.append("logprobs_after_temperature")
    return found


def total(step: TokenStep) -> float:
    """Return the summed probability of the alternatives, those that the server lists twice counted twice."""
    return math.fsum(math.exp(min(0.0, t.logprob)) for t in step.top if t.logprob is not None)


def _steps(answer: Answer | Failure) -> tuple[TokenStep, ...]:
    return () if isinstance(answer, Failure) else answer.steps or ()


def _is_degenerate(step: TokenStep) -> bool:
    """All the probability on one token: what some servers state for temperature 0."""
    values = [_HOPELESS if t.logprob is None else t.logprob for t in step.top]
    return len(values) > 1 and values[0] > -_SURE and all(v <= _HOPELESS for v in values[1:])


def _differ(one: TokenStep, other: TokenStep) -> bool:
    a, b = one.top[0].logprob, other.top[0].logprob
    return a is not None and b is not None and abs(a - b) > 0.05


def _few_digits(values: Sequence[float]) -> bool:
    return len(values) >= 10 and all(v == round(v, _FEW_DIGITS) for v in values)


def _is_sorted(text: str) -> bool:
    return all(all(a >= b for a, b in pairwise(row)) for row in _rows(text))


def _rows(text: str) -> Iterator[list[float]]:
    """Yield the alternatives' log-probabilities in the order in which the server wrote them, chat's shape alone."""
    try:
        reply = parse(text)
    except (ValueError, RecursionError, BrokenStreamError):
        return
    for choice in items(reply.get("choices")):
        for entry in items(mapping(mapping(choice).get("logprobs")).get("content")):
            row = [number(mapping(t).get("logprob")) for t in items(mapping(entry).get("top_logprobs"))]
            yield [v for v in row if v is not None]
