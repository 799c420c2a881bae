"""Log-probabilities as servers write them, turned into steps."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from filiation.endpoint.model import TokenChance, TokenStep

Json = Mapping[str, Any]
_ENDLESS = 2.0**53  # beyond, a number of tokens is nonsense, and no float holds it exactly
_ID = re.compile(r"token_id:(\d+)")
_BYTES = re.compile(r"bytes:((?:\\x[0-9a-fA-F]{2})+)")


def number(value: Any) -> float | None:
    """Return a finite float, or None for whatever else stands there."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def count(value: Any) -> int | None:
    """Return a token count, or None for whatever is none."""
    found = number(value)
    return int(found) if found is not None and 0 <= found < _ENDLESS and found == int(found) else None


def mapping(value: Any) -> Json:
    """Return ``value`` if it is a JSON object, else an empty one."""
    return cast("Json", value) if isinstance(value, Mapping) else {}


def items(value: Any) -> Sequence[Any]:
    """Return ``value`` if it is a JSON array, else an empty one."""
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()


def steps_of(logprobs: Any) -> tuple[TokenStep, ...] | None:
    """Read either shape: chat's ``content`` list, or the parallel lists of the classic completions."""
    if isinstance(logprobs, list):  # Ollama's native routes: the chat list without its envelope
        return _chat_steps(cast("list[Any]", logprobs))
    shape = mapping(logprobs)
    if isinstance(shape.get("content"), list):
        return _chat_steps(items(shape["content"]))
    if isinstance(shape.get("tokens"), list) or isinstance(shape.get("top_logprobs"), list):
        return _classic_steps(shape)
    return None


def _chat_steps(content: Sequence[Any]) -> tuple[TokenStep, ...] | None:
    found = tuple(_chat_step(mapping(entry)) for entry in content)
    return found or None


def _chat_step(entry: Json) -> TokenStep:
    raw_top = entry.get("top_logprobs", entry.get("top_probs"))
    return TokenStep(_chance(entry), _ranked([_chance(mapping(t)) for t in items(raw_top)]))


def _chance(entry: Json) -> TokenChance:
    token = str(entry.get("token", ""))
    logprob = number(entry.get("logprob"))
    if logprob is None and (chance := number(entry.get("prob"))) is not None and chance > 0:
        logprob = math.log(chance)
    raw = items(entry.get("bytes"))
    is_raw = bool(raw) and all(isinstance(b, int) and 0 <= b < 256 for b in raw)
    return TokenChance(token, logprob, _id_of(entry, token), bytes(raw) if is_raw else _raw_of(token))


def _id_of(entry: Json, token: str) -> int | None:
    stated = count(entry.get("id", entry.get("token_id")))
    match = _ID.fullmatch(token)
    return stated if stated is not None else int(match[1]) if match else None


def _raw_of(token: str) -> bytes | None:
    """Classic answers spell a token that is no valid UTF-8 as ``bytes:\\xe2\\x80``."""
    match = _BYTES.fullmatch(token)
    return bytes.fromhex(match[1].replace("\\x", "")) if match else None


def _classic_steps(shape: Json) -> tuple[TokenStep, ...] | None:
    tops = items(shape.get("top_logprobs"))
    tokens = items(shape.get("tokens")) or [None] * len(tops)
    chances = items(shape.get("token_logprobs"))
    found: list[TokenStep] = []
    for i, token in enumerate(tokens):
        top = _ranked([_named(str(k), v) for k, v in mapping(tops[i] if i < len(tops) else None).items()])
        if token is None:
            chosen = top[0] if top else TokenChance("", None)
        else:
            chosen = _named(str(token), chances[i] if i < len(chances) else None)
        found.append(TokenStep(chosen, top))
    return tuple(found) or None


def _named(token: str, logprob: Any) -> TokenChance:
    return TokenChance(token, number(logprob), _id_of({}, token), _raw_of(token))


def prompt_steps_of(entries: Any) -> tuple[TokenStep, ...] | None:
    """Read vLLM's ``prompt_logprobs``: for each position but the first, an object by token id.

    The token that stands in the prompt is the first of its object; the others follow by rank.
    """
    found: list[TokenStep] = []
    for entry in items(entries):
        here = [_by_id(str(token), mapping(value)) for token, value in mapping(entry).items()]
        found.append(TokenStep(here[0], _ranked(here)) if here else TokenStep(TokenChance("", None)))
    return tuple(found) or None


def _by_id(token: str, value: Json) -> TokenChance:
    name = value.get("decoded_token")
    return TokenChance(
        token if name is None else str(name),
        number(value.get("logprob")),
        int(token) if token.isdigit() else None,
    )


def _ranked(top: list[TokenChance]) -> tuple[TokenChance, ...]:
    return tuple(sorted(top, key=lambda t: math.inf if t.logprob is None else -t.logprob))
