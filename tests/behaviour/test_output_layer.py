"""The test of the output layer on numpy heads: full, batched and truncated log-probabilities, noise, caps, biases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from filiation.behaviour import output_layer
from filiation.behaviour.ellipse import check
from filiation.behaviour.heads import Head, of_matrix, permuted
from filiation.behaviour.output_layer import Setting, judge
from filiation.behaviour.rank import hidden_size
from filiation.behaviour.records import Found
from filiation.behaviour.regression import regress, uncapped
from filiation.endpoint.model import Capabilities, Failure
from filiation.evidence import Outcome, plain
from filiation.vocabulary import Vocabulary
from tests.behaviour.asker import Scripted
from tests.behaviour.scripted import FULL, IDS, PLAIN, TOP_20, Layered

WIDTH, SIZE = 48, 1200


def tokens(size: int, first: int = 0) -> Vocabulary:
    return Vocabulary(tuple(f"t{n + first}".encode() for n in range(size)), "byte_bpe", "made")


def made(seed: int, width: int = WIDTH, size: int = SIZE, **fields: object) -> Head:
    """A head with a direction of token frequency, which real heads share."""
    draw = np.random.default_rng(seed)
    frequency = -np.log(np.arange(size) + 10.0)
    matrix = draw.standard_normal((size, width)) * 0.3
    matrix[:, 0] += frequency - frequency.mean()
    gain = 0.5 + 2 * draw.random(width)
    known: dict[str, object] = {"gain": gain, "vocabulary": tokens(size)} | fields
    return of_matrix(f"model-{seed}", matrix, **known)


def probed(head: Head, able: Capabilities, endpoint: Layered, **fields: object) -> Found:
    setting = replace(Setting(head, (made(2), made(3, width=32))), **fields)  # type: ignore[arg-type]
    return output_layer.run(Scripted({"suspect": endpoint}, able), setting)


def candidate(found: Found) -> float:
    return next(r["held_out"] for r in found.test.figures["residuals"] if r["kind"] == "candidate")


def test_the_true_head_lies_far_below_every_control_at_full_precision() -> None:
    found = probed(made(1), FULL, Layered(made(1)))
    controls = [r for r in found.test.figures["residuals"] if r["kind"] != "candidate"]
    assert found.test.outcome is Outcome.SUPPORTED
    assert candidate(found) < 1e-20
    assert {r["kind"] for r in controls} == {"other_head", "row_permuted"}
    assert min(r["held_out"] for r in controls) > 1e6 * candidate(found)
    assert found.test.requests == 5
    assert {e.name for e in found.test.effect} >= {"log10_below_best_control", "conformal_rank_p"}


def test_another_head_is_contradicted_although_both_know_frequencies() -> None:
    found = probed(made(1), FULL, Layered(made(9)))
    assert (found.test.outcome, found.test.reason) == (Outcome.CONTRADICTED, "residual_like_controls")


def test_chosen_ids_come_in_batches_of_128_with_anchors() -> None:
    asker = Scripted({"suspect": Layered(made(1), noise=1e-3)}, IDS)
    found = output_layer.run(asker, Setting(made(1), (made(2),)))
    assert found.test.outcome is Outcome.SUPPORTED
    assert found.test.figures["way"] == "chosen_ids"
    assert all(len(call.ask.token_ids) <= 128 for call in asker.asked)
    assert len({call.ask.token_ids[:8] for call in asker.asked}) == 1
    assert 1e-9 < found.test.figures["noise_floor"] < 1e-4


def test_top_20_is_too_few_and_said_so_before_anything_is_asked() -> None:
    asker = Scripted({"suspect": Layered(made(1), top=20)}, TOP_20)
    found = output_layer.run(asker, Setting(made(1)))
    assert (found.test.outcome, found.test.reason) == (Outcome.NOT_MEASURED, "top_k_below_width")
    assert not asker.asked
    plain_one = output_layer.run(Scripted({"suspect": Layered(made(1))}, PLAIN), Setting(made(1)))
    assert plain_one.test.reason == "no_logprobs"


def test_a_large_top_k_is_enough_even_where_prompts_share_few_tokens() -> None:
    found = probed(made(1), replace(FULL, top_logprobs=400), Layered(made(1), top=400), controls=())
    assert found.test.outcome is Outcome.SUPPORTED


def test_tokens_without_ids_are_found_by_their_bytes() -> None:
    found = probed(made(1), FULL, Layered(made(1), with_ids=False))
    assert found.test.outcome is Outcome.SUPPORTED


def test_a_bias_and_a_layer_norm_are_followed() -> None:
    draw = np.random.default_rng(8)
    head = made(1, bias=draw.standard_normal(SIZE), shift=draw.standard_normal(WIDTH), norm="layer")
    found = probed(head, FULL, Layered(head))
    assert found.test.outcome is Outcome.SUPPORTED
    assert candidate(found) < 1e-20
    assert found.test.figures["ellipse"]["holds"]


def test_a_soft_cap_is_inverted_by_search() -> None:
    head = made(1, softcap=10.0)
    found = probed(head, FULL, Layered(head))
    assert found.test.outcome is Outcome.SUPPORTED
    assert candidate(found) < 1e-8
    unaware = probed(made(1), FULL, Layered(head))
    assert candidate(unaware) > 1e3 * candidate(found)


def test_logits_before_a_cap_come_back() -> None:
    logits = np.linspace(-25, 25, 11)[:, None]
    assert np.allclose(uncapped(30 * np.tanh(logits / 30) - 3.0, 30.0, np.array([3.0])), logits)


@pytest.mark.parametrize("change", [1e-3, 1e-2, 1e-1])
def test_a_change_of_the_head_is_read_off_its_residual(change: float) -> None:
    head = made(1)
    matrix = head.rows(np.arange(SIZE))
    moved = matrix + change * np.sqrt((matrix**2).mean()) * np.random.default_rng(4).standard_normal(
        matrix.shape
    )
    found = probed(head, FULL, Layered(of_matrix("moved", moved, gain=head.gain, vocabulary=head.vocabulary)))
    relative = next(e.value for e in found.test.effect if e.name == "relative_change_of_head")
    assert relative == pytest.approx(change, rel=0.3)


def test_rounding_is_seen_and_counted_as_noise() -> None:
    found = probed(made(1), FULL, Layered(made(1), digits=3))
    assert found.test.figures["rounded_to"] == pytest.approx(1e-3)
    assert found.test.outcome is Outcome.SUPPORTED
    assert candidate(found) < 20 * found.test.figures["noise_floor"]


def test_noise_as_large_as_the_signal_leaves_it_undecided() -> None:
    found = probed(made(1), FULL, Layered(made(1), noise=3.0))
    assert (found.test.outcome, found.test.reason) == (Outcome.UNDECIDED, "logprobs_too_coarse")
    assert found.test.smallest_effect is not None


def test_judging() -> None:
    assert judge(1e-9, [0.5, 1.0], 1e-12)[0] is Outcome.SUPPORTED
    assert judge(0.4, [0.5, 1.0], 1e-12)[:2] == (Outcome.CONTRADICTED, "residual_like_controls")
    assert judge(0.01, [0.5, 1.0], 1e-12)[:2] == (Outcome.UNDECIDED, "head_partly_alike")
    assert judge(0.4, [0.5, 1.0], 0.1)[:2] == (Outcome.UNDECIDED, "logprobs_too_coarse")


def test_controls_that_share_too_few_tokens_are_named_and_left_out() -> None:
    stranger = replace(made(6), vocabulary=tokens(SIZE, first=SIZE))
    found = probed(made(1), FULL, Layered(made(1)), controls=(stranger, made(2)))
    assert found.test.figures["not_used"] == ["model-6"]
    assert "model-2" in found.test.controls


def test_a_control_of_another_vocabulary_is_held_over_the_shared_tokens() -> None:
    other = made(6)
    order = np.random.default_rng(0).permutation(SIZE)
    words = other.vocabulary
    assert words is not None
    matrix = other.rows(np.arange(SIZE))
    moved = of_matrix(
        "moved", matrix[order], vocabulary=replace(words, tokens=tuple(words.tokens[n] for n in order))
    )
    straight = probed(made(1), FULL, Layered(other), controls=(other,))
    turned = probed(made(1), FULL, Layered(other), controls=(moved,))
    rows = [
        next(r["held_out"] for r in found.test.figures["residuals"] if r["kind"] == "other_head")
        for found in (straight, turned)
    ]
    assert max(rows) < 1e-20


def test_hidden_size_comes_from_the_rank_of_vectors() -> None:
    found = probed(made(1), FULL, Layered(made(1)), rank_prompts=70)
    assert found.test.figures["hidden_size"]["size"] == WIDTH
    assert found.test.requests == 75
    assert found.evidence[-1].statistic == WIDTH


def test_too_few_vectors_name_no_hidden_size() -> None:
    vectors = np.random.default_rng(0).standard_normal((20, 48)) @ np.random.default_rng(1).standard_normal(
        (48, 200)
    )
    assert hidden_size(vectors).size is None


def test_the_ellipse_tells_another_norm_gain() -> None:
    head = made(1)
    endpoint = Layered(head)
    fit = np.arange(0, SIZE, 2)
    values = np.stack([endpoint.logprobs(t) for t in ("a", "b")], axis=1)
    own = regress(head, fit, values[fit], fit + 1, values[fit + 1])
    found = check(head, own.hidden)
    assert found is not None
    assert found.holds
    assert found.tells
    assert found.ratios == pytest.approx((1.0, 1.0))
    gain = head.gain
    assert gain is not None
    wrong = check(replace(head, gain=1.2 * gain), own.hidden)
    assert wrong is not None
    assert not wrong.holds
    assert check(replace(head, gain=None), own.hidden) is None


def test_a_permuted_head_keeps_its_rows() -> None:
    head = made(1)
    everything = np.arange(SIZE)
    one, other = head.rows(everything), permuted(head, 0).rows(everything)
    assert not np.array_equal(one, other)
    assert np.array_equal(np.sort(one, axis=0), np.sort(other, axis=0))


def test_blocks_give_what_one_block_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    once = probed(made(1), FULL, Layered(made(9)))
    monkeypatch.setattr("filiation.behaviour.regression.BLOCK", 17)
    assert candidate(probed(made(1), FULL, Layered(made(9)))) == pytest.approx(candidate(once), rel=1e-9)


def test_budget_failures_and_absent_endpoints_are_said() -> None:
    asker = Scripted({"suspect": Layered(made(1))}, FULL, requests=2)
    assert output_layer.run(asker, Setting(made(1))).test.reason == "budget_too_small"
    broken = Scripted({"suspect": lambda ask, rng: Failure("", "unreadable", "no JSON")}, FULL)
    assert output_layer.run(broken, Setting(made(1))).test.reason == "logprobs_incomplete"
    assert output_layer.run(asker, Setting(made(1), role="other")).test.reason == "endpoint_absent"


def test_equal_runs_give_equal_records() -> None:
    assert plain(probed(made(1), FULL, Layered(made(1)))) == plain(probed(made(1), FULL, Layered(made(1))))
