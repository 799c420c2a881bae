"""Encoders against published encodings, against the tokenizers package, and out of every kind of file."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest

from filiation.behaviour import shipped, tables
from filiation.behaviour.candidates import open_all, open_file, shipped_candidates
from filiation.behaviour.encoders import ByteEncoder, PieceEncoder, merged
from filiation.behaviour.encoding import JsonEncoder
from filiation.behaviour.pack import packed
from filiation.behaviour.patterns import PATTERNS, cut
from filiation.behaviour.probes import battery
from filiation.behaviour.tables import NoEncoder
from filiation.behaviour.tokenizer_counts import alike
from filiation.errors import CorruptCheckpointError, UnsupportedFormatError
from filiation.vocabulary import Vocabulary
from filiation.vocabulary.spelling import byte_alphabet

SHIPPED = {c.name: c for c in shipped_candidates()}
TEXTS = [p.framed for seed in range(6) for p in battery(seed)]


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("cl100k", "hello world", (15339, 1917)),
        ("cl100k", "tiktoken is great!", (83, 1609, 5963, 374, 2294, 0)),
        ("Mistral 7B v0.1", "Hello", (22557,)),
        ("Qwen 3", "hello world", (14990, 1879)),
    ],
)
def test_published_encodings(name: str, text: str, ids: tuple[int, ...]) -> None:
    assert SHIPPED[name].encode([text]) == (ids,)


@pytest.mark.parametrize("name", list(SHIPPED))
def test_every_token_of_an_encoding_spells_the_text(name: str) -> None:
    candidate = SHIPPED[name]
    tokens = candidate.vocabulary.tokens
    for text, ids in zip(TEXTS, candidate.encode(TEXTS), strict=True):
        spelt = b"".join(tokens[n] or b"" for n in ids).decode()
        assert spelt.removeprefix(" ") == text


def test_shipped_tables_name_licence_and_source() -> None:
    for entry in shipped.sources():
        assert entry["licence"] in {"MIT", "Apache-2.0"}
        assert "SHA-256" in entry["source"]
        assert {"name", "vendor", "file"} <= set(entry)


def test_qwen_3_is_stored_as_what_it_adds_to_cl100k() -> None:
    mine, theirs = SHIPPED["Qwen 3"], SHIPPED["cl100k"]
    shared = set(mine.vocabulary.tokens) & set(theirs.vocabulary.tokens)
    assert len(shared) == 99_156
    assert len(mine.vocabulary) == 151_643
    assert not alike(mine, theirs, ["12345"])  # one digit at a time, and three
    assert alike(mine, theirs, ["hello world"])


def test_merging_takes_the_lowest_rank_first_and_the_leftmost_of_equals() -> None:
    ranks = {(b"b", b"c"): 0, (b"a", b"b"): 1, (b"a", b"bc"): 2, (b"x", b"x"): 3}
    assert merged([b"a", b"b", b"c"], lambda a, b: ranks.get((a, b))) == [b"abc"]
    assert merged([b"x"] * 5, lambda a, b: ranks.get((a, b))) == [b"xx", b"xx", b"x"]
    assert merged([], lambda a, b: 0) == []


@pytest.mark.parametrize("name", list(PATTERNS))
def test_cuts_lose_nothing(name: str) -> None:
    for text in (*TEXTS, "", " ", "\n\n  a'LL 12345\u3000x\x1c y", "\U0001f469\u200d\U0001f4bb e\u0301"):
        assert "".join(cut(text, name)) == text


def test_cuts_are_as_published() -> None:
    assert cut("Hello  world's 12345 \n\n x", "cl100k") == [
        "Hello",
        " ",
        " world",
        "'s",
        " ",
        "123",
        "45",
        " \n\n",
        " x",
    ]
    assert cut("Hello  world's 12345", "gpt2") == ["Hello", " ", " world", "'s", " 12345"]
    assert cut("a 12", "digits_gpt2") == ["a", " ", "1", "2"]
    assert cut("HelloWorld a/b//\n", "o200k") == ["Hello", "World", " a", "/b", "//\n"]
    assert cut("\u4f60\u597dabc 1234", "deepseek_v3") == ["\u4f60\u597d", "abc", " ", "123", "4"]


def written(folder: Path, name: str, content: bytes | str) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def byte_level(token: bytes) -> str:
    letters = {b: c for c, b in byte_alphabet().items()}
    return "".join(letters[b] for b in token)


def document(**steps: Any) -> dict[str, Any]:
    """A tokenizer.json of bytes and three merges."""
    base = [byte_level(bytes([b])) for b in range(256)]
    vocab = {token: n for n, token in enumerate([*base, "he", "ll", "hell"])}
    cuts = {
        "type": "Split",
        "pattern": {"Regex": PATTERNS["cl100k"][0]},
        "behavior": "Isolated",
        "invert": False,
    }
    last = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [cuts, last]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": ["h e", "l l", "he ll"]},
    } | steps


def test_a_tokenizer_json_whose_steps_are_known_needs_no_package(tmp_path: Path) -> None:
    found = open_file(written(tmp_path, "tokenizer.json", json.dumps(document())), "mine")
    assert isinstance(found.encoder, ByteEncoder)
    assert found.encode(["hello"]) == ((258, ord("o")),)
    assert found.name == "mine"
    assert found.digest is not None


@pytest.mark.parametrize("named", ["gpt2", "cl100k", "qwen2", "o200k", "digits_gpt2", "deepseek_v3"])
def test_own_encoder_and_package_agree_on_random_texts(named: str, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="the extra 'tokenizers' is not installed")
    cuts = [
        {"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": False}
        for p in PATTERNS[named]
    ]
    last = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    draw = random.Random(named)
    encoder = SHIPPED["cl100k"].encoder
    assert isinstance(encoder, ByteEncoder)
    ids = {t: n for t, n in encoder.ids.items() if n < 3000}
    vocab = {byte_level(t): n for t, n in ids.items()}
    splits = [(t[:k], t[k:]) for t in ids for k in range(1, len(t))]
    merges = [[byte_level(a), byte_level(b)] for a, b in splits if a in ids and b in ids]
    model = {"type": "BPE", "vocab": vocab, "merges": merges}
    text = json.dumps(
        document(pre_tokenizer={"type": "Sequence", "pretokenizers": [*cuts, last]}, model=model)
    )
    own = tables.from_json(json.loads(text))
    assert isinstance(own, ByteEncoder)
    strange = [
        "".join(chr(draw.choice((32, 10, draw.randrange(32, 0x2FFF)))) for _ in range(40)) for _ in range(60)
    ]
    assert own.encode([*TEXTS, *strange]) == JsonEncoder(text, "tokenizer.json").encode([*TEXTS, *strange])


def test_other_steps_go_to_the_package(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="the extra 'tokenizers' is not installed")
    text = json.dumps(document(normalizer={"type": "Lowercase"}))
    assert isinstance(tables.from_json(json.loads(text)), NoEncoder)
    found = open_file(written(tmp_path, "tokenizer.json", text))
    assert isinstance(found.encoder, JsonEncoder)
    assert found.encode(["HELL"]) == found.encode(["hell"])


def test_what_a_file_asks_to_cut_off_or_fill_up_is_not_done() -> None:
    pytest.importorskip("tokenizers", reason="the extra 'tokenizers' is not installed")
    cut_off = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    filled = {
        "strategy": {"Fixed": 9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "he",
    }
    encoder = JsonEncoder(json.dumps(document(truncation=cut_off, padding=filled)), "tokenizer.json")
    assert [len(ids) for ids in encoder.encode(["a", "abcdef"])] == [1, 6]


def test_without_the_package_the_reason_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filiation.behaviour.candidates.is_available", lambda: False)
    locator = written(tmp_path, "tokenizer.json", json.dumps(document(normalizer={"type": "Lowercase"})))
    usable, unusable = open_all({"mine": locator}, with_shipped=False)
    assert not usable
    assert [(u.name, u.reason) for u in unusable] == [("mine", "extra_tokenizers_missing")]


def test_a_tokenizer_that_takes_too_long_or_breaks_is_an_error() -> None:
    pytest.importorskip("tokenizers", reason="the extra 'tokenizers' is not installed")
    with pytest.raises(CorruptCheckpointError, match="longer than"):
        JsonEncoder(json.dumps(document()), "slow.json", seconds=0.001).encode(["x"])
    with pytest.raises(CorruptCheckpointError):
        JsonEncoder("{}", "broken.json").encode(["x"])


def test_ranks_are_read_and_other_sizes_are_refused(tmp_path: Path) -> None:
    tokens = sorted(SHIPPED["cl100k"].encoder.ids.items(), key=lambda e: e[1])  # type: ignore[attr-defined]
    lines = b"".join(base64.b64encode(t) + f" {n}\n".encode() for t, n in tokens)
    found = open_file(written(tmp_path, "cl100k_base.tiktoken", lines))
    assert found.encode(TEXTS) == SHIPPED["cl100k"].encode(TEXTS)
    short = tables.from_ranks(Vocabulary(tuple(bytes([b]) for b in range(256)), "tiktoken", "x"))
    assert short == NoEncoder("pattern_not_told")


def test_gguf_metadata_of_merges_and_of_scores() -> None:
    byte_tokens = [byte_level(bytes([b])) for b in range(256)]
    merges = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": [*byte_tokens, "he", "ll", "hell"],
        "tokenizer.ggml.merges": ["h e", "l l", "he ll"],
    }
    found = tables.from_gguf(merges)
    assert isinstance(found, ByteEncoder)
    assert found.encode(["hell"]) == ((258,),)
    assert tables.from_gguf(merges | {"tokenizer.ggml.pre": "unheard-of"}) == NoEncoder("pattern_not_told")
    pieces = ["<unk>", *(f"<0x{b:02X}>" for b in range(256)), "h", "e", "\u2581", "he", "\u2581he", "\n\n"]
    scores = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": [0.0] * 260 + [-2.0, -1.0, -1000.0],
        "tokenizer.ggml.token_type": [2, *[6] * 256, *[1] * 5, 4],
    }
    spelt = tables.from_gguf(scores)
    assert isinstance(spelt, PieceEncoder)
    assert spelt.encode(["he", "\n\nh\u00e9"]) == ((261,), (259, 262, 257, 1 + 0xC3, 1 + 0xA9))
    assert tables.from_gguf({"tokenizer.ggml.model": "bert", "tokenizer.ggml.tokens": ["a"]}) == NoEncoder(
        "tokenizer_kind"
    )
    assert tables.from_gguf({}) == NoEncoder("no_tokenizer")


def test_a_sentencepiece_model_alone_is_refused_with_a_reason(tmp_path: Path) -> None:
    piece = b"\x0a\x05hello\x15\x00\x00\x80\xbf"
    locator = written(tmp_path, "tokenizer.model", b"\x0a" + bytes([len(piece)]) + piece)
    with pytest.raises(UnsupportedFormatError) as caught:
        open_file(locator)
    assert caught.value.reason == "sentencepiece_alone"


def test_packing_and_unpacking_give_the_same_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = {
        "packed.xz": packed(SHIPPED["SmolLM2"].encoder),
        "pieces.xz": packed(SHIPPED["Mistral 7B v0.1"].encoder),
    }
    monkeypatch.setattr(shipped, "_bytes", lambda name: stored[name])
    assert shipped.encoder_of("packed.xz").encode(TEXTS) == SHIPPED["SmolLM2"].encode(TEXTS)
    assert shipped.encoder_of("pieces.xz").encode(TEXTS) == SHIPPED["Mistral 7B v0.1"].encode(TEXTS)


def test_what_is_no_table_cannot_be_packed() -> None:
    with pytest.raises(UnsupportedFormatError):
        packed(JsonEncoder("{}", "x"))
    with pytest.raises(UnsupportedFormatError):
        packed(ByteEncoder({b"a": 0, b"b": 1}, "gpt2", {(b"a", b"c"): 0}))
