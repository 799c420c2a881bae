"""Vocabularies in tokenizer.json and vocab.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from filiation.errors import CorruptCheckpointError
from filiation.vocabulary.model import Vocabulary
from filiation.vocabulary.spelling import SPACE_MARK, spelt

MOST_TOKENS = 4_000_000


def parsed(text: str, file: str) -> Any:
    """Return the JSON document.

    Raises:
        CorruptCheckpointError: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpointError(
            "A tokenizer file cannot be read.",
            file=file,
            reason=f"It is not valid JSON: {error}",
            next_step="Re-download the file, or remove it: tokens are then compared by id.",
        ) from error


def from_tokenizer_json(document: Any, file: str = "tokenizer.json") -> Vocabulary:
    """Return the vocabulary of a tokenizer.json (BPE, Unigram or WordPiece, with added tokens).

    Raises:
        CorruptCheckpointError: the document has no usable vocabulary.
    """
    model = document.get("model") if isinstance(document, dict) else None
    if not isinstance(model, dict):
        raise _no_vocabulary(file, "it has no 'model'")
    vocab = model.get("vocab")
    if isinstance(vocab, list):  # Unigram: [piece, score] by id
        spellings = {str(entry[0]): n for n, entry in enumerate(vocab) if isinstance(entry, list) and entry}
    elif isinstance(vocab, dict):
        spellings = {str(k): v for k, v in vocab.items() if isinstance(v, int)}
    else:
        raise _no_vocabulary(file, "its model has no 'vocab'")
    kind = _kind(document, model, spellings)
    added = document.get("added_tokens") or []
    extra = {e["content"]: e["id"] for e in added if isinstance(e, dict) and _is_added(e)}
    return assembled(spellings, kind, file, extra)


def _is_added(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("content"), str) and isinstance(entry.get("id"), int)


def _kind(document: Mapping[str, Any], model: Mapping[str, Any], spellings: Mapping[str, int]) -> str:
    if model.get("type") == "WordPiece":
        return "wordpiece"
    steps = json.dumps([document.get(k) for k in ("pre_tokenizer", "decoder", "post_processor")])
    if '"ByteLevel"' in steps:
        return "byte_bpe"
    marked = model.get("type") == "Unigram" or any(SPACE_MARK in s for s in list(spellings)[:2000])
    return "sentencepiece" if marked else "wordpiece"


def from_vocab_json(document: Any, file: str = "vocab.json") -> Vocabulary:
    """Return the vocabulary of a GPT-2 style vocab.json.

    Raises:
        CorruptCheckpointError: it is not a table of tokens and ids.
    """
    if not isinstance(document, dict):
        raise _no_vocabulary(file, "it is not a table of tokens")
    return assembled({str(k): v for k, v in document.items() if isinstance(v, int)}, "byte_bpe", file)


def assembled(
    spellings: Mapping[str, int], kind: str, file: str, added: Mapping[str, int] | None = None
) -> Vocabulary:
    """Return the vocabulary of these spellings by id; added tokens stand for their plain text."""
    extra = added or {}
    ids = [*spellings.values(), *extra.values()]
    if not ids:
        raise _no_vocabulary(file, "it holds no tokens")
    if min(ids) < 0 or max(ids) >= MOST_TOKENS:
        raise _no_vocabulary(file, f"its ids reach from {min(ids)} to {max(ids)}")
    tokens: list[bytes | None] = [None] * (max(ids) + 1)
    for spelling, number in spellings.items():
        tokens[number] = spelt(spelling, kind)
    for content, number in extra.items():
        tokens[number] = content.encode()
    return Vocabulary(tuple(tokens), kind, file)


def _no_vocabulary(file: str, reason: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        "A tokenizer file holds no usable vocabulary.",
        file=file,
        reason=f"In this file, {reason}.",
        next_step="Re-download the file, or remove it: tokens are then compared by id.",
    )
