"""What a scripted server generates for one request."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.endpoint.behaviour import Behaviour
from tests.endpoint.laws import Floats, Law, drawn, log_softmax


@dataclass(frozen=True)
class Step:
    """A token with its log-probability and the alternatives as (id, log-probability), most likely first."""

    id: int
    logprob: float
    top: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Choice:
    text: str
    steps: Sequence[Step]


@dataclass(frozen=True)
class Generated:
    law: Law
    context: str
    choices: Sequence[Choice]
    prompt: Sequence[Step] | None
    usage: Mapping[str, Any] | None


class Generator:
    """Generates by a behaviour; counts requests and keeps what was cached."""

    def __init__(self, behaviour: Behaviour, seed: int) -> None:
        self.behaviour = behaviour
        self._rng = drawn("server", seed)
        self._lock = threading.Lock()
        self._requests = 0
        self._cache: dict[str, Generated] = {}

    def run(self, body: Mapping[str, Any], context: str) -> Generated:
        key = repr(sorted(body.items(), key=lambda kv: kv[0]))
        with self._lock:
            self._requests += 1
            if self.behaviour.cache and key in self._cache:
                return self._cache[key]
            found = self._new(body, context)
            self._cache[key] = found
            return found

    def _law(self) -> Law:
        b = self.behaviour
        if b.other is not None:
            if b.swap_after is not None and self._requests > b.swap_after:
                return b.other
            if self._rng.random() < b.dilution:
                return b.other
        return b.law

    def _new(self, body: Mapping[str, Any], context: str) -> Generated:
        law = self._law()
        top = _alternatives(self.behaviour, body, len(law.vocabulary))
        seed = body.get("seed")
        choices: list[Choice] = []
        for i in range(int(body.get("n", 1))):
            rng = self._rng if seed is None else drawn("seeded", seed, context, i)
            choices.append(self._choice(law, body, context, top, rng))
        prompt = None
        if self.behaviour.prompt_logprobs is not None and ("prompt_logprobs" in body or body.get("echo")):
            prompt = _prompt_steps(law, context, top)
        return Generated(law, context, choices, prompt, self._usage(body, context, choices))

    def _choice(
        self, law: Law, body: Mapping[str, Any], context: str, top: int, rng: np.random.Generator
    ) -> Choice:
        temperature = float(body.get("temperature", 1.0))
        text, steps = "", list[Step]()
        for _ in range(int(body.get("max_tokens", 16))):
            logits = law.logits(context + text)
            cooled = log_softmax(logits / temperature) if temperature > 0 else None
            if cooled is None:
                chosen = int(np.argmax(logits))
            else:
                chosen = int(rng.choice(len(logits), p=np.exp(cooled) / np.exp(cooled).sum()))
            after = cooled is not None and self.behaviour.after_temperature
            shown = cooled if after and cooled is not None else log_softmax(logits)
            if temperature == 0 and self.behaviour.degenerate_at_zero:
                shown = np.full(len(logits), -9999.0)
                shown[chosen] = 0.0
            steps.append(_step(self._rounded(shown), chosen, top, body.get("logprob_token_ids")))
            text += law.vocabulary[chosen]
            if any(s in text for s in body.get("stop") or ()):
                break
        return Choice(text, steps)

    def _rounded(self, logprobs: Floats) -> Floats:
        digits = self.behaviour.digits
        return logprobs if digits is None else np.round(logprobs, digits)

    def _usage(
        self, body: Mapping[str, Any], context: str, choices: Sequence[Choice]
    ) -> Mapping[str, Any] | None:
        b = self.behaviour
        ids = body.get("prompt")
        prompt = (len(ids) if isinstance(ids, list) else b.count(context)) + b.offset
        completion = sum(len(c.steps) for c in choices)
        usage: dict[str, Any] = {}
        if b.reasoning is not None:
            thought = b.count(b.reasoning)
            completion += thought
            usage["completion_tokens_details"] = {"reasoning_tokens": thought}
        if b.cached is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": b.cached}
        usage |= {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        return usage if b.rewrite is None else b.rewrite(usage)


def _alternatives(behaviour: Behaviour, body: Mapping[str, Any], size: int) -> int:
    wanted = body.get("top_logprobs", body.get("logprobs"))
    many = 0 if wanted is None or isinstance(wanted, bool) else int(wanted)
    if "prompt_logprobs" in body and behaviour.prompt_logprobs == "vllm":
        many = max(many, int(body["prompt_logprobs"]))
    if behaviour.whole:
        return size if many < 0 else min(many, size)
    return max(0, min(many, behaviour.most))


def _step(logprobs: Floats, chosen: int, top: int, only: Sequence[int] | None = None) -> Step:
    if only is not None:
        ranked = sorted(only, key=lambda i: -logprobs[i])
    else:
        ranked = [int(i) for i in np.argsort(-logprobs, kind="stable")[:top]]
    return Step(chosen, float(logprobs[chosen]), [(i, float(logprobs[i])) for i in ranked])


def _prompt_steps(law: Law, context: str, top: int) -> list[Step]:
    """Steps of the prompt's tokens but the first, by greedy longest match over the vocabulary."""
    steps, read = list[Step](), ""
    for token, piece in tokens_of(law, context):
        if read:
            steps.append(_step(log_softmax(law.logits(read)), token, top))
        read += piece
    return steps


def tokens_of(law: Law, text: str) -> list[tuple[int, str]]:
    """Cut a text into the law's tokens, (id, piece); a character that begins none gets some id."""
    index = {t: i for i, t in enumerate(law.vocabulary)}
    longest = max(len(t) for t in index)
    found, at = list[tuple[int, str]](), 0
    while at < len(text):
        sizes = (k for k in range(longest, 0, -1) if text[at : at + k] in index)
        piece = text[at : at + next(sizes, 1)]
        found.append((index.get(piece, ord(piece[0]) % len(index)), piece))
        at += len(piece)
    return found
