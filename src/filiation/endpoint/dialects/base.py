"""A dialect: what a kind of server calls things. What can be data stands in ``*.toml`` beside this file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from filiation.errors import UsageError


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of server.

    Attributes:
        name: as given with ``--dialect``.
        basis: ``tested`` against a real server, or taken from its ``documentation``.
        protocol: ``openai``, ``ollama`` or ``anthropic``: which module builds and reads.
        base: the base path of an address that has none.
        chat, completions: routes under the base path; empty where there is no such request.
        key_header, key_prefix: how the key is sent.
        headers: sent with every request.
        limit: the field that bounds the generated tokens.
        everything: what is sent as the number of alternatives to get the whole vocabulary; ``None`` for no way.
        logprobs: whether log-probabilities can be asked for at all.
        token_ids: body fields for chosen token ids; ``"$ids"`` stands for them.
        prompt_logprobs: body fields that ask for log-probabilities of the prompt.
        seed, n, prompt_ids: whether these can be asked for.
        usage_in_streams: body fields without which a stream has no usage.
        extra: body fields of every request.
        clues: keys of a reply that only this kind of server sends.
        hosts, tails: how addresses of this kind of server end, host and path; a host only where no path is given.
    """

    name: str
    basis: str
    protocol: str = "openai"
    base: str = "/v1"
    chat: str = "chat/completions"
    completions: str = "completions"
    key_header: str = "authorization"
    key_prefix: str = "Bearer "
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    limit: str = "max_tokens"
    everything: int | None = None
    logprobs: bool = True
    token_ids: Mapping[str, Any] | None = None
    prompt_logprobs: Mapping[str, Any] | None = None
    seed: bool = True
    n: bool = True
    prompt_ids: bool = True
    usage_in_streams: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    clues: Sequence[str] = ()
    hosts: Sequence[str] = ()
    tails: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: a route and a JSON body. ``lacking`` says what the dialect has no words for, if anything."""

    route: str
    body: Mapping[str, Any]
    lacking: str | None = None


@cache
def names() -> tuple[str, ...]:
    """Return the names of the known dialects."""
    folder = files("filiation.endpoint.dialects")
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


@cache
def dialect(name: str) -> Dialect:
    """Return the dialect of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in names():
        raise UsageError(
            "No such dialect.",
            reason=f"{name!r} is none of: {', '.join(names())}.",
            next_step="'openai' fits most servers; what one can do is found out by asking it.",
        )
    text = (files("filiation.endpoint.dialects") / f"{name}.toml").read_text(encoding="utf-8")
    return Dialect(name=name, **tomllib.loads(text))


def likely(url: str) -> str:
    """Return the name of the dialect that an address suggests; ``openai`` where it suggests none."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return "openai"
    path = parts.path.rstrip("/")
    for name in names():
        spoken = dialect(name)
        at_host = not path and any(parts.netloc.endswith(h) for h in spoken.hosts)
        known_host = any(parts.hostname == h for h in spoken.hosts)
        if at_host or known_host or any(path.endswith(t) for t in spoken.tails):
            return name
    return "openai"


def recognised(reply: Mapping[str, Any]) -> Dialect | None:
    """Return the dialect of the server that a reply gives away, if any."""
    known = (dialect(name) for name in names())
    return next((spoken for spoken in known if any(clue in reply for clue in spoken.clues)), None)
