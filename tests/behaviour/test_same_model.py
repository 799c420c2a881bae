"""Same model? On scripted laws: supported, contradicted, undecided and not measured, each where it belongs."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
import pytest

from filiation.behaviour import same_model
from filiation.behaviour.dilution import Prompt, smallest_share
from filiation.behaviour.prompts import cell_of
from filiation.behaviour.same_model import Setting
from filiation.endpoint.model import Ask, Failure
from filiation.evidence import Outcome, Status, plain
from tests.behaviour.asker import Law, Scripted, able, said
from tests.behaviour.laws import Model, binomial_bound

REFERENCE, ANOTHER, CONTROL = Model(1), Model(2), Model(3)


def asker(suspect: Law = REFERENCE, seed: int = 0, **changes: Any) -> Scripted:
    return Scripted({"suspect": suspect, "reference": REFERENCE, "control-1": CONTROL}, seed=seed, **changes)


def setting(**changes: Any) -> Setting:
    return Setting(**{"seed": 5, "permutations": 999, "controls": ("control-1",)} | changes)


def test_the_same_model_is_supported_with_the_smallest_share_that_could_have_been_seen() -> None:
    found = same_model.run(asker(), setting())
    assert found.test.outcome is Outcome.SUPPORTED
    assert found.test.log10_e is not None
    assert found.test.log10_e >= 2.0
    assert found.evidence[0].id == found.test.evidence
    assert found.evidence[0].log10_e == found.test.log10_e
    assert found.test.smallest_effect is not None
    assert 0.0 < found.test.smallest_effect.value <= 0.5


def test_another_model_is_contradicted_within_few_requests() -> None:
    found = same_model.run(asker(ANOTHER), setting())
    assert found.test.outcome is Outcome.CONTRADICTED
    assert found.test.p is not None
    assert found.test.p <= 0.01
    assert found.test.figures["crossed"] <= 200
    assert {e.name: e.value for e in found.test.effect}["beyond_margin"] > 0.1


def test_another_model_is_never_supported_even_if_it_is_named_by_no_control() -> None:
    for seed in range(8):
        found = same_model.run(asker(Model(50 + seed), seed), setting(controls=(), seed=seed))
        assert found.test.outcome is Outcome.CONTRADICTED


def test_one_answer_in_ten_from_another_model_is_found_when_searched_for() -> None:
    mixed = Model(1, toward=ANOTHER, share=0.1)
    found = same_model.run(asker(mixed), setting(most=3000, settle=False))
    assert found.test.outcome is Outcome.CONTRADICTED
    assert found.test.figures["crossed"] <= 3000


def test_runs_on_equal_models_keep_the_level() -> None:
    runs, alpha = 60, 0.05
    wrong = less = 0
    for seed in range(runs):
        chosen = setting(seed=seed, alpha=alpha, pairs=60, most=60, permutations=99, controls=())
        found = same_model.run(asker(seed=seed), chosen).test
        wrong += found.outcome is Outcome.CONTRADICTED
        less += found.reason == "agrees_less"
    assert binomial_bound(wrong, runs, alpha)
    assert binomial_bound(less, runs, alpha)


def test_what_halfway_a_control_is_gets_no_support() -> None:
    # The null hypothesis of "alike": a suspect halfway between reference and control.
    half = Model(1, toward=CONTROL, share=0.5)
    runs, supported = 40, 0
    for seed in range(runs):
        chosen = setting(seed=seed, pairs=60, most=60, permutations=99)
        found = same_model.run(asker(half, seed), chosen)
        supported += found.test.figures["alike_log10_e"] >= 2.0
    assert binomial_bound(supported, runs, 0.01)


def test_a_difference_within_that_of_two_deployments_is_not_held_against_the_suspect() -> None:
    drifted = Model(1, toward=ANOTHER, share=0.5)
    laws = {"suspect": drifted, "reference": REFERENCE, "second": Model(1, toward=ANOTHER, share=0.7)}
    found = same_model.run(Scripted(laws), setting(second="second", controls=()))
    assert (found.test.outcome, found.test.reason) == (Outcome.UNDECIDED, "within_margin")


def test_a_reference_that_changes_between_its_answers_decides_nothing() -> None:
    # A lab's own endpoint has answered from visibly different variants: one set of answers is no anchor.
    class Alternating:
        count = 0

        def __call__(self, ask: Ask, rng: np.random.Generator) -> str:
            self.count += 1
            return (REFERENCE if self.count % 2 else ANOTHER)(ask, rng)

    laws = {"suspect": REFERENCE, "reference": Alternating()}
    found = same_model.run(Scripted(laws), setting(controls=()))
    assert (found.test.outcome, found.test.reason) == (Outcome.UNDECIDED, "reference_unstable")


def test_agreeing_less_than_the_reference_with_itself_is_said_and_decides_nothing() -> None:
    # Every prompt has an answer of its own, so that histograms over prompts tell nothing; agreement does.
    def own(prefix: str) -> Law:
        return lambda ask, rng: f"{prefix}{abs(hash(said(ask))) % 10**9}{'abcde'[int(rng.integers(0, 2))]}"

    laws = {"suspect": own("left"), "reference": own("right")}
    found = same_model.run(Scripted(laws), setting(controls=(), pairs=60, most=60))
    assert (found.test.outcome, found.test.reason) == (Outcome.UNDECIDED, "agrees_less")
    paired = next(e for e in found.evidence if e.id.endswith("/by=paired"))
    assert paired.p_value is not None
    assert paired.p_value < 1e-4
    assert next(e for e in found.evidence if e.id.endswith("/by=alike")).shows == "alike_unclear"


def test_prompts_with_one_answer_support_nothing() -> None:
    laws: dict[str, Law] = {role: lambda ask, rng: "yes" for role in ("suspect", "reference")}
    found = same_model.run(Scripted(laws), setting(controls=()))
    assert found.test.outcome is Outcome.UNDECIDED
    assert found.test.figures["alike_log10_e"] == 0.0


def test_too_few_pairs_are_said_to_be_too_few() -> None:
    found = same_model.run(asker(), setting(pairs=25, most=25))
    assert (found.test.outcome, found.test.reason) == (Outcome.UNDECIDED, "too_few_pairs")


def test_asking_goes_on_until_half_of_the_answers_exchanged_would_have_been_seen() -> None:
    for seed in range(4):
        found = same_model.run(asker(seed=seed), setting(seed=seed, pairs=40, most=600))
        assert found.test.outcome is Outcome.SUPPORTED
        assert 40 < found.test.figures["pairs"] < 600
        assert found.test.smallest_effect is not None
        assert found.test.smallest_effect.value <= 0.5


def test_asking_goes_on_for_a_smaller_share_that_is_wanted() -> None:
    asked = [same_model.run(asker(), setting(pairs=40, most=1000, share=share)).test for share in (0.5, 0.2)]
    assert asked[1].outcome is Outcome.SUPPORTED
    assert asked[0].figures["pairs"] < asked[1].figures["pairs"] < 1000
    assert asked[1].smallest_effect is not None
    assert asked[1].smallest_effect.value <= 0.2


def test_where_no_exchange_could_be_seen_asking_ends_at_the_most_pairs() -> None:
    # A control that answers as the reference does: exchanging one for the other shows nothing.
    laws = {"suspect": REFERENCE, "reference": REFERENCE, "control-1": REFERENCE}
    found = same_model.run(Scripted(laws), setting(pairs=40, most=120))
    assert found.test.outcome is Outcome.UNDECIDED
    assert found.test.figures["pairs"] == 120


def test_going_on_keeps_the_level_and_supports_no_half_swap() -> None:
    # When asking stops depends on the answers; neither bet may be won more often for that.
    runs, alpha, wrong, supported = 16, 0.05, 0, 0
    half = Model(1, toward=CONTROL, share=0.5)
    for seed in range(runs):
        chosen = setting(seed=seed, alpha=alpha, pairs=30, most=150, permutations=99)
        wrong += same_model.run(asker(seed=seed), chosen).test.outcome is Outcome.CONTRADICTED
        supported += same_model.run(asker(half, seed), chosen).test.outcome is Outcome.SUPPORTED
    assert binomial_bound(wrong, runs, alpha)
    assert binomial_bound(supported, runs, alpha)


def test_the_p_values_are_those_of_the_number_fixed_beforehand() -> None:
    found = same_model.run(asker(), setting(pairs=40, most=600))
    exact = next(e for e in found.evidence if e.id.endswith("/by=permutation"))
    assert exact.n is not None
    assert exact.n <= 40 < found.test.figures["pairs"]
    figures = found.test.figures
    assert figures["only_itself"] + figures["only_suspect"] <= 40


@pytest.mark.parametrize(
    ("roles", "changes", "reason"),
    [
        (("suspect",), {}, "no_reference"),
        (("suspect", "reference"), {"second": "second"}, "endpoint_absent"),
        (("suspect", "reference"), {}, "reasoning_model"),
    ],
)
def test_what_cannot_be_asked_is_not_measured(
    roles: tuple[str, ...], changes: dict[str, Any], reason: str
) -> None:
    thinking = {"suspect": able(reasoning=True)} if reason == "reasoning_model" else {}
    played = Scripted(dict.fromkeys(roles, REFERENCE), capabilities=thinking)
    found = same_model.run(played, setting(controls=(), **changes))
    assert (found.test.outcome, found.test.reason) == (Outcome.NOT_MEASURED, reason)
    assert found.evidence[0].status is Status.NOT_MEASURED
    assert not played.asked


def test_endpoints_without_a_common_interface_are_not_compared() -> None:
    able_to = {"suspect": able(chat=False), "reference": able(completions=False)}
    laws = {"suspect": REFERENCE, "reference": REFERENCE}
    found = same_model.run(Scripted(laws, capabilities=able_to), setting(controls=()))
    assert found.test.reason == "no_common_interface"


def test_completions_are_asked_where_there_is_no_chat() -> None:
    able_to = {role: able(chat=False) for role in ("suspect", "reference", "control-1")}
    played = asker(capabilities=able_to)
    assert same_model.run(played, setting()).test.outcome is Outcome.SUPPORTED
    assert all(isinstance(call.ask.prompt, str) and not call.ask.messages for call in played.asked)


@pytest.mark.parametrize("changes", [{"requests": 60}, {"refuse_after": 1}])
def test_a_budget_that_ends_too_early_is_the_reason(changes: dict[str, int]) -> None:
    found = same_model.run(asker(**changes), setting(batch=10))
    assert (found.test.outcome, found.test.reason) == (Outcome.NOT_MEASURED, "budget_too_small")


def test_a_budget_that_ends_midway_leaves_no_permutation_p() -> None:
    # The number of prompts was fixed beforehand; a p-value at another number would be chosen by the budget.
    found = same_model.run(asker(requests=400), setting())
    permutation = next(e for e in found.evidence if e.id.endswith("/by=permutation"))
    assert permutation.p_value is None
    assert found.test.requests <= 400


def test_failed_requests_drop_their_prompt_and_are_counted() -> None:
    def sometimes(ask: Ask, rng: np.random.Generator) -> str | Failure:
        return Failure("", "throttled", "429") if rng.random() < 0.3 else REFERENCE(ask, rng)

    found = same_model.run(asker(sometimes), setting())
    assert found.test.outcome is Outcome.SUPPORTED
    assert found.test.figures["failures"]["suspect"] > 10


def test_nothing_but_failures_is_not_measured() -> None:
    found = same_model.run(asker(lambda ask, rng: Failure("", "unavailable", "503")), setting())
    assert (found.test.outcome, found.test.reason) == (Outcome.NOT_MEASURED, "too_few_answers")


def test_every_text_is_new_and_both_sides_get_the_same() -> None:
    played = asker()
    same_model.run(played, setting(pairs=60, most=60))
    texts = {role: [said(c.ask) for c in played.asked if c.role == role] for role in ("suspect", "reference")}
    assert len(set(texts["suspect"])) == len(texts["suspect"]) == 60
    assert set(texts["reference"]) == set(texts["suspect"])
    assert all(cell_of(text) for text in texts["suspect"])


def test_equal_answers_give_equal_records() -> None:
    one, other = (plain(same_model.run(asker(ANOTHER, seed=3), setting())) for _ in range(2))
    assert one == other


def test_ids_tell_what_was_asked() -> None:
    plainly = setting()
    for changes in (
        {"pairs": 100},
        {"alpha": 0.05},
        {"seed": 6},
        {"second": "x"},
        {"tokens": 1},
        {"slack": 0.5},
        {"share": 0.2},
    ):
        assert setting(**changes).id() != plainly.id()


def test_the_smallest_share_is_smaller_with_more_pairs_and_none_where_nothing_could_be_seen() -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(6, size=(300, 2))
    prompts = [Prompt(f"c{n % 10}", f"w{a}", f"w{b}", "else") for n, (a, b) in enumerate(words)]
    few, many = (smallest_share(prompts, pairs, 0.01, 1) for pairs in (60, 1500))
    assert few is not None
    assert many is not None
    assert many < few
    alike = [Prompt("c", "w", "w", "w") for _ in range(50)]
    assert smallest_share(alike, 500, 0.01, 1) is None


def test_the_stated_share_is_seen_about_as_often_as_stated() -> None:
    stated = same_model.run(asker(), setting(pairs=200, most=200)).test.smallest_effect
    assert stated is not None
    mixed = Model(1, toward=CONTROL, share=stated.value)
    crossed = []
    for seed in range(20):
        found = same_model.run(asker(mixed, seed), setting(seed=seed, pairs=200, most=200, permutations=99))
        crossed.append(found.test.figures["crossed"] is not None)
    assert median(crossed) == 1
    assert sum(crossed) >= 14


def test_what_the_permutation_alone_rejects_is_not_said_to_show_no_difference() -> None:
    for seed in range(40):
        mixed = Model(1, toward=ANOTHER, share=0.6)
        found = same_model.run(asker(mixed, seed), setting(seed=seed, pairs=120, most=120, controls=()))
        if found.test.outcome is Outcome.CONTRADICTED and found.test.figures["crossed"] is None:
            assert found.evidence[0].id.endswith("/by=permutation")
            assert found.evidence[0].shows == "answers_differ_permuted"
            assert found.test.log10_e is None
            return
    raise AssertionError("no run was rejected by the permutation alone")
