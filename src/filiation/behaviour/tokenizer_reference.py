"""The tokenizer of a reference that is asked beside the endpoint: no file of it is needed, its own counts are enough.

The reference counts the same probes, and what the endpoint wrote. Two servers with one tokenizer differ by the same
whole number on every probe; and a text that the endpoint spells in so many tokens has as many, plus one constant, at
the reference. The second needs the endpoint's log-probabilities and the reference's counts, so that neither side can
make it up alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from filiation.behaviour.probes import Probe
from filiation.behaviour.records import Found
from filiation.behaviour.rounds import asked, said
from filiation.behaviour.tokenizer_counts import FEWEST, Counts, stated
from filiation.behaviour.tokenizer_tokens import Agreement, spelt_length
from filiation.behaviour.usage import fabricated
from filiation.endpoint.model import Answer, Asker, Call, Failure
from filiation.evidence import Effect, Outcome

NAME = "tokenizer"
REPEATS = 4
_NEAR, _ENOUGH, _FEWEST_TEXTS = 1, 0.75, 3


@dataclass(frozen=True, slots=True)
class Beside:
    """What the reference counted.

    Attributes:
        role: the reference.
        differences: the endpoint's stated count less the reference's, by probe; empty where the endpoint's are none.
        counts: the reference's counts of those probes.
        lengths: for each text that the endpoint spelt out, its number of tokens there and the reference's count of it.
        requests: how many were used.
    """

    role: str
    differences: tuple[int, ...]
    counts: tuple[int, ...]
    lengths: tuple[tuple[int, int], ...]
    requests: int

    @property
    def against(self) -> int:
        """On how many probes the difference is another than the most frequent one."""
        return len(self.differences) - max(Counter(self.differences).values(), default=0)

    @property
    def fits(self) -> bool | None:
        """Whether the difference is one number; None where too few probes were counted by both."""
        return self.against == 0 if len(self.differences) >= FEWEST else None

    @property
    def spelt(self) -> Agreement:
        """Whether three of four texts have the same number of tokens, but for one constant and a mark at the end."""
        beyond = sorted(count - length for length, count in self.lengths)
        if len(beyond) < _FEWEST_TEXTS:
            return Agreement.NOT_MEASURED
        middle = beyond[len(beyond) // 2]
        near = sum(abs(value - middle) <= _NEAR for value in beyond)
        return Agreement.AGREES if near >= _ENOUGH * len(beyond) else Agreement.DISAGREES


def ask(asker: Asker, role: str | None, counts: Counts, written: Sequence[Answer | Failure]) -> Beside | None:
    """Have the reference count; None where there is none, the budget ends, or its counts are none or not steady."""
    if role is None or role not in asker.records or not asker.records[role].capabilities.usage:
        return None
    able = asker.records[role].capabilities
    texts = [
        (length, text) for reply in written if (length := spelt_length(reply)) and (text := reply_text(reply))
    ]
    if not counts.probes:
        return None
    before, after = _frame(counts.probes[0])
    framed = [probe.framed for probe in counts.probes]
    again = framed[:REPEATS]
    asks = [*framed, *again, *(before + text + after for _, text in texts)]
    room = 16 if able.reasoning else 1
    replies = asked(asker, [Call(role, said(able, t, max_tokens=room, temperature=0.0), NAME) for t in asks])
    if replies is None:
        return None
    found = [stated(reply) for reply in replies]
    own, repeated, of_texts = (
        found[: len(framed)],
        found[len(framed) :][: len(again)],
        found[len(asks) - len(texts) :],
    )
    if repeated != own[: len(again)] or fabricated(framed, own) is not None:
        return None
    pairs = [(s, o) for s, o in zip(counts.stated, own, strict=True) if o is not None]
    usable = pairs if counts.fabrication is None else []
    return Beside(
        role,
        tuple(s - o for s, o in usable),
        tuple(o for _, o in usable),
        tuple(
            (length, count) for (length, _), count in zip(texts, of_texts, strict=True) if count is not None
        ),
        len(replies),
    )


def reply_text(reply: Answer | Failure) -> str | None:
    """Return the visible text of an answer, None where it is cut within a character."""
    return reply.text if isinstance(reply, Answer) and "\ufffd" not in reply.text else None


def _frame(probe: Probe) -> tuple[str, str]:
    before, _, after = probe.framed.partition(probe.text)
    return before, after


def joined(found: Found, beside: Beside, *, decides: bool) -> Found:
    """Add what the reference counted; where ``decides``, the outcome is about the reference's tokenizer."""
    main, *others = found.evidence
    effects = (*found.test.effect, *_beyond(beside))
    figures = {**found.test.figures, "beside": _row(beside)}
    requests = found.test.requests + beside.requests
    test = replace(found.test, effect=effects, figures=figures, requests=requests)
    main = replace(main, effect=effects)
    told = _outcome(beside) if decides else None
    if told is not None:
        outcome, reason, shows = told
        if (
            shows == "counted_unlike_reference"
            and test.outcome is Outcome.SUPPORTED
            and outcome is Outcome.UNDECIDED
        ):
            outcome, reason, shows = test.outcome, test.reason, main.shows or shows  # by its spelt tokens
        smallest = test.smallest_effect if outcome is Outcome.UNDECIDED else None
        test = replace(test, outcome=outcome, reason=reason, against=beside.role, smallest_effect=smallest)
        main = replace(main, reason=reason, shows=shows)
    return Found(test, (main, *others))


def _outcome(beside: Beside) -> tuple[Outcome, str | None, str] | None:
    """Return outcome, reason and what it shows; None where nothing was measured."""
    if beside.spelt is Agreement.DISAGREES:
        return Outcome.CONTRADICTED, None, "spelt_unlike_reference"
    if beside.fits is False:
        # A prompt that changes, or counts that were altered, look the same: tokens that agree outweigh that.
        agrees = beside.spelt is Agreement.AGREES
        return Outcome.UNDECIDED if agrees else Outcome.CONTRADICTED, None, "counted_unlike_reference"
    if beside.spelt is Agreement.AGREES:
        return Outcome.SUPPORTED, None, "spelt_as_reference"
    return None if beside.fits is None else (Outcome.UNDECIDED, "usage_alone", "counted_as_reference")


def _beyond(beside: Beside) -> tuple[Effect, ...]:
    """Return the constant by which the endpoint counts more: an estimate of a hidden prompt, if the templates agree."""
    if not beside.fits:
        return ()
    return (Effect("beyond_reference", float(beside.differences[0]), unit="tokens"),)


def _row(beside: Beside) -> dict[str, Any]:
    return {
        "role": beside.role,
        "differences": list(beside.differences),
        "against": beside.against,
        "lengths": [list(pair) for pair in beside.lengths],
        "spelt": beside.spelt,
    }
