"""Folders and files on this machine: what is read, what is refused, and why."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from filiation import checkpoint
from filiation.checkpoint.sources.local import LocalSource
from filiation.errors import (
    AccessDeniedError,
    CorruptCheckpointError,
    InputError,
    NotFoundError,
    UnsafeCheckpointError,
)
from tests.checkpoint.makers import check, model, weights


def test_a_folder_lists_its_files_and_those_a_little_deeper(tmp_path: Path) -> None:
    model(tmp_path / "m")
    (tmp_path / "m" / "onnx").mkdir()
    (tmp_path / "m" / "onnx" / "model.onnx").write_bytes(b"x")
    (tmp_path / "m" / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "m" / "a" / "b" / "c" / "deep").write_bytes(b"x")
    (tmp_path / "m" / ".git").mkdir()
    (tmp_path / "m" / ".git" / "HEAD").write_bytes(b"x")
    source = LocalSource(tmp_path / "m")
    assert [f.name for f in source.files()] == ["config.json", "model.safetensors", "onnx/model.onnx"]
    assert (source.name, source.revision, source.chosen) == ("m", None, None)


def test_ranges_and_their_count(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(range(100)))
    source = LocalSource(tmp_path)
    assert source.read("x", 10, 20) == bytes(range(10, 20))
    assert source.read("x", 95) == bytes(range(95, 100))
    assert source.bytes_read == 15
    buffer = bytearray(4)
    source.read_into("x", 3, memoryview(buffer))
    assert bytes(buffer) == bytes(range(3, 7))
    assert source.bytes_read == 19
    assert source.local_path("x") == (tmp_path / "x").resolve()


def test_reading_past_the_end_says_the_file_is_short(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    with pytest.raises(CorruptCheckpointError) as caught:
        LocalSource(tmp_path).read("x", 0, 10)
    check(caught.value, CorruptCheckpointError, file="x", reason="ends at 3")


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a" * 100)
    source = LocalSource(tmp_path)
    path.write_bytes(b"b" * 100)
    os.utime(path, ns=(1, 1))
    with pytest.raises(CorruptCheckpointError) as caught:
        source.read("x")
    check(caught.value, CorruptCheckpointError, file="x", reason="Another program wrote")


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    model(tmp_path / "elsewhere")
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere" / "model.safetensors")
    with pytest.raises(UnsafeCheckpointError) as caught:
        checkpoint.open(str(folder))
    check(caught.value, UnsafeCheckpointError, file="model.safetensors", reason="outside the folder")


def test_a_link_for_the_settings_is_refused_too(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(secret)
    with pytest.raises(UnsafeCheckpointError) as caught:
        checkpoint.open(str(folder))
    check(caught.value, UnsafeCheckpointError, file="config.json", reason=str(secret))


def test_a_link_that_does_not_matter_is_only_refused_when_read(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (tmp_path / "notes.md").write_text("x")
    (folder / "notes.md").symlink_to(tmp_path / "notes.md")
    opened = checkpoint.open(str(folder))
    assert "notes.md" not in opened.side_files
    with pytest.raises(NotFoundError):
        opened.read_file("notes.md")


def test_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "weights")
    (folder / "model.safetensors").symlink_to("weights")
    np.testing.assert_array_equal(
        checkpoint.open(str(folder)).read("embed.weight"), weights()["embed.weight"]
    )


def test_a_linked_folder_that_the_caller_names_is_the_callers_choice(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(model(tmp_path / "m"))
    assert len(checkpoint.open(str(tmp_path / "link")).tensors) == len(weights())


def test_a_linked_file_that_the_caller_names_is_the_callers_choice(tmp_path: Path) -> None:
    model(tmp_path / "m")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "w.safetensors").symlink_to(tmp_path / "m" / "model.safetensors")
    opened = checkpoint.open(str(tmp_path / "here" / "w.safetensors"))
    assert opened.name == "w"
    assert len(opened.tensors) == len(weights())


def test_a_link_to_nothing_is_an_unfinished_download(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to("gone")
    with pytest.raises(NotFoundError) as caught:
        checkpoint.open(str(folder))
    check(caught.value, NotFoundError, file="model.safetensors", reason="is not there")


def _cached(tmp_path: Path, repo: str = "models--org--Tiny-1B") -> tuple[Path, Path]:
    snapshot, blobs = tmp_path / repo / "snapshots" / ("a" * 40), tmp_path / repo / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    return snapshot, blobs


def test_the_hub_cache_layout_is_read_with_its_commit(tmp_path: Path) -> None:
    snapshot, blobs = _cached(tmp_path)
    model(tmp_path / "m")
    for name, blob in (("model.safetensors", "b1"), ("config.json", "b2")):
        (tmp_path / "m" / name).rename(blobs / blob)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    opened = checkpoint.open(str(snapshot))
    assert (opened.name, opened.revision) == ("Tiny-1B", "a" * 40)
    assert opened.config == {"model_type": "x"}
    np.testing.assert_array_equal(opened.read("embed.weight"), weights()["embed.weight"])
    assert opened.files[0].sha256 is not None


def test_the_cache_layout_opens_no_way_out(tmp_path: Path) -> None:
    model(tmp_path / "m")
    outside = tmp_path / "m" / "model.safetensors"
    snapshot, blobs = _cached(tmp_path)
    (blobs / "b1").symlink_to(outside)  # a blob that is itself a link
    (snapshot / "model.safetensors").symlink_to("../../blobs/b1")
    with pytest.raises(UnsafeCheckpointError):
        checkpoint.open(str(snapshot))


def test_a_blobs_folder_that_is_a_link_is_no_blobs_folder(tmp_path: Path) -> None:
    outside = model(tmp_path / "m")
    snapshot, blobs = _cached(tmp_path)
    blobs.rmdir()
    blobs.symlink_to(outside)
    (snapshot / "model.safetensors").symlink_to("../../blobs/model.safetensors")
    with pytest.raises(UnsafeCheckpointError):
        checkpoint.open(str(snapshot))


def test_the_cache_layout_counts_only_under_the_caches_name(tmp_path: Path) -> None:
    snapshot, blobs = _cached(tmp_path, "anything")
    (blobs / "b1").write_bytes(b"x")
    (snapshot / "model.safetensors").symlink_to("../../blobs/b1")
    with pytest.raises(UnsafeCheckpointError):
        checkpoint.open(str(snapshot))


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/hostname"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(b"x")
    (tmp_path / "m").mkdir()
    with pytest.raises(UnsafeCheckpointError) as caught:
        LocalSource(tmp_path / "m").read(name)
    check(caught.value, UnsafeCheckpointError, file=name, reason="leads out")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        LocalSource(tmp_path).read("x")
    check(caught.value, NotFoundError, file="x", reason="does not hold")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        checkpoint.open(str(tmp_path / "none"))
    check(caught.value, NotFoundError, file="none", reason="No such file")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model(tmp_path / "m")
    # The tests may run as root, whom no permission bits stop; the system's refusal is what counts.
    import builtins

    real = builtins.open

    def refuse(path: object, *args: object, **kwargs: object) -> object:
        if str(path).endswith("model.safetensors"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(AccessDeniedError) as caught:
        checkpoint.open(str(folder))
    check(caught.value, AccessDeniedError, file="model.safetensors", reason="permission denied")


def test_a_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model(tmp_path / "m")
    monkeypatch.setattr(os, "scandir", lambda _: (_ for _ in ()).throw(PermissionError(13, "denied")))
    with pytest.raises(AccessDeniedError) as caught:
        checkpoint.open(str(folder))
    check(caught.value, AccessDeniedError, file="m", reason="permission denied")


def test_a_disk_error_is_passed_on_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model(tmp_path / "m")
    monkeypatch.setattr(os, "scandir", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(InputError) as caught:
        checkpoint.open(str(folder))
    check(caught.value, InputError, file="m", reason="Input/output error")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(InputError) as caught:
        checkpoint.open(str(tmp_path / "model.safetensors"))
    check(caught.value, InputError, file="model.safetensors", reason="pipe")


def test_many_threads_read_what_one_reads(tmp_path: Path) -> None:
    opened = checkpoint.open(str(model(tmp_path / "m")))
    before = opened.bytes_read
    wrong: list[str] = []

    def work() -> None:
        for name, expected in weights().items():
            for row in range(len(expected)):
                if not np.array_equal(opened.read(name, row), expected[row].astype(np.float32)):
                    wrong.append(name)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert opened.bytes_read - before == 8 * opened.total_bytes
