"""Tokens of every tokenizer kind come out as the bytes they stand for, and broken files say what is wrong."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation import vocabulary
from filiation.errors import CorruptCheckpointError
from filiation.vocabulary import Vocabulary, shared_rows
from filiation.vocabulary.huggingface import from_tokenizer_json, from_vocab_json, parsed
from filiation.vocabulary.pieces import from_sentencepiece_model, from_tiktoken
from filiation.vocabulary.spelling import byte_alphabet, from_byte_level
from tests.support import memory_checkpoint

EMBEDDING = {"model.embed_tokens.weight": np.zeros((4, 2), np.float32)}


def bpe(vocab: dict[str, int], added: list[dict[str, object]] | None = None) -> dict[str, object]:
    return {
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
        "decoder": {"type": "ByteLevel"},
        "added_tokens": added or [],
    }


def field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2, len(data)]) + data


def test_byte_level_alphabet_has_every_byte_once() -> None:
    assert sorted(byte_alphabet().values()) == list(range(256))


@given(st.binary(min_size=1, max_size=12))
def test_byte_level_spelling_round_trips(data: bytes) -> None:
    letters = {b: c for c, b in byte_alphabet().items()}
    assert from_byte_level("".join(letters[b] for b in data)) == data


def test_byte_level_bpe_with_added_tokens() -> None:
    found = from_tokenizer_json(bpe({"\u0120the": 0, "\u010a": 1}, [{"content": "<|end|>", "id": 3}]))
    assert found.tokens == (b" the", b"\n", None, b"<|end|>")
    assert found.kind == "byte_bpe"


def test_unigram_pieces_and_byte_pieces() -> None:
    pieces = [["<unk>", 0.0], ["\u2581the", -1.0], ["<0x0A>", -2.0]]
    found = from_tokenizer_json({"model": {"type": "Unigram", "vocab": pieces}})
    assert found.tokens == (b"<unk>", b" the", b"\n")


def test_wordpiece_is_kept_as_it_is_spelt() -> None:
    found = from_tokenizer_json({"model": {"type": "WordPiece", "vocab": {"play": 0, "##ing": 1}}})
    assert (found.tokens, found.kind) == ((b"play", b"##ing"), "wordpiece")


def test_sentencepiece_model() -> None:
    data = b"".join(field(1, field(1, p.encode()) + b"\x15" + bytes(4) + b"\x18\x01") for p in ("<s>", "\u2581a"))
    assert from_sentencepiece_model(data + field(2, b"\x08\x01")).tokens == (b"<s>", b" a")


@pytest.mark.parametrize("data", [b"\x0a\x7f", b"\x0a", b"\xff" * 12, b""])
def test_broken_sentencepiece_model(data: bytes) -> None:
    with pytest.raises(CorruptCheckpointError) as caught:
        from_sentencepiece_model(data)
    assert caught.value.file == "tokenizer.model"
    assert caught.value.reason and caught.value.next_step


def test_tiktoken_ranks() -> None:
    lines = b"\n".join(base64.b64encode(t) + b" %d" % i for i, t in enumerate((b"!", b" the")))
    assert from_tiktoken(lines, "x.tiktoken").tokens == (b"!", b" the")
    with pytest.raises(CorruptCheckpointError, match="tokenizer"):
        from_tiktoken(b"IQ== zero", "x.tiktoken")


@pytest.mark.parametrize(
    "document", [[], {}, {"model": {}}, {"model": {"vocab": {}}}, {"model": {"vocab": {"a": -1}}}, {"model": 3}]
)
def test_tokenizer_json_without_vocabulary(document: object) -> None:
    with pytest.raises(CorruptCheckpointError) as caught:
        from_tokenizer_json(document)
    assert caught.value.file == "tokenizer.json"


def test_absurd_ids_are_refused_before_memory_is_taken() -> None:
    with pytest.raises(CorruptCheckpointError, match="no usable vocabulary"):
        from_vocab_json({"a": 10**12})


def test_malformed_json_names_the_file() -> None:
    with pytest.raises(CorruptCheckpointError) as caught:
        parsed("{", "tokenizer.json")
    assert caught.value.file == "tokenizer.json"


def test_read_finds_tokenizer_json_beside_the_weights() -> None:
    model = memory_checkpoint(EMBEDDING, side_files={"tokenizer.json": json.dumps(bpe({"a": 0, "b": 1}))})
    found = vocabulary.read(model)
    assert found is not None and found.tokens == (b"a", b"b")


def test_read_prefers_what_lies_in_the_file() -> None:
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["<s>", "\u2581a", "<0x0A>"],
        "tokenizer.ggml.token_type": [3, 1, 6],
    }
    found = vocabulary.read(memory_checkpoint(EMBEDDING, metadata=metadata))
    assert found is not None and found.tokens == (b"<s>", b" a", b"\n")


def test_read_finds_nothing() -> None:
    assert vocabulary.read(memory_checkpoint(EMBEDDING)) is None


def test_shared_rows_by_token_across_kinds() -> None:
    first = Vocabulary((b"a", None, b" the", b"a"), "byte_bpe", "x")
    second = Vocabulary((b" the", b"z", b"a"), "sentencepiece", "y")
    mine, theirs = shared_rows(first, second)
    assert mine.tolist() == [0, 2]
    assert theirs.tolist() == [2, 0]


@given(st.lists(st.binary(max_size=3), max_size=20), st.lists(st.binary(max_size=3), max_size=20))
def test_shared_rows_name_equal_tokens_once(a: list[bytes], b: list[bytes]) -> None:
    mine, theirs = shared_rows(Vocabulary(tuple(a), "x", "a"), Vocabulary(tuple(b), "x", "b"))
    assert [a[i] for i in mine] == [b[j] for j in theirs]
    assert len({a[i] for i in mine}) == len(mine) == len(set(a) & set(b))
