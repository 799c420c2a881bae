"""Replies in the shapes of the protocols."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.endpoint.behaviour import Behaviour
from tests.endpoint.generate import Choice, Generated, Step

Json = dict[str, Any]


def openai_reply(b: Behaviour, body: Mapping[str, Any], made: Generated, *, is_chat: bool) -> Json:
    choices = [_choice(b, body, made, c, i, is_chat=is_chat) for i, c in enumerate(made.choices)]
    reply: Json = {
        "id": "x",
        "object": "chat.completion" if is_chat else "text_completion",
        "model": b.name or body.get("model"),
        "choices": choices,
    }
    if made.prompt is not None and "prompt_logprobs" in body:
        words = made.law.vocabulary
        choices[0]["prompt_logprobs"] = [None, *(_by_id(words, s) for s in made.prompt)]
    if b.clue is not None:
        reply[b.clue] = {}
    return reply if made.usage is None else {**reply, "usage": dict(made.usage)}


def _choice(
    b: Behaviour, body: Mapping[str, Any], made: Generated, choice: Choice, index: int, *, is_chat: bool
) -> Json:
    entry: Json = {"index": index, "finish_reason": "length", "logprobs": None}
    if is_chat:
        entry["message"] = {"role": "assistant", "content": choice.text}
        if b.reasoning is not None:
            entry["message"]["reasoning_content"] = b.reasoning
    else:
        entry["text"] = (made.context if body.get("echo") else "") + choice.text
    asked = body.get("logprobs") not in (None, False) or "logprob_token_ids" in body
    if asked and not b.null_logprobs:
        if is_chat or not b.classic:
            entry["logprobs"] = {"content": [_content(b, body, made, s) for s in choice.steps]}
        else:
            entry["logprobs"] = _classic(body, made, choice)
    return entry


def _name(body: Mapping[str, Any], made: Generated, token: int) -> str:
    return f"token_id:{token}" if body.get("return_tokens_as_token_ids") else made.law.vocabulary[token]


def _content(b: Behaviour, body: Mapping[str, Any], made: Generated, step: Step) -> Json:
    def one(token: int, logprob: float) -> Json:
        named = _name(body, made, token)
        entry: Json = {"token": named, "logprob": logprob, "bytes": list(made.law.vocabulary[token].encode())}
        return {**entry, "id": token} if b.ids else entry

    return {**one(step.id, step.logprob), "top_logprobs": [one(i, p) for i, p in step.top]}


def _classic(body: Mapping[str, Any], made: Generated, choice: Choice) -> Json:
    steps = list(choice.steps)
    tokens = [_name(body, made, s.id) for s in steps]
    chances: list[float | None] = [s.logprob for s in steps]
    tops: list[Json | None] = [{_name(body, made, i): p for i, p in s.top} for s in steps]
    if body.get("echo") and made.prompt is not None:
        before = made.prompt
        tokens = ["<first>", *(_name(body, made, s.id) for s in before), *tokens]
        chances = [None, *(s.logprob for s in before), *chances]
        tops = [None, *({_name(body, made, i): p for i, p in s.top} for s in before), *tops]
    return {"tokens": tokens, "token_logprobs": chances, "top_logprobs": tops, "text_offset": []}


def _by_id(words: Any, step: Step) -> Json:
    pairs = {step.id: step.logprob, **dict(step.top)}
    return {
        str(i): {"logprob": p, "rank": r, "decoded_token": words[i]}
        for r, (i, p) in enumerate(pairs.items(), 1)
    }


def stream_of(reply: Json, *, with_usage: bool, whole: bool = True) -> bytes:
    """Cut a reply into events: one token each, then the finish reason, then usage without choices."""
    events: list[Json] = []
    for choice in reply["choices"]:
        events += _pieces(reply["model"], choice)
    if whole and with_usage and "usage" in reply:
        events.append({"model": reply["model"], "choices": [], "usage": reply["usage"]})
    shown = events if whole else events[: max(1, len(events) // 2)]
    lines = [": comment", *(f"data: {json.dumps(e)}" for e in shown)]
    return ("\n\n".join([*lines, "data: [DONE]"] if whole else lines) + "\n\n").encode()


def _pieces(model: str, choice: Json) -> list[Json]:
    def event(**piece: Any) -> Json:
        return {"model": model, "choices": [{"index": choice["index"], **piece}]}

    message = choice.get("message")
    text = message["content"] if message else choice["text"]
    found: list[Json] = []
    if message and message.get("reasoning_content"):
        found.append(event(delta={"reasoning_content": message["reasoning_content"]}))
    for at in range(0, max(1, len(text)), 3):
        piece = text[at : at + 3]
        found.append(event(delta={"content": piece}) if message else event(text=piece))
    if choice["logprobs"] is not None:
        found[-1]["choices"][0]["logprobs"] = choice["logprobs"]
    found.append(event(**({"delta": {}} if message else {}), finish_reason="length"))
    return found


def anthropic_reply(b: Behaviour, body: Mapping[str, Any], made: Generated) -> Json:
    blocks = [{"type": "thinking", "thinking": b.reasoning}] if b.reasoning is not None else []
    usage = dict(made.usage or {})
    cached = b.cached or 0
    return {
        "type": "message",
        "model": b.name or body.get("model"),
        "content": [*blocks, {"type": "text", "text": made.choices[0].text}],
        "stop_reason": "max_tokens",
        "usage": {
            "input_tokens": usage.get("prompt_tokens", 0) - cached,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": usage.get("completion_tokens"),
        },
    }


def ollama_reply(b: Behaviour, body: Mapping[str, Any], made: Generated, *, is_chat: bool) -> Json:
    usage = dict(made.usage or {})
    reply: Json = {
        "model": b.name or body.get("model"),
        "done": True,
        "done_reason": "length",
        "prompt_eval_count": usage.get("prompt_tokens"),
        "eval_count": usage.get("completion_tokens"),
    }
    if is_chat:
        reply["message"] = {"role": "assistant", "content": made.choices[0].text}
    else:
        reply["response"] = made.choices[0].text
    if body.get("logprobs"):
        reply["logprobs"] = [_content(b, body, made, s) for s in made.choices[0].steps]
    return reply
