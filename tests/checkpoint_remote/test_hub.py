"""A model on the imitated hub: what is asked, what comes back, what each refusal says."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest

from benchmarks.hubserver import BytesFile, Fault, HubServer
from filiation.checkpoint.sources.base import Source
from filiation.checkpoint.sources.hub import HubSettings, open_source
from filiation.errors import (
    AccessDeniedError,
    InputError,
    NetworkError,
    NotFoundError,
    UnsafeCheckpointError,
    UsageError,
)
from filiation.evidence import FileRecord

from .conftest import TOKEN, small_model, weights


def asked(server: HubServer) -> list[tuple[str, str, str]]:
    return [(r.site, r.method, r.path.partition("?")[0].rpartition("/")[2]) for r in server.log]


def test_opening_is_one_request_and_pins_the_commit(server: HubServer, settings: HubSettings) -> None:
    files = small_model()
    repo = server.add("org/Name-1B", files)
    source: Source = open_source("org/Name-1B", settings=settings)
    assert source.revision == repo.commit
    assert (source.locator, source.name) == ("org/Name-1B", "Name-1B")
    assert len(server.log) == 1
    assert source.bytes_read == server.bytes_sent
    listed = {record.name: record for record in source.files()}
    assert list(listed) == sorted(files)
    big = files["model.safetensors"]
    assert listed["model.safetensors"] == FileRecord("model.safetensors", big.size, big.sha256)
    assert listed["config.json"].sha256 is None
    assert "large files only" in (listed["config.json"].not_hashed or "")


def test_a_large_file_costs_one_redirect_and_one_range(server: HubServer, settings: HubSettings) -> None:
    files = small_model()
    repo = server.add("org/name", files)
    source = open_source("org/name@main", settings=settings)
    data = files["model.safetensors"].data
    assert source.read("model.safetensors", 0, 8) == data[:8]
    assert source.read("model.safetensors", 8, 200_000) == data[8:200_000]
    assert source.read("model.safetensors", 2_000_000, 2_000_100) == data[2_000_000:2_000_100]
    assert asked(server) == [
        ("hub", "GET", "main"),
        ("hub", "HEAD", "model.safetensors"),
        ("storage", "GET", "model.safetensors"),
        ("storage", "GET", "model.safetensors"),
    ]
    assert server.log[1].path == f"/org/name/resolve/{repo.commit}/model.safetensors"
    assert server.log[1].range is None
    assert source.requests == len(server.log)
    assert source.bytes_read == server.bytes_sent
    assert server.bytes_sent < 300_000


def test_small_files_and_files_in_folders(server: HubServer, settings: HubSettings) -> None:
    files = small_model()
    files["empty.txt"] = BytesFile(b"")
    files["a folder/ü #1.txt"] = BytesFile(b"odd name")
    server.add("org/name", files)
    source = open_source("org/name", settings=settings)
    for name, file in files.items():
        assert source.read(name) == file.data
        assert source.local_path(name) is None


def test_hints_are_joined_and_fetched_at_once(server: HubServer, settings: HubSettings) -> None:
    files = small_model()
    server.add("org/name", files)
    source = open_source("org/name", settings=settings)
    data = files["model.safetensors"].data
    near = [(1_000_000 + i * 20_000, 1_000_000 + i * 20_000 + 1000) for i in range(20)]
    source.prefetch("model.safetensors", [*near, (2_900_000, 2_900_100)])
    before = len(server.log)
    storage = {r.range for r in server.log if r.site == "storage"}
    assert storage == {"bytes=1000000-1380999", "bytes=2900000-2900099"}
    for start, stop in [*near, (2_900_000, 2_900_100)]:
        assert source.read("model.safetensors", start, stop) == data[start:stop]
    assert len(server.log) == before == 4


def test_a_moved_branch_does_not_move_what_was_opened(server: HubServer, settings: HubSettings) -> None:
    old = small_model(1)
    first = server.add("org/name", old, commit="a" * 40)
    source = open_source("org/name", settings=settings)
    first.branches = ()
    assert source.read("config.json") == old["config.json"].data
    assert all("/main/" not in r.path for r in server.log)
    with pytest.raises(NotFoundError, match="no revision 'main'"):
        open_source("org/name@main", settings=settings)
    assert open_source("org/name@" + "a" * 40, settings=settings).revision == "a" * 40


def test_a_renamed_model_is_followed(server: HubServer, settings: HubSettings) -> None:
    server.add("old/name", {}, renamed_to="new/name")
    files = small_model()
    server.add("new/name", files)
    source = open_source("old/name", settings=settings)
    assert source.read("config.json") == files["config.json"].data
    assert source.read("model.safetensors", 0, 10) == files["model.safetensors"].data[:10]
    assert source.locator == "old/name"


@pytest.mark.parametrize(
    "form", ["hf://org/name@main/gguf/m-Q4_0.gguf", "{endpoint}/org/name/blob/main/gguf/m-Q4_0.gguf"]
)
def test_one_file_of_a_repository(server: HubServer, settings: HubSettings, form: str) -> None:
    files = {
        "gguf/m-Q4_0.gguf": weights(5000),
        "gguf/m-Q8_0.gguf": weights(9000),
        "config.json": BytesFile(b"{}"),
    }
    server.add("org/name", files)
    source = open_source(form.format(endpoint=server.endpoint), settings=settings)
    assert source.chosen == "m-Q4_0.gguf"
    assert source.name == "m-Q4_0"
    assert [f.name for f in source.files()] == ["m-Q4_0.gguf", "m-Q8_0.gguf"]
    assert source.read("m-Q4_0.gguf") == files["gguf/m-Q4_0.gguf"].data


def test_a_folder_of_a_repository(server: HubServer, settings: HubSettings) -> None:
    server.add("org/name", small_model())
    source = open_source("https://huggingface.co/org/name/tree/main/onnx?x=1", settings=settings)
    assert source.chosen is None
    assert [f.name for f in source.files()] == ["model.onnx"]
    assert source.locator == "https://huggingface.co/org/name/tree/main/onnx"
    with pytest.raises(NotFoundError, match="neither a file nor a folder"):
        open_source("hf://org/name@main/nothing", settings=settings)


def test_an_expired_link_is_renewed_once_for_all_readers(server: HubServer, settings: HubSettings) -> None:
    files = small_model()
    server.add("org/name", files)
    source = open_source("org/name", settings=settings)
    data = files["model.safetensors"].data
    source.read("model.safetensors", 0, 10)
    server.expire_links()
    spans = [(700_000, 700_010), (1_400_000, 1_400_010), (2_100_000, 2_100_010), (2_900_000, 2_900_010)]
    source.prefetch("model.safetensors", spans)
    assert [source.read("model.safetensors", *span) for span in spans] == [data[a:b] for a, b in spans]
    assert sum(r.method == "HEAD" for r in server.log) == 2
    assert sum(r.status == 403 for r in server.log) <= 4


def test_a_storage_that_keeps_refusing_is_a_clear_end(server: HubServer, settings: HubSettings) -> None:
    server.add("org/name", small_model())
    source = open_source("org/name", settings=settings)
    server.inject(Fault("status", match="signature", status=403, times=100))
    with pytest.raises(NetworkError, match="storage refuses") as caught:
        source.read("model.safetensors", 0, 10)
    assert "status 403" in (caught.value.reason or "")
    assert "signature" not in str(caught.value)
    assert len(server.log) == 5  # listing, two redirects, two refusals


def test_throttling_and_drops_on_every_step(server: HubServer, settings: HubSettings) -> None:
    files = small_model()
    server.add("org/name", files)
    server.inject(
        Fault("status", match="/api/models", status=429, retry_after="1", times=2),
        Fault("status", match="/resolve/", method="HEAD", status=503, times=2),
        Fault("drop", match="signature", after=70_000, times=3),
    )
    source = open_source("org/name", settings=settings)
    assert source.read("model.safetensors", 0, 250_000) == files["model.safetensors"].data[:250_000]
    assert source.requests == len(server.log) == 3 + 3 + 4
    assert source.bytes_read == server.bytes_sent


def test_a_file_of_another_size_than_listed_is_an_error(server: HubServer, settings: HubSettings) -> None:
    files = small_model()
    server.add("org/name", files)
    source = open_source("org/name", settings=settings)
    files["model.safetensors"] = weights(2_000_000)
    with pytest.raises(NetworkError, match="changed on the server"):
        source.read("model.safetensors", 0, 10)


def test_a_mirror_without_head_or_redirects(server: HubServer, settings: HubSettings) -> None:
    files = small_model()
    server.add("org/name", files)
    server.inject(Fault("status", method="HEAD", status=405, times=9))
    source = open_source("org/name", settings=settings)
    assert source.read("model.safetensors", 0, 10) == files["model.safetensors"].data[:10]


# What is refused, and what the refusal says.


def refused(locator: str, settings: HubSettings) -> InputError:
    with pytest.raises(InputError) as caught:
        open_source(locator, settings=settings).read("model.safetensors", 0, 10)
    return caught.value


def with_token(settings: HubSettings, token: str = TOKEN) -> HubSettings:
    return replace(settings, token=token)


def test_a_gated_model_without_a_token(server: HubServer, settings: HubSettings) -> None:
    server.add("org/name", small_model(), gated=True)
    error = refused("org/name", settings)
    assert isinstance(error, AccessDeniedError)
    assert error.message == "org/name is gated."
    assert "No token" in (error.reason or "")
    assert "https://huggingface.co/org/name" in (error.next_step or "")
    assert "HF_TOKEN" in (error.next_step or "")
    assert len(server.log) == 2


def test_a_gated_model_with_a_token_that_was_not_granted(server: HubServer, settings: HubSettings) -> None:
    server.tokens.add(TOKEN)
    server.add("org/name", small_model(), gated=True)
    error = refused("org/name", with_token(settings))
    assert isinstance(error, AccessDeniedError)
    assert "has not been granted" in (error.reason or "")


def test_a_gated_model_with_a_token_that_was(server: HubServer, settings: HubSettings) -> None:
    server.tokens.add(TOKEN)
    files = small_model()
    server.add("org/name", files, gated=True, granted=(TOKEN,))
    source = open_source("org/name", settings=with_token(settings))
    assert source.read("model.safetensors", 0, 10) == files["model.safetensors"].data[:10]
    assert source.read("config.json") == files["config.json"].data
    assert {(r.site, r.token) for r in server.log} == {("hub", TOKEN), ("storage", None)}


def test_a_wrong_token(server: HubServer, settings: HubSettings) -> None:
    server.add("org/name", small_model())
    error = refused("org/name", with_token(settings, "hf_wrongOrExpired"))
    assert isinstance(error, AccessDeniedError)
    assert "wrong, expired" in (error.reason or "")
    assert "hf_wrongOrExpired" not in str(error)


def test_a_private_or_missing_model_without_a_token(server: HubServer, settings: HubSettings) -> None:
    server.add("org/secret", small_model(), private=True)
    for name in ("org/secret", "org/typo"):
        error = refused(name, settings)
        assert isinstance(error, NotFoundError)
        assert "or it is private" in (error.reason or "")
        assert "HF_TOKEN" in (error.next_step or "")


def test_a_missing_model_with_a_token(server: HubServer, settings: HubSettings) -> None:
    server.tokens.add(TOKEN)
    error = refused("org/typo", with_token(settings))
    assert isinstance(error, NotFoundError)
    assert "the token may not see it" in (error.reason or "")


def test_a_missing_revision_and_a_missing_file(server: HubServer, settings: HubSettings) -> None:
    files = small_model()
    server.add("org/name", files)
    assert "no revision 'v9'" in refused("org/name@v9", settings).message
    source = open_source("org/name", settings=settings)
    with pytest.raises(NotFoundError, match="no such file"):
        source.read("model-00002-of-00002.safetensors", 0, 1)
    del files["config.json"]
    with pytest.raises(NotFoundError, match="has no file"):
        source.read("config.json")


def test_a_disabled_model(server: HubServer, settings: HubSettings) -> None:
    server.add("org/name", small_model())
    disabled = {"X-Error-Message": "Access to this resource is disabled."}
    server.inject(Fault("status", status=403, headers=disabled))
    assert "withdrawn" in (refused("org/name", settings).reason or "")


def test_other_refusals_are_told_with_their_status(server: HubServer, settings: HubSettings) -> None:
    server.add("org/name", small_model())
    server.inject(Fault("status", status=451))
    error = refused("org/name", settings)
    assert isinstance(error, AccessDeniedError)
    assert "451" in (error.reason or "")


@pytest.mark.parametrize(
    "body",
    [
        b"<html>a captive portal</html>",
        b"[]",
        b'{"sha": "%s"}' % (b"a" * 40),
        b'{"sha": "main", "siblings": []}',
        b'{"sha": "%s", "siblings": [{"rfilename": "x"}]}' % (b"a" * 40),
        b'{"sha": "%s", "siblings": 3}' % (b"a" * 40),
    ],
)
def test_an_endpoint_that_is_no_hub(server: HubServer, settings: HubSettings, body: bytes) -> None:
    server.inject(Fault("body", body=body))
    error = refused("org/name", settings)
    assert isinstance(error, NetworkError)
    assert "HF_ENDPOINT" in (error.next_step or "")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..\\x", "C:\\x", "a//b", ""]
)
def test_a_listing_that_leads_out_is_refused(server: HubServer, settings: HubSettings, name: str) -> None:
    siblings = [{"rfilename": name, "size": 5}]
    server.inject(Fault("body", body=json.dumps({"sha": "a" * 40, "siblings": siblings}).encode()))
    error = refused("org/name", settings)
    assert isinstance(error, UnsafeCheckpointError)
    assert repr(name) == error.file


def test_a_renaming_that_leads_out_is_refused(server: HubServer, settings: HubSettings) -> None:
    answer = {"sha": "a" * 40, "siblings": [], "id": "../../admin"}
    server.inject(Fault("body", body=json.dumps(answer).encode()))
    assert isinstance(refused("org/name", settings), UnsafeCheckpointError)


def test_a_name_from_an_index_that_leads_out_is_refused(server: HubServer, settings: HubSettings) -> None:
    server.add("org/name", small_model())
    source = open_source("org/name", settings=settings)
    with pytest.raises(UnsafeCheckpointError):
        source.read("../other/config.json")


def test_a_server_that_is_not_there(settings: HubSettings) -> None:
    error = refused("org/name", replace(settings, endpoint="http://127.0.0.1:1"))
    assert isinstance(error, NetworkError)
    assert error.file == "http://127.0.0.1:1/api/models/org/name"


def test_a_dataset_is_a_usage_error(settings: HubSettings) -> None:
    with pytest.raises(UsageError, match="no model"):
        open_source("hf://datasets/org/name", settings=settings)


# What leaves the machine.


def test_nothing_is_sent_but_what_is_needed(server: HubServer, settings: HubSettings) -> None:
    server.tokens.add(TOKEN)
    server.add("org/name", small_model())
    source = open_source("org/name", settings=with_token(settings))
    source.read("config.json")
    source.read("model.safetensors", 0, 10)
    source.files()
    agents = {r.agent for r in server.log}
    assert len(agents) == 1
    assert str(agents.pop()).startswith("filiation/")
    assert asked(server) == [
        ("hub", "GET", "name"),
        ("hub", "GET", "config.json"),
        ("hub", "GET", "config.json"),  # the hub redirects small files within itself
        ("hub", "HEAD", "model.safetensors"),
        ("storage", "GET", "model.safetensors"),
    ]


def test_the_token_is_in_no_log_and_no_representation(
    server: HubServer, settings: HubSettings, caplog: pytest.LogCaptureFixture
) -> None:
    server.tokens.add(TOKEN)
    server.add("org/name", small_model())
    server.inject(Fault("status", match="signature", status=500, times=100))
    caplog.set_level(logging.DEBUG)
    source = open_source("org/name", settings=with_token(settings))
    with pytest.raises(NetworkError) as caught:
        source.read("model.safetensors", 0, 10)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert TOKEN not in str(chain) + repr(chain)
        chain = chain.__cause__ or chain.__context__
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(source) + repr(with_token(settings)) + repr(vars(source))
    assert TOKEN in {r.token for r in server.log}


def test_a_token_does_not_go_over_an_open_line(
    server: HubServer, settings: HubSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the loopback address were another machine's: http:// and not here.
    monkeypatch.setattr("filiation.checkpoint.sources.http_link.is_loopback", lambda url: False)
    server.add("org/name", small_model(), gated=True, granted=(TOKEN,))
    error = refused("org/name", with_token(settings))
    assert "https:// only" in (error.reason or "")
    assert {r.token for r in server.log} == {None}


def test_the_environment_of_the_hub_client_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert HubSettings.from_environment().token == TOKEN
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    assert HubSettings.from_environment().token is None
