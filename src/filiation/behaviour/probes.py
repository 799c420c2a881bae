"""Fresh probes for a tokenizer: random texts of eight kinds, framed in an ordinary-looking request.

Nothing in them is fixed but the alphabets and the frames, so that a proxy cannot know them beforehand. Both sides of
a probe are framed by the same words, so that the template around the request cannot merge with it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

SHORTEST, LONGEST = 20, 200


@dataclass(frozen=True, slots=True)
class Probe:
    """A random text, and the request text that frames it."""

    kind: str
    text: str
    framed: str


_OPENINGS = (
    "I am sorting {what} and need one line kept exactly as it is:\n[",
    "Below is a field from {what}, between square brackets:\n[",
    "This string came out of {what}; do not correct anything in it:\n[",
    "Keep the following entry from {what} for the next step:\n[",
    "In {what} there is a line that I cannot place:\n[",
)
_SOURCES = (
    *(
        "old notes",
        "an export file",
        "a scanner",
        "our list",
        "a log book",
        "a broken spreadsheet",
        "an inventory",
    ),
    *(
        "a ticket system",
        "my grandfather's diary",
        "the archive",
        "a printed form",
        "a backup",
        "the catalogue",
    ),
)
_CLOSINGS = (
    "]\nPlease answer with OK.",
    "]\nAnswer with OK, please.",
    "]\nJust say OK.",
    "]\nSay OK once you have read it.",
    "]\nReply with the word OK alone.",
)
_SYLLABLES = (
    "ba",
    "dor",
    "lin",
    "mek",
    "tura",
    "sho",
    "pel",
    "ing",
    "tion",
    "vek",
    "qua",
    "zir",
    "un",
    "grel",
)
_EMOJI = tuple("\u2600\u2614\u2728\u2764\u26a1") + tuple(
    chr(c)
    for start, stop in ((0x1F300, 0x1F321), (0x1F600, 0x1F645), (0x1F680, 0x1F6C6))
    for c in range(start, stop)
)
_CODE = (
    *("if", "return", "def", "self", "==", "!=", "->", "{", "}", "();", "[i]", "+=", "//", '"', "#"),
    *("\n    ", "\n\t", "\n        ", "\n            "),
)


def battery(seed: int, count: int = 16) -> tuple[Probe, ...]:
    """Return ``count`` probes of 20 to 200 characters: every kind in turn, lengths and contents drawn from ``seed``."""
    draw = random.Random(hashlib.sha256(f"tokenizer-probes/{seed}".encode()).digest())
    before, after = draw.choice(_OPENINGS).format(what=draw.choice(_SOURCES)), draw.choice(_CLOSINGS)
    kinds = list(KINDS)
    draw.shuffle(kinds)
    made: list[Probe] = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        text = _fitted(draw, KINDS[kind], 100 if kind == "spaces" else SHORTEST)
        made.append(Probe(kind, text, before + text + after))
    return tuple(made)


def _fitted(draw: random.Random, make: Callable[[random.Random], str], shortest: int) -> str:
    """Return a text of a length drawn on a log scale, so that short and long ones are both there."""
    length = round(shortest * (LONGEST / shortest) ** draw.random())
    text = ""
    while len(text) < length:
        text += make(draw)
    return text[:length]


def _from(draw: random.Random, start: int, stop: int) -> str:
    return chr(draw.randrange(start, stop))


def _latin(draw: random.Random) -> str:
    word = "".join(draw.choice(_SYLLABLES) for _ in range(draw.randint(1, 4)))
    return draw.choice((word, word.capitalize(), word.upper(), word + "'s")) + draw.choice(
        (" ", " ", ", ", ". ")
    )


def _digits(draw: random.Random) -> str:
    return str(draw.randrange(10 ** draw.randint(1, 12))) + draw.choice((" ", ".", ",", "-", ":"))


def _han(draw: random.Random) -> str:
    """Half of the characters from the most frequent blocks, half from the whole range in common use."""
    common = "的一是不了人我在有他这中大来上国个到说们"
    return draw.choice(common) if draw.random() < 0.4 else _from(draw, 0x4E00, 0x9FA6)


def _cyrillic(draw: random.Random) -> str:
    return "".join(_from(draw, 0x430, 0x450) for _ in range(draw.randint(2, 8))) + " "


def _kana_hangul(draw: random.Random) -> str:
    start, stop = draw.choice(((0x3042, 0x3094), (0x30A2, 0x30F4), (0xAC00, 0xD7A4)))
    return "".join(_from(draw, start, stop) for _ in range(draw.randint(1, 5)))


def _code(draw: random.Random) -> str:
    name = "_".join(draw.choice(_SYLLABLES) for _ in range(draw.randint(1, 3)))
    return draw.choice(_CODE) + draw.choice(("", " ")) + name + draw.choice(("", " ", "(", ") ", ";"))


def _emoji(draw: random.Random) -> str:
    return draw.choice(_EMOJI) + draw.choice(("", "", " "))


def _spaces(draw: random.Random) -> str:
    """Runs of white space between letters: some tokenizers differ in nothing else."""
    run = draw.choice((" " * draw.randint(2, 24), "\t" * draw.randint(1, 5), "\n" * draw.randint(1, 4)))
    return run + draw.choice("abcdefghijklmnopqrstuvwxyz")


KINDS: dict[str, Callable[[random.Random], str]] = {
    "latin": _latin,
    "digits": _digits,
    "han": _han,
    "cyrillic": _cyrillic,
    "kana_hangul": _kana_hangul,
    "code": _code,
    "emoji": _emoji,
    "spaces": _spaces,
}
"""The kinds of text by name. Every battery of eight or more probes holds them all."""
