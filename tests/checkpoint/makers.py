"""Files for the tests: honest ones by the formats' own writers, dishonest ones byte by byte."""

from __future__ import annotations

import collections
import io
import json
import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file

from filiation.checkpoint import open as open_checkpoint
from filiation.checkpoint.sources.local import LocalSource
from filiation.errors import CorruptCheckpointError, FiliationError, UnsupportedFormatError


def weights(seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    return {
        "embed.weight": rng.standard_normal((12, 8), dtype=np.float32),
        "layer.0.weight": rng.standard_normal((8, 4), dtype=np.float32).astype(np.float16),
        "layer.0.bias": rng.standard_normal(8, dtype=np.float32),
        "experts": rng.standard_normal((3, 4, 5), dtype=np.float32),
    }


def model(folder: Path, tensors: Mapping[str, Any] | None = None, config: Any = None) -> Path:
    """A folder with model.safetensors and config.json, as the usual tools write them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(weights() if tensors is None else tensors), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "x"} if config is None else config))
    return folder


def craft(path: Path, header: Any, data: bytes = b"", *, length: int | None = None) -> Path:
    """A safetensors file with any header at all."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)
    return path


def entry(dtype: str, shape: list[int], start: int, stop: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def sharded(
    folder: Path, shards: list[Mapping[str, Any]], *, index: bool = True, stem: str = "model"
) -> list[str]:
    """Numbered safetensors shards, with the index that transformers would write."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{stem}-{n + 1:05d}-of-{len(shards):05d}.safetensors" for n in range(len(shards))]
    for name, tensors in zip(names, shards, strict=True):
        save_file(dict(tensors), folder / name)
    if index:
        weight_map = {key: name for name, tensors in zip(names, shards, strict=True) for key in tensors}
        text = json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map})
        (folder / f"{stem}.safetensors.index.json").write_text(text)
    return names


def write_gguf(
    path: Path,
    tensors: Mapping[str, np.ndarray[Any, Any]],
    kinds: Mapping[str, gguf.GGMLQuantizationType] | None = None,
    values: Mapping[str, Any] | None = None,
) -> Path:
    """A GGUF file by gguf's own writer; ``kinds`` names the kind of tensors given as raw bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in (values or {}).items():
        if isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_uint32(key, value)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor, raw_dtype=(kinds or {}).get(name))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def raw_gguf(
    path: Path,
    tensors: list[tuple[str, list[int], int, int]],
    data: bytes,
    *,
    values: bytes = b"",
    n_values: int = 0,
    version: int = 3,
    n_tensors: int | None = None,
) -> Path:
    """A GGUF file with any tensor list at all: ``(name, dims innermost first, kind, offset)``."""
    count = len(tensors) if n_tensors is None else n_tensors
    head = b"GGUF" + struct.pack("<IQQ", version, count, n_values) + values
    for name, dims, kind, offset in tensors:
        raw = name.encode()
        head += struct.pack("<Q", len(raw)) + raw + struct.pack("<I", len(dims))
        head += struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", kind, offset)
    path.write_bytes(head + b"\0" * (-len(head) % 32) + data)
    return path


class FakeStorage:
    """What a tensor of :class:`FakeTensor` keeps its values in."""

    def __init__(self, values: np.ndarray[Any, Any], kind: str, key: str) -> None:
        self.values, self.kind, self.key = np.ascontiguousarray(values), kind, key


_KINDS = {
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "float64": "DoubleStorage",
}


class FakeTensor:
    """Pickles exactly as a torch tensor does: a call of torch._utils._rebuild_tensor_v2 over a storage."""

    def __init__(
        self,
        storage: FakeStorage,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        offset: int = 0,
    ) -> None:
        self.storage, self.shape, self.strides, self.offset = storage, shape, strides, offset

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2  # type: ignore[attr-defined]
        hooks: Any = collections.OrderedDict()
        return rebuild, (self.storage, self.offset, self.shape, self.strides, False, hooks)


def tensor(values: np.ndarray[Any, Any], key: str) -> FakeTensor:
    """A contiguous tensor in a storage of its own."""
    strides = tuple(s // values.itemsize for s in np.ascontiguousarray(values).strides)
    return FakeTensor(FakeStorage(values, _KINDS[values.dtype.name], key), values.shape, strides)


@contextmanager
def fake_torch() -> Iterator[types.ModuleType]:
    """Modules with torch's names, so that Python's pickler writes those names; gone afterwards."""
    saved = {name: sys.modules.get(name) for name in ("torch", "torch._utils", "torch.storage")}
    torch = types.ModuleType("torch")
    utils = types.ModuleType("torch._utils")
    for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter"):
        setattr(utils, name, _named_function(name, "torch._utils"))
    for name in (*_KINDS.values(), "UntypedStorage", "Size"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    sys.modules |= {"torch": torch, "torch._utils": utils}
    try:
        yield torch
    finally:
        for name, module in saved.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def _named_function(name: str, module: str) -> Any:
    def function() -> None: ...

    function.__name__ = function.__qualname__ = name
    function.__module__ = module
    return function


class TorchPickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Python's pickler with torch's persistent ids for storages."""

    def __init__(self, file: Any, legacy: bool, torch: types.ModuleType) -> None:
        super().__init__(file, protocol=2)
        self.legacy, self.torch, self.seen = legacy, torch, {}

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, FakeStorage):
            return None
        self.seen[obj.key] = obj
        kind = getattr(self.torch, obj.kind)
        ident = ("storage", kind, obj.key, "cpu", obj.values.size)
        return (*ident, None) if self.legacy else ident


def save_torch(
    path: Path, root: Any, *, compression: int = zipfile.ZIP_STORED, extra: Mapping[str, bytes] | None = None
) -> Path:
    """What ``torch.save`` writes since 1.6."""
    buffer = io.BytesIO()
    with fake_torch() as torch:
        pickler = TorchPickler(buffer, legacy=False, torch=torch)
        pickler.dump(root)
    return zip_torch(path, buffer.getvalue(), pickler.seen, compression=compression, extra=extra)


def zip_torch(
    path: Path,
    data_pkl: bytes,
    storages: Mapping[str, FakeStorage] | None = None,
    *,
    compression: int = zipfile.ZIP_STORED,
    extra: Mapping[str, bytes] | None = None,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        archive.writestr("archive/byteorder", b"little")
        for key, storage in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", storage.values.tobytes())
        archive.writestr("archive/version", b"3\n")
        for name, data in (extra or {}).items():
            archive.writestr(name, data)
    return path


def save_legacy(path: Path, root: Any, *, endian: bool = True) -> Path:
    """What ``torch.save`` wrote before 1.6."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    pickle.dump(0x1950A86A20F9469CFC6C, buffer, protocol=2)
    pickle.dump(1001, buffer, protocol=2)
    pickle.dump({"protocol_version": 1001, "little_endian": endian}, buffer, protocol=2)
    with fake_torch() as torch:
        pickler = TorchPickler(buffer, legacy=True, torch=torch)
        pickler.dump(root)
    keys = sorted(pickler.seen)
    pickle.dump(keys, buffer, protocol=2)
    for key in keys:
        values = pickler.seen[key].values
        buffer.write(struct.pack("<q", values.size) + values.tobytes())
    path.write_bytes(buffer.getvalue())
    return path


def check(
    error: FiliationError,
    kind: type[FiliationError],
    *,
    file: str,
    reason: str,
    tensor: str | None = None,
    message: str = "",
    exit_code: int = 4,
) -> None:
    """Every refusal names the file, the tensor (where one is meant), the reason and what to do next."""
    assert type(error) is kind
    assert error.file is not None
    assert error.file.endswith(file)
    assert error.tensor == tensor
    assert error.reason is not None
    assert reason in error.reason, error.reason
    assert message in error.message, error.message
    assert error.next_step
    assert error.next_step.rstrip().endswith((".", ")"))
    assert error.exit_code == exit_code
    assert error.envelope()["error"]["code"] == kind.code


class Remote:
    """A folder as if it lay elsewhere: no path, no reading without a copy; every request is written down."""

    chosen = None

    def __init__(self, folder: Path) -> None:
        self._source = LocalSource(folder)
        self.requests: list[tuple[str, int, int]] = []
        self.prefetched: list[tuple[str, tuple[tuple[int, int], ...]]] = []
        self.short = 0
        self._held: dict[tuple[str, int, int | None], bytes] = {}

    locator, name, revision = "remote://x", "x", "c" * 40

    @property
    def bytes_read(self) -> int:
        return self._source.bytes_read

    def files(self) -> Any:
        return self._source.files()

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        if (name, start, stop) in self._held:
            return self._held[name, start, stop]
        data = self._source.read(name, start, stop)
        self.requests.append((name, start, start + len(data)))
        return data[: len(data) - self.short]

    def prefetch(self, name: str, ranges: Any) -> None:
        self.prefetched.append((name, tuple(ranges)))
        for start, stop in ranges:
            self._held[name, start, stop] = self._source.read(name, start, stop)

    def local_path(self, name: str) -> Path | None:
        return None


VALUES = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "a.bias": np.arange(3, dtype=np.float16),
    "ids": np.arange(5),
}


def state_dict() -> dict[str, FakeTensor]:
    """VALUES as a state dict to be saved."""
    return collections.OrderedDict((name, tensor(v, str(i))) for i, (name, v) in enumerate(VALUES.items()))


def pickled(root: Any) -> tuple[bytes, dict[str, FakeStorage]]:
    """The bytes of ``data.pkl`` and the storages it speaks of."""
    buffer = io.BytesIO()
    with fake_torch() as torch:
        pickler = TorchPickler(buffer, legacy=False, torch=torch)
        pickler.dump(root)
    return buffer.getvalue(), pickler.seen


def refused(
    path: Path, reason: str, tensor: str | None = None, message: str = "", kind: Any = CorruptCheckpointError
) -> None:
    """Opening the file must be refused, and the refusal must name it."""
    with pytest.raises(kind) as caught:
        open_checkpoint(str(path))
    check(caught.value, kind, file=path.name, reason=reason, tensor=tensor, message=message)


def unsupported(path: Path, reason: str) -> None:
    """Opening the file must be refused as of a kind that is not read."""
    refused(path, reason, kind=UnsupportedFormatError)
