"""Ollama's native protocol, from its documentation."""

from __future__ import annotations

from typing import Any

from filiation.endpoint.dialects.base import Dialect, Request
from filiation.endpoint.dialects.openai import split_thought
from filiation.endpoint.dialects.steps import Json, count, mapping, steps_of
from filiation.endpoint.model import Answer, Ask, Usage


def build(dialect: Dialect, ask: Ask, model: str) -> Request:
    """Spell ``ask``; it is never streamed."""
    options: dict[str, Any] = {"num_predict": ask.max_tokens}
    for name, value in (("temperature", ask.temperature), ("seed", ask.seed)):
        if value is not None:
            options[name] = value
    if ask.stop:
        options["stop"] = list(ask.stop)
    body: dict[str, Any] = {"model": model, "stream": False, **dialect.extra, "options": options}
    if ask.top_logprobs is not None:
        body["logprobs"] = True
        if ask.top_logprobs:
            body["top_logprobs"] = ask.top_logprobs
    if ask.prompt is None:
        body["messages"] = [{"role": str(m.speaker), "content": m.text} for m in ask.messages]
        return Request(dialect.chat, body)
    body |= {"prompt": ask.prompt, "raw": True}
    return Request(dialect.completions, body)


def read(request: str, reply: Json) -> Answer | None:
    """Read a reply; None where there is neither a message nor a response."""
    message = mapping(reply.get("message"))
    words = message.get("content") if message else reply.get("response")
    if not isinstance(words, str):
        return None
    text, inline = split_thought(words)
    thinking = message.get("thinking", reply.get("thinking"))
    usage = Usage(count(reply.get("prompt_eval_count")), count(reply.get("eval_count")))
    finish, model = reply.get("done_reason"), reply.get("model")
    return Answer(
        request,
        (text,),
        steps_of(reply.get("logprobs")),
        None,
        None if usage == Usage() else usage,
        finish if isinstance(finish, str) else None,
        model if isinstance(model, str) else None,
        thinking if isinstance(thinking, str) and thinking else inline,
    )
