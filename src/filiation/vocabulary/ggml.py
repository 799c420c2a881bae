"""Vocabularies in the metadata of a GGUF file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from filiation.vocabulary.model import Vocabulary
from filiation.vocabulary.spelling import spelt

_KINDS = {"gpt2": "byte_bpe", "llama": "sentencepiece", "t5": "sentencepiece", "bert": "wordpiece"}
_PLAIN = (3, 4)  # control and user-defined tokens are spelt in plain text
_BYTE = 6
_PADDING = re.compile(r"\[PAD\d+\]")


def from_metadata(metadata: Mapping[str, Any]) -> Vocabulary | None:
    """Return the vocabulary in ``tokenizer.ggml.tokens``, None where there is none."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    if tokens is None or not len(tokens):
        return None
    kind = _KINDS.get(str(metadata.get("tokenizer.ggml.model", "")), "sentencepiece")
    types = _types(metadata.get("tokenizer.ggml.token_type"), len(tokens))
    # llama.cpp's converter has turned WordPiece's marks round: what begins a word begins with a space mark.
    marks = "sentencepiece" if kind == "wordpiece" else kind
    spelled = [_spelt(token, type_, marks) for token, type_ in zip(tokens, types, strict=True)]
    fallback = frozenset(i for i, type_ in enumerate(types) if type_ == _BYTE)
    return Vocabulary(tuple(spelled), kind, "GGUF metadata", fallback)


def _types(given: Any, count: int) -> list[int]:
    types = [] if given is None else [int(value) for value in given]
    return (types + [1] * count)[:count]


def _spelt(token: Any, type_: int, kind: str) -> bytes | None:
    if isinstance(token, bytes):  # not UTF-8
        return token
    text = str(token)
    if type_ in _PLAIN:
        return text.encode()
    return None if _PADDING.fullmatch(text) else spelt(text, kind)
