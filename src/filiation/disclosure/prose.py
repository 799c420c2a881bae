"""What the prose of a card says of a model's parents: sentences, not mentions.

A parent is disclosed by a sentence of the kind "based on X", in English or Chinese. A row of a benchmark table, a
comparison, a citation or a negation names a model and discloses nothing. The words are data (``words/prose.toml``).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from filiation.disclosure.registry import licences

MAX_BODY = 400_000
"""Characters of prose that are read."""

_REACH = 60
_REACH_ZH = 24
_NEGATION_REACH = 40
_MAX_SENTENCE = 2000
_FENCE = re.compile(r"^\s{0,3}(```|~~~)")
_RULE = re.compile(r"^[\s|:+=-]+$")
_HUB_LINK = re.compile(
    r"\[([^\]\[\n]{0,200})\]\(https?://(?:huggingface\.co|hf\.co|www\.modelscope\.cn/models|modelscope\.cn/models)/"
    r"(?!datasets/|spaces/|papers/|docs/|blog/)([\w.-]{1,96}/[\w.-]{1,96})/?\)"
)
_LINK = re.compile(r"\[([^\]\[\n]{0,200})\]\([^()\s]{0,400}\)")
_HTML = re.compile(r"<[^<>\n]{1,300}>")
_HUB_ID = re.compile(r"(?<![\w/.:-])[\w-][\w.-]{1,95}/[\w-][\w.-]{1,95}(?![\w/])")
_TAIL = re.compile(r"(?:[-_ ]?(?:v?\d[\w.]*|[a-z]?\d+(?:\.\d+)*[bm]?)|-[a-z][\w.]*)", re.I)
_END = re.compile(r"[.!?;](?=\s|$)|[。！？；]")


@dataclass(frozen=True, slots=True)
class Said:
    """One statement: ``kind`` (``parent``, ``code``, ``architecture``, ``outputs``, ``denial``), name, line."""

    kind: str
    name: str
    line: int
    sentence: str


@cache
def vocabulary() -> Mapping[str, Any]:
    """Return the word lists."""
    text = (files("filiation.disclosure") / "words" / "prose.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def statements(text: str, first_line: int = 1, name: str | None = None) -> tuple[Said, ...]:
    """Return what the prose says of parents.

    Args:
        text: the card below its front matter.
        first_line: the line of the file on which it begins.
        name: look for this name alone, instead of for every name that looks like a model's.
    """
    found: list[Said] = []
    for line, sentence in sentences(text, first_line):
        spelled = names_in(sentence) if name is None else _spelled(sentence, name)
        for written, start, end in spelled:
            kind = _kind(sentence, start, end)
            if kind is not None:
                found.append(Said(kind, written, line, sentence[:300]))
    return tuple(dict.fromkeys(found))


def sentences(text: str, first_line: int = 1) -> Iterator[tuple[int, str]]:
    """Yield line and text of each sentence of prose; code, tables and quoted blocks of data are left out."""
    for line, paragraph in _paragraphs(text[:MAX_BODY], first_line):
        plain = _HTML.sub(" ", _LINK.sub(r"\1", _HUB_LINK.sub(r" \2 ", paragraph)))
        plain = plain.replace("**", "").replace("`", "").replace("__", "").replace("’", "'")
        start = 0
        for end in [*(m.end() for m in _END.finditer(plain)), len(plain)]:
            piece = plain[start:end]
            blank = piece[: len(piece) - len(piece.lstrip())]
            if piece.strip():
                yield line + (plain[:start] + blank).count("\n"), " ".join(piece.split())[:_MAX_SENTENCE]
            start = end


def _paragraphs(text: str, first_line: int) -> Iterator[tuple[int, str]]:
    """Yield line and text of each run of prose lines; a bullet or heading begins a run of its own."""
    fenced = table = False
    held: list[str] = []
    began = first_line
    for number, line in enumerate(text.splitlines(), first_line):
        low = line.strip().lower()
        if _FENCE.match(line):
            fenced = not fenced
        table = (table or "<table" in low) and "</table" not in low
        prose = bool(low) and not (fenced or table or _FENCE.match(line) or _is_row(line))
        if held and (not prose or _begins(line)):
            yield began, "\n".join(held)
            held = []
        if prose:
            began = began if held else number
            held.append(line)
        if held and line.lstrip().startswith("#"):
            yield began, "\n".join(held)
            held = []
    if held:
        yield began, "\n".join(held)


def _is_row(line: str) -> bool:
    """A table's row: cells between bars, tabs, or a rule."""
    return line.count("|") >= 2 or line.count("\t") >= 2 or bool(_RULE.match(line)) or "<tr" in line.lower()


def _begins(line: str) -> bool:
    return bool(re.match(r"^\s{0,12}(?:[-*+•]\s|\d{1,3}[.)]\s|#{1,6}\s|>)", line))


@cache
def _known() -> re.Pattern[str]:
    own = (alias for licence in licences().values() for alias in licence.aliases)
    spelled = sorted({*vocabulary()["names"]["known"], *own}, key=lambda n: (-len(n), n))
    parts = (r"[-_ ]?".join(re.escape(p) for p in re.split(r"[-_ ]", name)) for name in spelled)
    return re.compile(rf"(?<![a-z0-9])(?:{'|'.join(parts)})(?![a-z])", re.I)


def names_in(sentence: str) -> list[tuple[str, int, int]]:
    """Return the model names of a sentence with start and end: hub ids, and known families with what follows."""
    ids = [(m.group().rstrip("."), m.start()) for m in _HUB_ID.finditer(sentence)]
    found = [(name, start, start + len(name)) for name, start in ids if _is_model_id(name)]
    for match in _known().finditer(sentence):
        if any(start <= match.start() < end for _, start, end in found):
            continue
        end = _tail(sentence, match.end())
        name = sentence[match.start() : end].rstrip(".-_ ")
        if len(match.group()) > 4 or end > match.end() or match.group().lower() in _ALONE:
            found.append((name, match.start(), match.start() + len(name)))
    return sorted(found, key=lambda entry: entry[1])


def _spelled(sentence: str, name: str) -> list[tuple[str, int, int]]:
    """Return where a name stands as a word of its own."""
    spelled = r"[-_ ]".join(re.escape(part) for part in re.split(r"[-_ ]", name))
    pattern = re.compile(rf"(?<![\w.-]){spelled}(?![\w-])", re.I)
    return [(m.group(), m.start(), m.end()) for m in pattern.finditer(sentence)]


def _tail(sentence: str, end: int) -> int:
    """Return where a name ends that goes on with versions, sizes and words of its own."""
    for _ in range(6):
        more = _TAIL.match(sentence, end)
        if more is None or more.end() == end or more.group().lower() in _AFTER_NAME:
            break
        end = more.end()
    return end


_AFTER_NAME = frozenset({"-based", "-derived", "-finetune", "-finetuned", "-fine"})
_ALONE = frozenset({"qwen", "bert", "t5", "glm", "kimi", "盘古", "百川", "书生", "mpt", "clip"})


def _is_model_id(text: str) -> bool:
    owner, _, model = text.partition("/")
    fraction = owner.isdigit() or model.isdigit()
    return not fraction and any(c.isalpha() for c in owner) and any(c.isdigit() or c in "-_" for c in model)


def _kind(sentence: str, start: int, end: int) -> str | None:
    if _code(sentence, start):
        return "code"
    return _judge(sentence, start, end, "zh") or _judge(sentence, start, end, "en")


_CODE = re.compile(
    r"(?:^|(?P<before>[\w-]+) )(?:(?:source |model |modell?ing )?(?:code|implementation)|modell?ing_\w+\.py)"
    r"(?= (?:is|was|are|were|has|have|in|of|from|comes|derives|for)\b"
    r"| (?:modified|adapted|copied|taken|based|borrowed|reused)\b)"
)
_CODE_OF_WHAT = frozenset({"for", "on", "with", "and", "to", "math", "generate", "writing", "no", "not"})
_CODE_ZH = re.compile(
    r"代码(?:文件|实现)?(?:是|均|主要|部分|也)?(?:基于|修改自|改编自|来自|源自|复制自|拷贝自|沿用|复用|取自|衍生自)[^，。；、]{0,24}$"
)


def _code(sentence: str, start: int) -> bool:
    """Whether a sentence says that code, and not the model, comes from the name that begins at ``start``."""
    before = sentence.lower()[max(0, start - _REACH * 2) : start]
    if _CODE_ZH.search(before):
        return True
    table = vocabulary()["en"]
    for name, _, _ in names_in(before):  # "Code Llama" is a name, and no code
        before = before.replace(name, " ")
    found = list(_CODE.finditer(" ".join(before.split()) + " "))
    if not found or found[-1].group("before") in _CODE_OF_WHAT:
        return False
    spaced = " ".join(before.split()) + " "
    gap, opening = spaced[found[-1].end() :], spaced[: found[-1].end()]
    broken = re.search(r"[;；:]|\bbut\b|,\s+(?:and|which|while|it|our|this|the)\b", gap)
    if broken or any(_has(gap, word, "en") for word in (*table["code_stop"], *table["negate"])):
        return False
    taken = any(_has(opening, word, "en") for word in table["code_take"]) and _has(gap, "of", "en")
    return taken or any(_has(gap, word, "en") for word in table["code_from"])


def _judge(sentence: str, start: int, end: int, language: str) -> str | None:
    """Judge one name by the words of one language around it."""
    table = vocabulary()[language]
    low = sentence.lower()
    rest = re.split(r"\b(?:on|with|using|for|by|to|and)\b", low[end : end + 25])[0][
        : 25 if language == "en" else 8
    ]
    verb = _verb(low, start, end, table, language)
    before = low[max(0, start - _REACH) : start]
    if _architecture(before, rest, table, language):
        return "architecture"
    if verb is None or any(_has(rest[:16], word, language) for word in table["parts_after"]):
        return None
    if any(_has(rest, word, language) for word in table["data_after"]):
        return "outputs"
    return "denial" if _denied(low, verb, start, table, language) else "parent"


def _verb(low: str, start: int, end: int, table: Mapping[str, Any], language: str) -> tuple[int, int] | None:
    """Return where the verb stands that makes the name a parent, or None."""
    best = _verb_before(low, start, table, language)
    if best is not None:
        verb = low[best[0] : best[1]]
        if verb not in table.get("needs_closing", ()):
            return best
        return best if any(word in low[end : end + 14] for word in table["closing"]) else None
    if language == "zh":
        opened = low.rfind(table["within"], max(0, start - 6), start)
        closed = any(word in low[end : end + 8] for word in table["within_closing"])
        return (opened, opened + 1) if opened >= 0 and closed else None
    rest = low[end : end + 16]
    follows = any(rest.startswith(word) or rest.lstrip().startswith(word) for word in table["after"])
    return (start, start) if follows and not rest.lstrip().startswith(("based on", "quantized by")) else None


def _verb_before(low: str, start: int, table: Mapping[str, Any], language: str) -> tuple[int, int] | None:
    reach = _REACH if language == "en" else _REACH_ZH
    best: tuple[int, int] | None = None
    for phrase in table["derive"]:
        at = _last(low, phrase, start, language)
        if at >= 0 and (best is None or at + len(phrase) > best[1]):
            best = (at, at + len(phrase))
    if best is None:
        return None
    gap = low[best[1] : start]
    shown = gap
    for name, _, _ in names_in(gap):
        shown = shown.replace(name, " ")
    stopped = any(_has(gap, word, language) for word in table["stop"])
    clause = re.split(r"[;；:：(（]|\bbut\b|,\s+(?:and|which|is|it|our)\b", low[: best[0]])[-1][-_REACH:]
    stopped = stopped or any(_has(clause, word, language) for word in table["compare"])
    return None if stopped or len(" ".join(shown.split())) > reach else best


def _last(low: str, phrase: str, before: int, language: str) -> int:
    """Return where a phrase last stands, as whole words, before a position; -1 if it does not."""
    at = low.rfind(phrase, 0, before)
    while at >= 0 and language == "en":
        whole = (at == 0 or not low[at - 1].isalnum()) and not low[
            at + len(phrase) : at + len(phrase) + 1
        ].isalnum()
        if whole:
            return at
        at = low.rfind(phrase, 0, at + len(phrase) - 1)
    return at


def _has(text: str, word: str, language: str) -> bool:
    return word in text if language == "zh" else _last(text, word, len(text), "en") >= 0


def _denied(low: str, verb: tuple[int, int], start: int, table: Mapping[str, Any], language: str) -> bool:
    """Whether a negation stands before the verb or between verb and name; "but" after the verb turns it back."""
    between = low[verb[1] : start]
    if _has(between, "but", "en") or "而是" in between:
        return False
    before = low[max(0, verb[0] - (_NEGATION_REACH if language == "en" else 6)) : verb[0]]
    before = re.split(r"[,，:：(（]|\bbut\b|\band\b", before)[-1]
    return any(_negates(before, w, language) or _negates(between, w, language) for w in table["negate"])


def _negates(text: str, word: str, language: str) -> bool:
    return text.rstrip().endswith(word) if word == "n't" else _has(text, word, language)


def _architecture(before: str, rest: str, table: Mapping[str, Any], language: str) -> bool:
    """Whether the name is that of a design: "the same architecture as X", "the X architecture"."""
    near = rest[:18]
    if any(_has(near, word, language) for word in table["architecture"]):
        return True
    words: Sequence[str] = table["architecture_before"]
    said = [w for w in words if _has(before[-34:], w, language)]
    about = any(_has(before, w, language) for w in table["architecture"]) or any("arch" in w for w in said)
    return bool(said) and about
