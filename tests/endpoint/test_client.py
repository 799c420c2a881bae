"""The client against everything that a server or the way to it can do wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from filiation.endpoint.budget import Budget
from filiation.endpoint.client import Endpoint
from filiation.endpoint.keys import Key
from filiation.endpoint.model import Answer, Call, Capabilities, Failure, chat
from filiation.endpoint.session import Session, agreed
from filiation.errors import AccessDeniedError
from tests.endpoint import faults
from tests.endpoint.adversary import Adversary
from tests.endpoint.asking import FakeTime, patience
from tests.endpoint.behaviour import Behaviour
from tests.endpoint.laws import CategoricalLaw

KNOWN = {"suspect": Capabilities(chat=True, completions=True)}


@pytest.fixture
def server() -> Iterator[Adversary]:
    with Adversary(Behaviour(CategoricalLaw(1))) as running:
        yield running


def asked(server: Adversary, n: int = 1, *, key: Key | None = None, **options: Any) -> list[Answer | Failure]:
    """Ask `n` questions, one after the other, on one connection where the server lets it."""
    endpoint = Endpoint("suspect", server.url, "m", key=key)
    settings = {"patience": patience(), "budget": Budget(concurrency=1), **options}
    with Session([endpoint], seed=1, consent=agreed, capabilities=KNOWN, **settings) as live:
        return [live.ask([Call("suspect", chat(f"Question {i}?"), "t")])[0] for i in range(n)]


def only(server: Adversary, **options: Any) -> Answer | Failure:
    return asked(server, **options)[0]


def failure(server: Adversary, **options: Any) -> Failure:
    found = only(server, **options)
    assert isinstance(found, Failure)
    return found


def test_requests_share_a_connection(server: Adversary) -> None:
    assert all(isinstance(a, Answer) for a in asked(server, 3))
    assert len({s.connection for s in server.seen}) == 1


@pytest.mark.parametrize(
    ("headers", "waited"),
    [({"retry-after": "7"}, 7.0), ({"retry-after-ms": "1500"}, 1.5), ({"retry-after": "0.25"}, 0.25)],
)
def test_a_burst_of_429_is_waited_out_as_the_server_says(
    server: Adversary, headers: dict[str, str], waited: float
) -> None:
    server.behaviour.faults = [faults.Status(429, headers)] * 3
    time = FakeTime()
    assert isinstance(only(server, patience=patience(time)), Answer)
    assert time.slept == [waited] * 3


def test_retry_after_may_be_a_date(server: Adversary) -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    server.behaviour.faults = [faults.throttled(when)]
    time = FakeTime()
    assert isinstance(only(server, patience=patience(time)), Answer)
    assert 80 < time.slept[0] <= 100


def test_a_limit_without_retry_after_is_read_from_the_rate_limit_headers(server: Adversary) -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2.5s"}
    server.behaviour.faults = [faults.Status(429, headers)]
    time = FakeTime()
    assert isinstance(only(server, patience=patience(time)), Answer)
    assert time.slept == [62.5]


def test_without_any_word_the_waits_double(server: Adversary) -> None:
    server.behaviour.faults = [faults.throttled(None)] * 4
    time = FakeTime()
    assert isinstance(only(server, patience=patience(time)), Answer)
    assert time.slept == [0.5, 1.0, 2.0, 4.0]


def test_throttling_without_end_is_a_failure(server: Adversary) -> None:
    server.behaviour.faults = [faults.throttled("1")] * 50
    found = failure(server)
    assert (found.code, found.status) == ("throttled", 429)
    assert "10 tries" in found.reason
    assert len(server.seen) == 10


def test_a_wait_beyond_all_patience_is_not_begun(server: Adversary) -> None:
    server.behaviour.faults = [faults.throttled("86400")]
    time = FakeTime()
    assert failure(server, patience=patience(time)).code == "throttled"
    assert time.slept == []


def test_while_one_request_waits_the_others_wait_too(server: Adversary) -> None:
    """The server said when to come back: that holds for every request to it."""
    server.behaviour.faults = [faults.throttled("9")]
    time = FakeTime()
    endpoint = Endpoint("suspect", server.url, "m")
    with Session(
        [endpoint],
        seed=1,
        consent=agreed,
        capabilities=KNOWN,
        budget=Budget(concurrency=1),
        patience=patience(time),
    ) as live:
        found = live.ask([Call("suspect", chat(f"{i}"), "t") for i in range(4)])
    assert all(isinstance(a, Answer) for a in found)
    assert sum(time.slept) == 9.0


def test_an_empty_account_is_not_waited_for(server: Adversary) -> None:
    body = '{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}'
    server.behaviour.faults = [faults.Status(429, {"retry-after": "1"}, body)]
    with pytest.raises(AccessDeniedError, match="quota"):
        asked(server)
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_key_ends_the_session(server: Adversary, status: int) -> None:
    server.behaviour.faults = [faults.Status(status)] * 9
    with pytest.raises(AccessDeniedError, match=f"HTTP {status}"):
        asked(server, 3)
    assert len(server.seen) == 1


def test_a_403_after_an_answer_is_about_that_request(server: Adversary) -> None:
    server.behaviour.faults = [None, faults.Status(403, {}, '{"error": {"message": "flagged"}}')]
    first, second, third = asked(server, 3)
    assert isinstance(first, Answer)
    assert isinstance(second, Failure)
    assert (second.code, second.status) == ("refused", 403)
    assert "flagged" in second.reason
    assert isinstance(third, Answer)


def test_a_server_that_loads_is_waited_for_longer_than_one_that_fails(server: Adversary) -> None:
    server.behaviour.faults = [faults.loading()] * 20
    assert isinstance(only(server), Answer)
    server.behaviour.faults = [faults.Status(500)] * 20
    assert failure(server).code == "unavailable"


@pytest.mark.parametrize("status", [500, 502, 504, 529, 408])
def test_passing_errors_are_tried_again(server: Adversary, status: int) -> None:
    server.behaviour.faults = [faults.Status(status, {}, "<html>Bad gateway</html>")]
    assert isinstance(only(server), Answer)


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_refused_request_is_not_sent_again(server: Adversary, status: int) -> None:
    server.behaviour.faults = [faults.Status(status, {}, '{"error": {"message": "no such model"}}')]
    found = failure(server)
    assert (found.code, found.status) == ("refused", status)
    assert "no such model" in found.reason
    assert len(server.seen) == 1


def test_an_error_that_a_gateway_wraps_in_a_success_counts_by_its_own_code(server: Adversary) -> None:
    server.behaviour.faults = [faults.Body('{"error": {"message": "upstream busy", "code": 429}}')]
    assert isinstance(only(server), Answer)
    server.behaviour.faults = [faults.Body('{"error": {"message": "bad prompt", "code": 400}}')]
    found = failure(server)
    assert found.code == "refused"
    assert "bad prompt" in found.reason


@pytest.mark.parametrize("fault", [faults.Drop(), faults.LyingLength(25), faults.LyingLength(-25)])
def test_after_a_broken_reply_the_next_try_has_a_fresh_connection(server: Adversary, fault: Any) -> None:
    server.behaviour.faults = [None, fault]
    assert all(isinstance(a, Answer) for a in asked(server, 3))
    first, broken, again, last = (s.connection for s in server.seen)
    assert first == broken
    assert again != broken
    assert again == last


def test_a_connection_dropped_while_idle_costs_nothing(server: Adversary) -> None:
    server.behaviour.faults = [faults.DropAfter()] * 3
    assert all(isinstance(a, Answer) for a in asked(server, 4))


def test_drops_without_end_are_a_failure(server: Adversary) -> None:
    server.behaviour.faults = [faults.Drop()] * 50
    found = failure(server)
    assert found.code == "unavailable"
    assert "5 tries" in found.reason
    assert len(server.seen) == 5


def test_nobody_there_is_a_failure(server: Adversary) -> None:
    with Adversary(Behaviour(CategoricalLaw(1))) as gone:
        pass
    assert failure(gone).code == "unavailable"


def test_a_half_open_connection_ends_at_the_silence(server: Adversary) -> None:
    server.behaviour.faults = [faults.HalfOpen()] * 2
    assert isinstance(only(server, patience=patience(silence=0.2)), Answer)
    assert len(server.seen) == 3


@pytest.mark.parametrize("in_headers", [True, False])
def test_a_slow_loris_is_cut_off_at_the_deadline(server: Adversary, in_headers: bool) -> None:
    """Every byte comes well within the silence, so that nothing but the deadline can end it."""
    server.behaviour.faults = [faults.Loris(in_headers)]
    assert isinstance(only(server, patience=patience(deadline=0.4, silence=20.0)), Answer)
    server.behaviour.faults = [faults.Loris(in_headers)] * 9
    found = failure(server, patience=patience(deadline=0.1, attempts=2))
    assert found.code == "unavailable"
    assert "within" in found.reason or "slowly" in found.reason


@pytest.mark.parametrize("text", ["<html>maintenance</html>", '{"choices": [', "[]", '"ok"', ""])
def test_a_reply_that_is_no_json_object_is_unreadable(server: Adversary, text: str) -> None:
    server.behaviour.faults = [faults.Body(text)]
    assert isinstance(only(server), Answer)
    server.behaviour.faults = [faults.Body(text)] * 9
    found = failure(server)
    assert (found.code, found.status) == ("unreadable", 200)
    assert "3 tries" in found.reason


def test_a_lying_content_length_without_end_is_unreadable(server: Adversary) -> None:
    for by in (25, -25):
        server.behaviour.faults = [faults.LyingLength(by)] * 9
        assert failure(server).code == "unreadable"


@pytest.mark.parametrize("text", ['{"choices": []}', '{"choices": null}', "{}"])
def test_a_reply_without_choices_is_empty(server: Adversary, text: str) -> None:
    server.behaviour.faults = [faults.Body(text)] * 9
    assert failure(server).code == "empty"


def test_a_stream_that_breaks_off_is_asked_for_again(server: Adversary) -> None:
    server.behaviour.faults = [faults.CutStream()]
    assert isinstance(only(server), Answer)
    server.behaviour.faults = [faults.CutStream()] * 9
    found = failure(server)
    assert found.code == "unreadable"
    assert "broke off" in found.reason


def test_a_reply_larger_than_allowed_is_not_taken(server: Adversary) -> None:
    found = failure(server, patience=patience(largest=100))
    assert found.code == "unreadable"
    assert "larger" in found.reason
    assert len(server.seen) == 1


@pytest.mark.parametrize("key", [None, Key("a test", "sk-TestSecret123")])
def test_a_redirect_is_not_followed(server: Adversary, key: Key | None) -> None:
    with Adversary(Behaviour(CategoricalLaw(2))) as elsewhere:
        server.behaviour.faults = [faults.moved(f"{elsewhere.url}/chat/completions?token=s3cret")] * 9
        found = failure(server, key=key)
        assert elsewhere.seen == []
    assert (found.code, found.status) == ("refused", 307)
    assert f"redirects to {elsewhere.url}/chat/completions, which is not followed" in found.reason


def test_retries_stay_within_the_budget(server: Adversary) -> None:
    server.behaviour.faults = [faults.throttled("0")] * 9
    found = failure(server, budget=Budget(requests=3, concurrency=1))
    assert found.code == "budget"
    assert len(server.seen) == 3


def test_the_time_that_runs_out_in_a_batch_fails_the_rest_of_it(server: Adversary) -> None:
    server.behaviour.faults = [None, faults.throttled("50")]
    endpoint = Endpoint("suspect", server.url, "m")
    budget = Budget(seconds=40, concurrency=1)
    with Session(
        [endpoint], seed=1, consent=agreed, capabilities=KNOWN, budget=budget, patience=patience()
    ) as live:
        found = live.ask([Call("suspect", chat(f"{i}"), "t") for i in range(4)])
    assert sorted(a.code if isinstance(a, Failure) else "ok" for a in found) == [
        "budget",
        "budget",
        "budget",
        "ok",
    ]
    assert len(server.seen) == 2


def test_nothing_in_a_request_says_that_it_is_a_probe(server: Adversary) -> None:
    """A proxy that knew it could answer such requests by the model that it only claims to serve."""
    server.behaviour.cookie = "session=42"
    asked(server, 3)
    for seen in server.seen:
        words = f"{seen.path} {seen.headers} {seen.body}".lower()
        assert not [w for w in ("filiation", "probe", "audit", "suspect") if w in words]
        assert "cookie" not in seen.headers
