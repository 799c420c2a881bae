"""Anthropic's messages, from their documentation."""

from __future__ import annotations

from typing import Any

from filiation.endpoint.dialects.base import Dialect, Request
from filiation.endpoint.dialects.steps import Json, count, items, mapping
from filiation.endpoint.model import Answer, Ask, Speaker, Usage


def build(dialect: Dialect, ask: Ask, model: str) -> Request:
    """Spell ``ask``: system messages stand apart from the conversation."""
    system = "\n\n".join(m.text for m in ask.messages if m.speaker is Speaker.SYSTEM)
    talk = [m for m in ask.messages if m.speaker is not Speaker.SYSTEM]
    body: dict[str, Any] = {
        "model": model,
        **dialect.extra,
        dialect.limit: ask.max_tokens,
        "messages": [{"role": str(m.speaker), "content": m.text} for m in talk],
    }
    if system:
        body["system"] = system
    if ask.temperature is not None:
        body["temperature"] = ask.temperature
    if ask.stop:
        body["stop_sequences"] = list(ask.stop)
    return Request(dialect.chat, body)


def read(request: str, reply: Json) -> Answer | None:
    """Read a reply; None where it has no content list. An empty list is an empty answer."""
    if not isinstance(reply.get("content"), list):
        return None
    blocks = [mapping(b) for b in items(reply["content"])]
    text = "".join(str(b.get("text") or "") for b in blocks if b.get("type") == "text")
    thought = "".join(str(b.get("thinking") or "") for b in blocks if b.get("type") == "thinking")
    finish, model = reply.get("stop_reason"), reply.get("model")
    return Answer(
        request,
        (text,),
        usage=_usage(mapping(reply.get("usage"))),
        finish=finish if isinstance(finish, str) else None,
        model=model if isinstance(model, str) else None,
        reasoning=thought or None,
    )


def _usage(stated: Json) -> Usage | None:
    """Cached tokens are counted apart here; the record's prompt count includes them."""
    fresh = count(stated.get("input_tokens"))
    completion = count(stated.get("output_tokens"))
    if fresh is None and completion is None:
        return None
    read_, made = (
        count(stated.get("cache_read_input_tokens")),
        count(stated.get("cache_creation_input_tokens")),
    )
    prompt = None if fresh is None else fresh + (read_ or 0) + (made or 0)
    total = None if prompt is None or completion is None else prompt + completion
    return Usage(prompt, completion, total, read_)
