"""OpenAI's protocol: chat and completions, whole or as a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filiation.endpoint.dialects.base import Dialect, Request
from filiation.endpoint.dialects.steps import Json, count, items, mapping, prompt_steps_of, steps_of
from filiation.endpoint.model import Answer, Ask, TokenStep, Usage


def build(dialect: Dialect, ask: Ask, model: str) -> Request:
    """Spell ``ask``."""
    is_chat = ask.prompt is None
    body: dict[str, Any] = {"model": model, **dialect.extra, dialect.limit: ask.max_tokens}
    if is_chat:
        body["messages"] = [{"role": str(m.speaker), "content": m.text} for m in ask.messages]
    else:
        body["prompt"] = list(ask.prompt) if isinstance(ask.prompt, tuple) else ask.prompt
    for name, value in (("temperature", ask.temperature), ("seed", ask.seed)):
        if value is not None:
            body[name] = value
    if ask.n != 1:
        body["n"] = ask.n
    if ask.stop:
        body["stop"] = list(ask.stop)
    body |= _logprobs(dialect, ask, is_chat=is_chat)
    if ask.prompt_logprobs:
        body |= dialect.prompt_logprobs or {}
        if "echo" in body:
            body.setdefault("logprobs", 1)
    return Request(dialect.chat if is_chat else dialect.completions, body)


def _logprobs(dialect: Dialect, ask: Ask, *, is_chat: bool) -> dict[str, Any]:
    body: dict[str, Any] = {}
    many = ask.top_logprobs
    if ask.token_ids:
        ids = list(ask.token_ids)
        body = {k: ids if v == "$ids" else v for k, v in (dialect.token_ids or {}).items()}
        many = min(20, len(ids)) if many is None else many
    if many is None:
        return body
    if many < 0 and dialect.everything is not None:
        many = dialect.everything
    if not is_chat:
        return {**body, "logprobs": many}
    return {**body, "logprobs": True, **({"top_logprobs": many} if many else {})}


def read(request: str, reply: Json) -> Answer | None:
    """Read a reply; None where it has no choices."""
    choices = sorted(
        (mapping(c) for c in items(reply.get("choices"))), key=lambda c: count(c.get("index")) or 0
    )
    if not choices:
        return None
    texts, reasoning = [], None
    for choice in choices:
        text, thought = _words(choice)
        texts.append(text)
        reasoning = reasoning if reasoning is not None else thought
    first = choices[0]
    steps, echoed = steps_of(first.get("logprobs")), None
    usage = usage_of(reply.get("usage"))
    prompt = first.get("prompt_logprobs", reply.get("prompt_logprobs"))
    if prompt is None:
        steps, echoed = _split_echo(steps, usage)
    return Answer(
        request,
        tuple(texts),
        steps,
        prompt_steps_of(prompt) if prompt is not None else echoed,
        usage,
        _word(first.get("finish_reason")),
        _word(reply.get("model")),
        reasoning,
    )


def _split_echo(
    steps: tuple[TokenStep, ...] | None, usage: Usage | None
) -> tuple[tuple[TokenStep, ...] | None, tuple[TokenStep, ...] | None]:
    """Where the prompt was echoed, its steps stand first, and the very first has no log-probability."""
    if not steps or steps[0].chosen.logprob is not None or usage is None or usage.completion is None:
        return steps, None
    cut = len(steps) - usage.completion
    return (steps[cut:] or None, steps[:cut]) if cut > 0 else (steps, None)


def _words(choice: Json) -> tuple[str, str | None]:
    """Return the text of a choice and its reasoning, which may stand apart or between think tags."""
    message = mapping(choice.get("message"))
    if not message:
        return split_thought(str(choice.get("text") or ""))
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(mapping(part).get("text") or "") for part in items(content))
    text, inline = split_thought(str(content or message.get("refusal") or ""))
    for name in ("reasoning_content", "reasoning", "thinking"):
        if isinstance(message.get(name), str) and message[name]:
            return text, str(message[name])
    return text, inline


def split_thought(text: str) -> tuple[str, str | None]:
    """Cut a leading ``<think>`` block off; one that is not closed was cut by the token limit."""
    if not text.lstrip().startswith("<think>"):
        return text, None
    thought, _, rest = text.lstrip().removeprefix("<think>").partition("</think>")
    return rest.lstrip("\n"), thought.strip("\n")


def usage_of(usage: Any) -> Usage | None:
    """Read the usage block; counts that are none (negative, text) are None."""
    if not isinstance(usage, Mapping):
        return None
    stated = mapping(usage)
    prompt_details = mapping(stated.get("prompt_tokens_details"))
    completion_details = mapping(stated.get("completion_tokens_details"))
    found = Usage(
        count(stated.get("prompt_tokens")),
        count(stated.get("completion_tokens")),
        count(stated.get("total_tokens")),
        count(prompt_details.get("cached_tokens")),
        count(completion_details.get("reasoning_tokens", stated.get("reasoning_tokens"))),
    )
    return None if found == Usage() else found


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None
