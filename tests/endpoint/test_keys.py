"""A key reaches its endpoint and nothing else: not a log, an error, a record, a message or a replay."""

from __future__ import annotations

import base64
import json
import logging
import sys
import types
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.endpoint.budget import Budget
from filiation.endpoint.client import Endpoint
from filiation.endpoint.keys import MASK, Key, Redactor, from_environment, from_keyring
from filiation.endpoint.model import Call, Failure, chat
from filiation.endpoint.replay import Replay
from filiation.endpoint.session import Announcement, Session
from filiation.errors import AccessDeniedError, FiliationError, MissingExtraError, UsageError
from tests.endpoint import faults
from tests.endpoint.adversary import Adversary
from tests.endpoint.asking import patience
from tests.endpoint.behaviour import Behaviour
from tests.endpoint.laws import CategoricalLaw

SECRET = 'sk-live+Geheim/9"4711=='
CALLS = [Call("suspect", chat(f"Question {i}?"), "t") for i in range(4)]


def spellings(secret: str) -> list[str]:
    packed = base64.b64encode(secret.encode()).decode().rstrip("=")
    return [secret, json.dumps(secret)[1:-1], quote(secret, safe=""), packed]


def test_no_artefact_of_a_session_holds_the_key(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Servers that repeat it in errors, in texts, in model names and in headers; then every artefact is searched."""
    monkeypatch.setenv("FILIATION_TEST_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    key = from_environment("FILIATION_TEST_KEY")
    shown: list[str] = [repr(key), str(key)]
    told: list[Announcement] = []

    def consent(announcement: Announcement) -> bool:
        told.append(announcement)
        return True

    said = f"My key is {SECRET}, in Base64 {spellings(SECRET)[3]}."
    echoing = {"model": SECRET, "choices": [{"index": 0, "message": {"content": said}}]}
    with Adversary(Behaviour(CategoricalLaw(1))) as server:
        endpoint = Endpoint("suspect", server.url, "m", key=key)
        shown.append(repr(endpoint))
        log = tmp_path / "log.jsonl"
        with Session(
            [endpoint], budget=Budget(concurrency=1), seed=1, consent=consent, log=log, patience=patience()
        ) as live:
            bad = faults.Status(429, {"x-ratelimit-note": SECRET, "retry-after": "0"}, SECRET)
            server.behaviour.faults = [
                faults.EchoKey(),
                bad,
                faults.Body(json.dumps(echoing)),
                faults.EchoKey(500),
            ]
            answers = live.ask(CALLS)
            shown += [repr(answers), repr(live.records), repr(live.spent()), repr(told)]
            server.behaviour.faults = [faults.EchoKey(401)]
            with pytest.raises(AccessDeniedError) as refused:
                live.ask([Call("suspect", chat("More?"), "t")])
            shown += [str(refused.value), repr(refused.value.envelope())]
        assert all(s.headers["authorization"] == f"Bearer {SECRET}" for s in server.seen)
    assert any(isinstance(a, Failure) and MASK in a.reason for a in answers)
    assert any(not isinstance(a, Failure) and MASK in a.text for a in answers)
    shown += [repr(Replay(log).ask(CALLS)), repr(Replay(log).about), caplog.text, *capfd.readouterr()]
    shown += [f.read_text("utf-8") for f in tmp_path.rglob("*") if f.is_file()]
    for form in spellings(SECRET):
        assert not [text[:200] for text in shown if form in text]


def test_a_replay_says_of_an_echoed_key_what_the_session_said(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with Adversary(Behaviour(CategoricalLaw(1))) as server:
        endpoint = Endpoint("suspect", server.url, "m", key=Key("a test", SECRET))
        with Session(
            [endpoint],
            budget=Budget(concurrency=1),
            seed=1,
            consent=lambda _: True,
            log=log,
            patience=patience(),
        ) as live:
            server.behaviour.faults = [faults.EchoKey()]
            answers = live.ask(CALLS)
    assert Replay(log).ask(CALLS) == answers


def test_each_key_goes_to_its_own_endpoint_alone() -> None:
    behaviours = [Behaviour(CategoricalLaw(i)) for i in range(3)]
    with Adversary(behaviours[0]) as a, Adversary(behaviours[1]) as b, Adversary(behaviours[2]) as c:
        endpoints = [
            Endpoint("a", a.url, "m", key=Key("k", "secret-of-a")),
            Endpoint("b", b.url, "m"),
            Endpoint("c", c.url, "m", "anthropic", key=Key("k", "secret-of-c")),
        ]
        with Session(endpoints, budget=Budget(), seed=1, consent=lambda _: True, patience=patience()):
            pass
        assert {s.headers.get("authorization") for s in a.seen} == {"Bearer secret-of-a"}
        assert {s.headers.get("authorization") for s in b.seen} == {None}
        assert {s.headers.get("x-api-key") for s in c.seen} == {"secret-of-c"}
        assert {s.headers.get("authorization") for s in c.seen} == {None}


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=40),
    st.text(max_size=30),
    st.text(max_size=30),
)
def test_no_spelling_survives_redaction(secret: str, before: str, after: str) -> None:
    redact = Redactor([Key("k", secret), None])
    for form in spellings(secret):
        assert not redact.holds(redact(f"{before}{form}{after}")) or secret in MASK


def test_a_key_from_the_environment() -> None:
    assert from_environment("K", {"K": " sk-123456\n"}).secret == "sk-123456"
    for bad in ({}, {"K": ""}, {"K": "  "}):
        with pytest.raises(UsageError, match="not set, or empty"):
            from_environment("K", bad)


@pytest.mark.parametrize("bad", ["a1b2", "has space in it", "héhéhé-key", "line\nbreak-key", "tab\tkey-123"])
def test_what_no_header_may_hold_is_no_key_and_is_not_repeated(bad: str) -> None:
    with pytest.raises(UsageError) as error:
        from_environment("K", {"K": bad})
    assert bad not in str(error.value)


def test_a_key_from_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring, errors = types.ModuleType("keyring"), types.ModuleType("keyring.errors")

    class KeyringError(Exception):
        pass

    def get_password(service: str, user: str) -> str | None:
        if service == "locked":
            raise KeyringError(SECRET)
        return {"api/me": "sk-from-keyring"}.get(f"{service}/{user}")

    monkeypatch.setattr(errors, "KeyringError", KeyringError, raising=False)
    monkeypatch.setattr(keyring, "get_password", get_password, raising=False)
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    assert from_keyring("api", "me").secret == "sk-from-keyring"
    with pytest.raises(UsageError, match="no such key"):
        from_keyring("api", "you")
    with pytest.raises(UsageError) as locked:
        from_keyring("locked", "me")
    assert SECRET not in str(locked.value)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(MissingExtraError, match="keyring"):
        from_keyring("api", "me")


@pytest.mark.parametrize(
    "url",
    [
        "https://user:pw-1234@host/v1",
        "https://host/v1?api_key=pw-1234",
        "ftp://host/pw-1234",
        "pw-1234",
        "https://",
        "https://host:port/pw-1234",
    ],
)
def test_an_address_that_may_hold_a_secret_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(FiliationError) as error:
        _ = Endpoint("a", url, "m").address
    assert "pw-1234" not in str(error.value)


def test_a_key_does_not_travel_unprotected() -> None:
    key = Key("k", SECRET)
    with pytest.raises(UsageError, match="unprotected"):
        _ = Endpoint("a", "http://example.com/v1", "m", key=key).address
    assert str(Endpoint("a", "http://example.com/v1", "m").address) == "http://example.com/v1"
    for local in (
        "http://127.0.0.1:1/v1",
        "http://localhost/v1",
        "http://[::1]:8000/v1",
        "https://example.com/v1",
    ):
        assert str(Endpoint("a", local, "m", key=key).address) == local


@pytest.mark.parametrize(
    ("typed", "route"),
    [
        ("https://h", "https://h/v1/chat/completions"),
        ("https://h/", "https://h/v1/chat/completions"),
        ("https://h/v1/", "https://h/v1/chat/completions"),
        ("https://h/api/v3/chat/completions", "https://h/api/v3/chat/completions"),
        ("https://h/v1/completions", "https://h/v1/chat/completions"),
        ("https://h/v1?api-version=2", "https://h/v1/chat/completions?api-version=2"),
    ],
)
def test_addresses_as_people_type_them(typed: str, route: str) -> None:
    assert Endpoint("a", typed, "m").address.route("chat/completions") == route
