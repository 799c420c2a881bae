"""The identity battery: whom answers name, in seven languages, and that it weighs nothing."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from filiation.behaviour import identity, tokenizer
from filiation.behaviour.candidates import shipped_candidates
from filiation.behaviour.identity import Setting, contradiction
from filiation.behaviour.identity_prompts import KINDS, QUESTIONS
from filiation.behaviour.records import Found
from filiation.behaviour.vendors import named, normalised
from filiation.endpoint.model import Ask, Failure
from filiation.evidence import Outcome, plain
from tests.behaviour.asker import Scripted, said
from tests.behaviour.scripted import TOP_20, Speaking


def probed(text: str) -> Found:
    return identity.run(Scripted({"suspect": lambda ask, rng: text}), Setting())


def test_every_language_has_a_question_of_each_kind() -> None:
    assert set(QUESTIONS) == {"en", "zh", "ja", "fr", "es", "ru", "ar"}
    assert all(len(questions) == len(KINDS) == len(set(questions)) for questions in QUESTIONS.values())


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        ("I am Claude, made by Anthropic.", ("anthropic",)),
        ("I\u2019m ChatGPT \u2014 a model by Open\u200bAI.", ("openai",)),
        ("\uff29 am \uff27\uff30\uff34-4.", ("openai",)),
        ("我是通义千问，由阿里云开发。", ("alibaba",)),
        ("我是DeepSeek，由深度求索公司开发的。", ("deepseek",)),
        ("私はGoogleによって訓練されたモデルです。", ("google",)),
        ("Je suis Mistral, créé par Mistral AI.", ("mistral",)),
        ("Soy un modelo de OpenAI.", ("openai",)),
        ("Я — GigaChat, разработан Сбером.", ("sber",)),
        ("أنا نموذج من جوجل.", ("google",)),
        ("I am a language model named SmolLM, trained by Hugging Face.", ("huggingface",)),
        ("I'm a helpful assistant.", ()),
    ],
)
def test_claims_are_read_in_every_language(text: str, claimed: tuple[str, ...]) -> None:
    assert named(text).claimed == claimed


@pytest.mark.parametrize(
    ("text", "claimed", "denied"),
    [
        ("I'm not ChatGPT, I'm Claude.", ("anthropic",), ("openai",)),
        ("I was not made by OpenAI, Google or Anthropic.", (), ("anthropic", "google", "openai")),
        ("I work like ChatGPT.", (), ("openai",)),
        ("我不是ChatGPT，我是通义千问。", ("alibaba",), ("openai",)),
        ("私はChatGPTではありません。Claudeです。", ("anthropic",), ("openai",)),
        ("Je ne suis pas Claude, mais Mistral.", ("mistral",), ("anthropic",)),
        ("No soy ChatGPT, sino Qwen.", ("alibaba",), ("openai",)),
        ("Я не ChatGPT, а YandexGPT.", ("yandex",), ("openai",)),
        ("أنا لست من جوجل.", (), ("google",)),
    ],
)
def test_denials_and_comparisons_are_no_claims(
    text: str, claimed: tuple[str, ...], denied: tuple[str, ...]
) -> None:
    found = named(text)
    assert (found.claimed, found.denied) == (claimed, denied)


def test_spellings_are_brought_to_one() -> None:
    assert normalised("I\u2019m \uff23laude\u200b") == normalised("i'm claude")


def test_counts_come_with_wilson_intervals_the_base_rate_and_no_weight() -> None:
    found = probed("I am ChatGPT by OpenAI.")
    (effect,) = found.test.effect
    assert (effect.name, effect.value, effect.high) == ("names_openai", 1.0, 1.0)
    assert effect.low == pytest.approx(0.9162, abs=1e-4)  # 42 of 42
    assert found.test.outcome is Outcome.UNDECIDED
    assert found.test.reason == "self_identification_weighs_nothing"
    assert found.test.figures["weight"] == 0
    assert found.test.figures["base_rate"] == {"confused": 7, "models": 27, "source": "arXiv 2411.10683"}
    record = found.evidence[0]
    assert record.log10_e is None
    assert record.p_value is None
    assert record.background is not None
    assert record.background.n_pairs == 27
    assert found.test.requests == 42


def test_answers_are_counted_by_language() -> None:
    def speak(ask: Ask, rng: np.random.Generator) -> Failure | str:
        text = said(ask)
        if text in QUESTIONS["zh"]:
            return "我是通义千问。"
        return Failure("", "empty", "none") if text in QUESTIONS["ar"] else "I'd rather not say."

    found = identity.run(Scripted({"suspect": speak}), Setting())
    assert found.test.figures["answers"] == 36
    assert found.test.figures["no_name"] == 30
    assert found.test.figures["vendors"] == [
        {"vendor": "alibaba", "claimed": 6, "denied": 0, "languages": ["zh"]}
    ]


def test_a_claim_against_the_tokenizer_raises_attention_and_agreement_does_not() -> None:
    chosen = {c.name: c for c in shipped_candidates()}
    setting = tokenizer.Setting(tuple(chosen.values()))
    spelt = tokenizer.run(Scripted({"suspect": Speaking(chosen["Qwen 3"], spells="ids")}, TOP_20), setting)
    assert contradiction(probed("I am ChatGPT by OpenAI."), spelt) == "claim_against_tokenizer"
    assert contradiction(probed("我是通义千问。"), spelt) is None
    assert contradiction(probed("I have no name."), spelt) is None
    counted = tokenizer.run(Scripted({"suspect": Speaking(chosen["Qwen 3"])}), setting)
    assert counted.test.figures["vendor"] == "alibaba"
    assert contradiction(probed("I am ChatGPT by OpenAI."), counted) is None  # counts can be chosen


@pytest.mark.parametrize(("claims", "raised"), [(2, False), (3, False), (12, True)])
def test_a_few_answers_that_name_a_maker_raise_no_attention(claims: int, raised: bool) -> None:
    chosen = {c.name: c for c in shipped_candidates()}
    spelt = tokenizer.run(
        Scripted({"suspect": Speaking(chosen["Qwen 3"], spells="ids")}, TOP_20),
        tokenizer.Setting(tuple(chosen.values())),
    )

    number = count()

    def answer(ask: Ask, rng: np.random.Generator) -> str:
        return "Made by Meta." if next(number) < claims else "I would rather not say."

    found = identity.run(Scripted({"suspect": answer}), Setting())
    assert found.test.figures["answers"] - found.test.figures["no_name"] == claims
    assert (contradiction(found, spelt) is not None) is raised


def test_budget_failures_and_absent_endpoints_are_said() -> None:
    asker = Scripted({"suspect": lambda ask, rng: Failure("", "throttled", "429")}, requests=50)
    assert identity.run(asker, Setting()).test.reason == "too_few_answers"
    assert identity.run(asker, Setting()).test.reason == "budget_too_small"
    assert identity.run(asker, Setting(role="reference")).test.reason == "endpoint_absent"


def test_equal_runs_give_equal_records() -> None:
    assert plain(probed("I am Kimi.")) == plain(probed("I am Kimi."))
