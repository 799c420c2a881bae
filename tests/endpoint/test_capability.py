"""What an endpoint can do, for each way in which a server may not do it; refused and ignored are told apart."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from filiation.endpoint.budget import Budget
from filiation.endpoint.capability import NOTES
from filiation.endpoint.client import Endpoint
from filiation.endpoint.model import Answer, Ask, Call, Capabilities, Support, chat
from filiation.endpoint.replay import Replay
from filiation.endpoint.session import Session, agreed
from filiation.errors import BudgetError, NetworkError
from tests.endpoint import faults
from tests.endpoint.adversary import Adversary
from tests.endpoint.asking import patience, session
from tests.endpoint.behaviour import Behaviour
from tests.endpoint.laws import CategoricalLaw

FULL = Behaviour(CategoricalLaw(1), ids=True, ids_of=True, whole=True, prompt_logprobs="vllm")
PLAIN = Behaviour(CategoricalLaw(1))
Change = Callable[[Behaviour], Behaviour]


def found(behaviour: Behaviour, speaks: str = "openai") -> Capabilities:
    with Adversary(replace(behaviour)) as server:
        endpoint = Endpoint("a", server.url if speaks != "ollama" else server.host, "m", speaks)
        with Session(
            [endpoint], seed=1, consent=agreed, budget=Budget(concurrency=2), patience=patience()
        ) as live:
            return live.records["a"].capabilities


def test_a_full_server() -> None:
    assert found(FULL) == Capabilities(
        chat=True,
        completions=True,
        usage=True,
        top_logprobs=-1,
        token_logprob_ids=Support.SUPPORTED,
        prompt_logprobs=Support.SUPPORTED,
        prompt_ids=Support.SUPPORTED,
        seed=Support.SUPPORTED,
        n=Support.SUPPORTED,
        include_usage=Support.SUPPORTED,
    )


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("seed", "seed"),
        ("n", "n"),
        ("logprob_token_ids", "token_logprob_ids"),
        ("prompt_logprobs", "prompt_logprobs"),
        ("stream_options", "include_usage"),
    ],
)
def test_refused_and_ignored_are_two_things(name: str, field: str) -> None:
    names = frozenset({name, "echo"}) if name == "prompt_logprobs" else frozenset({name})
    assert getattr(found(replace(FULL, refuses=names)), field) is Support.REFUSED
    assert getattr(found(replace(FULL, ignores=names)), field) is Support.IGNORED
    assert getattr(found(FULL), field) is Support.SUPPORTED


def test_log_probabilities_that_are_refused_or_ignored() -> None:
    refused = found(replace(FULL, refuses=frozenset({"logprobs"})))
    assert refused.top_logprobs is None
    assert "logprobs_refused" in refused.notes
    for change in ({"ignores": frozenset({"logprobs"})}, {"null_logprobs": True}):
        ignored = found(replace(FULL, **change))  # pyright: ignore[reportArgumentType]
        assert ignored.top_logprobs is None
        assert "logprobs_ignored" in ignored.notes


@pytest.mark.parametrize("most", [1, 5, 20, 50])
def test_the_largest_number_of_alternatives(most: int) -> None:
    cut = found(replace(PLAIN, most=most))
    assert cut.top_logprobs == most
    # Where every number brings one, the number is what is ignored.
    assert cut.notes == (("top_logprobs_ignored",) if most == 1 else ("top_logprobs_capped",))
    refused = found(replace(PLAIN, most=most, refuses_more=True))
    assert refused.top_logprobs == max(k for k in (1, 5, 20, 100) if k <= most)
    assert refused.notes == ()


def test_a_number_of_alternatives_that_is_ignored() -> None:
    assert found(replace(PLAIN, ignores=frozenset({"top_logprobs"}))).top_logprobs == 0
    assert "top_logprobs_ignored" in found(replace(PLAIN, ignores=frozenset({"top_logprobs"}))).notes


def test_the_whole_vocabulary_under_another_number() -> None:
    """A server that takes 1,000,000, and nothing below 0."""

    def only_positive(server: Adversary) -> None:
        made = server.generator.run

        def run(body, context):  # type: ignore[no-untyped-def]
            low = isinstance(body.get("top_logprobs"), int) and body["top_logprobs"] < 0
            return made({**body, "top_logprobs": 0} if low else body, context)

        server.generator.run = run

    with Adversary(replace(FULL)) as server:
        only_positive(server)
        with session({"a": server}) as live:
            assert live.records["a"].capabilities.top_logprobs == -1
            (answer,) = live.ask([Call("a", chat("Hm?", top_logprobs=-1), "t")])
    assert isinstance(answer, Answer)
    assert answer.steps is not None
    assert len(answer.steps[0].top) == 256


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"digits": 2}, "logprobs_rounded"),
        ({"degenerate_at_zero": True}, "logprobs_degenerate_at_zero"),
        ({"after_temperature": True}, "logprobs_after_temperature"),
        ({"cache": True}, None),
    ],
)
def test_what_is_odd_about_the_log_probabilities(change: dict[str, object], note: str | None) -> None:
    assert found(replace(PLAIN, **change)).notes == (
        ("top_logprobs_capped",) if note is None else tuple(sorted((note, "top_logprobs_capped")))
    )  # pyright: ignore[reportArgumentType]


def test_a_cache_that_ignores_the_seed_is_noted() -> None:
    assert "answers_do_not_vary" in found(replace(PLAIN, cache=True, ignores=frozenset({"seed"}))).notes
    assert "answers_do_not_vary" not in found(PLAIN).notes


def test_a_seed_is_unknown_where_nothing_varies() -> None:
    still = found(replace(PLAIN, law=CategoricalLaw(1, sharpness=400.0)))
    assert still.seed is Support.UNKNOWN
    assert "answers_do_not_vary" in still.notes


def test_a_limit_on_tokens_that_is_ignored() -> None:
    assert "max_tokens_ignored" in found(replace(PLAIN, ignores=frozenset({"max_tokens"}))).notes


def test_a_reasoning_model() -> None:
    assert found(replace(PLAIN, reasoning="Let me think about rivers.")).reasoning
    assert not found(PLAIN).reasoning


def test_usage_that_is_not_stated() -> None:
    silent = found(replace(PLAIN, rewrite=lambda _: None))
    assert not silent.usage
    assert silent.include_usage is Support.IGNORED


def test_prompt_log_probabilities_by_echo() -> None:
    echoed = replace(PLAIN, prompt_logprobs="echo", ignores=frozenset({"prompt_logprobs"}))
    with Adversary(echoed) as server, session({"a": server}) as live:
        assert live.records["a"].capabilities.prompt_logprobs is Support.SUPPORTED
        (answer,) = live.ask([Call("a", Ask(prompt=" ba be", prompt_logprobs=True), "t")])
    assert isinstance(answer, Answer)
    assert answer.prompt_steps is not None
    assert answer.steps is not None
    assert [s.chosen.token for s in answer.prompt_steps] == ["<first>", " be"]
    assert len(answer.steps) == 1


def test_prompt_ids_that_are_counted_as_text() -> None:
    with Adversary(replace(FULL)) as server:
        server.behaviour.rewrite = lambda usage: {**usage, "prompt_tokens": 9}
        with session({"a": server}) as live:
            assert live.records["a"].capabilities.prompt_ids is Support.IGNORED


def test_chat_alone_and_completions_alone() -> None:
    chatty = found(replace(PLAIN, routes=frozenset({"chat"})))
    assert (chatty.chat, chatty.completions, chatty.prompt_ids) == (True, False, Support.UNKNOWN)
    raw = found(replace(PLAIN, routes=frozenset({"completions"})))
    assert (raw.chat, raw.completions, raw.top_logprobs) == (False, True, 20)


def test_a_server_that_answers_nothing_is_an_error_and_can_be_resumed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Adversary(replace(PLAIN, routes=frozenset())) as server:
        with pytest.raises(NetworkError, match="no such route") as error, session({"a": server}, log=log):
            pass
        assert error.value.file == server.url
        server.behaviour.routes = PLAIN.routes
        with session({"a": server}, log=log, resume=True) as live:
            assert live.records["a"].capabilities.chat
            records = live.records
    assert Replay(log).records == records


def test_the_words_of_the_questions_are_drawn_from_the_seed() -> None:
    said: list[set[str]] = []
    for seed in (1, 1, 2):
        with Adversary(replace(FULL)) as server, session({"a": server}, seed=seed):
            pass
        said.append({str(s.body.get("prompt", s.body.get("messages"))) for s in server.seen})
    assert said[0] == said[1]
    assert not said[0] & said[2]


def test_anthropic_and_ollama() -> None:
    text = found(PLAIN, "anthropic")
    assert (text.chat, text.completions, text.usage, text.top_logprobs) == (True, False, True, None)
    assert (text.seed, text.n) == (Support.REFUSED, Support.REFUSED)
    local = found(PLAIN, "ollama")
    assert (local.chat, local.completions, local.usage, local.top_logprobs) == (True, True, True, 20)
    assert (local.seed, local.n) == (Support.SUPPORTED, Support.REFUSED)


def test_a_stream_that_nobody_asked_for() -> None:
    assert found(replace(FULL, always_stream=True)).top_logprobs == -1


def test_a_server_that_gives_itself_away_is_spoken_to_in_its_dialect(tmp_path: Path) -> None:
    llama = replace(PLAIN, clue="timings", whole=True, ids=True)
    with Adversary(llama) as server, session({"a": server}, log=tmp_path / "log") as live:
        live.ask([Call("a", chat("Hm?"), "t")])
        records = live.records
        assert records["a"].dialect == "llama-server"
        assert server.seen[-1].body["cache_prompt"] is False
    assert Replay(tmp_path / "log").records == records
    passed_on = replace(PLAIN, clue="timings", refuses=frozenset({"cache_prompt"}))
    with Adversary(passed_on) as server, session({"a": server}) as live:
        (answer,) = live.ask([Call("a", chat("Hm?"), "t")])
        assert isinstance(answer, Answer)
        assert live.records["a"].dialect == "openai"


def test_faults_while_finding_out_are_not_taken_for_refusals() -> None:
    with Adversary(replace(FULL)) as server:
        server.behaviour.faults = [None, None, *[faults.Drop()] * 30]
        with session({"a": server}, patience=patience(attempts=1)) as live:
            able = live.records["a"].capabilities
    assert able.chat
    assert able.seed is Support.UNKNOWN
    assert able.n is Support.UNKNOWN


def test_a_budget_that_does_not_reach_says_so() -> None:
    with (
        Adversary(replace(FULL)) as server,
        pytest.raises(BudgetError),
        session({"a": server}, budget=Budget(requests=1)) as _,
    ):
        pass
    assert server.seen == []


def test_every_note_can_be_found_and_has_its_words_in_both_languages() -> None:
    root = Path(__file__).parents[2] / "src" / "filiation"
    code = "".join(
        p.read_text("utf-8") for p in (root / "endpoint").glob("*.py") if p.name != "capability.py"
    )
    code += (root / "endpoint" / "capability.py").read_text("utf-8").partition("_COUNTS")[2]
    for language in ("en", "zh-CN"):
        phrases = tomllib.loads((root / "report" / "phrases" / language / "probe.toml").read_text("utf-8"))
        assert sorted(phrases["probe"]["note"]) == sorted(NOTES)
    assert [n for n in NOTES if f'"{n}"' not in code] == []
