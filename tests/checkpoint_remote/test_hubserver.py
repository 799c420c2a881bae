"""The bytes that the benchmark's server makes on demand, and what it costs to open them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.hubserver import HubServer, add_7b
from benchmarks.synthetic import BLOCK, BytesFile, Shape, ShardFile, Weights, llama
from filiation.checkpoint.formats import safetensors
from filiation.checkpoint.sidefiles import read_config
from filiation.checkpoint.sources.hub import HubSettings, open_source

TINY = Shape(layers=2, hidden=64, ffn=176, vocab=300, heads=4, kv_heads=2)
SHARD = "model-00001-of-00003.safetensors"


def tensors(files: Mapping[str, BytesFile | ShardFile]) -> dict[str, np.ndarray]:
    """Decode every tensor of a served model, by hand."""
    found: dict[str, np.ndarray] = {}
    for name, file in files.items():
        if name.endswith(".safetensors"):
            data = file.read(0, file.size)
            (length,) = struct.unpack("<Q", data[:8])
            for tensor, entry in json.loads(data[8 : 8 + length]).items():
                if tensor != "__metadata__":
                    start, stop = entry["data_offsets"]
                    bits = np.frombuffer(data[8 + length + start : 8 + length + stop], "<u2").astype(
                        np.uint32
                    )
                    found[tensor] = (bits << 16).view(np.float32).reshape(entry["shape"])
    return found


SERVED = llama(5, TINY)[SHARD]
WHOLE = SERVED.read(0, SERVED.size)


@given(st.integers(0, len(WHOLE)), st.integers(0, len(WHOLE)))
def test_any_range_is_a_part_of_the_same_file(a: int, b: int) -> None:
    start, stop = min(a, b), max(a, b)
    assert SERVED.read(start, stop) == WHOLE[start:stop]


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others() -> None:
    assert llama(5, TINY)[SHARD].read(0, 10**9) == WHOLE
    other = llama(6, TINY)[SHARD]
    assert other.size == SERVED.size
    assert other.read(0, 10**9) != WHOLE
    assert other.sha256 != SERVED.sha256


def test_the_files_are_a_complete_llama() -> None:
    files = llama(5, TINY)
    found = tensors(files)
    assert {name: value.shape for name, value in found.items()} == dict(TINY.tensors())
    index = json.loads(files["model.safetensors.index.json"].read(0, 10**6))
    assert list(index["weight_map"]) == list(found)
    assert index["metadata"]["total_size"] == sum(2 * value.size for value in found.values())
    vocabulary = json.loads(files["tokenizer.json"].read(0, 10**7))["model"]
    assert sorted(vocabulary["vocab"].values()) == list(range(TINY.vocab))
    for pair in vocabulary["merges"]:
        assert pair.replace(" ", "") in vocabulary["vocab"]
        assert all(part in vocabulary["vocab"] for part in pair.split(" "))


def test_the_weights_look_like_weights_and_a_derived_model_like_its_base() -> None:
    base = tensors(llama(1, TINY))
    derived = tensors(llama(2, TINY, base=Weights(1), noise=0.05))
    other = tensors(llama(3, TINY))
    for name in ("model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight"):
        a, b, c = base[name].ravel(), derived[name].ravel(), other[name].ravel()
        assert a.std() == pytest.approx(0.02, rel=0.05)
        assert np.corrcoef(a, b)[0, 1] > 0.99
        assert abs(np.corrcoef(a, c)[0, 1]) < 0.1
        assert np.linalg.norm(b - a) / np.linalg.norm(a) == pytest.approx(0.05, rel=0.1)
    gains = base["model.layers.0.input_layernorm.weight"]
    assert gains.mean() == pytest.approx(0.5, abs=0.1)


def test_a_block_does_not_depend_on_what_was_made_before() -> None:
    weights = Weights(9)
    later = weights.values(3, False, 7)
    weights.values(3, False, 6)
    assert np.array_equal(Weights(9).values(3, False, 7), later)
    assert later.size == BLOCK
    assert not np.array_equal(weights.values(4, False, 7), later)


def test_opening_a_7b_model_costs_eleven_requests_and_less_than_a_megabyte(
    server: HubServer, settings: HubSettings
) -> None:
    add_7b(server)
    source = open_source("bench/base", settings=settings)
    loaded = safetensors.load(source)
    assert dict(Shape().tensors()) == {name: tensor.info.shape for name, tensor in loaded.tensors.items()}
    assert sum(record.size for record in source.files()) > 13_000_000_000
    # The listing; the config, which may name other weights, and the index, both redirected within the hub; three
    # shards, a redirect and a range each.
    assert source.requests == len(server.log) == 11
    assert read_config(source) is not None
    assert source.requests == 11, "the config is not asked for again"
    assert source.bytes_read == server.bytes_sent < 1_000_000
    rows = loaded.tensors["model.layers.20.self_attn.q_proj.weight"].read((slice(0, 8),))
    assert rows.shape == (8, 4096)
    assert rows.std() == pytest.approx(0.02, rel=0.05)
    assert source.requests == 12


def test_the_server_tells_what_was_asked(server: HubServer) -> None:
    import httpx2

    server.add("o/n", {"config.json": BytesFile(b"{}")})
    httpx2.get(f"{server.endpoint}/files/o/n/config.json", trust_env=False)
    told = httpx2.get(f"{server.endpoint}/-/log", trust_env=False).json()
    assert (told["requests"], told["bytes_sent"]) == (1, 2)
    assert told["log"][0]["status"] == 200
    httpx2.get(f"{server.endpoint}/-/reset", trust_env=False)
    assert server.log == []
