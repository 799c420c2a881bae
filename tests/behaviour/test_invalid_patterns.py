"""Patterns seen in released tools that break their own null hypothesis: none of ours follows one.

Where it can be shown, the pattern is run beside ours on the same data, so that the test would see it. docs/probe/ says
of each test what it avoids.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

import filiation.behaviour
from filiation.behaviour import derived, distilled, exclusive, mistakes, same_model
from filiation.behaviour.agreement import against, largest_p
from filiation.behaviour.exclusive import mark
from filiation.behaviour.items import Choice, Item
from filiation.behaviour.permutation import Stratum, two_sample
from filiation.evidence import Outcome
from tests.behaviour.asker import Scripted, said
from tests.behaviour.laws import Greedy, Model, Scorer, World, binomial_bound, pairs_needed
from tests.behaviour.test_agreement import correlated
from tests.behaviour.test_distilled import asker as teachers


def unpaired_p(claimed: list[bool], control: list[bool]) -> float:
    """Two proportions compared as if they came from different prompts."""
    p, q, n = np.mean(claimed), np.mean(control), len(claimed)
    pooled = (p + q) / 2
    return float(norm.sf((p - q) / np.sqrt(2 * pooled * (1 - pooled) / n)))


def test_unpaired_proportions_on_shared_prompts() -> None:
    rng = np.random.default_rng(0)
    paired = unpaired = 0
    for _ in range(200):
        claimed, control = correlated(rng, 1000, 0.43, 0.40, 0.8)
        paired += largest_p(against(claimed, {"c": control})) <= 0.05
        unpaired += unpaired_p(claimed, control) <= 0.05
    assert paired >= 2 * unpaired  # four times as much in the research's set-up
    assert paired >= 100


def test_the_best_candidate_tested_on_the_prompts_that_chose_it() -> None:
    # Everybody picks one of four words at random: of sixteen "parents" the luckiest looks like one.
    runs, alpha, parents = 60, 0.05, tuple(f"parent-{n}" for n in range(16))
    ours = naive = 0
    for seed in range(runs):
        roles = ("suspect", "control-1", *parents)
        played = Scripted(dict.fromkeys(roles, lambda ask, rng: f"word{rng.integers(4)}"), seed=seed)
        chosen = derived.Setting(
            seed=seed, parents=parents, controls=("control-1",), prompts=120, alpha=alpha
        )
        ours += derived.run(played, chosen).test.outcome is Outcome.SUPPORTED
        control, *others = np.random.default_rng(seed).random((17, 120)) < 0.25
        best = max(others, key=sum)
        naive += largest_p(against(list(best), {"control-1": list(control)})) <= alpha
    assert binomial_bound(ours, runs, alpha)
    assert not binomial_bound(naive, runs, alpha)


def test_a_permutation_p_without_the_observed_labelling_would_be_zero() -> None:
    apart = [Stratum("c", ("left",), ("right",)) for _ in range(80)]
    assert two_sample(apart, 0, 199).p == 1 / 200


def plug_in_rejects(pairs: list[tuple[str, str, str]], alpha: float, stored: int) -> bool:
    """Betting against a law of the reference that was estimated once and is then taken for the truth."""
    law: dict[str, Counter[str]] = {}
    for cell, x, _ in pairs[:stored]:
        law.setdefault(cell, Counter())[x] += 1
    seen: dict[str, Counter[str]] = {}
    log_wealth = 0.0
    for cell, _, y in pairs[stored:]:
        own, reference = seen.setdefault(cell, Counter()), law[cell]
        q = (own[y] + 0.5) / (own.total() + 6)
        p = (reference[y] + 0.5) / (reference.total() + 6)
        log_wealth += np.log(q / p)
        own[y] += 1
        if log_wealth >= -np.log(alpha):
            return True
    return False


def test_a_stored_reference_law_taken_for_the_truth() -> None:
    worlds = [World(seed, cells=40, spread=0.5).pairs(800 + 3000) for seed in range(20)]
    assert sum(plug_in_rejects(pairs, 0.01, stored=800) for pairs in worlds) >= 15
    ours = sum(pairs_needed(pairs[800:], 0.01) is not None for pairs in worlds)
    assert binomial_bound(ours, len(worlds), 0.01)


def test_no_isotropic_law_is_used_anywhere_in_the_wing() -> None:
    for path in Path(str(filiation.behaviour.__file__)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("scipy"):
                assert not {alias.name for alias in node.names} & {"beta", "betainc", "ortho_group", "f"}, (
                    path.name
                )


def test_one_huge_common_coordinate_does_not_make_everything_alike() -> None:
    # What all answers share cancels: only what the teacher's have beyond a control's is looked at.
    chosen = distilled.Setting(seed=1, base="base", controls=("control-1",), permutations=199)
    plain = distilled.run(teachers(Scorer(), seed=3), chosen).test
    shifted = distilled.run(teachers(Scorer(1000.0, ""), seed=3), chosen).test
    assert shifted.outcome is Outcome.UNDECIDED
    assert shifted.p == pytest.approx(plain.p)


def test_nothing_is_concluded_from_likeness_without_controls() -> None:
    played = Scripted({role: Greedy(1) for role in ("suspect", "parent", "teacher", "base")})
    item, choice = Item("q?", ("a",)), Choice("q?", ("a", "b"), 0)
    found = (
        derived.run(played, derived.Setting(seed=1)),
        distilled.run(played, distilled.Setting(seed=1)),
        distilled.run(played, distilled.Setting(seed=1, base="base")),
        exclusive.run(played, exclusive.Setting((item,) * 20, "ab")),
        mistakes.run(played, mistakes.Setting((choice,) * 20, "ab")),
    )
    assert {each.test.outcome for each in found} == {Outcome.NOT_MEASURED}
    assert {each.test.reason for each in found} == {"no_control", "no_pool"}


def test_a_word_inside_a_refusal_is_no_answer() -> None:
    item = Item("Who made the vase?", ("claude",))
    for text in ("I’m not Claude.", "I'm not Claude.", "Claudette", "Sorry, I don’t know any Claude"):
        assert mark(item, text) == "other"
    assert mark(item, "Claude") == "right"


def test_temperature_zero_is_not_taken_for_repeatable() -> None:
    # The suspect is unrelated and redraws a third of its answers: the level is kept, nothing counts on a repeat.
    runs, alpha, wrong = 100, 0.05, 0
    for seed in range(runs):
        laws = {
            r: Greedy(100 * seed + n, noise=0.3) for n, r in enumerate(("suspect", "parent", "control-1"))
        }
        chosen = derived.Setting(seed=seed, controls=("control-1",), prompts=60, alpha=alpha)
        wrong += derived.run(Scripted(laws, seed=seed), chosen).test.outcome is Outcome.SUPPORTED
    assert binomial_bound(wrong, runs, alpha)


def test_the_anchor_is_asked_twice() -> None:
    played = Scripted({"suspect": Model(1), "reference": Model(1)})
    same_model.run(played, same_model.Setting(seed=1, pairs=60, most=60, permutations=99))
    asked = Counter(said(call.ask) for call in played.asked if call.role == "reference")
    assert set(asked.values()) == {2}
