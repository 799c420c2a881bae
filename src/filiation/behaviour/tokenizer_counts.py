"""Stated prompt tokens held against candidate tokenizers: zero tolerance, whatever the offset.

Two sides with one tokenizer differ by the same whole number on every framed probe: the template, a system prompt, a
mark at the beginning. One probe on which the difference is another number rules a candidate out, unless what is put
around the probe changes or the counts are made up; both are looked at before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from filiation.behaviour.candidates import Candidate
from filiation.behaviour.probes import Probe
from filiation.behaviour.usage import Fabrication, fabricated
from filiation.endpoint.model import Answer, Failure

FEWEST = 8


@dataclass(frozen=True, slots=True)
class Fit:
    """How a candidate's counts go with those that were stated.

    Attributes:
        candidate: its name.
        counts: its own counts of the framed probes.
        offset: stated minus own, the most frequent difference.
        against: on how many probes the difference is another one; 0 is a fit.
        distinct: how many different differences there are.
    """

    candidate: str
    counts: tuple[int, ...]
    offset: int
    against: int
    distinct: int

    @property
    def fits(self) -> bool:
        """Whether the difference is the same on every probe."""
        return self.against == 0


@dataclass(frozen=True)
class Counts:
    """What was stated for the probes.

    Attributes:
        probes: those that count, in the order in which they were made.
        stated: prompt tokens of each, as the server states them.
        unstable: how many probes were dropped because a repeat was counted otherwise.
        unanswered: how many got no answer, or none with a count.
        fabrication: what the counts are instead of a count of tokens.
    """

    probes: tuple[Probe, ...]
    stated: tuple[int, ...]
    unstable: int
    unanswered: int
    fabrication: Fabrication | None


def collect(
    probes: Sequence[Probe],
    replies: Sequence[Answer | Failure],
    repeated: Sequence[int],
    again: Sequence[Answer | Failure],
) -> Counts:
    """Return the stated counts; unstable probes are dropped before any candidate is looked at.

    Args:
        probes: what was asked.
        replies: the answers in the same order.
        repeated: numbers of the probes that were asked once more.
        again: the answers to those.
    """
    first = [stated(reply) for reply in replies]
    moved = {
        number
        for number, reply in zip(repeated, again, strict=True)
        if (count := stated(reply)) is not None and first[number] is not None and count != first[number]
    }
    answered = sum(isinstance(reply, Answer) for reply in replies)
    odd = fabricated([p.framed for p in probes], first) if answered >= FEWEST else None
    kept = [
        (p, c) for n, (p, c) in enumerate(zip(probes, first, strict=True)) if c is not None and n not in moved
    ]
    return Counts(
        tuple(p for p, _ in kept),
        tuple(c for _, c in kept),
        len(moved),
        sum(c is None for c in first),
        odd,
    )


def stated(reply: Answer | Failure) -> int | None:
    """Return the prompt tokens that an answer states, cached ones included."""
    return None if isinstance(reply, Failure) or reply.usage is None else reply.usage.prompt


def fit(candidate: Candidate, counts: Counts) -> Fit:
    """Hold a candidate against the counts.

    Raises:
        InputError: the candidate's tokenizer failed on a probe.
    """
    own = tuple(len(ids) for ids in candidate.encode([probe.framed for probe in counts.probes]))
    differences = Counter(theirs - mine for theirs, mine in zip(counts.stated, own, strict=True))
    most = max(differences.values(), default=0)
    offset = min((d for d, times in differences.items() if times == most), default=0)
    return Fit(candidate.name, own, offset, len(own) - most, len(differences))


def alike(first: Candidate, second: Candidate, texts: Sequence[str]) -> bool:
    """Return whether two candidates cut every text into the same tokens, whatever their ids."""
    mine, theirs = first.encode(texts), second.encode(texts)
    a, b = first.vocabulary.tokens, second.vocabulary.tokens
    return all(
        [a[n] if n < len(a) else None for n in x] == [b[n] if n < len(b) else None for n in y]
        for x, y in zip(mine, theirs, strict=True)
    )
