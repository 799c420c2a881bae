"""How byte-level tokenizers cut text before they merge bytes: the published patterns, for Python's own ``re``.

The patterns are the tokenizers' definitions. ``\\p{..}`` and ``\\s`` are spelt out as classes of characters from
Python's Unicode tables: ``re`` knows no properties, and takes a few control characters for space that others do not.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + _CONTRACTIONS + "?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + _CONTRACTIONS + "?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEEPSEEK = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
_THREE_DIGITS = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _TAIL
_ONE_DIGIT = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _TAIL

PATTERNS: dict[str, tuple[str, ...]] = {
    "gpt2": (_GPT2,),
    "cl100k": (_THREE_DIGITS,),
    "o200k": (_CASED,),
    "qwen2": (_ONE_DIGIT,),
    "digits_gpt2": (r"\p{N}", _GPT2),
    "deepseek_v3": _DEEPSEEK,
}
"""By name: patterns that cut one after the other. What one cut off, the next may cut further."""

GGML = {
    "default": "gpt2",
    "gpt-2": "gpt2",
    "gpt-4o": "o200k",
    "llama4": "o200k",
    "llama-bpe": "cl100k",
    "llama3": "cl100k",
    "llama-v3": "cl100k",
    "dbrx": "cl100k",
    "smaug-bpe": "cl100k",
    "qwen2": "qwen2",
    "deepseek-r1-qwen": "qwen2",
    "stablelm2": "qwen2",
    "smollm": "digits_gpt2",
    "refact": "digits_gpt2",
    "starcoder": "digits_gpt2",
    "deepseek-v3": "deepseek_v3",
}
"""llama.cpp's names of pre-tokenisers, as its converter writes them into ``tokenizer.ggml.pre``."""

_SPACES = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_PROPERTY = re.compile(r"\\p\{(\w+)\}|\\([sS])")


def cut(text: str, name: str) -> list[str]:
    """Return the pieces of ``text`` in order; joined they are the text.

    Raises:
        KeyError: there is no pattern of this name.
    """
    pieces = [text]
    for pattern in _compiled(name):
        pieces = [part for piece in pieces for part in _isolated(pattern, piece)]
    return pieces


def _isolated(pattern: re.Pattern[str], text: str) -> list[str]:
    found: list[str] = []
    end = 0
    for match in pattern.finditer(text):
        if match.start() > end:
            found.append(text[end : match.start()])
        if match.end() > match.start():
            found.append(match.group())
            end = match.end()
    return [*found, text[end:]] if end < len(text) else found


@cache
def _compiled(name: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(_spelt_out(pattern)) for pattern in PATTERNS[name])


def _spelt_out(pattern: str) -> str:
    out: list[str] = []
    end = 0
    inside = False
    for match in _PROPERTY.finditer(pattern):
        inside = _is_inside(pattern[end : match.start()], inside)
        out.append(pattern[end : match.start()])
        out.append(_class_of(match[1], match[2], inside))
        end = match.end()
    return "".join((*out, pattern[end:]))


def _is_inside(text: str, inside: bool) -> bool:
    """Return whether a character class is open after ``text``."""
    escaped = False
    for character in text:
        if escaped or character == "\\":
            escaped = not escaped
        elif character == "[":
            inside = True
        elif character == "]":
            inside = False
    return inside


def _class_of(category: str | None, space: str | None, inside: bool) -> str:
    ranges = _ranges(category) if category is not None else _SPACES
    if space == "S":
        return f"[^{ranges}]"
    return ranges if inside else f"[{ranges}]"


@cache
def _ranges(category: str) -> str:
    """Return the characters of a Unicode general category, such as ``L`` or ``Lu``, as the inside of a class."""
    runs: list[str] = []
    start: int | None = None
    for code in range(sys.maxunicode + 2):
        belongs = code <= sys.maxunicode and unicodedata.category(chr(code)).startswith(category)
        if belongs and start is None:
            start = code
        elif not belongs and start is not None:
            runs.append(f"\\U{start:08x}-\\U{code - 1:08x}")
            start = None
    return "".join(runs)
