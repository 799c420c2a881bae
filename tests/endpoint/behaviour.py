"""How a scripted server behaves: honest by default, and each way of not being so is one field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.endpoint.faults import Fault
from tests.endpoint.laws import Law

UsageBlock = Mapping[str, Any]


def count_words(text: str) -> int:
    """The tokenizer of a server that was given none: four characters a token."""
    return -(-len(text) // 4)


@dataclass
class Behaviour:
    """Fields may be changed while the server runs.

    Attributes:
        law: of the next token.
        count, offset: tokens of a text, and of template and hidden prompt together.
        other, swap_after, dilution: another law, that answers from some request on, or this share of requests.
        cache: equal requests get the first one's answer.
        most, refuses_more: the largest number of alternatives; a larger one is cut down, or refused.
        whole: -1 and very large numbers bring the whole vocabulary.
        digits: log-probabilities are rounded.
        degenerate_at_zero: 0 and -9999 at temperature 0.
        after_temperature: log-probabilities after the temperature was applied.
        rewrite: of the usage block; None where it returns None.
        ignores, refuses: names of body fields that are dropped without a word, or answered with 400.
        null_logprobs: logprobs are null though asked for.
        classic: completions have the classic shape of log-probabilities, else chat's.
        ids: chat's entries hold token ids.
        ids_of: whether logprob_token_ids are known.
        prompt_logprobs: "vllm", "echo" or None.
        reasoning: hidden text; its tokens are counted.
        cached: cached tokens, stated within the prompt's.
        name: the model name that is returned; None returns what was asked for.
        routes: the kinds of request that work.
        clue: a key that its replies hold besides.
        cookie: set by every reply.
        always_stream: streams whether asked to or not.
        faults: what goes wrong with the next requests; None in it is a request that goes well.
    """

    law: Law
    count: Callable[[str], int] = count_words
    offset: int = 7
    other: Law | None = None
    swap_after: int | None = None
    dilution: float = 0.0
    cache: bool = False
    most: int = 20
    refuses_more: bool = False
    whole: bool = False
    digits: int | None = None
    degenerate_at_zero: bool = False
    after_temperature: bool = False
    rewrite: Callable[[UsageBlock], UsageBlock | None] | None = None
    ignores: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    null_logprobs: bool = False
    classic: bool = True
    ids: bool = False
    ids_of: bool = False
    prompt_logprobs: str | None = None
    reasoning: str | None = None
    cached: int | None = None
    name: str | None = None
    routes: frozenset[str] = frozenset({"chat", "completions", "messages", "ollama"})
    clue: str | None = None
    cookie: str | None = None
    always_stream: bool = False
    faults: Sequence[Fault | None] = field(default_factory=list[Fault | None])
