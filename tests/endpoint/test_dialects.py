"""Requests as each kind of server spells them, and answers out of every shape of reply."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.endpoint.client import Endpoint
from filiation.endpoint.dialects import Dialect, build, dialect, likely, names, read
from filiation.endpoint.model import Answer, Ask, Failure, Message, Speaker, TokenChance, Usage, chat
from filiation.errors import UsageError

OPENAI = dialect("openai")


def answer(reply: dict[str, Any], spoken: Dialect = OPENAI) -> Answer:
    found = read(spoken, "a#1", json.dumps(reply))
    assert isinstance(found, Answer)
    return found


def choice(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"content": "Hi"}, **fields}]}


@pytest.mark.parametrize("name", names())
def test_every_dialect_speaks(name: str) -> None:
    spoken = dialect(name)
    assert spoken.basis in ("tested", "documentation")
    request = build(spoken, chat("Hello", max_tokens=3, temperature=0.0), "m")
    assert request.lacking is None
    assert request.route == spoken.chat
    assert "Hello" in json.dumps(request.body)
    assert request.body["model"] == "m"


def test_an_unknown_dialect_is_an_error() -> None:
    with pytest.raises(UsageError, match="none of: anthropic"):
        dialect("latin")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.anthropic.com", "anthropic"),
        ("https://api.anthropic.com/v1", "anthropic"),
        ("https://gateway.example/v1/messages", "anthropic"),
        ("http://localhost:11434", "ollama"),
        ("http://localhost:11434/v1", "openai"),
        ("http://localhost:11434/api/chat", "ollama"),
        ("https://api.openai.com/v1", "openai"),
        ("https://api.anthropic.com.example.org/v1", "openai"),
        ("nonsense", "openai"),
        ("http://[", "openai"),
    ],
)
def test_the_dialect_that_an_address_suggests(url: str, name: str) -> None:
    assert likely(url) == name
    assert Endpoint("a", url, "m").speaks == name
    assert Endpoint("a", url, "m", "vllm").speaks == "vllm"


def test_an_openai_request_holds_what_was_asked_and_nothing_else() -> None:
    ask = chat(
        "Hi", system="Be brief.", max_tokens=2, temperature=0.5, seed=7, top_logprobs=5, n=2, stop=("\n",)
    )
    assert build(OPENAI, ask, "m").body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "max_tokens": 2,
        "temperature": 0.5,
        "seed": 7,
        "logprobs": True,
        "top_logprobs": 5,
        "n": 2,
        "stop": ["\n"],
    }
    assert build(OPENAI, chat("Hi"), "m").body.keys() == {"model", "messages", "max_tokens"}


def test_the_numbers_of_alternatives() -> None:
    def body(name: str, **options: Any) -> dict[str, Any]:
        return dict(build(dialect(name), chat("Hi", **options), "m").body)

    assert "top_logprobs" not in body("openai", top_logprobs=0)
    assert body("openai", top_logprobs=0)["logprobs"] is True
    assert body("vllm", top_logprobs=-1)["top_logprobs"] == -1
    assert body("llama-server", top_logprobs=-1)["top_logprobs"] == 1_000_000
    assert body("llama-server")["cache_prompt"] is False
    raw = build(OPENAI, Ask(prompt="Hi", top_logprobs=5), "m")
    assert raw.route == "completions"
    assert (raw.body["logprobs"], raw.body["prompt"]) == (5, "Hi")
    assert "top_logprobs" not in raw.body
    assert build(OPENAI, Ask(prompt=(1, 2)), "m").body["prompt"] == [1, 2]


def test_chosen_tokens_and_the_prompt() -> None:
    body = build(dialect("vllm"), Ask(prompt="Hi", token_ids=(4, 5), prompt_logprobs=True), "m").body
    assert body["logprob_token_ids"] == [4, 5]
    assert body["return_tokens_as_token_ids"] is True
    assert body["prompt_logprobs"] == 1
    assert body["logprobs"] == 2


@pytest.mark.parametrize(
    ("name", "ask", "words"),
    [
        ("anthropic", Ask(prompt="Hi"), "raw prompts"),
        ("anthropic", chat("Hi", top_logprobs=1), "log-probabilities"),
        ("anthropic", chat("Hi", seed=1), "a seed"),
        ("anthropic", chat("Hi", n=2), "several answers"),
        ("ollama", chat("Hi", top_logprobs=-1), "the whole vocabulary"),
        ("ollama", Ask(prompt=(1, 2)), "prompts of token ids"),
        ("llama-server", chat("Hi", token_ids=(1,)), "log-probabilities of chosen tokens"),
        ("llama-server", chat("Hi", prompt_logprobs=True), "log-probabilities of the prompt"),
    ],
)
def test_what_a_dialect_has_no_words_for(name: str, ask: Ask, words: str) -> None:
    request = build(dialect(name), ask, "m")
    assert request.lacking == words
    assert request.body == {}


def test_anthropic_keeps_system_messages_apart() -> None:
    ask = Ask(
        messages=(
            Message(Speaker.SYSTEM, "Be brief."),
            Message(Speaker.USER, "Hi"),
            Message(Speaker.ASSISTANT, "Hello."),
            Message(Speaker.USER, "Bye"),
        )
    )
    body = build(dialect("anthropic"), ask, "m").body
    assert body["system"] == "Be brief."
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]


def test_chat_log_probabilities() -> None:
    top = [
        {"token": " b", "logprob": -2.0, "bytes": [32, 98]},
        {"token": " a", "logprob": -0.5, "bytes": [32, 97], "id": 9},
    ]
    entry = {"token": " a", "logprob": -0.5, "bytes": [32, 97], "id": 9, "top_logprobs": top}
    (step,) = answer(choice(logprobs={"content": [entry]})).steps or ()
    assert step.chosen == TokenChance(" a", -0.5, 9, b" a")
    assert [t.token for t in step.top] == [" a", " b"]


def test_classic_log_probabilities() -> None:
    logprobs = {
        "tokens": ["token_id:5", "bytes:\\xe2\\x80"],
        "token_logprobs": [-1.0, None],
        "top_logprobs": [{"token_id:7": -3.0, "token_id:5": -1.0}, None],
    }
    first, second = answer({"choices": [{"text": "x", "logprobs": logprobs}]}).steps or ()
    assert first.chosen.id == 5
    assert [t.id for t in first.top] == [5, 7]
    assert second.chosen == TokenChance("bytes:\\xe2\\x80", None, None, b"\xe2\x80")
    assert second.top == ()


def test_probabilities_instead_of_log_probabilities() -> None:
    entry = {
        "token": "a",
        "prob": 0.5,
        "top_probs": [{"token": "a", "prob": 0.5}, {"token": "b", "prob": 0.0}],
    }
    (step,) = answer(choice(logprobs={"content": [entry]})).steps or ()
    assert step.chosen.logprob == pytest.approx(-0.6931471805599453)
    assert [t.logprob for t in step.top] == [step.chosen.logprob, None]


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": []}, [], "x", {"tokens": []}])
def test_log_probabilities_that_are_not_there_are_none(logprobs: Any) -> None:
    found = answer(choice(logprobs=logprobs))
    assert found.steps is None
    assert found.text == "Hi"


def test_numbers_that_are_none_do_not_become_numbers() -> None:
    text = (
        '{"choices": [{"text": "a", "logprobs": {"tokens": ["a"], "token_logprobs": [NaN], "top_logprobs": '
    )
    text += '[{"a": -Infinity, "b": "x", "c": true}]}}], "usage": {"prompt_tokens": -4, "completion_tokens": 1e999}}'
    found = read(OPENAI, "a#1", text)
    assert isinstance(found, Answer)
    assert found.usage is None
    assert found.steps is not None
    assert [t.logprob for t in (found.steps[0].chosen, *found.steps[0].top)] == [None] * 4


@pytest.mark.parametrize("huge", ["1e400", "9" * 4000, "-" + "9" * 4000])
def test_numbers_beyond_all_sense_are_none(huge: str) -> None:
    found = read(
        OPENAI,
        "a#1",
        f'{{"choices": [{{"text": "a", "logprobs": {{"tokens": ["a"], "token_logprobs": [{huge}]'
        f'}}}}], "usage": {{"prompt_tokens": {huge}}}}}',
    )
    assert isinstance(found, Answer)
    assert found.usage is None
    assert found.steps is not None
    assert found.steps[0].chosen.logprob is None


def test_prompt_log_probabilities_of_vllm() -> None:
    prompt = [None, {"12": {"logprob": -4.0, "rank": 9, "decoded_token": " x"}, "3": {"logprob": -1.0}}]
    _, step = answer(choice(prompt_logprobs=prompt)).prompt_steps or ()
    assert step.chosen == TokenChance(" x", -4.0, 12)
    assert [t.id for t in step.top] == [3, 12]
    assert answer({**choice(), "prompt_logprobs": prompt}).prompt_steps is not None


def test_usage_with_cached_and_reasoning_tokens() -> None:
    stated = {
        "prompt_tokens": 50,
        "completion_tokens": 9,
        "total_tokens": 59,
        "prompt_tokens_details": {"cached_tokens": 48},
        "completion_tokens_details": {"reasoning_tokens": 8},
    }
    assert answer({**choice(), "usage": stated}).usage == Usage(50, 9, 59, 48, 8)
    assert answer({**choice(), "usage": {"prompt_tokens": 0}}).usage == Usage(prompt=0)
    for none in (None, {}, [], {"prompt_tokens": "12"}, {"prompt_tokens": True}, {"prompt_tokens": 1.5}):
        assert answer({**choice(), "usage": none}).usage is None


def test_anthropic_counts_cached_tokens_in() -> None:
    reply = {
        "model": "c",
        "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "usage": {
            "input_tokens": 3,
            "cache_read_input_tokens": 40,
            "cache_creation_input_tokens": 7,
            "output_tokens": 2,
        },
    }
    found = answer(reply, dialect("anthropic"))
    assert found.usage == Usage(50, 2, 52, 40)
    assert (found.text, found.reasoning, found.finish, found.model) == ("Hi", "Hm.", "end_turn", "c")


def test_ollama() -> None:
    entry = {
        "token": "Hi",
        "logprob": -0.1,
        "bytes": [72, 105],
        "top_logprobs": [{"token": "Hi", "logprob": -0.1}],
    }
    reply = {
        "model": "q",
        "message": {"content": "Hi", "thinking": "Hm."},
        "done_reason": "stop",
        "prompt_eval_count": 11,
        "eval_count": 2,
        "logprobs": [entry],
    }
    found = answer(reply, dialect("ollama"))
    assert (found.text, found.reasoning, found.usage) == ("Hi", "Hm.", Usage(11, 2))
    assert found.steps is not None
    assert found.steps[0].top[0].logprob == -0.1
    assert answer({"response": "Ho"}, dialect("ollama")).text == "Ho"


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": "Hi", "reasoning_content": "Hm."}, "Hi", "Hm."),
        ({"content": "Hi", "reasoning": "Hm."}, "Hi", "Hm."),
        ({"content": "<think>\nHm.\n</think>\n\nHi"}, "Hi", "Hm."),
        ({"content": "<think>Hm, and then"}, "", "Hm, and then"),
        ({"content": "I <think> so"}, "I <think> so", None),
        ({"content": None, "refusal": "No."}, "No.", None),
        ({"content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "!"}]}, "Hi!", None),
        ({"content": None}, "", None),
    ],
)
def test_words_and_reasoning(message: dict[str, Any], text: str, reasoning: str | None) -> None:
    found = answer({"choices": [{"message": message}]})
    assert (found.text, found.reasoning) == (text, reasoning)


def test_several_answers_stand_in_their_order() -> None:
    choices = [{"index": i, "message": {"content": str(i)}} for i in (2, 0, 1)]
    assert answer({"choices": choices}).texts == ("0", "1", "2")


def test_a_stream_is_put_together() -> None:
    events = [
        {"model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"index": 0, "delta": {"reasoning_content": "Hm."}}]},
        {"choices": [{"index": 1, "delta": {"content": "Ho"}}]},
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": "H"},
                    "logprobs": {"content": [{"token": "H", "logprob": -1}]},
                }
            ]
        },
        {"choices": [{"index": 0, "delta": {"content": "i"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}},
    ]
    text = ": ping\n\n" + "".join(f"data: {json.dumps(e)}\r\n\r\n" for e in events) + "data: [DONE]\n\n"
    found = read(OPENAI, "a#1", text)
    assert isinstance(found, Answer)
    assert (found.texts, found.reasoning, found.usage) == (("Hi", "Ho"), "Hm.", Usage(4, 2))
    assert found.steps is not None
    assert found.finish == "stop"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nonsense", "unreadable"),
        ("[" * 100_000, "unreadable"),
        ('data: {"choices": [{"delta": {"content": "H"}}]}\n\n', "unreadable"),
        ("data: {broken\n\ndata: [DONE]\n", "unreadable"),
        ('{"choices": []}', "empty"),
        ('{"error": {"message": "no"}}', "refused"),
        ('data: {"error": {"message": "no"}}\n\n', "refused"),
    ],
)
def test_replies_without_an_answer(text: str, code: str) -> None:
    found = read(OPENAI, "a#1", text)
    assert isinstance(found, Failure)
    assert found.code == code


def test_what_an_error_says_is_one_printable_line() -> None:
    found = read(
        OPENAI, "a#1", json.dumps({"error": {"message": "no\n\x1b[31m\u202esuch model" + "x" * 999}})
    )
    assert isinstance(found, Failure)
    assert found.reason.startswith("no [31msuch modelxxx")
    assert len(found.reason) < 300


KEYS = (
    "choices message content logprobs tokens token_logprobs top_logprobs usage text token logprob bytes "
    "prompt_logprobs index prompt_tokens error response type"
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS.split()),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(JSON, st.sampled_from(["openai", "ollama", "anthropic"]), st.booleans())
def test_whatever_comes_back_is_an_answer_or_a_failure(value: Any, name: str, streamed: bool) -> None:
    reply = {"choices": value, "message": value, "content": value, "logprobs": value, "usage": value}
    text = json.dumps(reply)
    found = read(dialect(name), "a#1", f"data: {text}\n\ndata: [DONE]" if streamed else text)
    assert isinstance(found, Answer | Failure)
    assert found == read(dialect(name), "a#1", f"data: {text}\n\ndata: [DONE]" if streamed else text)
