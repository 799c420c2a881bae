"""What the prose of a card says of a model's own making: "trained from scratch", "self-developed", "our own tokenizer".

Such a sentence proves nothing and accuses nobody; it is a claim, which the rules set beside what was found. A sentence
about a part of the model, about another model, or in the negative makes no such claim. The words are data
(``words/own.toml``).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from filiation.disclosure import names
from filiation.disclosure.prose import names_in, sentences

KINDS = ("scratch", "own_model", "own_tokenizer", "own_code")
"""``scratch``: trained from nothing; ``own_model``, ``own_tokenizer``, ``own_code``: made by whoever publishes it."""

MAX_QUOTE = 160
"""Characters of a sentence that are quoted."""

_GAP = r"[^.;:()\n]{0,60}?"
_NEAR = 60
_NEAR_ZH = 8


@dataclass(frozen=True, slots=True)
class OwnWork:
    """One statement: what it claims (:data:`KINDS`), the sentence, its line."""

    kind: str
    quote: str
    line: int


@cache
def _words() -> Mapping[str, Mapping[str, Sequence[str]]]:
    text = (files("filiation.disclosure") / "words" / "own.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def by_template(quote: str) -> bool:
    """Whether a training script writes a sentence like this by itself, where it was not told of a parent."""
    return any(quote.lower().startswith(words) for words in _words()["en"]["template"])


def _any(words: Sequence[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=lambda w: (-len(w), w)))


@dataclass(frozen=True, slots=True)
class _Patterns:
    """The word lists of English as patterns; every gap in them is bounded."""

    scratch: re.Pattern[str]
    itself: re.Pattern[str]
    tokenizer: re.Pattern[str]
    code: re.Pattern[str]


@cache
def _english() -> _Patterns:
    w = _words()["en"]
    owned = rf"\b(?:{_any(w['own'])})\s+(?:[\w-]+\s+){{0,3}}?"
    return _Patterns(
        re.compile(
            rf"\b(?P<verb>{_any(w['made'])}|train|pretrain|pre-train)\b{_GAP}\b(?:{_any(w['scratch'])})\b"
        ),
        re.compile(rf"\b(?:{_any(w['self'])})\b"),
        re.compile(rf"{owned}(?:{_any(w['tokenizer'])})\b"),
        re.compile(rf"{owned}(?:{_any(w['code'])})\b(?!\s+(?:model|llm|generation|dataset|data|assistant))"),
    )


def own_work(text: str, first_line: int = 1, own: Collection[str] = ()) -> tuple[OwnWork, ...]:
    """Return what the prose claims of own making, each kind once for each sentence.

    Args:
        text: the card below its front matter.
        first_line: the line of the file on which it begins.
        own: the names of the model itself: a sentence that begins with another model's name speaks of that one.
    """
    found: list[OwnWork] = []
    for line, sentence in sentences(text, first_line):
        kinds = dict.fromkeys([*_in_english(sentence, own), *_in_chinese(sentence)])
        found += [OwnWork(kind, sentence[:MAX_QUOTE], line) for kind in kinds]
    return tuple(dict.fromkeys(found))


def _in_english(sentence: str, own: Collection[str]) -> Iterator[str]:
    low, patterns, w = sentence.lower(), _english(), _words()["en"]
    if any(phrase in low for phrase in w["no_other"]):
        yield "scratch"
    for match in patterns.scratch.finditer(low):
        verb = match.group("verb")
        if _claimed(sentence, low, match.start(), own) and (verb in w["made"] or _we(low, match.start())):
            yield _of_scratch(low, match.start(), match.end(), verb)
    for match in patterns.itself.finditer(low):
        if _claimed(sentence, low, match.start(), own):
            yield from _of_self(low, match.end())
    for kind, pattern in (("own_tokenizer", patterns.tokenizer), ("own_code", patterns.code)):
        for match in pattern.finditer(low):
            if _not_denied(low, match.start()) and not _others(sentence, 0, len(sentence), own):
                yield kind


def _we(low: str, start: int) -> bool:
    """Whether "train" follows "we": the plain verb claims nothing else."""
    return bool(re.search(r"\bwe(?:\s+\w+ly)?\s*$", low[max(0, start - 24) : start]))


def _has(text: str, words: Sequence[str]) -> bool:
    return re.search(rf"(?<![\w'])(?:{_any(words)})(?![\w])", text) is not None


def _not_denied(low: str, start: int) -> bool:
    before = low[max(0, start - _NEAR) : start]
    return not _has(before, _words()["en"]["unclaimed"]) and "n't" not in before


def _claimed(sentence: str, low: str, start: int, own: Collection[str]) -> bool:
    """Whether this model is spoken of, and as a whole."""
    w = _words()["en"]
    before = low[max(0, start - _NEAR) : start]
    clause = re.split(r"[,;:]", before)[-1]
    if not _not_denied(low, start) and not (
        clause != before and not _has(clause, w["unclaimed"]) and _ours(clause)
    ):
        return False
    mine = _named(sentence, start, own)
    if _has(clause, w["part"]) and not (_has(clause, w["ours"]) or mine):
        return False
    return mine or _ours(clause) or not _others(sentence, 0, start, own)


def _named(sentence: str, end: int, own: Collection[str]) -> bool:
    """Whether the model's own name stands before the verb, with no part of it and no other model between the two."""
    families = {next(iter(names.pieces(mine)), "") for mine in own}
    spelled = [re.escape(f) for f in families if f.isalpha() and len(f) > 1]
    found = (
        list(re.finditer(rf"(?<![\w-])(?:{'|'.join(spelled)})(?![a-z])", sentence[:end].lower()))
        if spelled
        else []
    )
    if not found or _others(sentence, found[-1].end(), end, own):
        return False
    return not _has(sentence[found[-1].end() : end].lower().replace("models", " "), _words()["en"]["part"])


def _ours(clause: str) -> bool:
    """Whether the clause says that it speaks of this model."""
    return _has(clause, ("this model", "our model", "our models", "these models", "we", "ours"))


def _others(sentence: str, start: int, end: int, own: Collection[str]) -> bool:
    """Whether a model other than this one is named there."""
    return any(
        start <= at < end and not any(names.means(name, mine) or names.means(mine, name) for mine in own)
        for name, at, _ in names_in(sentence)
    )


def _of_scratch(low: str, start: int, end: int, verb: str) -> str:
    w = _words()["en"]
    subject = re.split(r"[,;:]|\band\b", low[max(0, start - _NEAR) : start])[-1]
    whole = subject + low[start:end]
    if _has(whole, w["tokenizer"]):
        return "own_tokenizer"
    if _has(whole, w["code"]) or (verb in w["codes"] and not _has(subject, ("model",))):
        return "own_code"
    return "scratch" if verb in w["trains"] or verb not in w["made"] else "own_model"


def _of_self(low: str, end: int) -> Iterator[str]:
    """What is said to be self-developed: the word that follows decides; nothing is claimed of a part or of data."""
    w = _words()["en"]
    after = " ".join(re.split(r"[,;:.]", low[end : end + 40])[0].split()[:4])
    if _has(after, w["tokenizer"]):
        yield "own_tokenizer"
    elif _has(after, w["code"]):
        yield "own_code"
    elif not _has(after, w["part"]):
        yield "own_model"


def _in_chinese(sentence: str) -> Iterator[str]:
    w = _words()["zh"]
    low = sentence.lower()
    if any(phrase in low for phrase in w["no_other"]):
        yield "scratch"
    pattern = (
        rf"(?:{_any(w['scratch'])})(?:开始)?(?:进行)?(?P<made>{_any(w['made'])})|(?P<self>{_any(w['self'])})"
    )
    for match in re.finditer(pattern, low):
        before = re.split(r"[，,。；;：:]", low[max(0, match.start() - _NEAR_ZH) : match.start()])[-1]
        around = before + match.group() + re.split(r"[，,。；;：:]", low[match.end() : match.end() + 10])[0]
        if any(word in before for word in w["unclaimed"]) or _part_zh(around, w):
            continue
        yield _kind_zh(around, match.group("made") or "")


def _part_zh(around: str, w: Mapping[str, Sequence[str]]) -> bool:
    return any(word in around for word in w["part"])


def _kind_zh(around: str, made: str) -> str:
    w = _words()["zh"]
    if any(word in around for word in w["tokenizer"]):
        return "own_tokenizer"
    if any(word in around for word in w["code"]):
        return "own_code"
    return "scratch" if "训练" in made else "own_model"
