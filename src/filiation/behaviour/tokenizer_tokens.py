"""Two more channels on the tokenizer: generated text counted again, and tokens as log-probabilities spell them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from filiation.behaviour.candidates import Candidate
from filiation.endpoint.model import Answer, Failure, TokenChance
from filiation.vocabulary.spelling import from_byte_level, from_sentencepiece

_NEAR = 1
_ENOUGH = 0.75
_IN_VOCABULARY = 0.98
_FEWEST_TOKENS = 20
_FEWEST_SPELT = 8


class Agreement(StrEnum):
    """What a channel says of a candidate."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    NOT_MEASURED = "not_measured"


@dataclass(frozen=True, slots=True)
class Recount:
    """Stated completion tokens against a candidate's count of the text.

    Attributes:
        answers: how many answers could be counted again.
        near: in how many the two differ by at most one (a mark at the end), reasoning tokens taken off.
        differences: stated minus own, by answer.
    """

    answers: int
    near: int
    differences: tuple[int, ...]

    @property
    def agreement(self) -> Agreement:
        """Agreement in three of four answers: a model may also spell a text otherwise than its tokenizer would."""
        if self.answers < 2:
            return Agreement.NOT_MEASURED
        return Agreement.AGREES if self.near >= _ENOUGH * self.answers else Agreement.DISAGREES


def recount(candidate: Candidate, replies: Iterable[Answer | Failure]) -> Recount:
    """Count the generated texts again with a candidate.

    Raises:
        InputError: the candidate's tokenizer failed.
    """
    usable = [
        (reply.text, written)
        for reply in replies
        if isinstance(reply, Answer) and (written := _written(reply)) is not None
    ]
    own = candidate.encode([text for text, _ in usable])
    differences = tuple(count - len(ids) for (_, count), ids in zip(usable, own, strict=True))
    return Recount(len(usable), sum(abs(d) <= _NEAR for d in differences), differences)


def _written(reply: Answer) -> int | None:
    """Return the stated tokens of the visible text, None where that cannot be told."""
    if reply.usage is None or reply.usage.completion is None:
        return None
    if not reply.text or "\ufffd" in reply.text or (reply.reasoning and reply.usage.reasoning is None):
        return None
    return reply.usage.completion - (reply.usage.reasoning or 0)


@dataclass(frozen=True, slots=True)
class Spelling:
    """Tokens as the endpoint spells them, against a candidate's vocabulary.

    Attributes:
        tokens: how many different tokens were seen (special ones left out).
        known: how many of them the candidate has.
        with_id: how many of the known ones came with an id; ``equal_ids`` how many of those ids are the candidate's.
        answers: how many answers were spelt out; ``alike`` how many the candidate cuts into the same tokens.
    """

    tokens: int
    known: int
    with_id: int
    equal_ids: int
    answers: int
    alike: int

    @property
    def agreement(self) -> Agreement:
        """Nearly every token known, every id equal, at least half of the answers cut alike.

        A model may write what its own tokenizer would cut otherwise, a poorly trained one most of the time: where the
        ids of enough tokens are the candidate's, other cuts alone say nothing.
        """
        if self.tokens < _FEWEST_TOKENS:
            return Agreement.NOT_MEASURED
        known = self.known >= _IN_VOCABULARY * self.tokens
        if not known or self.equal_ids != self.with_id:
            return Agreement.DISAGREES
        if 2 * self.alike >= self.answers:
            return Agreement.AGREES
        return Agreement.NOT_MEASURED if self.with_id >= _FEWEST_TOKENS else Agreement.DISAGREES


def spelling(candidate: Candidate, replies: Iterable[Answer | Failure]) -> Spelling:
    """Hold the tokens of log-probabilities against a candidate.

    Raises:
        InputError: the candidate's tokenizer failed.
    """
    answers = [r for r in replies if isinstance(r, Answer) and r.steps]
    if not answers:
        return Spelling(0, 0, 0, 0, 0, 0)
    where = candidate.where
    seen = _distinct(t for a in answers for step in a.steps or () for t in (step.chosen, *step.top))
    known = [(_found(t, where), t.id) for t in seen]
    held = [(ids, number) for ids, number in known if ids is not None]
    compared = [(ids, number) for ids, number in held if number is not None]
    rows = [row for a in answers if (row := [t.chosen for t in a.steps or ()]) and not _is_torn(row)]
    return Spelling(
        len(seen),
        len(held),
        len(compared),
        sum(number in ids for ids, number in compared),
        len(rows),
        _cut_alike(candidate, rows),
    )


def spelt_length(reply: Answer | Failure) -> int | None:
    """Return in how many tokens an answer is spelt out, without special ones; None where it is not, or is too short."""
    if isinstance(reply, Failure) or not reply.steps:
        return None
    length = sum(not _is_special(step.chosen) for step in reply.steps)
    return length if length >= _FEWEST_SPELT else None


def _distinct(tokens: Iterable[TokenChance]) -> list[TokenChance]:
    kept: dict[tuple[str, bytes | None, int | None], TokenChance] = {}
    for token in tokens:
        if not _is_special(token) and not (token.raw is None and "\ufffd" in token.token):
            kept.setdefault((token.token, token.raw, token.id), token)
    return list(kept.values())


def _is_special(token: TokenChance) -> bool:
    text = token.token
    return not (text or token.raw) or (
        len(text) > 2 and text[0] in "<[" and text[-1] in ">]" and "\n" not in text
    )


def _is_torn(row: Sequence[TokenChance]) -> bool:
    return any(t.raw is None and "\ufffd" in t.token for t in row)


def _spellings(token: TokenChance) -> tuple[bytes, ...]:
    """Return the bytes that a token may stand for: as told, as text, or in a tokenizer's own alphabet."""
    if token.raw is not None:
        return (token.raw,)
    return token.token.encode(), from_byte_level(token.token), from_sentencepiece(token.token)


def _found(token: TokenChance, where: Mapping[bytes, tuple[int, ...]]) -> tuple[int, ...] | None:
    return next((where[spelt] for spelt in _spellings(token) if spelt in where), None)


def _cut_alike(candidate: Candidate, rows: Sequence[Sequence[TokenChance]]) -> int:
    """Count the answers that the candidate cuts as the endpoint did, a mark at the end left out."""
    told = [[_spellings(t) for t in row if not _is_special(t)] for row in rows]
    plain = [[next((s for s in t if s in candidate.where), t[0]) for t in row] for row in told]
    texts = [b"".join(row).decode("utf-8", "replace") for row in plain]
    # Sentencepiece puts a space before a text, and generated text may begin with the space that the model wrote.
    both = [*candidate.encode(texts), *candidate.encode([text.removeprefix(" ") for text in texts])]
    tokens = candidate.vocabulary.tokens
    own = [[tokens[n] or b"" for n in ids if n < len(tokens)] for ids in both]
    return sum(
        _starts_alike(first, theirs) or _starts_alike(second, theirs)
        for first, second, theirs in zip(own, own[len(texts) :], plain, strict=False)
    )


def _starts_alike(mine: list[bytes], theirs: list[bytes]) -> bool:
    """Return whether the cuts agree, but for the last token (it may be cut short) and a space put before the first."""
    if mine and theirs and mine[0] == b" " + theirs[0]:
        mine = [theirs[0], *mine[1:]]
    return mine[:-1] == theirs[:-1] or mine == theirs


__all__ = ["Agreement", "Recount", "Spelling", "recount", "spelling"]
