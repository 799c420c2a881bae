"""Object stores, tried on the two that need no network: memory and local files."""

from __future__ import annotations

import importlib.util
import uuid
from pathlib import Path

import fsspec
import pytest

from filiation.checkpoint.sources.base import Source
from filiation.checkpoint.sources.fsspec import open_source, recognises
from filiation.errors import (
    AccessDeniedError,
    MissingExtraError,
    NetworkError,
    NotFoundError,
    UnsafeCheckpointError,
    UsageError,
)

from .conftest import small_model, weights

FILES = small_model()


@pytest.fixture
def bucket() -> str:
    """A folder of its own in fsspec's memory, which is one for the whole process."""
    root = f"memory://{uuid.uuid4().hex}"
    for name, file in FILES.items():
        with fsspec.open(f"{root}/{name}", "wb") as out:
            out.write(file.data)
    return root


def test_a_folder(bucket: str) -> None:
    source: Source = open_source(bucket)
    assert (source.locator, source.revision) == (bucket, None)
    assert source.name == bucket.rpartition("/")[2]
    assert [(f.name, f.size) for f in source.files()] == sorted((n, f.size) for n, f in FILES.items())
    for name, file in FILES.items():
        assert source.read(name) == file.data
        assert source.local_path(name) is None


def test_reads_are_planned_and_counted(bucket: str) -> None:
    source = open_source(bucket + "/")
    data = FILES["model.safetensors"].data
    assert source.read("model.safetensors", 0, 8) == data[:8]
    assert source.read("model.safetensors", 8, 5000) == data[8:5000]
    source.prefetch("model.safetensors", [(1_000_000, 1_000_100), (1_001_000, 1_001_100)])
    assert source.read("model.safetensors", 1_001_000, 1_001_100) == data[1_001_000:1_001_100]
    assert source.requests == 2
    assert source.bytes_read == 256 * 1024 + 1100


def test_one_file(bucket: str) -> None:
    source = open_source(f"{bucket}/model.safetensors")
    assert (source.chosen, source.name) == ("model.safetensors", "model")
    assert [f.name for f in source.files()] == ["config.json", "model.safetensors", "tokenizer.json"]
    assert source.read("model.safetensors", 10, 20) == FILES["model.safetensors"].data[10:20]


def test_nothing_there(bucket: str) -> None:
    for locator in (f"{bucket}/nothing", f"{bucket}nothing"):
        with pytest.raises(NotFoundError):
            open_source(locator)
    with pytest.raises(NotFoundError, match="no such file"):
        open_source(bucket).read("model-00002.safetensors")
    with pytest.raises(UnsafeCheckpointError):
        open_source(bucket).read("../x")


def test_a_file_that_goes_while_it_is_read(bucket: str) -> None:
    source = open_source(bucket)
    fsspec.filesystem("memory").rm(bucket, recursive=True)
    with pytest.raises(NotFoundError, match="in the store"):
        source.read("config.json")


def test_what_a_driver_raises_becomes_one_of_our_errors(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(bucket)
    for raised, expected in (
        (PermissionError("Forbidden"), AccessDeniedError),
        (type("NoCredentialsError", (Exception,), {})("none found"), AccessDeniedError),
        (TimeoutError("no answer"), NetworkError),
        (ValueError("an SDK's own trouble"), NetworkError),
    ):

        def fail(*_: object, error: Exception = raised, **__: object) -> bytes:
            raise error

        monkeypatch.setattr(source._store, "cat_file", fail)
        with pytest.raises(expected) as caught:
            source.read("config.json")
        assert str(raised) in str(caught.value)


def test_local_files_through_fsspec_and_a_link_that_leads_out(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(weights(1000).data)
    (folder / "inside.bin").symlink_to(folder / "model.safetensors")
    source = open_source(f"file://{folder}")
    assert source.read("inside.bin") == weights(1000).data
    (tmp_path / "secret").write_text("secret")
    (folder / "out.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeCheckpointError, match="leads out"):
        open_source(f"file://{folder}")


@pytest.mark.skipif(importlib.util.find_spec("s3fs") is not None, reason="the extra 's3' is installed")
def test_a_missing_extra_is_named() -> None:
    with pytest.raises(MissingExtraError) as caught:
        open_source("s3://bucket/model")
    assert caught.value.extra == "s3"
    assert caught.value.next_step == 'pip install "filiation[s3]"'


@pytest.mark.skipif(importlib.util.find_spec("gcsfs") is not None, reason="gcsfs is installed")
def test_a_missing_driver_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        open_source("gs://bucket/model")
    assert caught.value.next_step == "pip install gcsfs"


@pytest.mark.parametrize(
    "locator", ["ftp://host/x", "simplecache::s3://b/x", "zip://x::file:///y.zip", "github://a:b@/x"]
)
def test_other_stores_are_refused(locator: str) -> None:
    assert recognises(locator)
    with pytest.raises(UsageError, match="kind of store"):
        open_source(locator)


def test_what_is_left_to_other_sources() -> None:
    for locator in ("hf://org/name", "https://h/x", "http://h/x", "org/name", "/path", "C:\\path"):
        assert not recognises(locator)
