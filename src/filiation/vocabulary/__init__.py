"""Room vocabulary: tokenizer.json, vocab.json, sentencepiece, tiktoken ranks and GGUF metadata to tokens by id.

Every token becomes the bytes it stands for, so that tokenizers of different kinds can be compared: byte-level
alphabets are undone, the sentencepiece mark and WordPiece's missing ``##`` become a space, ``<0x0A>`` a byte.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from filiation.checkpoint.model import Checkpoint
from filiation.vocabulary.ggml import from_metadata
from filiation.vocabulary.huggingface import (
    added_tokens,
    from_tokenizer_json,
    from_vocab_json,
    from_vocab_txt,
    parsed,
    with_added,
)
from filiation.vocabulary.model import Vocabulary, shared_rows
from filiation.vocabulary.pieces import from_fairseq_model, from_sentencepiece_model, from_tiktoken


def read(checkpoint: Checkpoint) -> Vocabulary | None:
    """Return the vocabulary that lies in or beside a checkpoint, None where there is none.

    A GGUF file's own comes first, then tokenizer.json, then the older files, with the tokens that
    added_tokens.json or tokenizer_config.json add to them.

    Raises:
        CorruptCheckpointError: a tokenizer file is there and cannot be read.
    """
    with checkpoint.naming():
        inside = from_metadata(checkpoint.metadata)
        if inside is not None:
            return inside
        names = {f.name for f in checkpoint.files} | set(checkpoint.side_files)
        return from_files(names, lambda name: _bytes(checkpoint, name))


def from_files(names: Collection[str], read: Callable[[str], bytes]) -> Vocabulary | None:
    """Return the vocabulary that a folder's tokenizer files hold, None where there is none.

    Args:
        names: of the files in the folder.
        read: returns a file's bytes.

    Raises:
        CorruptCheckpointError: a tokenizer file is there and cannot be read.
    """
    if _COMPLETE in names:
        return from_tokenizer_json(_parsed(read(_COMPLETE), _COMPLETE), _COMPLETE)
    found = next((parse(read(name), name) for name, parse in _READERS if name in names), None)
    if found is None:
        ranks = min((n for n in names if n.endswith(".tiktoken")), default=None)
        found = from_tiktoken(read(ranks), ranks) if ranks is not None else None
    return None if found is None else with_added(found, _added(names, read))


_COMPLETE = "tokenizer.json"


def _added(names: Collection[str], read: Callable[[str], bytes]) -> dict[str, int]:
    added: dict[str, int] = {}
    for name in ("added_tokens.json", "tokenizer_config.json"):
        if name in names:
            document = _parsed(read(name), name)
            if name != "tokenizer_config.json" or "added_tokens_decoder" in document:
                added |= added_tokens(document)
    return added


def _bytes(checkpoint: Checkpoint, name: str) -> bytes:
    return (
        checkpoint.side_files[name].encode() if name in checkpoint.side_files else checkpoint.read_file(name)
    )


def _parsed(data: bytes, file: str) -> Any:
    return parsed(data.decode("utf-8", "replace"), file)


def _vocab_json(data: bytes, file: str) -> Vocabulary:
    return from_vocab_json(_parsed(data, file), file)


def _pieces(data: bytes, file: str) -> Vocabulary:
    """Llama 3 and GLM-4 call their tiktoken ranks tokenizer.model too."""
    first = data[:200].split(b"\n")[0].rstrip()
    return from_tiktoken(data, file) if first.endswith(b" 0") else from_sentencepiece_model(data, file)


_READERS: tuple[tuple[str, Callable[[bytes, str], Vocabulary]], ...] = (
    ("tokenizer.model", _pieces),
    ("spiece.model", from_sentencepiece_model),
    ("sentencepiece.bpe.model", from_fairseq_model),
    ("vocab.json", _vocab_json),
    ("vocab.txt", from_vocab_txt),
)


__all__ = ["Vocabulary", "from_files", "from_metadata", "read", "shared_rows"]
