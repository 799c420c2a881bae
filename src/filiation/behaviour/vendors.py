"""Whom a text names as the maker of a model: normalised first, denials and comparisons set apart."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

_NAMES: Mapping[str, str] = {
    "openai": r"\bopen ?ai\b|\bchat ?gpt\b|\bgpt[- ]?(?:[345]|oss)\w*|开放人工智能",
    "anthropic": r"\banthropic\b|\bclaude\b|克劳德",
    "google": r"\bgoogle\b|\bdeepmind\b|\bgemini\b|\bgemma\b|谷歌|グーグル|جوجل|غوغل",
    "meta": r"\bmeta ai\b|\b(?:by|from|par|por|de) meta\b|\bllama[- ]?\d?|\bfacebook\b",
    "mistral": r"\bmistral\b|\bmixtral\b",
    "alibaba": r"\balibaba\b|\bqwen\w*|\bqwq\b|\btongyi\b|通义|千问|阿里|アリババ",
    "deepseek": r"\bdeep ?seek\b|深度求索",
    "zhipu": r"\bzhipu\b|\bchatglm\w*|\bglm-?\d|智谱|\bz\.ai\b",
    "moonshot": r"\bmoonshot\b|\bkimi\b|月之暗面",
    "minimax": r"\bminimax\b|海螺",
    "baidu": r"\bbaidu\b|\bernie\b|文心|百度",
    "tencent": r"\btencent\b|\bhunyuan\b|混元|腾讯",
    "bytedance": r"\bbytedance\b|\bdoubao\b|豆包|字节跳动",
    "xai": r"\bx\.?ai\b|\bgrok\b",
    "microsoft": r"\bmicrosoft\b|\bcopilot\b|\bphi-\d|微软|マイクロソフト",
    "cohere": r"\bcohere\b|\bcommand[- ]r\b",
    "nvidia": r"\bnvidia\b|\bnemotron\b",
    "huggingface": r"\bhugging ?face\b|\bsmollm\w*|\bzephyr\b",
    "01ai": r"\b01\.ai\b|\byi-\d|零一万物",
    "iflytek": r"\biflytek\b|讯飞|星火",
    "baichuan": r"\bbaichuan\b|百川",
    "stepfun": r"\bstepfun\b|\bstep-\d|阶跃",
    "openbmb": r"\bopenbmb\b|\bminicpm\b|面壁",
    "internlm": r"\binternlm\b|书生|上海人工智能实验室",
    "amazon": r"\bamazon\b|\btitan text\b",
    "ibm": r"\bibm\b|\bgranite\b",
    "tii": r"\bfalcon\b|\btechnology innovation institute\b",
    "yandex": r"\byandex\w*|яндекс",
    "sber": r"\bgigachat\b|\bsber\w*|сбер",
    "naver": r"\bnaver\b|\bhyperclova\w*",
    "ai2": r"\ballen institute\b|\bolmo\b",
}
# ASCII word boundaries: a Latin name amid Chinese or Japanese has no space beside it.
_COMPILED = {vendor: re.compile(pattern, re.ASCII) for vendor, pattern in _NAMES.items()}
# A denial reaches over a list ("not by OpenAI, Google or Meta") until the sentence says what the model is instead.
_DENIED_BEFORE = re.compile(
    r"(?:\bnot\b|n't\b|\bneither\b|\bnor\b|\brather than\b|\binstead of\b|\bunlike\b|\bno soy\b|\bno es\b|\bpas\b"
    r"|\bni\b|\bne suis\b|\bне\b|\bни\b|不是|并非|并不|不叫|而非|无关|ليس|لست|ولا)"
    r"(?:(?!\bi'm\b|\bi am\b|\bbut\b|我是|而是|\bje suis\b|\bmais\b|\bsoy\b|\bsino\b|\bя\b|\bа\b|أنا|بل)"
    r"[^.!?。！？;；\n])*$"
)
_COMPARED_BEFORE = re.compile(
    r"(?:(?:\blike\b|\bsuch as\b|\bsimilar to\b|\bтип[аы]\b|像|类似|例如|比如|のような|مثل)[^.!?。！？,，;\n]{0,12}"
    r"|\bcomm?[eo] )$"
)
_DENIED_AFTER = re.compile(
    r"^[^。.!?\n]{0,12}(?:では(?:ありません|なく|ない)|じゃな|とは(?:異な|違)|とは関係)"
)


@dataclass(frozen=True, slots=True)
class Named:
    """Which vendors a text names as its maker, and which it names only to deny or to compare; sorted."""

    claimed: tuple[str, ...]
    denied: tuple[str, ...]


def normalised(text: str) -> str:
    """Return the text in one spelling: NFKC, lower case, straight quotes, no invisible characters."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    folded = folded.translate(str.maketrans("\u2018\u2019\u201c\u201d\u2010\u2011", "''\"\"--"))
    return "".join(c for c in folded if unicodedata.category(c) != "Cf")


def named(text: str) -> Named:
    """Return the vendors that a text names. A vendor named once as its maker is claimed, whatever else is said."""
    plain = normalised(text)
    claimed: set[str] = set()
    denied: set[str] = set()
    for vendor, pattern in _COMPILED.items():
        for match in pattern.finditer(plain):
            before, after = (
                plain[max(0, match.start() - 60) : match.start()],
                plain[match.end() : match.end() + 40],
            )
            aside = (
                _DENIED_BEFORE.search(before)
                or _COMPARED_BEFORE.search(before)
                or _DENIED_AFTER.search(after)
            )
            (denied if aside else claimed).add(vendor)
    return Named(tuple(sorted(claimed)), tuple(sorted(denied - claimed)))
