"""Short texts to be written, asked for in words drawn from the seed: tokens generated in several scripts.

A fixed list could be recognised, and answered by the model that is only claimed; or out of a cache.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from filiation.behaviour.prompts import pick, stream

_PLACES = ("harbour", "village", "valley", "island", "market", "castle", "suburb", "monastery", "border town")
_SIGHTS = (
    "lighthouse",
    "water mill",
    "railway bridge",
    "greenhouse",
    "ferry",
    "clock tower",
    "stone wall",
    "quarry",
)
_LOOKS = ("an old", "a small", "an abandoned", "a freshly painted", "a narrow", "an empty")
_NAMES = (
    "rivers",
    "mountains",
    "islands",
    "birds",
    "trees",
    "musical instruments",
    "cities",
    "lakes",
    "flowers",
)
_WANTED = (
    "the median of a list",
    "the largest gap between neighbours in a list",
    "the second smallest value of a list",
    "the words of a text in reverse order",
    "how often each letter occurs in a text",
    "the sum of the digits of a number",
)
_WHEN_ZH = ("秋天", "冬天", "清晨", "雨后", "夏夜", "黄昏", "初春", "午后")
_WHERE_ZH = ("山路", "河边", "小镇", "老街", "渡口", "茶园", "车站", "湖面", "稻田")
_WHICH_RU = ("зимнем", "старом", "тихом", "далёком", "заснеженном", "весеннем", "пустом")
_WHAT_RU = ("лесе", "доме", "городе", "саду", "порту", "парке", "мосту", "поезде")


def _numbers(draw: Random) -> str:
    start = 1000 + int(draw.random() * 8000)
    return f"Count from {start} to {start + 33} in digits, separated by commas. Write nothing else."


def _chinese(draw: Random) -> str:
    return f"写一句关于{pick(draw, _WHEN_ZH)}{pick(draw, _WHERE_ZH)}的话。"


def _russian(draw: Random) -> str:
    return f"Напиши одно предложение о {pick(draw, _WHICH_RU)} {pick(draw, _WHAT_RU)}."


def _code(draw: Random) -> str:
    return f"Write a short Python function that returns {pick(draw, _WANTED)}."


def _spaced(draw: Random) -> str:
    count = pick(draw, ("four", "five", "six"))
    return f"List {count} {pick(draw, _NAMES)}, one on each line, with three spaces before each name."


def _prose(draw: Random) -> str:
    return (
        f"Describe {pick(draw, _LOOKS)} {pick(draw, _SIGHTS)} near a {pick(draw, _PLACES)} in two sentences."
    )


_KINDS: tuple[Callable[[Random], str], ...] = (_numbers, _chinese, _russian, _code, _spaced, _prose)
KINDS = len(_KINDS)
"""How many kinds of text there are: digits, Chinese, Russian, code, white space, prose."""


def writing(seed: int, count: int = KINDS) -> tuple[str, ...]:
    """Return ``count`` requests for a short text, the kinds in turn, all different."""
    draw = stream(seed, "writing")
    made: list[str] = []
    while len(made) < count:
        text = _KINDS[len(made) % KINDS](draw)
        if text not in made:
            made.append(text)
    return tuple(made)
