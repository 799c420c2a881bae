"""How much is read: windows when sampled, every tensor when full; the same steps either way; no shared state."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from filiation.derivation import derive, joined
from filiation.evidence import Relation, Report, Verdict, plain, to_json
from filiation.lab import derive as lab
from filiation.lab import launder, recode
from filiation.lab.layout import Tensors
from filiation.origin.pairing import Plan
from tests.derivation.models import Model, anatomy, base, config, derived, examined, numbers, tokens, tuned

DEEP = 12


@cache
def deep() -> Model:
    """Deeper and wider than what a sample reads."""
    g = np.random.default_rng(1)
    settings = {**config(), "num_hidden_layers": DEEP, "intermediate_size": 512, "vocab_size": 1024}
    t: Tensors = {"model.embed_tokens.weight": (0.02 * g.standard_normal((1024, 64))).astype(np.float32)}
    t["model.norm.weight"] = (1 + 0.3 * g.standard_normal(64)).astype(np.float32)
    shapes = {
        "self_attn.q": (64, 64),
        "self_attn.k": (32, 64),
        "self_attn.v": (32, 64),
        "self_attn.o": (64, 64),
    }
    shapes |= {"mlp.gate": (512, 64), "mlp.up": (512, 64), "mlp.down": (64, 512)}
    for layer in range(DEEP):
        at = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            t[f"{at}{norm}.weight"] = (1 + 0.3 * g.standard_normal(64)).astype(np.float32)
        for name, shape in shapes.items():
            t[f"{at}{name}_proj.weight"] = (0.1 * g.standard_normal(shape)).astype(np.float32)
    return t, settings


CHILDREN = {
    "fine-tuned": (lambda: tuned(*deep(), level=0.03), {"fine_tuned"}),
    "adapter": (lambda: lab.low_rank_update(*deep(), rank=4, level=0.05, seed=1), {"low_rank_update"}),
    "4 bits": (lambda: recode.quantise(*deep(), bits=4), {"requantised"}),
    "noise": (lambda: lab.add_noise(*deep(), level=0.05, seed=1), {"noise_added"}),
    "dropped": (lambda: lab.take_layers(*deep(), [0, 1, 2, 4, 5, 6, 7, 9, 10, 11]), {"layers_changed"}),
    "permuted": (lambda: launder.permute_ffn(*deep(), seed=1), {"permuted"}),
    "upcycled": (
        lambda: lab.upcycle(*deep(), experts=4, active=2, noise=0.05, seed=3),
        {"moe_upcycled", "noise_added"},
    ),
    "pruned": (lambda: lab.prune_ffn(*deep(), units=384, seed=3), {"width_pruned"}),
}


@pytest.mark.parametrize("name", CHILDREN)
@pytest.mark.parametrize("full", [False, True])
def test_samples_and_full_reads_tell_the_same(name: str, full: bool) -> None:
    child, kinds = CHILDREN[name]
    found = derived(child(), deep(), whole=False, full=full)
    assert found.kinds == kinds
    assert ("derivation.sampled" in found.notes) is not full


def test_laundered_and_tuned_from_samples() -> None:
    child = launder.launder(*tuned(*deep(), level=0.03), seed=1)
    sampled = derived(child, deep(), whole=False)
    assert {"permuted", "rotated", "rescaled", "fine_tuned"} <= sampled.kinds
    assert "grafted" not in sampled.kinds
    assert numbers(sampled, "fine_tuned")["median_relative_delta"] == pytest.approx(0.03, rel=0.5)


def test_a_sample_reads_little_and_full_reads_everything_once() -> None:
    suspect, candidate = anatomy(tuned(*deep(), level=0.03)), anatomy(deep())
    plan, rows = Plan("0" * 64, whole=False), tokens(suspect, candidate)
    examination = examined(suspect, candidate, plan)
    before = suspect.checkpoint.bytes_read
    derive(suspect, candidate, examination, plan, rows, full=False)
    sampled = suspect.checkpoint.bytes_read - before
    derive(suspect, candidate, examination, plan, rows, full=True)
    full = suspect.checkpoint.bytes_read - before - sampled
    total = suspect.checkpoint.total_bytes
    assert sampled < 0.2 * total
    assert total <= full < 1.3 * total


def test_a_frugal_sample_reads_half_the_layers() -> None:
    suspect, candidate = anatomy(tuned(*deep(), level=0.03)), anatomy(deep())
    rows = tokens(suspect, candidate)
    read = []
    for budget in (None, 10**9):
        plan = Plan("0" * 64, whole=False, budget=budget)
        examination = examined(suspect, candidate, plan)
        before = suspect.checkpoint.bytes_read
        found = derive(suspect, candidate, examination, plan, rows, full=False)
        assert found.kinds == {"fine_tuned"}
        read.append(suspect.checkpoint.bytes_read - before)
    assert read[1] < 0.7 * read[0]


def test_a_spent_budget_ends_the_reading_of_whole_matrices() -> None:
    suspect, candidate = anatomy(launder.permute_ffn(*deep(), seed=1)), anatomy(deep())
    rows = tokens(suspect, candidate)
    examination = examined(suspect, candidate, Plan("0" * 64, whole=False, budget=10**9))
    spent = max(m.checkpoint.bytes_read for m in (suspect, candidate))
    plan = Plan("0" * 64, whole=False, budget=spent + 1000)
    found = derive(suspect, candidate, examination, plan, rows, full=False)
    assert "permuted" not in found.kinds
    assert max(m.checkpoint.bytes_read for m in (suspect, candidate)) < spent + 100_000


@pytest.mark.parametrize("name", ["fine-tuned", "permuted", "upcycled"])
def test_the_same_input_gives_the_same_bytes(name: str) -> None:
    def once() -> str:
        found = derived(CHILDREN[name][0](), deep(), whole=False, full=True)
        verdict = Verdict(Relation.COMMON_ORIGIN, 10.0, derivation=found.steps)
        extra = {"deltas": [plain(d) for d in found.deltas]}
        return to_json(Report({}, {}, {}, found.evidence, verdict, (), extra=extra))

    assert once() == once()


def test_evidence_has_one_record_a_step_with_its_main_number() -> None:
    found = derived(launder.launder(*tuned(*base(), level=0.03), seed=1), base())
    assert len({e.id for e in found.evidence}) == len(found.evidence) == len(found.steps)
    tuning = next(e for e in found.evidence if e.test == "fine_tuned")
    assert tuning.statistic_name == "median_relative_delta"
    assert tuning.statistic == numbers(found, "fine_tuned")["median_relative_delta"]
    assert tuning.log10_e is None
    assert tuning.shows == "derivation.fine_tuned.text"


def test_number_of_the_candidate_goes_with_everything() -> None:
    suspect, candidate = anatomy(tuned(*base(), level=0.03)), anatomy(base())
    plan, rows = Plan("0" * 64, whole=True), tokens(suspect, candidate)
    found = derive(suspect, candidate, examined(suspect, candidate, plan), plan, rows, full=False, number=3)
    assert {s.candidate for s in found.steps} == {e.candidate for e in found.evidence} == {3}
    assert all("candidate=3" in e.id for e in found.evidence)


def test_steps_told_by_several_components_are_joined() -> None:
    one = derived(tuned(*base(), level=0.03), base())
    other = derived(launder.permute_ffn(*base(), seed=1), base())
    both = joined([one, other, one])
    assert both.kinds == {"fine_tuned", "permuted"}
    assert len(both.steps) == len(both.evidence) == 2
    assert joined([]).steps == ()


def test_nothing_paired_is_said() -> None:
    suspect, candidate = anatomy(base()), anatomy(base(9))
    plan, rows = Plan("0" * 64, whole=True), tokens(suspect, candidate)
    empty = replace(examined(suspect, candidate, plan), stages=())
    found = derive(suspect, candidate, empty, plan, rows, full=False)
    assert found.steps == ()
    assert found.notes == ("derivation.nothing_paired",)


def test_rank_of_an_adapter_is_found_in_a_sample_of_few_rows() -> None:
    child = lab.low_rank_update(*deep(), rank=12, level=0.05, seed=1)
    found = derived(child, deep(), whole=False)
    assert found.kinds == {"low_rank_update"}
    assert numbers(found, "low_rank_update")["rank"] == 12


def test_full_reads_everything_under_a_budget_too() -> None:
    suspect, candidate = anatomy(tuned(*deep(), level=0.03)), anatomy(deep())
    plan, rows = Plan("0" * 64, whole=False, budget=10**9), tokens(suspect, candidate)
    found = derive(suspect, candidate, examined(suspect, candidate, plan), plan, rows, full=True)
    assert sum(d.elements for d in found.deltas) == sum(v.size for v in deep()[0].values())
