"""Answers of a model whose logits are at hand, in the shapes of the API."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class BadRequestError(Exception):
    """The request asks for what the model cannot do; answered with HTTP 400."""


class Model(Protocol):
    """A model that is served."""

    @property
    def name(self) -> str:
        """The name it is asked for by."""
        ...

    @property
    def ends(self) -> frozenset[int]:
        """Ids after which generation ends."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the ids of a raw prompt."""
        ...

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Return the ids of a conversation, by the model's template."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids."""
        ...

    def logits(self, ids: Sequence[int], *, every: bool = False) -> Floats:
        """Return the logits after ``ids``, shape (1, vocabulary); with ``every``, after each of them."""
        ...


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a request asks for, checked."""

    most: int
    temperature: float
    top: int | None
    only: tuple[int, ...]
    prompt: bool
    stop: tuple[str, ...]
    as_ids: bool


def answer(model: Model, body: Mapping[str, Any], *, is_chat: bool) -> dict[str, Any]:
    """Return the reply to a request.

    Raises:
        BadRequestError: it cannot be answered.
    """
    if body.get("stream"):
        raise BadRequestError("stream is not supported")
    wish = _wish(body, is_chat=is_chat)
    ids = _prompt(model, body, is_chat=is_chat)
    rng = np.random.default_rng(body.get("seed"))
    choices: list[dict[str, Any]] = []
    completion = 0
    for index in range(_whole(body, "n", 1)):
        made, rows, finish = _generate(model, ids, wish, rng)
        completion += len(made)
        choices.append(_choice(model, index, made, rows, finish, wish, is_chat=is_chat))
    if wish.prompt:
        choices[0]["prompt_logprobs"] = _prompt_logprobs(model, ids, wish)
    usage = {
        "prompt_tokens": len(ids),
        "completion_tokens": completion,
        "total_tokens": len(ids) + completion,
    }
    return {"object": "chat.completion", "model": model.name, "choices": choices, "usage": usage}


def log_softmax(logits: Floats) -> Floats:
    """Return log-probabilities along the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def _wish(body: Mapping[str, Any], *, is_chat: bool) -> _Wish:
    top: int | None = None
    if body.get("logprobs") not in (None, False):
        top = _whole(body, "top_logprobs" if is_chat else "logprobs", 0, -1)
    temperature = body.get("temperature", 1.0)
    if (
        isinstance(temperature, bool)
        or not isinstance(temperature, int | float)
        or not 0 <= temperature < math.inf
    ):
        raise BadRequestError("temperature must be a number of 0 or more")
    stop = body.get("stop") or ()
    return _Wish(
        _whole(body, "max_tokens", 16),
        float(temperature),
        top,
        tuple(int(i) for i in body.get("logprob_token_ids") or ()),
        body.get("prompt_logprobs") is not None,
        (stop,) if isinstance(stop, str) else tuple(stop),
        bool(body.get("return_tokens_as_token_ids")),
    )


def _whole(body: Mapping[str, Any], name: str, default: int, least: int = 1) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < min(least, default):
        raise BadRequestError(f"{name} must be an integer of at least {least}")
    return value


def _prompt(model: Model, body: Mapping[str, Any], *, is_chat: bool) -> list[int]:
    if is_chat:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise BadRequestError("messages must be a list of messages")
        return model.encode_chat([{"role": str(m["role"]), "content": str(m["content"])} for m in messages])
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt and all(isinstance(i, int) for i in prompt):
        return list(prompt)
    if not isinstance(prompt, str):
        raise BadRequestError("prompt must be text or a list of token ids")
    return model.encode(prompt)


def _generate(
    model: Model, ids: Sequence[int], wish: _Wish, rng: np.random.Generator
) -> tuple[list[int], list[Floats], str]:
    """Return the generated ids, the log-probabilities at each of them, and why it ended."""
    made: list[int] = []
    rows: list[Floats] = []
    for _ in range(wish.most):
        logits = model.logits([*ids, *made])[-1]
        # The log-probabilities are those of the model, whatever the temperature.
        rows.append(log_softmax(logits))
        made.append(_draw(logits, wish.temperature, rng))
        if made[-1] in model.ends or any(s in model.decode(made) for s in wish.stop):
            return made, rows, "stop"
    return made, rows, "length"


def _draw(logits: Floats, temperature: float, rng: np.random.Generator) -> int:
    if temperature == 0:
        return int(np.argmax(logits))
    chances = np.exp(log_softmax(logits / temperature))
    return int(rng.choice(len(chances), p=chances / chances.sum()))


def _choice(
    model: Model,
    index: int,
    made: Sequence[int],
    rows: Sequence[Floats],
    finish: str,
    wish: _Wish,
    *,
    is_chat: bool,
) -> dict[str, Any]:
    shown = [i for i in made if i not in model.ends]
    text = model.decode(shown)
    for stop in wish.stop:
        text = text.partition(stop)[0]
    choice: dict[str, Any] = {"index": index, "finish_reason": finish, "logprobs": None}
    choice |= {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
    if wish.top is not None or wish.only:
        steps = zip(made, rows, strict=True)
        choice["logprobs"] = {"content": [_step(model, token, row, wish) for token, row in steps]}
    return choice


def _step(model: Model, token: int, row: Floats, wish: _Wish) -> dict[str, Any]:
    top = wish.only or _best(row, wish.top or 0)
    return {**_entry(model, token, row, wish), "top_logprobs": [_entry(model, i, row, wish) for i in top]}


def _best(row: Floats, many: int) -> list[int]:
    size = len(row) if many < 0 else min(many, len(row))
    return [int(i) for i in np.argsort(-row, kind="stable")[:size]]


def _entry(model: Model, token: int, row: Floats, wish: _Wish) -> dict[str, Any]:
    if not 0 <= token < len(row):
        raise BadRequestError(f"there is no token {token}")
    name = f"token_id:{token}" if wish.as_ids else model.decode([token])
    return {"token": name, "id": token, "logprob": float(row[token])}


def _prompt_logprobs(model: Model, ids: Sequence[int], wish: _Wish) -> list[dict[str, Any] | None]:
    rows = log_softmax(model.logits(ids, every=True))
    found: list[dict[str, Any] | None] = [None]
    for token, row in zip(ids[1:], rows, strict=False):
        best = int(row.argmax())
        found.append(
            {str(i): {"logprob": float(row[i]), "decoded_token": model.decode([i])} for i in (token, best)}
        )
    return found
