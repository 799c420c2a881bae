"""Probes made fresh for each run from a committed seed, hidden in ordinary-looking prompts.

A battery of fixed probes can be recognised and routed to the model that is advertised. These texts are drawn from a
seed that nobody knows before the run: its SHA-256 is published first (:func:`commitment`), the seed itself with the
report, so that anyone can check (:func:`keeps`) that the probes were not chosen after the answers were seen.

Every draw uses :class:`random.Random` seeded by a SHA-256 of seed and label and only its ``random()``, which Python
keeps stable across versions: a report can be computed again years later.
"""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from filiation.behaviour import phrasebook as words

T = TypeVar("T")


def fresh_seed() -> int:
    """Return a seed of 256 bits from the system's entropy; the only function here that is not deterministic."""
    return secrets.randbits(256)


def commitment(seed: int) -> str:
    """Return the SHA-256, as hex, of the seed's decimal digits: what is published before the run."""
    return hashlib.sha256(str(seed).encode()).hexdigest()


def keeps(published: str, seed: int) -> bool:
    """Return whether the revealed ``seed`` is the one that was committed to."""
    return secrets.compare_digest(published, commitment(seed))


def apart(seed: int, label: str) -> int:
    """Return a seed for one purpose, so that its draws are unlike those of others from the same list of words."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{label}".encode()).digest()[:8], "big")


def stream(seed: int, label: str) -> random.Random:
    """Return a source of randomness for one purpose; other labels give independent ones."""
    digest = hashlib.sha256(f"{seed}/{label}".encode()).digest()
    return random.Random(int.from_bytes(digest, "big"))


def pick(source: random.Random, values: Sequence[T]) -> T:
    """Return one of ``values``, each equally likely."""
    return values[min(int(source.random() * len(values)), len(values) - 1)]


@dataclass(frozen=True, slots=True)
class Probe:
    """One prompt. ``cell`` names the kind of answer it asks for: probes of one cell share their histogram."""

    text: str
    cell: str


def choices(seed: int, count: int, languages: Sequence[str] = ("en", "zh", "es", "fr")) -> tuple[Probe, ...]:
    """Return prompts that leave a one-word choice to the model ("a colour for table 7"), each text unlike the others.

    The kinds go round in an order drawn from the seed, so that each has ``count`` over their number of probes, give
    or take one. No two texts are equal: a cache in front of a model has nothing to answer from.

    Raises:
        ValueError: a language is not one of ``en``, ``zh``, ``es``, ``fr``.
    """
    if unknown := set(languages) - set(words.CHOICES):
        raise ValueError(f"no prompts in the languages {sorted(unknown)}")
    source = stream(seed, "choices")
    cells = [(language, kind) for language in languages for kind in words.CHOICES[language].kinds]
    made: dict[str, Probe] = {}
    order: list[tuple[str, str]] = []
    while len(made) < count:
        if not order:
            order = _shuffled(source, cells)
        language, kind = order.pop()
        text = _choice(source, words.CHOICES[language], kind)
        made.setdefault(text, Probe(text, f"{language}/{kind}"))
        if text not in made:  # pragma: no cover - the texts are many millions
            order.append((language, kind))
    return tuple(made.values())


def cell_of(text: str) -> str | None:
    """Return the cell of a text that :func:`choices` made, from the text alone; ``None`` for any other text."""
    for language, book in words.CHOICES.items():
        for kind, asked in book.kinds.items():
            if asked in text:
                return f"{language}/{kind}"
    return None


def continuations(seed: int, count: int) -> tuple[Probe, ...]:
    """Return openings of ordinary English sentences, all different, each to be continued by one word.

    They are independent draws from one law, which the exact test on paired agreement asks for.
    """
    source = stream(seed, "continuations")
    made: dict[str, Probe] = {}
    while len(made) < count:
        text = _filled(source, pick(source, words.OPENINGS))
        made.setdefault(text, Probe(text, "en/continuation"))
    return tuple(made.values())


def questions(seed: int, count: int) -> tuple[Probe, ...]:
    """Return open questions, all different, whose answers take a few sentences."""
    source = stream(seed, "questions")
    made: dict[str, Probe] = {}
    while len(made) < count:
        text = _filled(source, pick(source, words.QUESTIONS))
        made.setdefault(text, Probe(text, "en/question"))
    return tuple(made.values())


def _choice(source: random.Random, book: words.Book, kind: str) -> str:
    frame = pick(source, book.frames)
    parts = {slot: pick(source, fillings) for slot, fillings in book.slots.items()}
    number = 2 + int(source.random() * 97)
    return frame.format(asked=book.kinds[kind], number=number, **parts)


def _filled(source: random.Random, pattern: str) -> str:
    parts = {slot: pick(source, fillings) for slot, fillings in words.SLOTS.items()}
    return pattern.format(number=2 + int(source.random() * 97), **parts)


def _shuffled(source: random.Random, values: Sequence[T]) -> list[T]:
    return [value for _, value in sorted(((source.random(), n), value) for n, value in enumerate(values))]
