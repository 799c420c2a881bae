"""The tokenizer test against real tokenizers, honest and rewritten usage, and the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from filiation.behaviour import tokenizer
from filiation.behaviour.candidates import Candidate, Unusable, shipped_candidates
from filiation.behaviour.probes import KINDS, battery
from filiation.behaviour.tokenizer import Setting
from filiation.behaviour.usage import fabricated, slope_of
from filiation.endpoint.model import Capabilities, Failure
from filiation.evidence import Outcome, plain
from tests.behaviour.asker import Law, Scripted
from tests.behaviour.scripted import PLAIN, TOP_20, Speaking


@cache
def shipped() -> dict[str, Candidate]:
    return {c.name: c for c in shipped_candidates()}


def everything() -> tuple[Candidate, ...]:
    return tuple(shipped().values())


def probed(speaker: Law, able: Capabilities = PLAIN, **fields: object) -> tokenizer.Found:
    setting = replace(Setting(everything(), seed=5), **fields)  # type: ignore[arg-type]
    return tokenizer.run(Scripted({"suspect": speaker}, able), setting)


@pytest.mark.parametrize("name", list(shipped()))
def test_counts_point_at_one_tokenizer_and_alone_support_nothing(name: str) -> None:
    found = probed(Speaking(shipped()[name]))
    assert found.test.outcome is Outcome.UNDECIDED
    assert found.test.reason == "usage_alone"
    assert found.test.figures["identified"] == [name]
    assert found.test.smallest_effect is not None
    assert found.test.effect[0].name == "offset"
    assert found.test.effect[0].value == 31


@pytest.mark.parametrize(
    ("name", "spells"),
    [*((name, "ids") for name in shipped()), ("Mistral 7B v0.1", "text"), ("Qwen 3", "text")],
)
def test_with_spelt_tokens_it_is_supported(name: str, spells: str) -> None:
    found = probed(Speaking(shipped()[name], spells=spells), TOP_20)
    rows = {row["name"]: row for row in found.test.figures["candidates"]}
    assert found.test.figures["identified"] == [name]
    assert rows[name]["spelt"]["agreement"] == "agrees"
    assert rows[name]["recounted"]["agreement"] == "agrees"
    assert found.test.outcome is Outcome.SUPPORTED
    assert found.test.reason is None


def test_a_tokenizer_that_is_not_among_the_candidates_fits_none() -> None:
    others = tuple(c for c in everything() if c.name != "Qwen 3")
    found = probed(Speaking(shipped()["Qwen 3"]), candidates=others)
    assert found.test.outcome is Outcome.UNDECIDED
    assert found.test.reason == "no_candidate_fits"
    assert found.test.smallest_effect is None
    assert found.evidence[0].shows == "tokenizer_none"
    assert found.test.figures["identified"] is None
    assert all(row["against"] > 0 for row in found.test.figures["candidates"])


def test_an_expected_tokenizer_that_does_not_fit_is_contradicted() -> None:
    found = probed(Speaking(shipped()["SmolLM2"]), expected="cl100k")
    assert (found.test.outcome, found.test.reason) == (
        Outcome.CONTRADICTED,
        "expected_tokenizer_does_not_fit",
    )


def test_a_model_that_cuts_its_words_otherwise_than_its_tokenizer_contradicts_nothing() -> None:
    """Drawn weights write tokens that no tokenizer would choose; their ids are the tokenizer's all the same."""
    found = probed(Speaking(shipped()["SmolLM2"], spells="ids", rambles=True), TOP_20, expected="SmolLM2")
    rows = {row["name"]: row for row in found.test.figures["candidates"]}
    assert rows["SmolLM2"]["spelt"]["agreement"] == "not_measured"
    assert rows["Qwen 3"]["spelt"]["agreement"] == "disagrees"
    assert (found.test.outcome, found.test.reason) == (Outcome.UNDECIDED, "usage_alone")
    assert found.test.figures["identified"] == ["SmolLM2"]
    other = probed(Speaking(shipped()["SmolLM2"], spells="ids", rambles=True), TOP_20, expected="Qwen 3")
    assert other.test.outcome is Outcome.CONTRADICTED


def test_a_proxy_that_counts_with_another_tokenizer_is_seen_where_tokens_are_spelt() -> None:
    speaker = Speaking(shipped()["SmolLM2"], counts=shipped()["cl100k"], spells="ids")
    found = probed(speaker, TOP_20)
    assert (found.test.outcome, found.test.reason) == (Outcome.SUPPORTED, "usage_counted_otherwise")
    assert found.test.figures["identified"] == ["SmolLM2"]
    assert found.evidence[1].reason == "usage_counted_otherwise"
    assert found.test.figures["channels_conflict"]
    assert not found.test.effect  # no hidden prompt is read off counts that are another's
    rows = {row["name"]: row for row in found.test.figures["candidates"]}
    assert rows["SmolLM2"]["spelt"]["agreement"] == "agrees"
    assert rows["cl100k"]["against"] == 0


def test_the_template_is_taken_off_the_offset() -> None:
    found = probed(Speaking(shipped()["Qwen 3"], offset=240), template_tokens=12)
    assert {e.name: e.value for e in found.test.effect} == {"offset": 240, "hidden_prompt": 228}


@pytest.mark.parametrize(
    ("usage", "kind"),
    [
        (lambda text: len(text) // 4, "line"),
        (lambda text: -(-len(text) // 4) + 9, "line"),
        (lambda text: round(len(text.encode()) / 3.3), "line"),
        (lambda text: round(1.3 * len(text.split())), "line"),
        (
            lambda text: int(1.5 * sum(c > "\x7f" for c in text) + sum(c < "\x80" for c in text) / 4),
            "weighted",
        ),
        (lambda text: 163, "constant"),
        (lambda text: 1, "zero_or_one"),
        (lambda text: 675_947_905 + len(text) % 7, "implausible"),
        (lambda text: None, "missing"),
    ],
)
def test_fabricated_usage_is_a_finding_and_nothing_is_concluded_from_it(
    usage: Callable[[str], int | None], kind: str
) -> None:
    found = probed(Speaking(shipped()["Qwen 3"], usage=usage))
    assert found.test.outcome is Outcome.NOT_MEASURED
    assert found.test.reason == ("usage_missing" if kind == "missing" else "usage_fabricated")
    assert found.evidence[1].reason == f"usage_{kind}"


def test_fabricated_usage_does_not_stop_the_spelt_tokens() -> None:
    found = probed(Speaking(shipped()["Qwen 3"], usage=lambda text: len(text) // 4, spells="ids"), TOP_20)
    assert found.test.outcome is Outcome.SUPPORTED
    assert found.test.figures["identified"] == ["Qwen 3"]
    assert found.evidence[1].reason == "usage_line"


def test_counts_that_a_reseller_scaled_up_are_a_finding_and_do_not_hide_the_tokenizer() -> None:
    own = shipped()["SmolLM2"]
    speaker = Speaking(own, usage=lambda text: int(1.2 * len(own.encode([text])[0])) + 7, spells="ids")
    found = probed(speaker, TOP_20, expected="SmolLM2")
    assert (found.test.outcome, found.test.reason) == (Outcome.SUPPORTED, "usage_rescaled")
    assert found.evidence[1].reason == "usage_rescaled"
    assert found.evidence[1].effect[0].name == "tokens_per_token"
    assert found.evidence[1].effect[0].value == pytest.approx(1.2, abs=0.02)
    hidden = probed(Speaking(own, usage=speaker.usage), expected="SmolLM2")
    assert hidden.test.outcome is Outcome.CONTRADICTED  # counts alone, and they are not its counts


def test_a_template_that_changes_is_not_taken_for_another_tokenizer() -> None:
    found = probed(Speaking(shipped()["Qwen 3"], drifts=True), repeats=16)
    assert found.test.outcome is Outcome.NOT_MEASURED
    assert found.test.reason == "usage_unstable"


def test_nothing_is_asked_beyond_the_budget() -> None:
    asker = Scripted({"suspect": Speaking(shipped()["SmolLM2"])}, requests=10)
    found = tokenizer.run(asker, Setting(everything()))
    assert (found.test.outcome, found.test.reason) == (Outcome.NOT_MEASURED, "budget_too_small")
    assert not asker.asked


def test_failures_leave_it_not_measured() -> None:
    found = probed(lambda ask, rng: Failure("", "unavailable", "dropped"))
    assert (found.test.outcome, found.test.reason) == (Outcome.NOT_MEASURED, "too_few_answers")


def test_no_endpoint_and_no_candidates_are_said() -> None:
    asker = Scripted({"suspect": Speaking(shipped()["SmolLM2"])})
    assert tokenizer.run(asker, Setting(everything(), role="reference")).test.reason == "endpoint_absent"
    assert tokenizer.run(asker, Setting(())).test.reason == "no_candidate_tokenizers"


def test_equal_runs_give_equal_records_and_unusable_candidates_are_listed() -> None:
    speaker = Speaking(shipped()["SmolLM2"], spells="ids")
    left = Unusable("other", "sentencepiece_alone")
    first, second = (plain(probed(speaker, TOP_20, unusable=(left,))) for _ in range(2))
    assert first == second
    assert first["test"]["figures"]["unusable"] == [{"name": "other", "reason": "sentencepiece_alone"}]


def test_probes_hold_every_kind_in_20_to_200_characters_and_change_with_the_seed() -> None:
    first, again, other = battery(1), battery(1), battery(2)
    assert first == again != other
    assert {p.kind for p in first} == set(KINDS)
    assert all(20 <= len(p.text) <= 200 and p.text in p.framed for p in first)
    frames = {
        (p.framed[: p.framed.index(p.text)], p.framed[p.framed.index(p.text) + len(p.text) :]) for p in first
    }
    assert len(frames) == 1


@pytest.mark.parametrize("seed", range(8))
def test_no_real_tokenizer_is_taken_for_made_up_counts(seed: int) -> None:
    texts = [probe.framed for probe in battery(seed)]
    for candidate in everything():
        counts = [len(ids) for ids in candidate.encode(texts)]
        assert fabricated(texts, counts) is None, candidate.name


def test_a_line_is_found_exactly_where_one_exists() -> None:
    assert slope_of([3, 10, 17], [1, 3, 5]) == pytest.approx(0.2857, abs=0.09)
    assert slope_of([3, 10, 17], [1, 9, 5]) is None
    assert slope_of([4, 4], [1, 3]) is None
