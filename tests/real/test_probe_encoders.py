"""Own encoders against the tokenizers package on public tokenizers, and the shipped tables against their sources."""

from __future__ import annotations

import functools
import glob
from pathlib import Path

import pytest

from filiation.behaviour.candidates import Candidate, open_file, shipped_candidates
from filiation.behaviour.encoders import ByteEncoder, PieceEncoder
from filiation.behaviour.encoding import JsonEncoder
from filiation.behaviour.probes import battery
from tests.real import fetch
from tests.real.test_tokenizers import opened

pytestmark = pytest.mark.real
pytest.importorskip("tokenizers", reason="the extra 'tokenizers' is not installed")

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def texts() -> tuple[str, ...]:
    """Random probes, and lines of this project in English and Chinese."""
    found = [probe.framed for seed in range(20) for probe in battery(seed)]
    for name in (
        "docs/evidence.md",
        "src/filiation/report/phrases/zh-CN.toml",
        "src/filiation/behaviour/probes.py",
    ):
        found += [line for line in (ROOT / name).read_text(encoding="utf-8").split("\n") if line]
    return tuple(found)


def by_package(locator: str) -> tuple[tuple[int, ...], ...]:
    (path,) = glob.glob(f"{glob.escape(locator)}/tokenizer.json")
    return JsonEncoder(Path(path).read_text(encoding="utf-8"), path).encode(texts())


@pytest.mark.parametrize("key", ["llama3", "llama3_1", "qwen3", "deepseek_v3", "gptoss", "mislabelled"])
def test_own_encoders_cut_as_the_package_does(key: str) -> None:
    locator = opened(key).locator
    own = open_file(locator)
    assert isinstance(own.encoder, ByteEncoder | PieceEncoder)
    assert own.encode(texts()) == by_package(locator)


def shipped(name: str) -> Candidate:
    (found,) = shipped_candidates((name,))
    return found


@pytest.mark.parametrize(("name", "key"), [("Qwen 3", "qwen3"), ("Mistral 7B v0.1", "mislabelled")])
def test_shipped_tables_cut_as_the_files_they_were_taken_from(name: str, key: str) -> None:
    assert shipped(name).encode(texts()) == by_package(opened(key).locator)


def test_the_shipped_table_of_smollm2_is_its_ggufs() -> None:
    assert shipped("SmolLM2").encode(texts()) == open_file(str(fetch.path("smollm2"))).encode(texts())


def test_the_shipped_table_of_cl100k_is_that_of_its_ranks() -> None:
    ranks = open_file(opened("cl100k").locator)
    assert shipped("cl100k").encode(texts()) == ranks.encode(texts())
    assert shipped("cl100k").vocabulary.tokens == ranks.vocabulary.tokens
