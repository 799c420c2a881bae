"""What an endpoint can do, found out by asking.

A server that does not know a parameter may refuse it, or drop it without a word. The two are told apart by asking twice
with values that contradict each other: where both answers look alike, the parameter was ignored.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from filiation.endpoint.chances import oddities, widest
from filiation.endpoint.dialects import Dialect, recognised
from filiation.endpoint.dialects.speaking import parse
from filiation.endpoint.model import Answer, Ask, Call, Capabilities, Failure, Support, chat
from filiation.endpoint.recorded import CAPABILITY, Sending

T = TypeVar("T")
Reply = tuple[Answer | Failure, str]
"""An answer, and the body it was read from."""
Asking = Callable[[Sequence[Sending]], Sequence[Reply]]
NOTES = (
    "answers_do_not_vary",
    "filled_by_hand",
    "logprobs_after_temperature",
    "logprobs_degenerate_at_zero",
    "logprobs_ignored",
    "logprobs_not_normalised",
    "logprobs_refused",
    "logprobs_rounded",
    "logprobs_unsorted",
    "max_tokens_ignored",
    "top_logprobs_capped",
    "top_logprobs_ignored",
)
"""Phrase keys of all that can stand in :attr:`Capabilities.notes`."""
_COUNTS = (1, 5, 20, 100, -1)
_LARGE = 1_000_000  # more than any vocabulary holds
_WHO = (
    "The river",
    "My neighbour",
    "The old bakery",
    "A small boat",
    "Her brother",
    "The station",
    "Our garden",
)
_WHAT = (
    "is known for",
    "was built",
    "stands next to",
    "needs",
    "often smells of",
    "belongs to",
    "reminds me of",
)
_VERBS = ("Write", "Give me", "List", "Make up")
_MANY = ("twenty", "twenty-five", "thirty", "forty")
_THINGS = ("random digits", "random letters", "random first names", "colours in random order")


@dataclass(frozen=True, slots=True)
class Discovered:
    """What an endpoint can do, and the dialect with the spellings that it understood.

    ``silence`` says why there was not a single answer, where there was none.
    """

    capabilities: Capabilities
    dialect: Dialect
    silence: str | None = None


@dataclass(slots=True)
class _Discovery:
    ask: Asking
    role: str
    dialect: Dialect
    rng: random.Random
    chat: bool = False
    completions: bool = False
    answers: list[Answer] = field(default_factory=list[Answer])
    notes: list[str] = field(default_factory=list[str])

    def start(self) -> str:
        """Return the beginning of an ordinary sentence."""
        return f"{self.rng.choice(_WHO)} {self.rng.choice(_WHAT)}"

    def open(self) -> str:
        """Return a question to which many answers are about equally likely."""
        return f"{self.rng.choice(_VERBS)} {self.rng.choice(_MANY)} {self.rng.choice(_THINGS)}."

    def say(self, text: str, **options: Any) -> Ask:
        """Return a request of the kind that works."""
        return chat(text, **options) if self.chat else Ask(prompt=text, **options)

    def hear(self, *asks: Ask, extra: Sequence[Mapping[str, Any]] = ()) -> list[Reply]:
        """Send a batch; what it brings counts towards usage and reasoning too."""
        extras = [*extra, *[{}] * (len(asks) - len(extra))]
        calls = [Call(self.role, ask, CAPABILITY) for ask in asks]
        replies = list(self.ask([Sending(c, e) for c, e in zip(calls, extras, strict=True)]))
        self.answers += [a for a, _ in replies if isinstance(a, Answer)]
        return replies


def discover(ask: Asking, role: str, dialect: Dialect, seed: int) -> Discovered:
    """Ask the endpoint of this role, some 25 times, what it can do.

    Args:
        ask: sends a batch; raises what a session raises.
        seed: of the words it is asked in, so that nobody can know these requests beforehand.

    Raises:
        BudgetError: the budget does not reach for it. AccessDeniedError: the key is refused.
    """
    probe = _Discovery(ask, role, dialect, random.Random(f"{seed}/{role}/capability"))
    first = probe.start()
    talk, raw = probe.hear(chat(first, max_tokens=8), Ask(prompt=first, max_tokens=8))
    probe.chat, probe.completions = isinstance(talk[0], Answer), isinstance(raw[0], Answer)
    if not probe.answers:
        why = talk[0] if isinstance(talk[0], Failure) else raw[0]
        silence = why.reason if isinstance(why, Failure) else "no answer"
        return Discovered(Capabilities(chat=False, completions=False), dialect, silence)
    _recognise(probe, raw[1] if probe.completions else talk[1])
    too_long = any(a.usage and (a.usage.completion or 0) > 8 and not _thinks(a) for a in probe.answers)
    top = _top_logprobs(probe)
    found = Capabilities(
        chat=probe.chat,
        completions=probe.completions,
        top_logprobs=top,
        token_logprob_ids=_token_ids(probe) if top is not None else Support.UNKNOWN,
        prompt_logprobs=_prompt_logprobs(probe),
        prompt_ids=_prompt_ids(probe),
        seed=_seed(probe),
        n=_several(probe),
        include_usage=_usage_in_streams(probe),
    )
    found = replace(
        found,
        usage=any(a.usage is not None and a.usage.prompt is not None for a in probe.answers),
        reasoning=any(_thinks(a) for a in probe.answers),
        notes=tuple(sorted({*probe.notes, *(["max_tokens_ignored"] if too_long else [])})),
    )
    return Discovered(found, probe.dialect)


def _recognise(probe: _Discovery, text: str) -> None:
    """Where a reply gives the kind of server away, speak its dialect, if it is understood on the whole way there."""
    spoken = recognised(parse(text)) if probe.dialect.name in ("openai", "gateway") else None
    if spoken is None:
        return
    merged = replace(spoken, extra={**spoken.extra, **probe.dialect.extra})
    ((answer, _),) = probe.hear(probe.say(probe.start()), extra=[merged.extra])
    if isinstance(answer, Answer):
        probe.dialect = merged


def _thinks(answer: Answer) -> bool:
    return bool(answer.reasoning) or bool(answer.usage and answer.usage.reasoning)


def _top_logprobs(probe: _Discovery) -> int | None:
    """Return the largest number of alternatives that was honoured; see :class:`Capabilities`."""
    text = probe.start()
    hot = [probe.say(text, temperature=t, top_logprobs=5) for t in (0.0, 1.0, 2.0)]
    replies = probe.hear(*(probe.say(text, top_logprobs=k) for k in _COUNTS), *hot)
    widths = {k: widest(a) for k, (a, _) in zip(_COUNTS, replies, strict=False)}
    if all(w is None for w in widths.values()):
        answered = any(isinstance(a, Answer) for a, _ in replies)
        probe.notes.append("logprobs_ignored" if answered else "logprobs_refused")
        return None
    probe.notes += oddities(replies[: len(_COUNTS)], replies[len(_COUNTS) :])
    if _is_whole(probe, widths):
        return -1
    given = {k: w for k, w in widths.items() if w is not None and k > 0}
    most = max(given.values(), default=0)
    if len({given.get(k) for k in (1, 5, 20)}) == 1:
        probe.notes.append("top_logprobs_ignored")
    elif any(w < k for k, w in given.items()):
        probe.notes.append("top_logprobs_capped")
    return most


def _is_whole(probe: _Discovery, widths: Mapping[int, int | None]) -> bool:
    """Whether the whole vocabulary is given; servers differ in the number that asks for it."""

    def is_more(width: int | None) -> bool:
        return width is not None and width > max(100, widths[100] or 0)

    if is_more(widths[-1]):
        return True
    if widths[100] != 100 or probe.dialect.everything is None:
        return False
    ((answer, _),) = probe.hear(probe.say(probe.start(), top_logprobs=_LARGE))
    if is_more(widest(answer)):
        probe.dialect = replace(probe.dialect, everything=_LARGE)
        return True
    return False


def _token_ids(probe: _Discovery) -> Support:
    drawn = probe.rng.sample(range(20, 250), 6)
    wanted = (tuple(drawn[:3]), tuple(drawn[3:]))
    text = probe.start()
    replies = probe.hear(*(probe.say(text, token_ids=ids) for ids in wanted))

    def shown(answer: Answer) -> set[int]:
        steps = answer.steps or ()
        return {t.id for step in steps for t in (step.chosen, *step.top) if t.id is not None}

    def honoured(pairs: Sequence[tuple[Sequence[int], Answer]]) -> bool:
        return all(set(ids) <= shown(answer) for ids, answer in pairs)

    return _support(replies, lambda answers: honoured(list(zip(wanted, answers, strict=True))))


def _prompt_logprobs(probe: _Discovery) -> Support:
    """Ask in the dialect's spelling, then by the ``echo`` of the classic completions."""
    text = probe.start()
    ask = Ask(prompt=text, prompt_logprobs=True) if probe.completions else chat(text, prompt_logprobs=True)
    first = _support(probe.hear(ask), _shows_prompt)
    if first is Support.SUPPORTED or not probe.completions or probe.dialect.protocol != "openai":
        return first
    echo = probe.hear(Ask(prompt=text), extra=[{"echo": True, "logprobs": 1}])
    if _support(echo, _shows_prompt) is Support.SUPPORTED:
        probe.dialect = replace(probe.dialect, prompt_logprobs={"echo": True})
        return Support.SUPPORTED
    return first


def _shows_prompt(answers: Sequence[Answer]) -> bool:
    return any(s.chosen.logprob is not None for s in answers[0].prompt_steps or ())


def _prompt_ids(probe: _Discovery) -> Support:
    """Two prompts of ids that differ by four must differ by four tokens."""
    if not probe.completions:
        return Support.UNKNOWN
    ids = probe.rng.sample(range(20, 250), 8)
    replies = probe.hear(*(Ask(prompt=tuple(ids[:k])) for k in (4, 8)))
    answers = [a for a, _ in replies if isinstance(a, Answer)]
    counts = [a.usage.prompt for a in answers if a.usage is not None and a.usage.prompt is not None]
    if len(answers) == 2 and len(counts) < 2:
        return Support.UNKNOWN
    return _support(replies, lambda _: counts[1] - counts[0] == 4)


def _seed(probe: _Discovery) -> Support:
    """The same seed twice, another seed twice, at a temperature at which answers vary."""
    text, one, other = probe.open(), probe.rng.randrange(1 << 31), probe.rng.randrange(1 << 31)
    asks = [probe.say(text, max_tokens=24, temperature=1.0, seed=s) for s in (one, one, other, other)]
    replies = probe.hear(*asks)
    texts = [a.text for a, _ in replies if isinstance(a, Answer)]
    if len(texts) == 4 and len(set(texts)) == 1:
        # A cache, a temperature that is ignored, or a model that is sure: nothing can be told.
        probe.notes.append("answers_do_not_vary")
        return Support.UNKNOWN
    return _support(replies, lambda _: texts[0] == texts[1] and texts[2] == texts[3])


def _several(probe: _Discovery) -> Support:
    text = probe.start()
    replies = probe.hear(*(probe.say(text, n=n, temperature=1.0) for n in (2, 3)))
    found = _support(replies, lambda answers: [len(a.texts) for a in answers] == [2, 3])
    two = replies[0][0]
    if found is Support.REFUSED and isinstance(two, Answer) and len(two.texts) == 2:
        return Support.SUPPORTED  # two are given; three are more than it has slots for
    return found


def _usage_in_streams(probe: _Discovery) -> Support:
    if probe.dialect.usage_in_streams is None:
        return Support.UNKNOWN
    extra = {"stream": True, **probe.dialect.usage_in_streams}
    replies = probe.hear(probe.say(probe.start(), max_tokens=2), extra=[extra])
    return _support(replies, lambda answers: answers[0].usage is not None)


def _support(replies: Sequence[Reply], honoured: Callable[[Sequence[Answer]], bool]) -> Support:
    """Refused if the server says so, unknown if it fell silent, else whether the answers show the effect."""
    answers = [a for a, _ in replies if isinstance(a, Answer)]
    failed = [a for a, _ in replies if isinstance(a, Failure)]
    if any(f.code != "refused" for f in failed):
        return Support.UNKNOWN
    if failed:
        return Support.REFUSED
    return Support.SUPPORTED if honoured(answers) else Support.IGNORED
