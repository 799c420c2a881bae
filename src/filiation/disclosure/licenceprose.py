"""What the prose of a card says of the licence: "released under the Apache 2.0 licence", "License: MIT".

A claim like the tag's. What is said of a parent's or of the data's licence is no claim of the repository's own; what is
said of code alone is kept apart, because weights are often under other terms than the code beside them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from filiation.disclosure import names
from filiation.disclosure.prose import names_in, sentences
from filiation.disclosure.spelled import Spelled, spelled_in

_VERB = re.compile(
    r"\b(?:(?:licen[sc]ed|released|distributed|available|provided|published|open[- ]?sourced|shared|falls|offered)\b"
    r"(?P<gap>[^.;:\n]{0,40}?)\bunder|(?:governed|covered)\b[^.;:\n]{0,20}?\bby|subject\b[^.;:\n]{0,20}?\bto)\b"
)
_LABEL = re.compile(r"^\W{0,6}(?:model |weights? |code )?licen[sc]e\s*[:：]\s*", re.I)
_HEADING = re.compile(
    r"^#{1,6}\s*(?:\W{0,4})(?:model |weights? )?(?:licen[sc]e|licensing|许可证?|许可协议|协议)\W{0,4}$", re.I
)
_ZH = re.compile(
    r"(?:采用|遵循|遵守|依据|按照|依照|使用|基于|以|在|许可证?[:：]|协议[:：])\s*"
    r"(?P<name>[A-Za-z][A-Za-z0-9 .,+-]{1,60}?)\s*(?:开源)?(?:许可证|许可协议|许可|协议|授权|$)"
)
_NOT = re.compile(
    r"\b(?:not|never|no longer|previously|formerly|n't|unlike|was|if|when|your|neither)\b|不再|不|此前|曾|如果"
)
_BY = re.compile(r"\bby\b(?! (?:us|our)\b)")
#: A word in the subject that looks like a name: "DINOv2", "Whisper's", "TokoVT".
_NAMED = re.compile(r"\b(?:[A-Z][a-z]+[A-Z0-9][\w.-]*|[A-Z]{2,}[\w.-]*|[A-Z]\w+(?='s\b))")
_COMMON = frozenset(
    {"LLM", "LLMS", "AI", "GGUF", "LORA", "MOE", "API", "OPENAI", "NLP", "SFT", "DPO", "VLM", "MLLM"}
)
_CODE = re.compile(
    r"\b(?:code|codebase|code repository|scripts?|software|implementation|library|tokenizer)\b|代码"
)
_MODEL = re.compile(r"\b(?:models?|weights?|checkpoints?|parameters|it|everything)\b|模型|权重")
_ELSE = re.compile(
    r"\b(?:base model|original|parent|upstream|datasets?|data|corpus|images?|paper|documentation|backbone|"
    r"base llm|foundation model)\b|基座|底座|数据|原模型|原始|论文"
)
_MOST_BEFORE = 120


@dataclass(frozen=True, slots=True)
class LicenceSaid:
    """One statement: the licence's name as written, the line, whether code alone is meant."""

    named: Spelled
    line: int
    code: bool = False


def licence_statements(text: str, first_line: int = 1, own: Collection[str] = ()) -> tuple[LicenceSaid, ...]:
    """Return what the prose says of the repository's own licence.

    Args:
        text: the card below its front matter.
        first_line: the line of the file on which it begins.
        own: the names of the model itself: what is said of another model's licence is no claim of this one's.
    """
    found: list[LicenceSaid] = []
    headed = False
    for line, sentence in sentences(text, first_line):
        label = _LABEL.match(sentence)
        if headed or label:
            short = sentence[label.end() :] if label else sentence if len(sentence.split()) <= 8 else ""
            code = bool(label and "code" in label.group().lower())
            found += [LicenceSaid(named, line, code) for named in spelled_in(short)]
        found += [LicenceSaid(named, line, code) for named, code in _stated(sentence, own)]
        headed = bool(_HEADING.match(sentence))
    return tuple(dict.fromkeys(found))


def _stated(sentence: str, own: Collection[str]) -> Iterator[tuple[Spelled, bool]]:
    low = sentence.lower()
    begin = 0
    for match in _VERB.finditer(low):
        subject = sentence[max(begin, match.start() - _MOST_BEFORE) : match.start()]
        begin = match.end()
        gap = match.group("gap") or ""
        span = match.span("gap") if gap else (0, 0)
        code = None if _BY.search(gap) else _of_what(subject + " " + sentence[slice(*span)], own)
        if code is not None:
            yield from ((named, code) for named in spelled_in(sentence[match.end() :]))
    for match in _ZH.finditer(sentence):
        code = _of_what(sentence[max(0, match.start() - 24) : match.start()], own)
        if code is not None:
            yield from ((named, code) for named in spelled_in(f"{match.group('name')} 许可"))


def _of_what(subject: str, own: Collection[str]) -> bool | None:
    """Return whether code alone is spoken of; None where it is not this repository at all."""
    low = subject.lower()
    if _NOT.search(low) or _ELSE.search(low):
        return None
    named = [name for name, _, _ in names_in(subject)]
    named += [m.group() for m in _NAMED.finditer(subject) if m.group().upper().rstrip("S.") not in _COMMON]
    if any(not _own(name, own) for name in named):
        return None
    return bool(_CODE.search(low)) and not _MODEL.search(low)


def _own(name: str, own: Collection[str]) -> bool:
    return any(names.means(name, mine) or names.means(mine, name) for mine in own)
