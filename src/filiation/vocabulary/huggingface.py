"""Vocabularies in tokenizer.json and vocab.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from filiation.errors import CorruptCheckpointError
from filiation.vocabulary.model import Vocabulary
from filiation.vocabulary.spelling import from_wordpiece, guessed_kind, is_byte_piece, spelt

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
        spellings = {str(k): v for k, v in vocab.items() if type(v) is int}
    else:
        raise _no_vocabulary(file, "its model has no 'vocab'")
    kind = _kind(document, model, spellings)
    added = document.get("added_tokens")
    entries = added if isinstance(added, list) else []
    extra = {e["content"]: e["id"] for e in entries if isinstance(e, dict) and _is_added(e)}
    return assembled(spellings, kind, file, extra)


def _is_added(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("content"), str) and type(entry.get("id")) is int


def _kind(document: Mapping[str, Any], model: Mapping[str, Any], spellings: Mapping[str, int]) -> str:
    if model.get("type") == "WordPiece":
        return "wordpiece"
    steps = json.dumps([document.get(k) for k in ("pre_tokenizer", "decoder", "post_processor")])
    if '"ByteLevel"' in steps:
        return "byte_bpe"
    if model.get("type") == "Unigram" or model.get("byte_fallback") is True:
        return "sentencepiece"
    return guessed_kind(spellings)


def added_tokens(document: Any) -> dict[str, int]:
    """Return the added tokens of an added_tokens.json or of a tokenizer_config.json; none where there are none."""
    if not isinstance(document, dict):
        return {}
    decoder = document.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        entries = [(e.get("content"), n) for n, e in decoder.items() if isinstance(e, dict)]
        return {str(text): int(n) for text, n in entries if isinstance(text, str) and str(n).isdecimal()}
    return {str(k): v for k, v in document.items() if type(v) is int}


def with_added(vocabulary: Vocabulary, added: Mapping[str, int]) -> Vocabulary:
    """Return the vocabulary with added tokens at their ids, which may lie beyond its end.

    Raises:
        CorruptCheckpointError: an id is absurd.
    """
    if not added:
        return vocabulary
    _check_ids(list(added.values()), vocabulary.source)
    tokens = list(vocabulary.tokens)
    tokens += [None] * (max(added.values()) + 1 - len(tokens))
    for content, number in added.items():
        tokens[number] = content.encode()
    return replace(vocabulary, tokens=tuple(tokens))


def from_vocab_json(document: Any, file: str = "vocab.json") -> Vocabulary:
    """Return the vocabulary of a vocab.json: byte-level as GPT-2's, unless its spellings speak of another kind.

    Raises:
        CorruptCheckpointError: it is not a table of tokens and ids.
    """
    if not isinstance(document, dict):
        raise _no_vocabulary(file, "it is not a table of tokens")
    spellings = {str(k): v for k, v in document.items() if type(v) is int}
    return assembled(spellings, guessed_kind(spellings), file)


def from_vocab_txt(data: bytes, file: str = "vocab.txt") -> Vocabulary:
    """Return the vocabulary of a WordPiece vocab.txt: one token a line, by id.

    Raises:
        CorruptCheckpointError: it is empty or absurdly long.
    """
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    _check_ids(range(len(lines)), file)
    return Vocabulary(tuple(from_wordpiece(line) if line else None for line in lines), "wordpiece", file)


def assembled(
    spellings: Mapping[str, int], kind: str, file: str, added: Mapping[str, int] | None = None
) -> Vocabulary:
    """Return the vocabulary of these spellings by id; added tokens stand for their plain text."""
    extra = added or {}
    ids = [*spellings.values(), *extra.values()]
    _check_ids(ids, file)
    tokens: list[bytes | None] = [None] * (max(ids) + 1)
    fallback: set[int] = set()
    for spelling, number in spellings.items():
        tokens[number] = spelt(spelling, kind)
        if kind == "sentencepiece" and is_byte_piece(spelling):
            fallback.add(number)
    for content, number in extra.items():
        tokens[number] = content.encode()
    return Vocabulary(tuple(tokens), kind, file, frozenset(fallback))


def _check_ids(ids: Sequence[int], file: str) -> None:
    if not ids:
        raise _no_vocabulary(file, "there are no tokens")
    if min(ids) < 0 or max(ids) >= MOST_TOKENS:
        raise _no_vocabulary(file, f"ids reach from {min(ids)} to {max(ids)}")


def _no_vocabulary(file: str, reason: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        "A tokenizer file holds no usable vocabulary.",
        file=file,
        reason=f"In this file, {reason}.",
        next_step="Re-download the file, or remove it: tokens are then compared by id.",
    )
