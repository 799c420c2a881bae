"""What comments say of where code comes from. A statement needs an object: a work, a file, an address.

"Adapted from Megatron-LM" and "based on https://..." name a source; "input_ids based on the attention mask" does not.
"This code is not based on X" is read as what it is, a statement that X is no source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

_LINE = 400  # characters of a line that are read
_FAR = 8  # words between a negation and the verb that it belongs to
_OBJECT = 200  # characters after the verb in which the object is looked for

# Verbs that speak of code by themselves, and those that speak of anything: the latter need a subject that is code.
_SAID = re.compile(
    r"(?P<strong>\b(?:copied|adapted|modified|ported|taken|borrowed|forked|translated)\s+(?:[\w-]+\s+){0,3}?from\b"
    r"|(?:改编|修改|复制|拷贝|移植|摘)自)"
    r"|(?P<weak>\b(?:derived|generated|inspired|started)\s+(?:[\w-]+\s+){0,3}?(?:from|by)\b"
    r"|\bbased\s+(?:[\w-]+\s+){0,3}?(?:up)?on\b|基于)",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"(?:\b(?:not|never|no|none|neither|nor|nothing|without|cannot)\b(?!\s+(?:only|just|merely)\b)|n['’]t\b"
    r"|\b(?:rather than|instead of)\b|并非|不是|没有|并未|未曾)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.;:!?。；！？](?=\s|$)|[。；！？]")
_CODE = re.compile(
    r"\b(?:architecture|attention|class(?:es)?|code(?:base)?|file|function|implementation|it|kernel|layer|method|model"
    r"|module|part|port|script|snippet|this|version)s?\b|代码|实现|文件|模块|模型|本",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"https?://|\bwww\.|\bgithub\.com|\bhuggingface\.co\b", re.IGNORECASE)
_FILE = re.compile(r"[\w/-]+\.(?:py|pyx|cpp|cc|cu|cuh|h|hpp|c|rs|jl|js|ts|ipynb)\b|\b\w+(?:/\w+){2,}")
_DOTTED = re.compile(
    r"\b(?!(?:self|cls|config|cfg|args|kwargs|model|outputs?|inputs?)\.)[A-Za-z_]\w*(?:\.[A-Za-z_]\w*){2,}"
    r"|\b(?:modeling|modular|configuration|tokenization|image_processing)_\w+"
)
_REPOSITORY = re.compile(r"\b(?=[\w.-]*[A-Z\d-]|[\w.-]+/[\w.]*[A-Z\d-])[A-Za-z][\w.-]+/[A-Za-z][\w.-]+")
_ORIGINAL = re.compile(
    r"\b(?:original|official|reference|upstream)\s+(?:[\w-]+\s+){0,2}(?:implementation|code(?:base)?|repo(?:sitory)?)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<![\w.'-])[A-Z][\w+-]*[A-Za-z\d]")
_COMMON_WORDS = """
ALL API APIs Algorithm All Also And Any Appendix BF16 BPE CPU CPUs CUDA Chapter Each Eq Equation FP16 FP32 FP8
False Fig Figure For GPU GPUs However ID IDs IEEE If In Input Instead It JSON LoRA MHA MLP MPS MQA NOTE NaN No
None Note Number ONNX On Only Or Otherwise Output PR Paper RGB RMSNorm RoPE SDPA SHA Section See So TPU
Table That The Then There These They This Those To Token Tokens Transformer Transformers-style True Use We
Whether XLA You Your
"""
_NO_WORK = frozenset({*_COMMON_WORDS.split(), "to do".upper().replace(" ", "")})
_KNOWN = re.compile(
    r"\b(?:alpaca|baichuan|bert|bloom|chatglm|deepseek|deepspeed|detectron2|diffusers|espnet|fairseq|falcon|flash[-_]attn"
    r"|flash-attention|flax|gemma|gpt[-_]?(?:2|neox|j)|huggingface|internlm|lit-gpt|llama(?:\.cpp|[-_]?[123])?|llava|mamba"
    r"|megatron(?:-lm)?|mesh_tensorflow|minicpm|mistral|mixtral|mmdetection|nanogpt|nemo|olmo|open_clip|openai|pangu|qwen"
    r"|qwen[123](?:_moe)?|roberta|t5x?|tensor2tensor|timm|torchvision|transformers|vicuna|vllm|xformers)\b",
    re.IGNORECASE,
)
_WORDS_OF_MACHINES = frozenset({"generated"})  # a generated file names a file, not a work


class Said(StrEnum):
    """What a comment says: that code comes from a source, or that it does not."""

    SOURCE = "source"
    DENIED = "denied"


def read(line: str) -> Said | None:
    """Return what one comment says of where code comes from, or None where it says nothing of that kind."""
    text = line[:_LINE]
    found: Said | None = None
    for verb in _SAID.finditer(text):
        before = _clause(text[: verb.start()])
        after = text[verb.end() : verb.end() + _OBJECT]
        if not _names_a_work(verb, before, after):
            continue
        if _negated(before):
            found = found or Said.DENIED
        else:
            return Said.SOURCE
    return found


def _clause(before: str) -> str:
    """Return the part of a sentence before the verb."""
    ends = list(_SENTENCE.finditer(before))
    return before[ends[-1].end() :] if ends else before


def _negated(before: str) -> bool:
    return any(len(before[m.end() :].split()) <= _FAR for m in _NOT.finditer(before))


def _names_a_work(verb: re.Match[str], before: str, after: str) -> bool:
    """Return whether what follows the verb is a work, a file or an address, and the verb speaks of code."""
    place = after.split("  ")[0]
    end = _SENTENCE.search(place)
    place = place[: end.start()] if end and not _ADDRESS.search(place) else place
    if any(pattern.search(place) for pattern in (_ADDRESS, _FILE, _DOTTED)):
        return True
    if verb.group().split(maxsplit=1)[0].lower() in _WORDS_OF_MACHINES:
        return False
    of_code = verb.group("strong") is not None or not before.strip(" \t\"'*-#(") or bool(_CODE.search(before))
    named = any(pattern.search(place) for pattern in (_REPOSITORY, _ORIGINAL, _KNOWN)) or _named(place)
    return of_code and named


def _named(text: str) -> bool:
    return any(word.group() not in _NO_WORK for word in _NAME.finditer(text))


def of_comments(
    comments: Mapping[int, str],
) -> tuple[tuple[tuple[int, str], ...], tuple[tuple[int, str], ...]]:
    """Return the comments that name a source and those that deny one, with their lines.

    A verb without an object takes the next comment line.
    """
    sources: list[tuple[int, str]] = []
    denied: list[tuple[int, str]] = []
    for number, line in sorted(comments.items()):
        verbs = list(_SAID.finditer(line))
        if not verbs:
            continue
        open_end = len(line) - verbs[-1].end() < 4  # what it names stands in the next line
        whole = f"{line} {comments.get(number + 1, '') if open_end else ''}".strip()[:_LINE]
        said = read(whole)
        if said is not None:
            (sources if said is Said.SOURCE else denied).append((number, whole))
    return tuple(sources), tuple(denied)
