"""What one range read does when the server throttles, drops, lies, stalls or sends too much."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from email.utils import formatdate
from time import time as wall_time

import httpx2
import pytest

from benchmarks.hubserver import BytesFile, Fault, HubServer
from filiation.checkpoint.sources.http_client import WHOLE, HttpClient, Version
from filiation.checkpoint.sources.http_link import Link, StatusError, is_loopback, may_carry_token
from filiation.checkpoint.sources.http_retry import Patience, describe
from filiation.errors import CorruptCheckpointError, NetworkError, UnsafeCheckpointError

from .conftest import TOKEN, FakeTime, weights

FILE = weights(WHOLE + 1_000_000)
SMALL = weights(400_000)


@pytest.fixture
def link(server: HubServer) -> Link:
    server.add("o/n", {"big.bin": FILE, "small.bin": SMALL, "empty.bin": BytesFile(b"")})
    return Link(f"{server.endpoint}/files/o/n/big.bin")


@pytest.fixture
def client(patience: Patience) -> HttpClient:
    return HttpClient(patience)


def small(link: Link) -> Link:
    return replace(link, url=link.url.replace("big.bin", "small.bin"))


def ranges(server: HubServer) -> list[str | None]:
    return [record.range for record in server.log]


def test_a_range_is_one_request_and_every_byte_is_counted(
    server: HubServer, client: HttpClient, link: Link
) -> None:
    piece, version, last = client.read_range(link, 1000, 5000)
    assert (piece.start, piece.data) == (1000, FILE.data[1000:5000])
    assert version == Version(FILE.size, f'"{FILE.sha256}"')
    assert last == link
    assert (client.requests, client.bytes_received) == (1, 4000)
    assert (len(server.log), server.bytes_sent) == (1, 4000)


def test_connections_are_used_again(server: HubServer, client: HttpClient, link: Link) -> None:
    accepted = 0
    original = server._hub.get_request

    def get_request() -> object:
        nonlocal accepted
        accepted += 1
        return original()

    server._hub.get_request = get_request  # type: ignore[assignment, method-assign]
    for at in range(0, 500_000, 50_000):
        client.read_range(link, at, at + 50_000)
    assert len(server.log) == 10
    assert accepted == 1


def test_a_range_that_ends_after_the_file_comes_short(client: HttpClient, link: Link) -> None:
    piece, version, _ = client.read_range(small(link), SMALL.size - 10, SMALL.size + 90)
    assert piece.data == SMALL.data[-10:]
    assert version.total == SMALL.size


def test_a_range_behind_the_file_is_an_error_at_once(
    server: HubServer, client: HttpClient, link: Link
) -> None:
    with pytest.raises(CorruptCheckpointError, match="shorter than it should be"):
        client.read_range(small(link), SMALL.size, SMALL.size + 10)
    assert len(server.log) == 1


@pytest.mark.parametrize("status", [429, 503, 500, 502, 504, 408])
def test_a_throttling_server_is_asked_again(
    server: HubServer, client: HttpClient, link: Link, time: FakeTime, status: int
) -> None:
    server.inject(Fault("status", status=status, times=2))
    assert client.read_range(link, 0, 100)[0].data == FILE.data[:100]
    assert len(server.log) == 3
    assert time.slept == [0.5, 1.0]


def test_the_wait_that_the_server_names_is_kept(
    server: HubServer, client: HttpClient, link: Link, time: FakeTime
) -> None:
    date = formatdate(wall_time() + 40, usegmt=True)
    limit = {"RateLimit": '"api";r=0;t=55'}
    server.inject(
        Fault("status", status=429, retry_after="7"),
        Fault("status", status=503, retry_after=date),
        Fault("status", status=429, headers=limit),
        Fault("status", status=429, retry_after="soon"),
    )
    client.read_range(link, 0, 100)
    assert time.slept[0] == 7
    assert 30 < time.slept[1] <= 40
    assert time.slept[2] == 55
    assert time.slept[3] == 4.0


def test_a_wait_longer_than_the_time_left_ends_at_once(
    server: HubServer, client: HttpClient, link: Link, time: FakeTime
) -> None:
    server.inject(Fault("status", status=429, retry_after="300"))
    with pytest.raises(NetworkError) as caught:
        client.read_range(link, 0, 100)
    assert "300 s" in (caught.value.reason or "")
    assert time.slept == []


def test_a_server_that_stays_down_ends_with_url_reason_and_next_step(
    server: HubServer, client: HttpClient, link: Link
) -> None:
    server.inject(Fault("status", status=503, times=100))
    with pytest.raises(NetworkError) as caught:
        client.read_range(replace(link, url=link.url + "?signature=secret"), 0, 100)
    assert len(server.log) == client.patience.attempts == 6
    assert caught.value.file == link.url
    assert caught.value.reason == "6 tries, the last: status 503."
    assert "download the model" in (caught.value.next_step or "")
    assert "secret" not in repr(caught.value) + str(caught.value)


def test_a_dropped_connection_is_resumed_where_it_broke(
    server: HubServer, client: HttpClient, link: Link, time: FakeTime
) -> None:
    server.inject(Fault("drop", after=100_000), Fault("drop", after=50_000), Fault("drop", after=0))
    piece, _, _ = client.read_range(link, 10, 400_010)
    assert piece.data == FILE.data[10:400_010]
    assert ranges(server) == [
        "bytes=10-400009",
        "bytes=100010-400009",
        "bytes=150010-400009",
        "bytes=150010-400009",
    ]
    assert client.bytes_received == server.bytes_sent == 400_000
    assert len(time.slept) == 3


def test_drops_that_bring_much_do_not_use_up_the_tries(
    server: HubServer, client: HttpClient, link: Link
) -> None:
    server.inject(Fault("drop", after=100_000, times=20))
    assert client.read_range(link, 0, 2_500_000)[0].data == FILE.data[:2_500_000]
    assert len(server.log) == 21


def test_drops_that_bring_little_do(server: HubServer, client: HttpClient, link: Link) -> None:
    server.inject(Fault("drop", after=10, times=100))
    with pytest.raises(NetworkError, match="6 tries"):
        client.read_range(link, 0, 2_500_000)
    assert len(server.log) == 6


def test_a_truncated_body_is_resumed(server: HubServer, client: HttpClient, link: Link) -> None:
    server.inject(Fault("truncate", after=1000))
    assert client.read_range(link, 0, 5000)[0].data == FILE.data[:5000]
    assert ranges(server) == ["bytes=0-4999", "bytes=1000-4999"]


def test_a_shorter_range_than_asked_for_is_gone_on_with(
    server: HubServer, client: HttpClient, link: Link
) -> None:
    server.inject(Fault("short", after=1000), Fault("short", after=500))
    assert client.read_range(link, 0, 5000)[0].data == FILE.data[:5000]
    assert ranges(server) == ["bytes=0-4999", "bytes=1000-4999", "bytes=1500-4999"]


def test_an_answer_for_another_range_is_not_used(server: HubServer, client: HttpClient, link: Link) -> None:
    server.inject(Fault("wrong_range", times=2))
    assert client.read_range(link, 0, 5000)[0].data == FILE.data[:5000]
    assert len(server.log) == 3
    server.inject(Fault("wrong_range", times=100))
    with pytest.raises(NetworkError, match="the answer is for 'bytes 1-5000/"):
        client.read_range(link, 0, 5000)


def test_a_server_that_ignores_ranges_is_left_once_the_head_is_there(
    server: HubServer, client: HttpClient, link: Link
) -> None:
    server.inject(Fault("ignore_range"))
    piece, version, _ = client.read_range(link, 0, 100_000)
    assert (piece.start, piece.data) == (0, FILE.data[:100_000])
    assert version.total == FILE.size
    assert client.bytes_received < 2_000_000


def test_a_server_that_ignores_ranges_gives_small_files_whole(
    server: HubServer, client: HttpClient, link: Link
) -> None:
    server.inject(Fault("ignore_range"))
    piece, _, _ = client.read_range(small(link), 1000, 2000)
    assert (piece.start, piece.data) == (0, SMALL.data)


def test_a_server_that_ignores_ranges_of_a_large_file_is_an_error_at_once(
    server: HubServer, client: HttpClient, link: Link
) -> None:
    server.inject(Fault("ignore_range", times=100))
    with pytest.raises(NetworkError, match="does not answer byte ranges") as caught:
        client.read_range(link, 1000, 2000)
    assert len(server.log) == 1
    assert client.bytes_received < 2_000_000
    assert "Download the file" in (caught.value.next_step or "")


def test_a_whole_file_that_breaks_off_is_begun_again(
    server: HubServer, client: HttpClient, link: Link
) -> None:
    server.inject(Fault("ignore_range+drop", after=1500, times=2))
    piece, _, _ = client.read_range(small(link), 1000, 2000)
    assert (piece.start, piece.data) == (1000, SMALL.data[1000:2000])
    assert ranges(server) == ["bytes=1000-1999"] * 3


def test_a_file_that_changes_between_tries_is_an_error(
    server: HubServer, client: HttpClient, link: Link
) -> None:
    server.inject(Fault("drop", after=1000), Fault("changed"))
    with pytest.raises(NetworkError, match="changed on the server"):
        client.read_range(link, 0, 5000)
    with pytest.raises(NetworkError, match="changed on the server"):
        client.read_range(link, 0, 5000, Version(FILE.size - 1))


def test_packed_bytes_are_refused(server: HubServer, client: HttpClient, link: Link) -> None:
    server.inject(Fault("packed"))
    with pytest.raises(NetworkError, match="gzip"):
        client.read_range(link, 0, 5000)


def test_a_server_that_trickles_is_given_up(server: HubServer, link: Link) -> None:
    hurried = FakeTime(tick=1.0)
    client = HttpClient(Patience(sleep=hurried.sleep, clock=hurried.clock, seconds=20))
    server.inject(Fault("slow", after=10, delay=0.001, times=100))
    with pytest.raises(NetworkError, match="too slow"):
        client.read_range(link, 0, 5000)


def test_a_server_that_says_nothing_is_given_up(server: HubServer, link: Link, time: FakeTime) -> None:
    client = HttpClient(Patience(sleep=time.sleep, clock=time.clock, silence=0.05, attempts=2))
    server.inject(Fault("silent", delay=5, times=100))
    with pytest.raises(NetworkError, match="2 tries, the last: not a byte for"):
        client.read_range(link, 0, 5000)


def test_a_server_that_never_answers_has_less_than_a_minute(
    server: HubServer, link: Link, time: FakeTime
) -> None:
    usual = Patience()
    client = HttpClient(Patience(sleep=time.sleep, clock=time.clock, silence=0.05))
    server.inject(Fault("silent", delay=5, times=100))
    with pytest.raises(NetworkError, match="2 tries, the last: not a byte for"):
        client.read_range(link, 0, 5000)
    assert usual.silences * usual.silence + sum(time.slept) < 60


def test_a_slow_server_that_brings_bytes_between_its_silences_is_not_given_up(
    server: HubServer, link: Link, time: FakeTime
) -> None:
    client = HttpClient(Patience(sleep=time.sleep, clock=time.clock, silence=0.3))
    silent = Fault("silent", delay=5, times=1)
    server.inject(silent, Fault("status", status=503), silent, Fault("drop", after=1000), silent)
    piece, _, _ = client.read_range(link, 0, 5000)
    assert piece.data == FILE.read(0, 5000)


def test_nobody_there_is_given_up_after_three_tries(patience: Patience, time: FakeTime) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(NetworkError, match="3 tries, the last: no connection"):
        HttpClient(patience).read_range(Link(f"http://127.0.0.1:{port}/x"), 0, 10)
    assert time.slept == [0.5, 1.0]


def test_what_no_try_can_mend_is_not_tried_again(client: HttpClient, time: FakeTime) -> None:
    for url in ("http://127.0.0.1:1x/x", "gopher://127.0.0.1/x"):
        with pytest.raises(NetworkError, match=r"address (is not valid|cannot be asked)"):
            client.read_range(Link(url), 0, 10)
    assert time.slept == []


def test_how_connections_fail(patience: Patience) -> None:
    untrusted = ssl.SSLCertVerificationError("certificate verify failed")
    untrusted.verify_message = "self-signed certificate"
    refused = httpx2.ConnectError("refused")
    refused.__cause__ = untrusted
    said = {
        refused: ("its certificate is not trusted: self-signed certificate", True),
        httpx2.ProxyError("403 Forbidden"): ("the proxy refused: 403 Forbidden", True),
        httpx2.ConnectTimeout("slow"): ("no connection within 5 s", False),
        httpx2.ReadTimeout("slow"): ("not a byte for 5 s", False),
        httpx2.ConnectError("Name or service not known"): ("no connection: Name or service not known", False),
        httpx2.RemoteProtocolError(""): ("the connection broke: RemoteProtocolError", False),
    }
    for error, expected in said.items():
        assert describe(error, patience) == expected


def test_refusals_are_not_repeated(server: HubServer, client: HttpClient, link: Link) -> None:
    for status in (400, 401, 403, 404, 410, 451):
        server.reset()
        server.inject(Fault("status", status=status, times=9))
        with pytest.raises(StatusError) as caught:
            client.read_range(link, 0, 10)
        assert caught.value.status == status
        assert len(server.log) == 1


def test_redirects_are_followed_but_not_without_end(
    server: HubServer, client: HttpClient, link: Link
) -> None:
    piece, _, last = client.read_range(Link(f"{server.endpoint}/moved/o/n/big.bin"), 0, 10)
    assert piece.data == FILE.data[:10]
    assert last.url.startswith(server.storage)
    server.inject(Fault("redirect", location=f"{server.endpoint}/again", times=100))
    with pytest.raises(NetworkError, match="without end"):
        client.read_range(link, 0, 10)
    with pytest.raises(NetworkError, match="without end"):
        client.document(link, 10)
    with pytest.raises(NetworkError, match="without end"):
        client.head(link)


def test_an_unusable_redirect_is_a_clear_end(server: HubServer, client: HttpClient, link: Link) -> None:
    server.inject(Fault("redirect", location="http://[::1"))
    with pytest.raises(NetworkError, match="not an address"):
        client.read_range(link, 0, 10)
    server.inject(Fault("redirect", location="file:///etc/passwd"))
    with pytest.raises(UnsafeCheckpointError, match="unprotected"):
        client.read_range(link, 0, 10)


def test_the_token_goes_to_its_own_site_only(server: HubServer, client: HttpClient) -> None:
    server.tokens.add(TOKEN)
    server.add("o/n", {"big.bin": FILE})
    client.read_range(Link(f"{server.endpoint}/moved/o/n/big.bin", TOKEN), 0, 10)
    assert [(r.site, r.token) for r in server.log] == [("hub", TOKEN), ("storage", None)]


def test_links_keep_their_secrets() -> None:
    link = Link("https://user:pass@h.example/a/b?X-Amz-Signature=abc#f", TOKEN)
    assert str(link) == "https://h.example/a/b"
    assert TOKEN not in repr(link)
    assert "pass" not in repr(link)
    assert link.redirected("/c").token == TOKEN
    assert link.redirected("https://h.example/c").token is None  # not the same site: without the user
    assert link.redirected("https://other.example/c").token is None
    assert link.redirected("https://hf.co/c", frozenset({"hf.co"})).token == TOKEN
    assert link.redirected("https://hf.co:8443/c", frozenset({"hf.co"})).token is None
    with pytest.raises(UnsafeCheckpointError):
        link.redirected("http://hf.co/c", frozenset({"hf.co"}))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:1/x", True),
        ("http://127.0.0.1/x", True),
        ("http://[::1]:8/x", True),
        ("http://127.0.0.1.example.com/x", False),
        ("http://10.0.0.1/x", False),
        ("http://example.com/localhost", False),
    ],
)
def test_what_counts_as_this_machine(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected
    assert may_carry_token(Link(url)) is expected


def test_a_document_may_be_packed_but_not_long(server: HubServer, client: HttpClient, link: Link) -> None:
    with pytest.raises(NetworkError, match="too large"):
        client.document(link, 1000)
    assert client.document(small(link), 500_000) == SMALL.data
    server.inject(Fault("drop", after=10))
    assert client.document(small(link), 500_000) == SMALL.data


def test_this_machine_is_not_asked_through_a_proxy(
    link: Link, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert HttpClient(patience).read_range(link, 0, 10)[0].data == FILE.data[:10]
