"""One file on a web server."""

from __future__ import annotations

import pytest

from benchmarks.hubserver import BytesFile, Fault, HubServer
from filiation.checkpoint.sources.base import Source
from filiation.checkpoint.sources.http import open_source, recognises
from filiation.checkpoint.sources.http_retry import Patience
from filiation.errors import (
    AccessDeniedError,
    CorruptCheckpointError,
    NetworkError,
    NotFoundError,
    UnsafeCheckpointError,
    UnsupportedFormatError,
    UsageError,
)
from filiation.evidence import FileRecord

from .conftest import weights

FILE = weights()
SMALL = weights(1000)


@pytest.fixture
def base(server: HubServer) -> str:
    page = BytesFile(b"\n<!DOCTYPE html><html>file not found</html>")
    server.add(
        "o/n", {"m.safetensors": FILE, "s.safetensors": SMALL, "e.gguf": BytesFile(b""), "p.bin": page}
    )
    return f"{server.endpoint}/files/o/n"


def test_opening_is_one_request_that_brings_the_header(
    server: HubServer, base: str, patience: Patience
) -> None:
    source: Source = open_source(f"{base}/m.safetensors", patience=patience)
    assert source.files() == [FileRecord("m.safetensors", FILE.size, None, "read by range from a web server")]
    assert (source.name, source.revision, source.local_path("m.safetensors")) == ("m", None, None)
    assert source.read("m.safetensors", 0, 8) == FILE.data[:8]
    assert source.read("m.safetensors", 8, 100_000) == FILE.data[8:100_000]
    assert len(server.log) == 1
    assert source.read("m.safetensors", FILE.size - 10) == FILE.data[-10:]
    source.prefetch("m.safetensors", [(1_000_000, 1_000_010), (1_000_100, 1_000_110)])
    assert source.read("m.safetensors", 1_000_000, 1_000_110) == FILE.data[1_000_000:1_000_110]
    assert len(server.log) == 3
    assert source.bytes_read == server.bytes_sent


def test_a_short_file_is_there_after_opening(server: HubServer, base: str, patience: Patience) -> None:
    source = open_source(f"{base}/s.safetensors", patience=patience)
    assert source.read("s.safetensors") == SMALL.data
    assert source.requests == len(server.log) == 1


def test_a_signed_address_is_not_shown(server: HubServer, base: str, patience: Patience) -> None:
    source = open_source(f"{base}/m.safetensors?X-Amz-Signature=secret#part", patience=patience)
    assert source.locator == f"{base}/m.safetensors"
    assert server.log[0].path.endswith("?X-Amz-Signature=secret")
    server.inject(Fault("status", status=403, times=9))
    with pytest.raises(AccessDeniedError, match="may not be read") as caught:
        source.read("m.safetensors", 1_000_000, 1_000_001)
    assert "secret" not in str(caught.value) + repr(vars(source))


def test_a_redirect_is_followed_once_and_again_when_it_expires(
    server: HubServer, base: str, patience: Patience
) -> None:
    # The storage binds its link to the range; a plain one is what web servers give.
    server.inject(
        Fault("redirect", match="/moved/", location=f"{server.storage}/o/n/m.safetensors?signature=0")
    )
    server.inject(
        Fault("redirect", match="/moved/", location=f"{server.storage}/o/n/m.safetensors?signature=1")
    )
    source = open_source(f"{server.endpoint}/moved/m.safetensors", patience=patience)
    assert source.read("m.safetensors", 1_000_000, 1_000_010) == FILE.data[1_000_000:1_000_010]
    assert [r.site for r in server.log] == ["hub", "storage", "storage"]
    server.expire_links()
    assert source.read("m.safetensors", 2_000_000, 2_000_010) == FILE.data[2_000_000:2_000_010]
    assert [r.site for r in server.log[3:]] == ["storage", "hub", "storage"]


def test_a_link_bound_to_its_range_is_asked_for_anew(
    server: HubServer, base: str, patience: Patience
) -> None:
    source = open_source(f"{server.endpoint}/moved/o/n/m.safetensors", patience=patience)
    for at in (1_000_000, 2_000_000):
        assert source.read("m.safetensors", at, at + 10) == FILE.data[at : at + 10]


def test_a_file_that_is_replaced_while_it_is_read(server: HubServer, base: str, patience: Patience) -> None:
    source = open_source(f"{base}/m.safetensors", patience=patience)
    server.repos["o/n"].files["m.safetensors"] = weights(seed=2)  # type: ignore[index]
    with pytest.raises(NetworkError, match="changed on the server"):
        source.read("m.safetensors", 1_000_000, 1_000_010)


def test_a_server_that_ignores_ranges(server: HubServer, base: str, patience: Patience) -> None:
    server.inject(Fault("ignore_range", times=100))
    source = open_source(f"{base}/m.safetensors", patience=patience)
    assert source.read("m.safetensors", 2_000_000, 2_000_010) == FILE.data[2_000_000:2_000_010]
    assert source.read("m.safetensors") == FILE.data
    assert len(server.log) == 1  # under 8 MB the whole file is taken and kept


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("nothing.gguf", NotFoundError, "no such file"),
        ("e.gguf", CorruptCheckpointError, "empty"),
        ("p.bin", UnsupportedFormatError, "web page"),
    ],
)
def test_what_is_not_a_checkpoint(
    server: HubServer, base: str, patience: Patience, path: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_source(f"{base}/{path}", patience=patience)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, AccessDeniedError), (404, NotFoundError), (410, NotFoundError), (400, NetworkError)],
)
def test_refusals(
    server: HubServer, base: str, patience: Patience, status: int, error: type[Exception]
) -> None:
    server.inject(Fault("status", status=status))
    with pytest.raises(error, match="status") as caught:
        open_source(f"{base}/m.safetensors", patience=patience)
    assert str(status) in str(caught.value)


def test_a_server_that_does_not_tell_the_size(server: HubServer, base: str, patience: Patience) -> None:
    headers = {"Content-Length": "", "Connection": "close"}
    server.inject(Fault("body", body=FILE.data, headers=headers, times=9))
    with pytest.raises(NetworkError, match="size of the file is not known"):
        open_source(f"{base}/m.safetensors", patience=patience)
    server.reset()
    server.inject(Fault("body", body=b"12345678", headers=headers, times=9))
    with pytest.raises(NetworkError, match="the body ended after 8 bytes"):
        open_source(f"{base}/m.safetensors", patience=patience)


@pytest.mark.parametrize(
    ("locator", "error"),
    [
        ("http://example.com/m.safetensors", UsageError),
        ("https://example.com", UsageError),
        ("https://example.com/folder/", UsageError),
        ("https://user:secret@example.com/m.safetensors", UsageError),
        ("https:///m.safetensors", UsageError),
        ("https://[::1/m.safetensors", UsageError),
        ("https://example.com/..%2f..%2fm.safetensors", UnsafeCheckpointError),
    ],
)
def test_addresses_that_are_not_asked(locator: str, error: type[Exception]) -> None:
    assert recognises(locator)
    with pytest.raises(error) as caught:
        open_source(locator)
    assert "secret" not in str(caught.value)
