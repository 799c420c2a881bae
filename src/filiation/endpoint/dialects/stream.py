"""Server-sent events of the OpenAI protocol, put together again as one reply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from filiation.endpoint.dialects.steps import Json, count, items, mapping


class BrokenStreamError(Exception):
    """A stream that cannot be read, or that ended before its end."""


def is_stream(text: str) -> bool:
    """Whether a body is a stream of events, whatever its content type says."""
    return text.lstrip()[:6].lower() in ("data: ", "event:") or text.lstrip().startswith(("data:", ": "))


def events(text: str) -> Iterator[Json]:
    """Yield the JSON objects of a stream; comments and the closing ``[DONE]`` are left out.

    Raises:
        BrokenStreamError: an event is no JSON.
    """
    for line in text.splitlines():
        if not line.startswith("data:"):
            continue
        words = line[5:].strip()
        if not words or words == "[DONE]":
            continue
        try:
            yield mapping(json.loads(words))
        except ValueError as error:
            raise BrokenStreamError("an event of the stream is no valid JSON") from error


def assemble(text: str) -> Json:
    """Return the reply that the stream would have been in one piece.

    Raises:
        BrokenStreamError: it broke off: neither a finish reason nor ``[DONE]`` came.
    """
    reply: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for event in events(text):
        for name in ("model", "usage", "error", "system_fingerprint"):
            if event.get(name) is not None:
                reply[name] = event[name]
        for piece in items(event.get("choices")):
            _add(choices, mapping(piece))
    finished = "[DONE]" in text or any(c.get("finish_reason") for c in choices.values())
    if not finished and "error" not in reply:
        raise BrokenStreamError("the stream broke off before its end")
    return {**reply, "choices": [choices[i] for i in sorted(choices)]}


def _add(choices: dict[int, dict[str, Any]], piece: Json) -> None:
    index = count(piece.get("index")) or 0
    choice = choices.setdefault(index, {"index": index})
    if piece.get("finish_reason"):
        choice["finish_reason"] = piece["finish_reason"]
    if isinstance(piece.get("text"), str):
        choice["text"] = choice.get("text", "") + piece["text"]
    delta = mapping(piece.get("delta"))
    if delta:
        message = choice.setdefault("message", {"content": ""})
        for name in ("content", "reasoning_content", "reasoning", "refusal"):
            if isinstance(delta.get(name), str):
                message[name] = (message.get(name) or "") + delta[name]
    _add_logprobs(choice, mapping(piece.get("logprobs")))


def _add_logprobs(choice: dict[str, Any], logprobs: Json) -> None:
    for name in ("content", "tokens", "token_logprobs", "top_logprobs"):
        if isinstance(logprobs.get(name), list):
            choice.setdefault("logprobs", {}).setdefault(name, []).extend(logprobs[name])
