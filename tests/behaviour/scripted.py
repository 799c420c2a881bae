"""Scripted endpoints whose tokenizers and output layers are real."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from filiation.behaviour.candidates import Candidate
from filiation.behaviour.heads import Head
from filiation.endpoint.model import Answer, Ask, Capabilities, Support, TokenChance, TokenStep, Usage
from tests.behaviour.asker import said

PLAIN = Capabilities(chat=True, completions=False, usage=True)

WRITTEN = {
    "separated by commas": ", ".join(str(n) for n in range(1207, 1241)),
    "写一句": "秋天的山路上铺满了金黄的落叶，风一吹便沙沙作响。",
    "предложение": "В зимнем лесу стояла такая тишина, что было слышно, как падает снег.",
    "Python": "def median(values):\n    values = sorted(values)\n    n = len(values)\n"
    "    return (values[n // 2] + values[~n // 2]) / 2",
    "three spaces": "   Danube\n   Mekong\n   Zambezi\n   Orinoco\n   Yenisei",
    "two sentences": "The old lighthouse leans a little towards the sea. Its lamp hasn't turned since 1974, "
    "but gulls still circle it.",
}


def written(text: str) -> str:
    """What a scripted model writes when it is asked for a text."""
    return next((answer for word, answer in WRITTEN.items() if word in text), "OK.")


@dataclass(frozen=True)
class Speaking:
    """A model with a real tokenizer.

    Attributes:
        generates: the tokenizer that its answers are made of.
        counts: the tokenizer that its usage is counted with; None for the same.
        offset: template and hidden prompt, in tokens.
        usage: makes the stated prompt tokens out of the text instead.
        spells: whether log-probabilities come with ids, as text alone, or not at all (None).
        drifts: whether what stands around the text changes from request to request.
        rambles: whether it writes tokens drawn at random, which its own tokenizer would cut otherwise.
    """

    generates: Candidate
    counts: Candidate | None = None
    offset: int = 31
    usage: Callable[[str], int | None] | None = None
    spells: str | None = None
    drifts: bool = False
    rambles: bool = False
    _cache: dict[str, int] = field(default_factory=dict)

    def __call__(self, ask: Ask, rng: np.random.Generator) -> Answer:
        text = said(ask)
        ids = self.generates.encode([written(text)])[0][: ask.max_tokens]
        tokens = self.generates.vocabulary.tokens
        if self.rambles:
            plain = [n for n, token in enumerate(tokens) if token and token.isalpha()]
            ids = [plain[int(n)] for n in rng.integers(len(plain), size=min(24, ask.max_tokens))]
        pieces = [tokens[n] or b"" for n in ids]
        steps = (
            tuple(self._step(piece, n) for piece, n in zip(pieces, ids, strict=True))
            if self._tells(ask)
            else None
        )
        counter = self.counts or self.generates
        stated = len(counter.encode([text])[0]) + self.offset if self.usage is None else self.usage(text)
        if self.drifts and stated is not None:
            stated += int(rng.integers(3))
        out = b"".join(pieces).decode("utf-8", "ignore")
        again = len(counter.encode([out])[0]) if self.counts else len(ids)
        return Answer("", (out,), steps, usage=Usage(stated, again if self.usage is None else None))

    def _tells(self, ask: Ask) -> bool:
        return self.spells is not None and ask.top_logprobs is not None

    def _step(self, piece: bytes, number: int) -> TokenStep:
        if self.spells == "ids":
            return TokenStep(TokenChance(piece.decode("utf-8", "replace"), -0.1, number, piece))
        return TokenStep(TokenChance(piece.decode("utf-8", "replace"), -0.1))


@dataclass(frozen=True)
class Layered:
    """A model whose next-token law is a real output layer on a hidden vector drawn from the prompt.

    Attributes:
        head: the output layer.
        top: how many alternatives at most; -1 for all.
        noise: standard deviation in nats, anew in each request; ``digits`` to which values are rounded.
        with_ids: whether tokens come with ids.
    """

    head: Head
    top: int = -1
    noise: float = 0.0
    digits: int | None = None
    with_ids: bool = True

    def hidden(self, text: str) -> np.ndarray:
        draw = np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))
        normed = draw.standard_normal(self.head.width)
        if self.head.norm == "layer":
            normed -= normed.mean()
        normed *= np.sqrt(self.head.width / (normed**2).sum())
        gain = self.head.gain if self.head.gain is not None else np.full(self.head.width, 1.0)
        return normed * gain + (self.head.shift if self.head.shift is not None else 0.0)

    def logprobs(self, text: str) -> np.ndarray:
        parts = np.array_split(np.arange(self.head.size), 16)
        logits = np.concatenate([self.head.rows(ids) @ self.hidden(text) for ids in parts])
        logits = logits + (self.head.bias if self.head.bias is not None else 0.0)
        if self.head.softcap is not None:
            logits = self.head.softcap * np.tanh(logits / self.head.softcap)
        top = logits.max()
        return logits - top - np.log(np.exp(logits - top).sum())

    def __call__(self, ask: Ask, rng: np.random.Generator) -> Answer:
        values = self.logprobs(said(ask))
        if self.noise:
            values = np.minimum(values + self.noise * rng.standard_normal(len(values)), -1e-9)
        if self.digits is not None:
            values = np.round(values, self.digits)
        if ask.token_ids:
            ids = np.array(ask.token_ids)
        else:
            wanted = len(values) if ask.top_logprobs == -1 else ask.top_logprobs or 1
            most = len(values) if self.top < 0 else self.top
            ids = np.argsort(-values, kind="stable")[: min(wanted, most)]
        listed = tuple(self._chance(int(n), float(values[n])) for n in ids)
        best = int(np.argmax(values))
        return Answer("", ("x",), (TokenStep(self._chance(best, float(values[best])), listed),))

    def _chance(self, number: int, value: float) -> TokenChance:
        known = self.head.vocabulary
        raw = known.tokens[number] if known is not None and number < len(known) else None
        text = (raw or f"token {number}".encode()).decode("utf-8", "replace")
        return TokenChance(text, value, number if self.with_ids else None, raw)


FULL = replace(PLAIN, top_logprobs=-1)
TOP_20 = replace(PLAIN, top_logprobs=20)
IDS = replace(PLAIN, top_logprobs=20, token_logprob_ids=Support.SUPPORTED)


def without_special(text: str) -> str:
    """A text without marks such as ``<|im_end|>``."""
    return re.sub(r"<\|\w+\|>", "", text)
