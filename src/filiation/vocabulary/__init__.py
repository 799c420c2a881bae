"""Room vocabulary: tokenizer.json, vocab.json, sentencepiece, tiktoken ranks and GGUF metadata to tokens by id."""

from __future__ import annotations

from collections.abc import Callable

from filiation.checkpoint.model import Checkpoint
from filiation.vocabulary.ggml import from_metadata
from filiation.vocabulary.huggingface import from_tokenizer_json, from_vocab_json, parsed
from filiation.vocabulary.model import Vocabulary, shared_rows
from filiation.vocabulary.pieces import from_sentencepiece_model, from_tiktoken


def read(checkpoint: Checkpoint) -> Vocabulary | None:
    """Return the vocabulary that lies in or beside a checkpoint, None where there is none.

    Raises:
        CorruptCheckpointError: a tokenizer file is there and cannot be read.
    """
    inside = from_metadata(checkpoint.metadata)
    if inside is not None:
        return inside
    names = {f.name for f in checkpoint.files} | set(checkpoint.side_files)
    for name, parse in _READERS:
        if name in names:
            return parse(_bytes(checkpoint, name), name)
    ranks = min((n for n in names if n.endswith(".tiktoken")), default=None)
    return from_tiktoken(_bytes(checkpoint, ranks), ranks) if ranks is not None else None


def _bytes(checkpoint: Checkpoint, name: str) -> bytes:
    text = checkpoint.side_files.get(name) if name in checkpoint.side_files else None
    return checkpoint.read_file(name) if text is None else text.encode()


def _tokenizer_json(data: bytes, file: str) -> Vocabulary:
    return from_tokenizer_json(parsed(data.decode("utf-8", "replace"), file), file)


def _vocab_json(data: bytes, file: str) -> Vocabulary:
    return from_vocab_json(parsed(data.decode("utf-8", "replace"), file), file)


def _vocab_txt(data: bytes, file: str) -> Vocabulary:
    return Vocabulary(tuple(data.splitlines()), "wordpiece", file)


def _pieces(data: bytes, file: str) -> Vocabulary:
    first = data[:200].split(b"\n")[0].rstrip()
    return from_tiktoken(data, file) if first.endswith(b" 0") else from_sentencepiece_model(data, file)


_READERS: tuple[tuple[str, Callable[[bytes, str], Vocabulary]], ...] = (
    ("tokenizer.json", _tokenizer_json),
    ("tokenizer.model", _pieces),
    ("spiece.model", from_sentencepiece_model),
    ("sentencepiece.bpe.model", from_sentencepiece_model),
    ("vocab.json", _vocab_json),
    ("vocab.txt", _vocab_txt),
)


__all__ = ["Vocabulary", "read", "shared_rows"]
