"""The hub client's cache: made by the hub client itself from the imitated hub, then read by us."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants, hf_hub_download

from benchmarks.hubserver import BytesFile, Fault, HubServer, Repo
from filiation.checkpoint.sources.hub import HubSettings, open_source
from filiation.checkpoint.sources.hub_cache import HubCache
from filiation.errors import (
    AccessDeniedError,
    CorruptCheckpointError,
    NetworkError,
    NotFoundError,
    UnsafeCheckpointError,
)

from .conftest import small_model


@pytest.fixture(autouse=True)
def _plain_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)


@pytest.fixture
def repo(server: HubServer) -> Repo:
    return server.add("org/name", dict(small_model()))


def fetch(server: HubServer, settings: HubSettings, *names: str) -> Path:
    """Let the hub client fetch these files into the cache."""
    for name in names:
        hf_hub_download("org/name", name, cache_dir=settings.cache, endpoint=server.endpoint, token=False)
    server.reset()
    return settings.cache / "models--org--name" / "snapshots" / server.repos["org/name"].commit


def offline(settings: HubSettings) -> HubSettings:
    return replace(settings, offline=True, endpoint="http://127.0.0.1:1")


def test_the_imitated_hub_satisfies_the_hub_client(
    server: HubServer, settings: HubSettings, repo: Repo
) -> None:
    info = HfApi(server.endpoint, token=False).model_info("org/name", files_metadata=True)
    assert info.sha == repo.commit
    listed = {s.rfilename: s.lfs.sha256 if s.lfs else None for s in info.siblings or []}
    assert listed == {name: f.sha256 if f.large else None for name, f in repo.files.items()}
    folder = fetch(server, settings, *repo.files)
    for name, file in repo.files.items():
        assert (folder / name).read_bytes() == file.read(0, file.size)


def test_a_cached_file_is_read_from_the_cache(server: HubServer, settings: HubSettings, repo: Repo) -> None:
    fetch(server, settings, *repo.files)
    source = open_source("org/name", settings=settings)
    listing = server.bytes_sent
    for name, file in repo.files.items():
        assert source.read(name) == file.read(0, file.size)
        source.prefetch(name, [(0, 10)])
        part = bytearray(20)
        source.read_into(name, 3, memoryview(part))
        assert part == file.read(3, 23)
        path = source.local_path(name)
        assert path is not None
        assert path.read_bytes() == file.read(0, file.size)
    assert len(server.log) == 1  # the listing, to learn what the branch stands for now
    assert source.bytes_read == listing + sum(file.size + 20 for file in repo.files.values())


def test_what_is_not_cached_is_read_from_the_hub(
    server: HubServer, settings: HubSettings, repo: Repo
) -> None:
    fetch(server, settings, "config.json")
    source = open_source("org/name", settings=settings)
    assert source.local_path("config.json") is not None
    assert source.local_path("model.safetensors") is None
    part = bytearray(10)
    source.read_into("model.safetensors", 0, memoryview(part))
    assert part == repo.files["model.safetensors"].read(0, 10)
    assert [r.method for r in server.log] == ["GET", "HEAD", "GET"]


def test_a_cached_file_of_an_older_commit_is_not_used(
    server: HubServer, settings: HubSettings, repo: Repo
) -> None:
    fetch(server, settings, *repo.files)
    server.add("org/name", small_model(2), commit="b" * 40)
    source = open_source("org/name", settings=settings)
    assert source.revision == "b" * 40
    assert source.local_path("model.safetensors") is None
    data = server.repos["org/name"].files["model.safetensors"].read(0, 1000)
    assert source.read("model.safetensors", 0, 1000) == data


def test_a_half_fetched_file_is_not_used(server: HubServer, settings: HubSettings, repo: Repo) -> None:
    folder = fetch(server, settings, *repo.files)
    blob = (folder / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:1000])
    source = open_source("org/name", settings=settings)
    assert source.local_path("model.safetensors") is None
    assert source.read("model.safetensors", 2000, 2010) == repo.files["model.safetensors"].read(2000, 2010)


def test_offline_everything_comes_from_the_cache(
    server: HubServer, settings: HubSettings, repo: Repo
) -> None:
    fetch(server, settings, *repo.files)
    for locator in ("org/name", "org/name@main", f"org/name@{repo.commit}"):
        source = open_source(locator, settings=offline(settings))
        assert source.revision == repo.commit
        assert source.requests == 0
        listed = {f.name: (f.size, f.sha256) for f in source.files()}
        assert listed == {n: (f.size, f.sha256 if f.large else None) for n, f in repo.files.items()}
        for name, file in repo.files.items():
            assert source.read(name) == file.read(0, file.size)
    assert server.log == []


def test_offline_and_not_cached_says_what_to_do(server: HubServer, settings: HubSettings, repo: Repo) -> None:
    fetch(server, settings, "config.json")
    for locator in ("org/other", "org/name@v2", f"org/name@{'c' * 40}"):
        with pytest.raises(NotFoundError, match="not on this machine") as caught:
            open_source(locator, settings=offline(settings))
        assert "HF_HUB_OFFLINE" in (caught.value.reason or "")
        assert "hf download" in (caught.value.next_step or "")
    source = open_source("org/name", settings=offline(settings))
    with pytest.raises(NotFoundError, match="no such file"):
        source.read("model.safetensors")


def keep_listing(settings: HubSettings, repo: Repo, folder: Path) -> None:
    """Write the listing that newer hub clients keep beside the snapshots."""
    files = {
        name: {
            "size": f.size,
            "blob_id": "0" * 40,
            **({"lfs_sha256": f.sha256, "lfs_size": f.size} if f.large else {}),
        }
        for name, f in repo.files.items()
    }
    tree = folder.parent.parent / "trees" / f"{repo.commit}.json"
    tree.parent.mkdir(exist_ok=True)
    tree.write_text(json.dumps({"format_version": 1, "files": files}))


def test_offline_a_file_that_was_never_fetched_is_named(
    server: HubServer, settings: HubSettings, repo: Repo
) -> None:
    folder = fetch(server, settings, "config.json")
    keep_listing(settings, repo, folder)
    source = open_source("org/name", settings=offline(settings))
    assert source.read("config.json") == b'{"model_type": "llama"}'
    for read in (
        lambda: source.read("model.safetensors"),
        lambda: source.prefetch("model.safetensors", [(0, 1)]),
    ):
        with pytest.raises(
            NotFoundError, match=r"model\.safetensors of org/name is not on this machine"
        ) as caught:
            read()
        assert repo.commit in (caught.value.reason or "")


def test_a_complete_snapshot_of_a_named_commit_needs_no_network(
    server: HubServer, settings: HubSettings, repo: Repo
) -> None:
    folder = fetch(server, settings, *repo.files)
    keep_listing(settings, repo, folder)
    source = open_source(f"org/name@{repo.commit}", settings=settings)
    assert source.read("model.safetensors", 0, 100) == repo.files["model.safetensors"].read(0, 100)
    assert server.log == []
    (folder / "onnx/model.onnx").unlink()
    assert open_source(f"org/name@{repo.commit}", settings=settings).local_path("onnx/model.onnx") is None
    assert len(server.log) == 1


def test_a_dead_hub_is_replaced_by_the_cache_and_the_source_says_so(
    server: HubServer, settings: HubSettings, repo: Repo
) -> None:
    fetch(server, settings, "config.json", "model.safetensors")
    server.inject(Fault("status", match="/api/", status=503, times=100))
    source = open_source("org/name", settings=settings)
    assert source.revision == repo.commit
    assert source.read("model.safetensors", 0, 10) == repo.files["model.safetensors"].read(0, 10)
    (note,) = source.notes
    assert "status 503" in note
    assert repo.commit in note
    with pytest.raises(NetworkError):
        open_source("org/other", settings=settings)


def test_a_refusal_is_not_replaced_by_the_cache(server: HubServer, settings: HubSettings, repo: Repo) -> None:
    fetch(server, settings, "config.json")
    del server.repos["org/name"]
    with pytest.raises(NotFoundError, match="no model org/name"):
        open_source("org/name", settings=settings)


def test_a_cached_file_that_links_out_of_the_cache_is_refused(
    server: HubServer, settings: HubSettings, repo: Repo, tmp_path: Path
) -> None:
    folder = fetch(server, settings, *repo.files)
    outside = tmp_path / "secret"
    outside.write_bytes(repo.files["config.json"].read(0, 100))
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(outside)
    for how in (settings, offline(settings)):
        with pytest.raises(UnsafeCheckpointError, match="outside the cache"):
            open_source("org/name", settings=how)


def test_a_blob_shared_between_repositories_is_used(
    server: HubServer, settings: HubSettings, repo: Repo
) -> None:
    folder = fetch(server, settings, *repo.files)
    blob = (folder / "model.safetensors").resolve()
    shared = settings.cache / "blobs" / "ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    shutil.move(blob, shared)
    blob.symlink_to(os.path.relpath(shared, blob.parent))
    source = open_source("org/name", settings=offline(settings))
    assert source.local_path("model.safetensors") == shared.resolve()
    assert source.read("model.safetensors", 5, 9) == repo.files["model.safetensors"].read(5, 9)


def test_a_cache_behind_a_link_is_used(
    server: HubServer, settings: HubSettings, repo: Repo, tmp_path: Path
) -> None:
    fetch(server, settings, *repo.files)
    moved = tmp_path / "elsewhere"
    settings.cache.rename(moved)
    settings.cache.symlink_to(moved)
    source = open_source("org/name", settings=offline(settings))
    assert source.read("config.json") == b'{"model_type": "llama"}'


def test_a_damaged_cache_is_as_good_as_none(server: HubServer, settings: HubSettings, repo: Repo) -> None:
    folder = fetch(server, settings, *repo.files)
    keep_listing(settings, repo, folder)
    cache = HubCache(settings.cache, "org/name")
    tree = folder.parent.parent / "trees" / f"{repo.commit}.json"
    for text in ("", "[]", '{"files": 3}', '{"files": {"x": {}}}', "\xff"):
        tree.write_text(text, encoding="latin-1")
        assert cache.listing(repo.commit) is None
    (folder.parent.parent / "refs" / "main").write_text("../../../etc")
    assert cache.commit("main") is None
    with pytest.raises(UnsafeCheckpointError):
        cache.commit("../refs/main")


def test_a_cached_file_that_shrinks_or_goes_is_told(
    server: HubServer, settings: HubSettings, repo: Repo
) -> None:
    folder = fetch(server, settings, *repo.files)
    source = open_source("org/name", settings=offline(settings))
    blob = (folder / "model.safetensors").resolve()
    blob.write_bytes(b"short")
    with pytest.raises(CorruptCheckpointError, match="has become shorter"):
        source.read("model.safetensors", 0, 100)
    blob.unlink()
    with pytest.raises(AccessDeniedError, match="cannot be read"):
        source.read("model.safetensors", 0, 100)


def test_nothing_is_written_to_the_cache(server: HubServer, settings: HubSettings, repo: Repo) -> None:
    source = open_source("org/name", settings=settings)
    source.read("config.json")
    source.read("model.safetensors", 0, 10)
    assert not settings.cache.exists()


def test_an_empty_listing_entry_is_not_confused_with_a_missing_file(
    server: HubServer, settings: HubSettings
) -> None:
    server.add("org/name", {"empty": BytesFile(b""), "config.json": BytesFile(b"{}")})
    source = open_source("org/name", settings=settings)
    assert source.read("empty") == b""
    assert len(server.log) == 1
