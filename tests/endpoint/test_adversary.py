"""Each way in which a server is not honest, as the client sees it: so that the tests of a wing can rely on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from filiation.endpoint.budget import Budget
from filiation.endpoint.client import Endpoint
from filiation.endpoint.model import Answer, Ask, Call, Capabilities, Failure, Usage, chat
from filiation.endpoint.session import Session, agreed
from tests.endpoint.adversary import Adversary
from tests.endpoint.asking import patience
from tests.endpoint.behaviour import Behaviour, count_words
from tests.endpoint.laws import CategoricalLaw, FixedLaw, HeadLaw, drawn, log_softmax

LAW = CategoricalLaw(1)
PLAIN = Behaviour(LAW, ids=True)
KNOWN = {"a": Capabilities(chat=True, completions=True)}


def heard(behaviour: Behaviour, asks: Sequence[Ask], speaks: str = "openai", **options: Any) -> list[Answer]:
    with Adversary(replace(behaviour)) as server:
        endpoint = Endpoint("a", server.host if speaks == "ollama" else server.url, "m", speaks, **options)
        budget = Budget(concurrency=1)
        with Session(
            [endpoint], budget=budget, seed=1, consent=agreed, capabilities=KNOWN, patience=patience()
        ) as live:
            # One at a time: some servers change with the number of requests.
            found = [live.ask([Call("a", ask, "t")])[0] for ask in asks]
    assert not [f for f in found if isinstance(f, Failure)]
    return [f for f in found if isinstance(f, Answer)]


def same(times: int, **options: Any) -> list[Ask]:
    return [chat("Hm?", **options)] * times


def law_of(answer: Answer) -> dict[int | None, float | None]:
    assert answer.steps is not None
    return {t.id: t.logprob for t in answer.steps[0].top}


CONTEXT = "user: Hm?\nassistant:"
EXACT = log_softmax(LAW.logits(CONTEXT))
OTHER = CategoricalLaw(2)
OTHERS = log_softmax(OTHER.logits(CONTEXT))


def is_of(answer: Answer, exact: Any) -> bool:
    return all(i is not None and p == pytest.approx(exact[i], abs=1e-9) for i, p in law_of(answer).items())


def test_an_honest_server_samples_from_its_law() -> None:
    answers = heard(PLAIN, same(400, temperature=1.0))
    counted = Counter(a.text for a in answers)
    expected = np.exp(EXACT) * len(answers)
    observed = np.array([counted[w] for w in LAW.vocabulary])
    often = expected > 5
    statistic = ((observed - expected)[often] ** 2 / expected[often]).sum()
    assert statistic < 2.5 * often.sum()  # chi-squared with that many degrees of freedom; the seed is fixed


def test_temperature_zero_is_the_most_likely_token() -> None:
    assert {a.text for a in heard(PLAIN, same(5, temperature=0.0))} == {LAW.vocabulary[int(EXACT.argmax())]}


def test_a_swap() -> None:
    answers = heard(replace(PLAIN, other=OTHER, swap_after=4), same(8, top_logprobs=20))
    assert [is_of(a, EXACT) for a in answers] == [True] * 4 + [False] * 4
    assert all(is_of(a, OTHERS) for a in answers[4:])


def test_a_dilution() -> None:
    answers = heard(replace(PLAIN, other=OTHER, dilution=0.3), same(400, top_logprobs=5))
    swapped = sum(is_of(a, OTHERS) for a in answers)
    assert swapped + sum(is_of(a, EXACT) for a in answers) == 400
    assert 80 < swapped < 160


def test_a_cache_answers_equal_requests_alike() -> None:
    assert len({a.text for a in heard(replace(PLAIN, cache=True), same(30, max_tokens=4))}) == 1
    assert len({a.text for a in heard(PLAIN, same(30, max_tokens=4))}) > 10


def test_top_k_truncation() -> None:
    (answer,) = heard(replace(PLAIN, most=3), same(1, top_logprobs=20))
    assert len(law_of(answer)) == 3
    assert is_of(answer, EXACT)


def test_the_whole_vocabulary() -> None:
    (answer,) = heard(replace(PLAIN, whole=True), same(1, top_logprobs=-1))
    assert len(law_of(answer)) == 256
    assert is_of(answer, EXACT)


def test_rounding() -> None:
    (answer,) = heard(replace(PLAIN, digits=2), same(1, top_logprobs=20))
    assert list(law_of(answer).values()) == [round(float(v), 2) for v in np.sort(EXACT)[::-1][:20]]


@pytest.mark.parametrize(
    ("rewrite", "usage"),
    [
        (lambda u: {**u, "prompt_tokens": 675_947_905}, Usage(675_947_905, 1, None)),
        (lambda u: {"prompt_tokens": 0, "completion_tokens": 1}, Usage(0, 1)),
        (lambda u: {"prompt_tokens": "17"}, None),
        (lambda u: None, None),
    ],
)
def test_usage_rewriting(rewrite: Any, usage: Usage | None) -> None:
    (answer,) = heard(replace(PLAIN, rewrite=rewrite), same(1))
    assert (answer.usage and replace(answer.usage, total=None)) == usage


def test_usage_counts_by_the_given_tokenizer_and_offset() -> None:
    counted = replace(PLAIN, count=len, offset=100)
    (answer,) = heard(counted, same(1, max_tokens=3))
    assert answer.usage == Usage(len(CONTEXT) + 100, 3, len(CONTEXT) + 103)
    (ids,) = heard(counted, [Ask(prompt=(1, 2, 3))])
    assert ids.usage == Usage(103, 1, 104)


def test_degenerate_at_temperature_zero() -> None:
    cold, warm = heard(
        replace(PLAIN, degenerate_at_zero=True),
        [chat("Hm?", top_logprobs=5, temperature=t) for t in (0.0, 1.0)],
    )
    assert sorted(law_of(cold).values(), key=float) == [-9999.0] * 4 + [0.0]  # pyright: ignore[reportArgumentType]
    assert is_of(warm, EXACT)


def test_log_probabilities_after_the_temperature() -> None:
    (answer,) = heard(replace(PLAIN, after_temperature=True), same(1, top_logprobs=5, temperature=2.0))
    assert is_of(answer, log_softmax(LAW.logits(CONTEXT) / 2.0))


def test_parameters_that_are_ignored() -> None:
    deaf = replace(PLAIN, ignores=frozenset({"top_logprobs", "seed", "n", "max_tokens"}))
    one, two = heard(deaf, same(2, top_logprobs=5, seed=1, n=2, max_tokens=2))
    assert (law_of(one), len(one.texts), one.usage and one.usage.completion) == ({}, 1, 16)
    assert one.text != two.text


def test_seeds_are_honoured() -> None:
    one, two, other = heard(PLAIN, [chat("Hm?", seed=s, max_tokens=8, n=2) for s in (1, 1, 2)])
    assert one.texts == two.texts != other.texts
    assert one.texts[0] != one.texts[1]


def test_null_log_probabilities() -> None:
    (answer,) = heard(replace(PLAIN, null_logprobs=True), same(1, top_logprobs=5))
    assert answer.steps is None


def test_reasoning_and_cached_tokens() -> None:
    thought = "Let me see, a river."
    (answer,) = heard(replace(PLAIN, reasoning=thought, cached=5), same(1))
    assert answer.reasoning == thought
    assert answer.usage is not None
    assert (answer.usage.cached, answer.usage.reasoning) == (5, count_words(thought))
    assert answer.usage.completion == 1 + count_words(thought)


@pytest.mark.parametrize("classic", [True, False])
def test_completions_in_either_shape(classic: bool) -> None:
    raw = Ask(prompt=CONTEXT, top_logprobs=20)
    (answer,) = heard(replace(PLAIN, classic=classic), [raw])
    assert answer.steps is not None
    assert [t.logprob for t in answer.steps[0].top] == pytest.approx(np.sort(EXACT)[::-1][:20])


@pytest.mark.parametrize("speaks", ["openai", "anthropic", "ollama"])
def test_every_protocol_gives_the_same_text_and_counts(speaks: str) -> None:
    (answer,) = heard(replace(PLAIN, cached=4), same(1, temperature=0.0, max_tokens=3), speaks)
    (plain,) = heard(PLAIN, same(1, temperature=0.0, max_tokens=3))
    assert answer.text == plain.text
    assert answer.usage is not None
    assert plain.usage is not None
    assert (answer.usage.prompt, answer.usage.completion) == (plain.usage.prompt, plain.usage.completion)


@pytest.mark.parametrize("behaviour", [PLAIN, replace(PLAIN, always_stream=True)])
def test_a_stream_says_what_a_whole_reply_says(behaviour: Behaviour) -> None:
    ask = same(1, temperature=0.0, max_tokens=6, top_logprobs=5, n=2)
    (streamed,) = heard(behaviour, ask, stream=not behaviour.always_stream)
    (whole,) = heard(PLAIN, ask)
    assert streamed == whole


def test_chosen_token_ids_in_batches() -> None:
    asks = [Ask(prompt=CONTEXT, token_ids=tuple(range(i, i + 128))) for i in (0, 128)]
    found = [law_of(a) for a in heard(replace(PLAIN, ids_of=True), asks)]
    assert [found[i // 128][i] for i in range(256)] == pytest.approx(EXACT)


def test_prompt_log_probabilities() -> None:
    words = LAW.vocabulary[10:14]
    (answer,) = heard(
        replace(PLAIN, prompt_logprobs="vllm"), [Ask(prompt="".join(words), prompt_logprobs=True)]
    )
    assert answer.prompt_steps is not None
    stated = [s.chosen.logprob for s in answer.prompt_steps[1:]]
    exact = [log_softmax(LAW.logits("".join(words[:k])))[10 + k] for k in (1, 2, 3)]
    assert stated == pytest.approx(exact)


def test_a_head_has_exact_logits() -> None:
    weights = drawn("head").standard_normal((256, 16))
    law = HeadLaw(weights, seed=3, softcap=20.0)
    (answer,) = heard(Behaviour(law, ids=True, whole=True), same(1, top_logprobs=-1))
    logits = 20.0 * np.tanh(weights @ law.hidden(CONTEXT) / 20.0)
    assert is_of(answer, log_softmax(logits))


def test_a_fixed_law_and_a_derived_law() -> None:
    (answer,) = heard(Behaviour(FixedLaw((0.25, 0.75)), ids=True), same(1, top_logprobs=2))
    assert law_of(answer) == {1: pytest.approx(np.log(0.75)), 0: pytest.approx(np.log(0.25))}
    near = CategoricalLaw(9, parent=LAW, closeness=0.9)
    assert near.logits("x").argmax() == LAW.logits("x").argmax()


def test_another_name_is_returned() -> None:
    (answer,) = heard(replace(PLAIN, name="gpt-99"), same(1))
    assert answer.model == "gpt-99"
