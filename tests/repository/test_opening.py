"""Folders, archives, single files, facts files and hub listings become repositories; hostile ones do no harm."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation import repository
from filiation.checkpoint.sources.hub import HubSettings
from filiation.checkpoint.sources.hub import open_source as open_hub
from filiation.errors import CorruptCheckpointError, FiliationError, InputError, NotFoundError
from filiation.repository import limits
from filiation.repository.identity import (
    Pointer,
    described,
    git_id,
    parse_pointer,
    pointer_id,
    same_bytes,
)
from filiation.repository.model import RepositoryFile
from filiation.repository.remote import from_source

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 16060522496\n"


def folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def test_ids_are_those_that_git_gives() -> None:
    """Known ids: git's empty blob and ``echo hello | git hash-object --stdin``."""
    assert git_id(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert git_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


@given(st.binary(max_size=300))
def test_a_file_and_its_pointer_are_the_same_bytes(data: bytes) -> None:
    pointer = Pointer(hashlib.sha256(data).hexdigest(), len(data))
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{pointer.sha256}\nsize {pointer.size}\n"
    assert parse_pointer(text.encode()) == pointer
    assert pointer_id(pointer) == git_id(text.encode())
    kept, pointed = described("a", data), described("a", text.encode())
    assert same_bytes(kept, pointed) is True
    only_id = RepositoryFile("a", None, git_id=pointer_id(pointer))  # as a hub lists what it does not hash
    assert same_bytes(kept, only_id) is True
    assert same_bytes(only_id, RepositoryFile("a", None)) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_pointer_or_not(data: bytes) -> None:
    assert parse_pointer(b"version https://git-lfs" + data) is None


def test_a_folder_is_listed_hashed_and_read(tmp_path: Path) -> None:
    files = {"config.json": b"{}", "deep/a/b/c/d.py": b"x = 1", "model.safetensors": POINTER, ".hidden": b"h"}
    found = repository.open(str(folder(tmp_path / "My-Model", files)))
    assert found.name == "My-Model"
    assert set(found.files) == set(files)
    assert found.data("deep/a/b/c/d.py") == b"x = 1"
    assert found.files["config.json"].git_id == git_id(b"{}")
    weights = found.files["model.safetensors"]
    assert (weights.size, weights.sha256, weights.not_read) == (16060522496, "ab" * 32, "pointer")
    assert not found.readable("model.safetensors")
    with pytest.raises(NotFoundError):
        found.data("model.safetensors")


def test_links_that_lead_out_and_loops_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not yours")
    model = folder(tmp_path / "model", {"config.json": b"{}"})
    (model / "out.txt").symlink_to(secret)
    (model / "inside.json").symlink_to(model / "config.json")
    (model / "loop").symlink_to(model / "loop")
    (model / "round").symlink_to(model, target_is_directory=True)
    (model / "gone").symlink_to(model / "nothing")
    found = repository.open(str(model))
    assert {n for n, f in found.files.items() if f.not_read == "link"} == {"out.txt", "loop", "gone"}
    assert found.data("inside.json") == b"{}"
    assert ("round", "folder_link") in found.notes


def test_a_link_into_the_history_is_not_followed(tmp_path: Path) -> None:
    model = folder(tmp_path / "model", {".git/config": b"[secret]"})
    (model / "x").symlink_to(model / ".git/config")
    assert repository.open(str(model)).files["x"].not_read == "link"


def test_pipes_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found = repository.open(str(tmp_path))
    assert found.notes == (("pipe", "no_regular_file"),)


def test_the_hubs_cache_links_into_its_blobs(tmp_path: Path) -> None:
    blobs = tmp_path / "models--org--name" / "blobs"
    snapshot = tmp_path / "models--org--name" / "snapshots" / ("c" * 40)
    folder(blobs, {"abc": b"{}"})
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to(blobs / "abc")
    found = repository.open(str(snapshot))
    assert (found.name, found.revision, found.data("config.json")) == ("name", "c" * 40, b"{}")


def test_large_files_are_listed_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMALL_FILE", 100)
    found = repository.open(str(folder(tmp_path, {"a.bin": bytes(101), "b.bin": bytes(100)})))
    assert found.files["a.bin"].not_read == "too_large"
    assert found.files["b.bin"].not_read is None
    assert found.part is not None
    assert found.part("a.bin", 1, 5) == bytes(4)


def test_a_file_that_changes_afterwards_is_refused(tmp_path: Path) -> None:
    found = repository.open(str(folder(tmp_path, {"a.py": b"one"})))
    (tmp_path / "a.py").write_bytes(b"two")
    with pytest.raises(CorruptCheckpointError, match="changed"):
        found.data("a.py")


def test_one_file(tmp_path: Path) -> None:
    found = repository.open(str(folder(tmp_path, {"a.py": b"one", "b.py": b"two"}) / "a.py"))
    assert set(found.files) == {"a.py"}
    assert found.data("a.py") == b"one"


def test_nothing_there() -> None:
    with pytest.raises(NotFoundError):
        repository.open("/nowhere/at/all")


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


FILES = {"top/config.json": b'{"a": 1}', "top/sub/model.py": b"x = 1\n" * 50}


@pytest.mark.parametrize("ending", [".zip", ".whl", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2"])
def test_archives_are_the_same_repository(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"model-1.0{ending}"
    modes = {".tar": "w", ".tar.xz": "w:xz", ".tar.bz2": "w:bz2"}
    _ = zipped(path, FILES) if ending in (".zip", ".whl") else tarred(path, FILES, modes.get(ending, "w:gz"))
    found = repository.open(str(path))
    assert (found.name, set(found.files)) == ("model-1.0", {"config.json", "sub/model.py"})
    assert found.data("sub/model.py") == FILES["top/sub/model.py"]
    assert found.files["config.json"].git_id == git_id(FILES["top/config.json"])
    assert found.notes == (("top", "top_folder"),)
    assert found.part is not None
    assert found.part("sub/model.py", 2, 5) == b"= 1"


@pytest.mark.parametrize("name", ["../up.txt", "/etc/passwd", "a/../../b", "C:\\x", "\\\\host\\x"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_names_that_lead_out_are_left_out(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / f"bad.{kind}"
    files = {"ok.txt": b"fine", "ok2.txt": b"fine", name: b"bad"}
    _ = zipped(path, files) if kind == "zip" else tarred(path, files)
    found = repository.open(str(path))
    assert set(found.files) == {"ok.txt", "ok2.txt"}
    assert [key for _, key in found.notes] == ["unsafe_name"]


def test_links_and_devices_in_a_tar_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "links.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (("soft", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("dev", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    found = repository.open(str(path))
    assert {n: f.not_read for n, f in found.files.items()} == {"soft": "link", "hard": "link"}


def test_bombs_are_listed_and_not_inflated(tmp_path: Path) -> None:
    for name, make in (("bomb.zip", zipped), ("bomb.tar.gz", tarred)):
        make(tmp_path / name, {"zeros.bin": bytes(80 << 20), "a.txt": b"a"})
        found = repository.open(str(tmp_path / name))
        assert found.files["zeros.bin"].not_read == "too_large"
        assert found.data("a.txt") == b"a"


def test_a_tar_that_inflates_without_end_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ALL_FILES", 1000)
    tarred(tmp_path / "bomb.tar.gz", {"a.txt": b"a", "zeros.bin": bytes(8 << 20), "after.txt": b"b"})
    found = repository.open(str(tmp_path / "bomb.tar.gz"))
    assert "after.txt" not in found.files
    assert ("zeros.bin", "more_files") in found.notes


def test_a_zip_that_lies_about_a_size(tmp_path: Path) -> None:
    path = zipped(tmp_path / "lies.zip", {"a.txt": b"a" * 1000, "b.txt": b"b"})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 10)  # the directory's uncompressed size
    path.write_bytes(data)
    found = repository.open(str(path))
    assert found.files["a.txt"].not_read == "unreadable" or found.files["a.txt"].size == 10
    assert found.data("b.txt") == b"b"


@given(st.binary(max_size=300), st.sampled_from([".zip", ".whl", ".tar", ".tar.gz"]))
def test_damaged_archives_end_in_our_errors(data: bytes, ending: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / f"x{ending}"
        path.write_bytes(b"PK\x05\x06" + data if ending in (".zip", ".whl") else data)
        with contextlib.suppress(FiliationError):
            repository.open(str(path))


def test_a_facts_file(tmp_path: Path) -> None:
    facts: dict[str, Any] = {
        "filiation_facts": 1,
        "name": "Gone",
        "files": {"tokenizer.json": {"git_id": "1" * 40, "size": 5}},
        "contents": {"config.json": {"a": 1}},
        "absent": ["b.py"],
        "commits": [{"id": "2" * 40, "authored": "2024-05-19", "committed": "2024-05-19", "subject": "init"}],
    }
    path = tmp_path / "gone.json"
    path.write_text(json.dumps(facts))
    found = repository.open(str(path))
    assert json.loads(found.text("config.json")) == {"a": 1}
    assert found.files["tokenizer.json"].not_read == "facts"
    assert ("b.py", "absent") in found.notes
    assert ("", "listing_incomplete") in found.notes
    assert found.commits[0].subject == "init"


@pytest.mark.parametrize(
    "facts",
    [
        {"filiation_facts": 2},
        {"filiation_facts": 1, "files": []},
        {"filiation_facts": 1, "files": {"a": 1}},
        {"filiation_facts": 1, "files": {"a": {"git_id": "short"}}},
        {"filiation_facts": 1, "files": {"a": {"size": -1}}},
        {"filiation_facts": 1, "commits": [{"id": "x"}]},
        {"filiation_facts": 1, "commits": 7},
    ],
)
def test_broken_facts_files(tmp_path: Path, facts: dict[str, Any]) -> None:
    path = tmp_path / "gone.json"
    path.write_text(json.dumps(facts))
    with pytest.raises(InputError, match="facts file"):
        repository.open(str(path))


class Listed:
    """A place that lists files with what it knows of them, as the hub does."""

    def __init__(self, files: dict[str, bytes], lies: bool = False) -> None:
        self.locator, self.name, self.revision, self.bytes_read = "org/name", "name", "c" * 40, 0
        self.notes: tuple[str, ...] = ()
        self._files, self._lies = files, lies
        self.asked: list[str] = []

    def files(self) -> list[Any]:
        from filiation.evidence import FileRecord

        return [FileRecord(name, len(data)) for name, data in self._files.items()]

    def git_ids(self) -> dict[str, str]:
        return {name: git_id(data + b"!" if self._lies else data) for name, data in self._files.items()}

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        self.asked.append(name)
        return self._files[name][start:stop]

    def prefetch(self, name: str, ranges: Any) -> None: ...

    def local_path(self, name: str) -> None:
        return None


def test_a_hub_listing_tells_ids_without_a_read() -> None:
    source = Listed({"config.json": b"{}"})
    found = from_source(source)
    assert found.files["config.json"].git_id == git_id(b"{}")
    assert source.asked == []
    assert found.data("config.json") == b"{}"
    assert ("", "history_not_asked") in found.notes


def test_a_hub_that_sends_other_bytes_is_not_believed() -> None:
    found = from_source(Listed({"config.json": b"{}"}, lies=True))
    with pytest.raises(CorruptCheckpointError, match="not the file that was listed"):
        found.data("config.json")


def test_ids_come_from_the_hubs_cache(tmp_path: Path) -> None:
    """A commit whose listing the hub's client kept is opened offline, ids included."""
    home = tmp_path / "models--org--name"
    commit = "c" * 40
    folder(home / "snapshots" / commit, {"config.json": b"{}"})
    folder(home, {"refs/main": commit.encode()})
    entry = {"size": 2, "blob_id": git_id(b"{}")}
    folder(home, {f"trees/{commit}.json": json.dumps({"files": {"config.json": entry}}).encode()})
    settings = HubSettings(endpoint="https://example.org", cache=tmp_path, offline=True)
    found = from_source(open_hub("org/name", settings=settings))
    assert found.files["config.json"].git_id == git_id(b"{}")
    assert (found.revision, found.data("config.json")) == (commit, b"{}")
