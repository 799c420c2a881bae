"""From an :class:`Ask` to what is sent, and from what came back to an :class:`Answer`."""

from __future__ import annotations

import json
from typing import Any

from filiation.endpoint.dialects import anthropic, ollama, openai
from filiation.endpoint.dialects.base import Dialect, Request
from filiation.endpoint.dialects.steps import mapping
from filiation.endpoint.dialects.stream import BrokenStreamError, assemble, is_stream
from filiation.endpoint.model import Answer, Ask, Failure

_PROTOCOLS = {"openai": openai, "ollama": ollama, "anthropic": anthropic}


def build(dialect: Dialect, ask: Ask, model: str) -> Request:
    """Return what ``ask`` is in this dialect; ``lacking`` is set, and nothing may be sent, where it has no words."""
    lacking = _lacking(dialect, ask)
    if lacking is not None:
        return Request("", {}, lacking)
    return _PROTOCOLS[dialect.protocol].build(dialect, ask, model)


def _lacking(dialect: Dialect, ask: Ask) -> str | None:
    wants = (
        (ask.prompt is None and not dialect.chat, "conversations"),
        (ask.prompt is not None and not dialect.completions, "raw prompts"),
        (ask.top_logprobs is not None and not dialect.logprobs, "log-probabilities"),
        (ask.top_logprobs == -1 and dialect.everything is None, "the whole vocabulary"),
        (bool(ask.token_ids) and dialect.token_ids is None, "log-probabilities of chosen tokens"),
        (ask.prompt_logprobs and dialect.prompt_logprobs is None, "log-probabilities of the prompt"),
        (ask.seed is not None and not dialect.seed, "a seed"),
        (ask.n != 1 and not dialect.n, "several answers"),
        (isinstance(ask.prompt, tuple) and not dialect.prompt_ids, "prompts of token ids"),
    )
    return next((what for missing, what in wants if missing), None)


def parse(text: str) -> dict[str, Any]:
    """Return the JSON object of a body, streamed or whole.

    Raises:
        ValueError: it is none. BrokenStreamError: a stream broke off.
    """
    text = text.removeprefix("\ufeff")
    if is_stream(text):
        return dict(assemble(text))
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("the reply is no JSON object")
    return dict(mapping(value))


def read(dialect: Dialect, request: str, text: str) -> Answer | Failure:
    """Read the body of a successful reply. The same text gives the same answer."""
    try:
        reply = parse(text)
    except (ValueError, RecursionError, BrokenStreamError) as error:
        said = str(error) if isinstance(error, BrokenStreamError) else "the reply is no valid JSON"
        return Failure(request, "unreadable", said)
    error = reply.get("error")
    if error and not reply.get("choices"):
        return Failure(request, "refused", said_of(error))
    answer = _PROTOCOLS[dialect.protocol].read(request, reply)
    return answer if answer is not None else Failure(request, "empty", "the reply holds no answer")


def said_of(error: Any) -> str:
    """Return what an error object says, cut to a line of printable characters."""
    words = mapping(error).get("message", error) if not isinstance(error, str) else error
    line = " ".join(str(words).split())[:300]
    return "".join(c for c in line if c.isprintable())
