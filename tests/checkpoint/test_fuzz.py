"""Whatever bytes a file holds, opening it succeeds or says why not; nothing else ever comes out."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation import checkpoint
from filiation.errors import FiliationError
from tests.checkpoint.makers import craft, model, save_legacy, save_torch, tensor, write_gguf

# pickletools, which decodes opcodes, passes on Python's own warning about escapes in damaged text.
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
sizes = st.integers(-3, 40) | st.sampled_from([2**31, 2**53, 2**63, 2**64, 10**30])
entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "BF16", "F4", "F6_E2M3", "BOOL", "X"]) | json_values,
        "shape": st.lists(sizes, max_size=4) | json_values,
        "data_offsets": st.lists(sizes, min_size=2, max_size=2) | json_values,
    },
)


def attempt(path: Path) -> None:
    """Open and read everything; only this program's own errors may come out, and those must be complete."""
    opened, refusal = _try(lambda: checkpoint.open(str(path)))
    assert opened is None or refusal is None
    if refusal is not None:
        assert all((refusal.message, refusal.reason, refusal.next_step))
    for name in opened.tensors if opened is not None else ():
        _, refusal = _try(lambda name=name: opened.read(name))
        assert refusal is None or all((refusal.reason, refusal.file, refusal.tensor))


def _try(action: Callable[[], Any]) -> tuple[Any, FiliationError | None]:
    try:
        return action(), None
    except FiliationError as error:
        return None, error


@given(st.dictionaries(st.text(max_size=6), entries | json_values, max_size=4), st.binary(max_size=60))
def test_safetensors_headers(tmp_path_factory: pytest.TempPathFactory, header: Any, data: bytes) -> None:
    attempt(craft(tmp_path_factory.mktemp("s") / "model.safetensors", header, data))


@given(st.binary(max_size=300), st.none() | st.integers(0, 2**64 - 1))
def test_any_bytes_under_any_name(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, length: int | None
) -> None:
    folder = tmp_path_factory.mktemp("b")
    for name in ("model.safetensors", "m.gguf", "pytorch_model.bin", "m.pt", "weights"):
        path = folder / name
        path.write_bytes(data)
        attempt(path)
        attempt(craft(path, data, length=length))
        path.write_bytes(b"GGUF" + struct.pack("<I", 3) + data)
        attempt(path)
        path.write_bytes(b"PK\3\4" + data)
        attempt(path)


def _samples(folder: Path) -> list[Path]:
    values = {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.ones(40, np.float16)}
    state = {name: tensor(value, str(i)) for i, (name, value) in enumerate(values.items())}
    return [
        model(folder / "s", values) / "model.safetensors",
        write_gguf(folder / "g" / "m.gguf", values, values={"tokens": ["a", "b"], "n": 3, "x": 1.5}),
        save_torch(folder / "z" / "m.pt", state),
        save_legacy(folder / "l" / "m.pt", state),
    ]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return _samples(tmp_path_factory.mktemp("samples"))


@given(data=st.data())
def test_honest_files_with_some_bytes_changed(
    tmp_path_factory: pytest.TempPathFactory, samples: list[Path], data: st.DataObject
) -> None:
    sample = data.draw(st.sampled_from(samples))
    raw = bytearray(sample.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=8))
        raw[at : at + len(piece)] = piece
    cut = data.draw(st.integers(0, len(raw)))
    path = tmp_path_factory.mktemp("c") / sample.name
    path.write_bytes(raw[:cut] if data.draw(st.booleans()) else raw)
    attempt(path)


@given(json_values)
def test_indices_and_configs(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    folder = tmp_path_factory.mktemp("i")
    (folder / "config.json").write_text(json.dumps(value))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": value}))
    attempt(folder)
    model(folder, config=value)
    attempt(folder)
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "model.safetensors.index.json").unlink()
    (folder / "adapter_config.json").write_text(json.dumps(value))
    attempt(folder)
