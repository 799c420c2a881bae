"""Tokens of every tokenizer kind come out as the bytes they stand for, and broken files say what is wrong."""

from __future__ import annotations

import base64
import contextlib
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation import vocabulary
from filiation.errors import CorruptCheckpointError
from filiation.vocabulary import Vocabulary, shared_rows
from filiation.vocabulary.ggml import from_metadata
from filiation.vocabulary.huggingface import from_tokenizer_json, from_vocab_json, from_vocab_txt, parsed
from filiation.vocabulary.pieces import from_fairseq_model, from_sentencepiece_model, from_tiktoken
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


def test_wordpiece_begins_words_with_a_space() -> None:
    vocab = {"[CLS]": 0, "play": 1, "##ing": 2, "##": 3, "[unused7]": 4}
    found = from_tokenizer_json({"model": {"type": "WordPiece", "vocab": vocab}})
    assert (found.tokens, found.kind) == ((b"[CLS]", b" play", b"ing", b" ##", b"[unused7]"), "wordpiece")


def test_wordpiece_agrees_between_its_three_files() -> None:
    """vocab.txt, tokenizer.json and GGUF (whose converter writes the space mark) hold one vocabulary."""
    pieces = ["[PAD]", "play", "##ing", "\u00e9"]
    document = {"model": {"type": "WordPiece", "vocab": {p: i for i, p in enumerate(pieces)}}}
    metadata = {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": ("[PAD]", "\u2581play", "ing", "\u2581\u00e9"),
        "tokenizer.ggml.token_type": np.array([3, 1, 1, 1], np.int32),
    }
    of_json = from_tokenizer_json(document)
    of_text = from_vocab_txt("\n".join(pieces).encode() + b"\n")
    of_gguf = from_metadata(metadata)
    assert of_gguf is not None
    assert of_json.tokens == of_text.tokens == of_gguf.tokens


def test_sentencepiece_model() -> None:
    data = b"".join(
        field(1, field(1, p.encode()) + b"\x15" + bytes(4) + b"\x18\x01") for p in ("<s>", "\u2581a")
    )
    assert from_sentencepiece_model(data + field(2, b"\x08\x01")).tokens == (b"<s>", b" a")


@pytest.mark.parametrize("data", [b"\x0a\x7f", b"\x0a", b"\xff" * 12, b""])
def test_broken_sentencepiece_model(data: bytes) -> None:
    with pytest.raises(CorruptCheckpointError) as caught:
        from_sentencepiece_model(data)
    assert caught.value.file == "tokenizer.model"
    assert caught.value.reason
    assert caught.value.next_step


def test_tiktoken_ranks() -> None:
    lines = b"\n".join(base64.b64encode(t) + b" %d" % i for i, t in enumerate((b"!", b" the")))
    assert from_tiktoken(lines, "x.tiktoken").tokens == (b"!", b" the")
    with pytest.raises(CorruptCheckpointError, match="tokenizer"):
        from_tiktoken(b"IQ== zero", "x.tiktoken")


@pytest.mark.parametrize(
    "document",
    [[], {}, {"model": {}}, {"model": {"vocab": {}}}, {"model": {"vocab": {"a": -1}}}, {"model": 3}],
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
    assert found is not None
    assert found.tokens == (b"a", b"b")


def test_read_prefers_what_lies_in_the_file() -> None:
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["<s>", "\u2581a", "<0x0A>"],
        "tokenizer.ggml.token_type": [3, 1, 6],
    }
    found = vocabulary.read(memory_checkpoint(EMBEDDING, metadata=metadata))
    assert found is not None
    assert found.tokens == (b"<s>", b" a", b"\n")


def test_read_finds_nothing() -> None:
    assert vocabulary.read(memory_checkpoint(EMBEDDING)) is None


def test_bytes_that_gguf_keeps_raw() -> None:
    metadata = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": (b"\xff", "\u0120a", "[PAD12]")}
    found = from_metadata(metadata)
    assert found is not None
    assert found.tokens == (b"\xff", b" a", None)


def test_fairseq_ids_are_one_higher() -> None:
    """XLM-R's pieces begin <unk>, <s>, </s>; its ids begin <s>, <pad>, </s>, <unk>."""
    pieces = ("<unk>", "<s>", "</s>", ",", "\u2581a")
    data = b"".join(field(1, field(1, p.encode())) for p in pieces)
    assert from_fairseq_model(data).tokens == (b"<s>", b"<pad>", b"</s>", b"<unk>", b",", b" a")
    assert from_fairseq_model(field(1, field(1, b"a"))).tokens == (b"a",)


def test_added_tokens_of_the_older_files() -> None:
    files = {
        "vocab.json": json.dumps({"\u0120a": 0, "b": 1}),
        "added_tokens.json": json.dumps({"<tool>": 3}),
        "tokenizer_config.json": json.dumps(
            {"added_tokens_decoder": {"4": {"content": "<end>"}, "x": {}, "5": 1}}
        ),
    }
    found = vocabulary.read(memory_checkpoint(EMBEDDING, side_files=files))
    assert found is not None
    assert found.tokens == (b" a", b"b", None, b"<tool>", b"<end>")


def test_absurd_added_ids_are_refused() -> None:
    files = {"vocab.json": '{"a": 0}', "added_tokens.json": json.dumps({"b": 10**12})}
    with pytest.raises(CorruptCheckpointError):
        vocabulary.read(memory_checkpoint(EMBEDDING, side_files=files))


@pytest.mark.parametrize(
    ("spellings", "tokens", "kind"),
    [
        ({"\u2581a": 0, "<0x0A>": 1}, (b" a", b"\n"), "sentencepiece"),
        ({"a": 0, "##b": 1}, (b" a", b"b"), "wordpiece"),
        ({"a": 0, "\u0120b": 1}, (b"a", b" b"), "byte_bpe"),
        ({"a": 0}, (b"a",), "byte_bpe"),
    ],
)
def test_a_bare_vocabulary_tells_its_kind(
    spellings: dict[str, int], tokens: tuple[bytes, ...], kind: str
) -> None:
    found = from_vocab_json(spellings)
    assert (found.tokens, found.kind) == (tokens, kind)


def test_byte_pieces_are_not_letters() -> None:
    """Llama's <0x41> and A stand for one byte and are two rows; byte-level BPE has the letter only."""
    pieces = {"<0x41>": 0, "\u2581a": 1, "A": 2}
    llama = from_tokenizer_json({"model": {"type": "BPE", "vocab": pieces, "byte_fallback": True}})
    assert llama.tokens == (b"A", b" a", b"A")
    assert llama.fallback == {0}
    mine, theirs = shared_rows(llama, from_tokenizer_json(bpe({"A": 0, "\u0120a": 1})))
    assert (mine.tolist(), theirs.tolist()) == ([1, 2], [1, 0])


def test_tokenizer_model_may_hold_tiktoken_ranks() -> None:
    lines = b"\n".join(base64.b64encode(t) + b" %d" % i for i, t in enumerate((b"!", b" the")))
    model = memory_checkpoint(EMBEDDING, side_files={"tokenizer.model": lines.decode()})
    found = vocabulary.read(model)
    assert found is not None
    assert (found.tokens, found.kind) == ((b"!", b" the"), "tiktoken")


def test_shared_rows_by_token_across_kinds() -> None:
    first = Vocabulary((b"a", None, b" the", b"a"), "byte_bpe", "x")
    second = Vocabulary((b" the", b"z", b"a"), "sentencepiece", "y")
    mine, theirs = shared_rows(first, second)
    assert mine.tolist() == [0, 2]
    assert theirs.tolist() == [2, 0]


TOKENS = st.lists(st.none() | st.binary(max_size=2), max_size=20)


@given(TOKENS, TOKENS)
def test_shared_rows_pair_equal_tokens_once(a: list[bytes | None], b: list[bytes | None]) -> None:
    mine, theirs = shared_rows(Vocabulary(tuple(a), "x", "a"), Vocabulary(tuple(b), "x", "b"))
    assert [a[i] for i in mine] == [b[j] for j in theirs]
    both = Counter(t for t in a if t is not None) & Counter(t for t in b if t is not None)
    assert len(mine) == both.total() == len(set(theirs.tolist()))
    assert mine.tolist() == sorted(set(mine.tolist()))
    assert mine.dtype == theirs.dtype == np.int64


@given(TOKENS)
def test_a_vocabulary_shares_every_row_with_itself(tokens: list[bytes | None]) -> None:
    one = Vocabulary(tuple(tokens), "x", "a", frozenset(range(0, len(tokens), 3)))
    mine, theirs = shared_rows(one, one)
    assert mine.tolist() == theirs.tolist() == [i for i, t in enumerate(tokens) if t is not None]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_vocabulary_or_an_error(data: bytes) -> None:
    for parse in (from_sentencepiece_model, from_fairseq_model, from_vocab_txt):
        with contextlib.suppress(CorruptCheckpointError):
            assert len(parse(data, "file").tokens) > 0
