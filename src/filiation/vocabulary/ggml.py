"""Vocabularies in the metadata of a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filiation.vocabulary.model import Vocabulary
from filiation.vocabulary.spelling import spelt

_KINDS = {"gpt2": "byte_bpe", "llama": "sentencepiece", "t5": "sentencepiece", "bert": "wordpiece"}


def from_metadata(metadata: Mapping[str, Any]) -> Vocabulary | None:
    """Return the vocabulary in ``tokenizer.ggml.tokens``, None where there is none."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    if tokens is None or not len(tokens):
        return None
    kind = _KINDS.get(str(metadata.get("tokenizer.ggml.model", "")), "sentencepiece")
    types = metadata.get("tokenizer.ggml.token_type")
    plain = {3, 4}  # control and user-defined tokens are spelt in plain text
    spelled = [
        str(t).encode()
        if types is not None and i < len(types) and int(types[i]) in plain
        else spelt(str(t), kind)
        for i, t in enumerate(tokens)
    ]
    return Vocabulary(tuple(spelled), kind, "GGUF metadata")
