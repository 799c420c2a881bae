"""What is asked of an endpoint and what it answers: the records, and the one way in which a test asks.

A test never speaks HTTP. It hands :class:`Call` objects to an :class:`Asker`: a live session, or a stored log that is
replayed. Both give the same answers in the same order, so a verdict can be computed again without the endpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from filiation.evidence import plain


class Speaker(StrEnum):
    """Whose words a message holds."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, free of any vendor's spelling.

    Attributes:
        messages: a conversation; empty where ``prompt`` is given.
        prompt: a raw completion prompt, as text or as token ids.
        max_tokens: how many tokens may be generated.
        temperature: ``None`` leaves the server's default.
        seed: the server's sampling seed; ``None`` sends none.
        top_logprobs: how many alternatives per generated token; ``None`` asks for no log-probabilities, 0 for those of
            the generated tokens alone, -1 for the whole vocabulary.
        token_ids: ids whose log-probabilities are asked for (vLLM's ``logprob_token_ids``).
        prompt_logprobs: whether log-probabilities of the prompt's own tokens are asked for.
        n: how many answers to the one prompt.
        stop: strings at which generation ends.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | tuple[int, ...] | None = None
    max_tokens: int = 1
    temperature: float | None = None
    seed: int | None = None
    top_logprobs: int | None = None
    token_ids: tuple[int, ...] = ()
    prompt_logprobs: bool = False
    n: int = 1
    stop: tuple[str, ...] = ()

    def key(self) -> str:
        """Return the SHA-256 of the request as canonical JSON: equal requests have equal keys."""
        words = json.dumps(plain(self), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(words.encode()).hexdigest()


def chat(text: str, *, system: str | None = None, **options: Any) -> Ask:
    """Return the request that says ``text`` in a fresh conversation; ``options`` are fields of :class:`Ask`."""
    before = (Message(Speaker.SYSTEM, system),) if system is not None else ()
    return replace(Ask(messages=(*before, Message(Speaker.USER, text))), **options)


@dataclass(frozen=True, slots=True)
class TokenChance:
    """A token with its natural-log probability; ``id`` and ``raw`` (its bytes) where the server tells them."""

    token: str
    logprob: float | None
    id: int | None = None
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class TokenStep:
    """One position: the token that stands there and the alternatives, most likely first."""

    chosen: TokenChance
    top: tuple[TokenChance, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the server states them; a count it does not state is ``None``, never 0.

    ``prompt`` includes cached tokens, whatever the server's own convention.
    """

    prompt: int | None = None
    completion: int | None = None
    total: int | None = None
    cached: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request.

    Attributes:
        request: its name in the log, such as ``suspect#17``; evidence points at it.
        texts: the generated texts, ``n`` of them.
        steps: the generated tokens of the first text with log-probabilities; ``None`` where the server gave none.
        prompt_steps: the same for the prompt's own tokens.
        usage: ``None`` where the server stated none.
        finish: why generation ended, in the server's word.
        model: the model name that the server returned.
        reasoning: hidden or shown reasoning text, kept apart from ``texts``.
    """

    request: str
    texts: tuple[str, ...]
    steps: tuple[TokenStep, ...] | None = None
    prompt_steps: tuple[TokenStep, ...] | None = None
    usage: Usage | None = None
    finish: str | None = None
    model: str | None = None
    reasoning: str | None = None

    @property
    def text(self) -> str:
        """The first text, ``""`` where there is none."""
        return self.texts[0] if self.texts else ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that got no usable answer, after every retry: an error code of the client and what was said.

    ``code`` is one of ``refused`` (the server rejects the request: HTTP 400, 404, 422), ``denied`` (401, 403),
    ``throttled``, ``unavailable`` (5xx, dropped, silent), ``unreadable`` (invalid JSON, lying content length),
    ``empty`` (a reply without choices), ``budget`` (the time or the requests ran out while its batch was on its way),
    ``unasked`` (nobody asked it: a sheet holds no answer to the same question).
    """

    request: str
    code: str
    reason: str
    status: int | None = None


class Support(StrEnum):
    """What became of a parameter in the capability probe; a silently ignored one is not an unsupported one."""

    SUPPORTED = "supported"
    REFUSED = "refused"
    IGNORED = "ignored"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an endpoint can do, as measured by the first requests.

    Attributes:
        chat, completions: whether either kind of request works.
        usage: whether token counts are stated.
        top_logprobs: the largest count that was honoured; ``None`` where there are no log-probabilities at all, -1
            where the whole vocabulary is given.
        token_logprob_ids: ``logprob_token_ids`` is honoured.
        prompt_logprobs: log-probabilities of prompt tokens are given.
        prompt_ids: a prompt may be given as token ids.
        seed, n, include_usage: the parameters of these names.
        reasoning: the model thinks before it answers: one-token tests do not apply.
        notes: phrase keys of what is odd, such as ``logprobs_not_normalised``.
    """

    chat: bool
    completions: bool
    usage: bool = False
    top_logprobs: int | None = None
    token_logprob_ids: Support = Support.UNKNOWN
    prompt_logprobs: Support = Support.UNKNOWN
    prompt_ids: Support = Support.UNKNOWN
    seed: Support = Support.UNKNOWN
    n: Support = Support.UNKNOWN
    include_usage: Support = Support.UNKNOWN
    reasoning: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """An endpoint as the report names it: no key, no query string, no header.

    ``role`` is ``suspect``, ``reference``, ``parent``, ``teacher``, ``base``, ``control-1`` and so on.
    """

    role: str
    locator: str
    model: str
    dialect: str
    capabilities: Capabilities
    returned_models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one endpoint, for one test (whose share of the budget it is)."""

    role: str
    ask: Ask
    test: str


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of the budget; ``None`` means no bound was set. ``seconds`` and ``money`` as in the request."""

    requests: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    money: float | None = None


class Asker(Protocol):
    """Whoever answers the requests of a test: live endpoints within a budget, or a log."""

    @property
    def records(self) -> Mapping[str, EndpointRecord]:
        """The endpoints by role."""
        ...

    def ask(self, calls: Sequence[Call]) -> tuple[Answer | Failure, ...]:
        """Answer every call, in the order of ``calls``.

        They are sent interleaved between endpoints in an order drawn from the session's seed, never in the caller's.

        Raises:
            BudgetError: the budget does not allow all of them. Nothing of the batch was sent.
            AccessDeniedError: an endpoint refuses the key.
        """
        ...

    def allowance(self) -> Allowance:
        """What is left of the budget. Replay answers what the live session had left at the same point."""
        ...


@dataclass(frozen=True, slots=True)
class Spent:
    """What a test, or all of them, used."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    by_role: Mapping[str, int] = field(default_factory=dict[str, int])
