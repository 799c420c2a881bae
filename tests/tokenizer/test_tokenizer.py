"""Relations of small tokenizers that were made to be of each kind, the readers, and hostile files.

The public tokenizers and their traps are in tests/real/test_tokenizers.py.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation import repository, tokenizer
from filiation.evidence import Scale, Status, Wing, plain
from filiation.tokenizer import TokenizerRelation as R
from filiation.tokenizer import comparing, encoding
from filiation.tokenizer.fingerprint import (
    Fingerprint,
    fingerprints,
    hashes_of,
    held,
    longest_ascent,
    make,
    ordinary,
)
from filiation.tokenizer.model import Tokenizer
from filiation.vocabulary import Vocabulary
from tests.vocabulary.test_vocabulary import field

SPECIAL = ["<|begin|>", "<|end|>", "<odd_one>", "<odd_two>"]
STEPS: dict[str, Any] = {
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    },
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "post_processor": None,
}


def words(count: int, seed: int) -> list[str]:
    """Distinct made-up tokens; half of them are the same for every seed, as common words are, in another order."""
    common, own = random.Random(0), random.Random(seed)

    def word(source: random.Random) -> str:
        return "".join(source.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(source.randrange(3, 8)))

    found = {word(common) for _ in range(count // 2)}
    while len(found) < count:
        found.add(word(own))
    shuffled = sorted(found)
    own.shuffle(shuffled)
    return shuffled


def document(tokens: list[str], special: list[str] = SPECIAL, **steps: Any) -> dict[str, Any]:
    vocab = {token: n for n, token in enumerate(tokens)}
    added = [{"content": t, "id": len(tokens) + n, "special": True} for n, t in enumerate(special)]
    merges = [f"{token[:1]} {token[1:]}" for token in tokens]
    return {
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
        "added_tokens": added,
        **STEPS,
        **steps,
    }


def repo(place: Path, name: str, content: Any, file: str = "tokenizer.json") -> repository.Repository:
    (place / name).mkdir(exist_ok=True)
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (place / name / file).write_bytes(data)
    return repository.open(str(place / name))


BASE = words(2000, 1)


def relate(place: Path, suspect: Any, reference: Any) -> tokenizer.TokenizerFinding:
    return tokenizer.compare(repo(place, "suspect", suspect), repo(place, "reference", reference))


def test_same_although_steps_and_added_tokens_differ(tmp_path: Path) -> None:
    other = document(BASE, [*SPECIAL, "<more>"], post_processor={"type": "ByteLevel"})
    found = relate(tmp_path, other, document(BASE))
    assert found.relation is R.SAME
    assert found.numbers["steps"]["post_processor"] == "differs"
    assert found.numbers["steps"]["normalizer"] == "equal"
    assert found.numbers["added"]["equal_ids"] == 4
    assert found.numbers["added"]["only_suspect"] == ["<more>"]
    assert found.numbers["merges"]["order"] == 1
    assert found.explanation == ()


def test_extended_and_pruned_are_each_others_reverse(tmp_path: Path) -> None:
    more = document(BASE + [w for w in words(500, 2) if w not in BASE])
    found = relate(tmp_path, more, document(BASE))
    assert (found.relation, found.numbers["of_reference"]) == (R.EXTENDED, 1)
    assert relate(tmp_path, document(BASE), more).relation is R.PRUNED


def test_pruned_with_ids_that_close_up(tmp_path: Path) -> None:
    found = relate(tmp_path, document(BASE[::3]), document(BASE))
    assert found.relation is R.PRUNED
    assert found.numbers["equal_ids"] < 5
    assert found.numbers["order"] == 1


def test_extended_with_ids_that_shift(tmp_path: Path) -> None:
    """As Qwen 3 extends cl100k: nearly all of its tokens in their order, at other ids."""
    spread: list[str] = []
    for number, token in enumerate(BASE):
        spread += [token] if number % 100 else [f"zz{number}zz", f"yy{number}yy"]
    found = relate(tmp_path, document(spread), document(BASE))
    assert found.relation is R.EXTENDED
    assert (found.numbers["of_reference"], found.numbers["order"]) == (0.99, 1)


def test_reordered(tmp_path: Path) -> None:
    shuffled = random.Random(3).sample(BASE, len(BASE))
    found = relate(tmp_path, document(shuffled), document(BASE))
    assert found.relation is R.REORDERED
    assert found.numbers["order"] < 0.1
    for moved in (BASE[1000:] + BASE[:1000], BASE[-1:] + BASE[:-1]):  # halves exchanged; all ids one higher
        assert relate(tmp_path, document(moved), document(BASE)).relation is R.REORDERED


def test_retrained_keeps_the_steps_and_the_rare_added_tokens(tmp_path: Path) -> None:
    found = relate(tmp_path, document(words(2000, 4)), document(BASE))
    assert found.relation is R.RETRAINED
    assert 0.4 < found.numbers["of_suspect"] < 0.7


@pytest.mark.parametrize(
    "other",
    [
        document(words(2000, 4), ["<|begin|>"]),  # other added tokens
        document(words(2000, 4), normalizer=None),  # another step
    ],
)
def test_unrelated_although_half_of_the_words_are_common(tmp_path: Path, other: dict[str, Any]) -> None:
    assert relate(tmp_path, other, document(BASE)).relation is R.UNRELATED


def test_public_added_tokens_make_no_retraining(tmp_path: Path) -> None:
    """<s> and </s> are everyone's."""
    special = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    found = relate(tmp_path, document(words(2000, 4), special), document(BASE, special))
    assert found.relation is R.UNRELATED


def test_a_small_vocabulary_inside_a_large_one_is_no_pruning(tmp_path: Path) -> None:
    few = random.Random(5).sample(BASE, 600)
    found = relate(tmp_path, document(few, ["<x>"]), document(BASE, ["<y>"]))
    assert found.numbers["of_suspect"] == 1
    assert found.relation is R.UNRELATED


def test_cannot_tell_without_a_tokenizer_or_with_a_broken_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty = repository.open(str(tmp_path / "empty"))
    whole, broken = repo(tmp_path, "whole", document(BASE)), repo(tmp_path, "broken", b"{nope")
    for suspect, reference, reason in (
        (empty, whole, "reason.no_tokenizer_suspect"),
        (whole, empty, "reason.no_tokenizer_reference"),
        (broken, whole, "reason.tokenizer_unreadable_suspect"),
    ):
        found = tokenizer.compare(suspect, reference)
        assert found.relation is R.CANNOT_TELL
        assert [(e.status, e.reason) for e in found.evidence] == [(Status.NOT_MEASURED, reason)]
    assert tokenizer.recognise(empty) == ()


def test_the_same_tokens_in_every_format(tmp_path: Path) -> None:
    """tokenizer.json, vocab.json, tiktoken ranks, sentencepiece and GGUF hold the same bytes at the same ids."""
    plain_tokens = BASE[:500]
    json_file = repo(tmp_path, "json", document(plain_tokens, []))
    ranks = b"".join(base64.b64encode(t.encode()) + b" %d\n" % n for n, t in enumerate(plain_tokens))
    pieces = b"".join(field(1, field(1, t.encode())) for t in plain_tokens)
    others = [
        repo(tmp_path, "vocab", {t: n for n, t in enumerate(plain_tokens)}, "vocab.json"),
        repo(tmp_path, "ranks", ranks, "x.tiktoken"),
        repo(tmp_path, "pieces", pieces, "tokenizer.model"),
        repo(tmp_path, "gguf", gguf(plain_tokens), "model.gguf"),
    ]
    for other in others:
        found = tokenizer.compare(other, json_file)
        assert found.relation is R.SAME, other.name
        assert found.numbers["encodings"] == {"not_measured": "no_tokenizer_json"}


def gguf(tokens: list[str]) -> bytes:
    """A GGUF file with a vocabulary and no tensors."""
    import struct

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    pairs = text("tokenizer.ggml.model") + struct.pack("<I", 8) + text("gpt2")
    listed = b"".join(text(token) for token in tokens)
    pairs += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, len(tokens)) + listed
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + pairs


@pytest.mark.parametrize("data", [b"GGUF", b"GGUF\x03\x00\x00\x00" + b"\xff" * 16, b"GGUF" + bytes(20)])
def test_a_broken_gguf_is_told(tmp_path: Path, data: bytes) -> None:
    found = tokenizer.compare(repo(tmp_path, "a", data, "m.gguf"), repo(tmp_path, "b", document(BASE)))
    assert found.relation is R.CANNOT_TELL


@pytest.mark.parametrize(
    "change",
    [
        {"added_tokens": [{"content": 5}, "x", None]},
        {"added_tokens": {"a": 1}},
        {
            "model": {
                "type": "BPE",
                "vocab": {t: n for n, t in enumerate(BASE)},
                "merges": [1, ["a"], "a b c", []],
            }
        },
        {"model": {"type": "BPE", "vocab": {t: n for n, t in enumerate(BASE)}, "merges": "ab"}},
    ],
)
def test_odd_entries_are_passed_over(tmp_path: Path, change: dict[str, Any]) -> None:
    found = relate(tmp_path, {**document(BASE), **change}, document(BASE))
    assert found.relation in (R.SAME, R.EXTENDED)


def test_every_number_is_evidence(tmp_path: Path) -> None:
    found = relate(tmp_path, document(BASE), document(BASE))
    assert len({e.id for e in found.evidence}) == len(found.evidence)
    assert {e.test for e in found.evidence} == {
        f"tokenizer_{name}" for name in ("tokens", "merges", "added", "steps", "encodings")
    }
    for evidence in found.evidence:
        assert (evidence.wing, evidence.scale, evidence.log10_e) == (Wing.TOKENIZER, Scale.FACT, None)
        if evidence.status is Status.APPLIED:
            assert "cannot_show.tokenizer_not_weights" in evidence.cannot_show
    plain(found)


def as_tokenizer(tokens: list[bytes]) -> Tokenizer:
    keys = {b"\0" + token: n for n, token in enumerate(tokens)}
    return Tokenizer(Vocabulary(tuple(tokens), "byte_bpe", "x"), "x", None, "pieces", keys=keys)


token_lists = st.lists(st.binary(min_size=1, max_size=3), unique=True, max_size=60)


@given(token_lists, token_lists)
def test_counts_hold_together(first: list[bytes], second: list[bytes]) -> None:
    found = comparing.overlap(as_tokenizer(first), as_tokenizer(second))
    back = comparing.overlap(as_tokenizer(second), as_tokenizer(first))
    assert found.shared == back.shared == len(set(first) & set(second))
    assert (found.equal_ids, found.ascending) == (back.equal_ids, back.ascending)
    assert 0 <= found.equal_ids <= found.shared <= min(found.suspect, found.reference)
    assert found.equal_ids <= found.ascending <= found.shared  # what stands at equal ids ascends


@given(st.lists(st.integers(0, 50), max_size=9))
def test_the_longest_ascent_is_the_longest(numbers: list[int]) -> None:
    best = 0
    for mask in range(1 << len(numbers)):
        picked = [n for i, n in enumerate(numbers) if mask >> i & 1]
        if all(a < b for a, b in pairwise(picked)):
            best = max(best, len(picked))
    assert longest_ascent(numbers) == best


def test_a_fingerprint_recognises_its_own_and_what_extends_it() -> None:
    keys = {b"\0" + w.encode(): n for n, w in enumerate(words(5000, 7))}
    mark = make("made", keys, {}, "here")
    parsed = Fingerprint(
        "made", mark["tokens"], mark["set_digest"], tuple(_rows(mark["sample"])), frozenset(), "here"
    )
    own = held(parsed, hashes_of(keys))
    assert (own.share, own.equal_ids, own.order, own.is_it, own.exact) == (1, 1, 1, True, True)
    more = {**keys, **{b"\0zz%d" % n: 5000 + n for n in range(2000)}}
    extended = held(parsed, hashes_of(more))
    assert (extended.holds, extended.is_it, extended.exact) == (True, False, False)
    other = held(parsed, hashes_of({b"\0" + w.encode(): n for n, w in enumerate(words(5000, 8))}))
    assert not other.holds
    half = {key: n for key, n in keys.items() if n % 2}
    assert abs(held(parsed, hashes_of(half)).share - 0.5) < 0.06  # four standard errors of 1,024


def _rows(text: str) -> list[tuple[int, int]]:
    raw = base64.b64decode(text)
    return [
        (int.from_bytes(raw[at : at + 6], "big"), int.from_bytes(raw[at + 6 : at + 10], "big"))
        for at in range(0, len(raw), 10)
    ]


def test_the_shipped_fingerprints() -> None:
    names = {f.name for f in fingerprints()}
    assert {"cl100k", "o200k", "GPT-2", "Llama 2", "Llama 3", "Mistral 7B v0.1", "Qwen 2.5 and 3"} <= names
    for found in fingerprints():
        assert len(found.sample) == len({h for h, _ in found.sample}) == 1024
        assert [n for _, n in found.sample] == sorted(n for _, n in found.sample)
        assert "sha256" in found.source


def test_added_tokens_of_either_side_are_not_ordinary() -> None:
    assert ordinary({b"\0a": 0, b"\0<x>": 1, b"\0<y>": 2}, {"<x>": 1}, {"<y>": 9}) == {b"\0a": 0}


def test_encodings_say_when_the_extra_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    found = relate(tmp_path, document(BASE), document(BASE))
    assert found.numbers["encodings"] == {"not_measured": "extra_tokenizers_missing"}


def test_a_child_that_fails_or_never_ends_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    assert encoding.encoded(b"no tokenizer") is None
    monkeypatch.setattr(encoding, "_CHILD", ("-c", "import time; time.sleep(60)"))
    assert encoding.encoded(b"{}", seconds=1) is None


def test_encodings_are_counted_by_cuts_and_ids() -> None:
    """Two encodings of one line: the same cuts but one, other ids."""

    def line(ids: list[int], ends: list[int]) -> dict[str, Any]:
        return {"ids": ids, "offsets": [[0, end] for end in ends], "ids_with_special": [9, *ids]}

    found = encoding.counted(
        [line([1, 2], [2, 4]), line([1], [3])], [line([1, 2], [2, 4]), line([5, 6], [1, 3])]
    )
    assert (found["lines"], found["equal_ids"], found["equal_with_special"]) == (2, 1, 1)
    assert found["cuts_shared"] == 3 / 4
