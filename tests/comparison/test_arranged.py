"""Labels can be arranged by whoever holds both files: that must never read as a common origin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import filiation
from filiation.evidence import Relation
from filiation.lab.derive import replace_embeddings
from filiation.lab.launder import fold_gains, rotate_residual
from filiation.lab.layout import EMBEDDING, Config, Tensors, residual_axis
from filiation.lab.save import load_model, save_model
from filiation.origin.history import History
from filiation.origin.history import of as history_of
from filiation.origin.pairing import Plan
from filiation.origin.verdict import Finding, judge
from tests.derivation.models import Model, anatomy, examined, tuned
from tests.derivation.test_architectures import gpt2

MODELS = Path(__file__).parents[2] / "examples" / "models"
LAYERS = range(6)


def matched(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """For each of their rows, the row of mine that the best assignment gives it."""
    a = mine / np.linalg.norm(mine, axis=1, keepdims=True)
    b = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    rows, columns = linear_sum_assignment(a @ b.T, maximize=True)
    order = np.empty(len(rows), np.int64)
    order[columns] = rows
    return order


def arranged(tensors: Tensors, accused: Tensors) -> Tensors:
    """Put the neurons of every layer of an independent model in the order of their best partners' numbers."""
    out = dict(tensors)
    for layer in LAYERS:
        at = f"model.layers.{layer}.mlp."
        order = matched(out[at + "gate_proj.weight"], accused[at + "gate_proj.weight"])
        for name in ("gate_proj", "up_proj"):
            out[f"{at}{name}.weight"] = out[f"{at}{name}.weight"][order]
        out[at + "down_proj.weight"] = out[at + "down_proj.weight"][:, order]
    return out


def with_gains(tensors: Tensors, accused: Tensors) -> Tensors:
    """Copy every norm gain as well."""
    return {name: accused[name] if "norm" in name else value for name, value in tensors.items()}


@pytest.mark.parametrize("gains", [False, True], ids=["arranged", "arranged and gains copied"])
def test_an_arranged_stranger_is_no_relative(gains: bool, tmp_path: Path) -> None:
    accused, _ = load_model(MODELS / "base")
    stranger, config = load_model(MODELS / "twin")
    steps: list[Callable[[Tensors, Tensors], Tensors]] = [arranged, with_gains] if gains else [arranged]
    for step in steps:
        stranger = step(stranger, accused)
    found = compared(stranger, config, tmp_path)
    assert found.verdict.log10_e is not None
    assert found.verdict.log10_e > 6, "the labels do agree: somebody saw to it"
    assert found.verdict.relation is Relation.SUGGESTIVE
    assert found.verdict.reason == "labels_without_contents"
    assert "arranged" in found.report.limits
    assert found.verdict.derivation == ()


def compared(tensors: Tensors, config: Config, folder: Path) -> filiation.Comparison:
    save_model(folder / "stranger", tensors, config)
    return filiation.compare(str(folder / "stranger"), str(MODELS / "base"))


def ungated_stranger(*, whole: bool) -> tuple[Model, Model]:
    """A GPT-2 of other random numbers, its neurons in the order of the accused's best partners, gains copied.

    Partners are those that a sampled reading sees (by what neurons read), or a whole one (and by what they write).
    """

    def contents(t: Tensors, at: str) -> np.ndarray:
        reads, writes = t[at + "c_fc.weight"].T, t[at + "c_proj.weight"]
        sides = [reads, writes] if whole else [reads]
        return np.hstack([side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides])

    accused, config = gpt2(0)
    out = dict(gpt2(1)[0])
    for layer in range(int(config["n_layer"])):
        at = f"h.{layer}.mlp."
        order = matched(contents(out, at), contents(accused, at))
        out[at + "c_fc.weight"] = out[at + "c_fc.weight"][:, order]
        out[at + "c_fc.bias"] = out[at + "c_fc.bias"][order]
        out[at + "c_proj.weight"] = out[at + "c_proj.weight"][order]
    named = {n for n in out if ".ln_" in n or n.startswith("ln_f")}
    return ({n: accused[n] if n in named else v for n, v in out.items()}, config), (accused, config)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "sampled"])
def test_without_a_gate_partners_are_compared_by_what_they_read_and_write(whole: bool) -> None:
    stranger, accused = ungated_stranger(whole=whole)
    history, finding = traced(stranger, accused, Plan("0" * 64, whole=whole))
    assert history.gain_correlation == pytest.approx(1.0)
    assert history.partners_agree is not None
    assert history.partners_agree < 0.1
    assert finding.relation is Relation.SUGGESTIVE
    assert finding.reasons == ("labels_without_contents",)


def test_a_true_child_without_a_gate_passes_the_check() -> None:
    child = tuned(*gpt2(0), level=0.05)
    history, finding = traced(child, gpt2(0), Plan("0" * 64, whole=False))
    assert history.partners_agree is not None
    assert history.partners_agree > 0.9
    assert finding.relation is Relation.COMMON_ORIGIN


def test_where_the_budget_forbids_the_check_gains_do_not_decide() -> None:
    stranger, accused = ungated_stranger(whole=False)
    history, finding = traced(stranger, accused, Plan("0" * 64, whole=False, budget=10**9), spare=1000)
    assert history.gain_correlation == pytest.approx(1.0)
    assert history.partners_agree is None
    assert finding.relation is Relation.SUGGESTIVE
    assert finding.reasons == ("arrangement_not_checked",)


def traced(suspect: Model, candidate: Model, plan: Plan, spare: int | None = None) -> tuple[History, Finding]:
    """Examine, look for shared training with ``spare`` bytes left of the budget, and judge."""
    s, c = anatomy(suspect), anatomy(candidate)
    found = examined(s, c, plan)
    if spare is not None:
        plan = replace(plan, budget=max(m.checkpoint.bytes_read for m in (s, c)) + spare)
    history = history_of(found, plan)
    assert history is not None
    return history, judge(found, history)


def with_channels_arranged(tensors: Tensors, accused: Tensors, *, signs: bool) -> Tensors:
    """Put the residual channels in the order (and sign) of their best partners by embedding column."""
    mine, theirs = (standardised(t[EMBEDDING]) for t in (tensors, accused))
    found = mine.T @ theirs
    rows, columns = linear_sum_assignment(np.abs(found) if signs else found, maximize=True)
    order = np.empty(len(rows), np.int64)
    order[columns] = rows
    sign = np.sign(found[order, np.arange(len(order))]) if signs else np.ones(len(order))
    out = dict(tensors)
    for name, value in tensors.items():
        axis = residual_axis(name)
        if axis is not None:
            flips = 1.0 if value.ndim == 1 else sign if axis == 1 else sign[:, None]
            out[name] = (np.take(value, order, axis=axis) * flips).astype(np.float32)
    return out


def standardised(columns: np.ndarray) -> np.ndarray:
    centred = columns - columns.mean(axis=0)
    return centred / np.linalg.norm(centred, axis=0)


@pytest.mark.parametrize("signs", [False, True], ids=["order", "order and signs"])
@pytest.mark.parametrize("gains", [False, True], ids=["arranged", "gains copied too"])
def test_embeddings_of_a_stranger_with_arranged_channels_are_not_shared(
    signs: bool, gains: bool, tmp_path: Path
) -> None:
    accused, _ = load_model(MODELS / "base")
    stranger, config = load_model(MODELS / "twin")
    stranger = with_channels_arranged(stranger, accused, signs=signs)
    found = compared(with_gains(stranger, accused) if gains else stranger, config, tmp_path)
    assert found.verdict.log10_e is not None
    assert found.verdict.log10_e > 6
    assert found.verdict.relation is Relation.SUGGESTIVE
    assert found.verdict.reason == "labels_without_contents"
    assert not any("embeddings" in part for part in found.verdict.scope)


def test_embeddings_that_are_the_same_stand_out(tmp_path: Path) -> None:
    accused, _ = load_model(MODELS / "base")
    stranger, config = load_model(MODELS / "twin")
    found = compared({**stranger, EMBEDDING: accused[EMBEDDING]}, config, tmp_path)
    assert found.verdict.relation is Relation.SHARED_PARTS
    assert found.verdict.scope == ("language: token embeddings",)


def test_without_a_common_basis_contents_are_compared_by_their_profiles(tmp_path: Path) -> None:
    child, config = load_model(MODELS / "continued")
    hidden = replace_embeddings(*rotate_residual(*fold_gains(child, config), seed=3), seed=5, vocab=900)
    found = compared(*hidden, tmp_path)
    assert found.verdict.relation is Relation.SHARED_PARTS
    history = next(e for e in found.evidence if e.test == "history")
    (agree,) = [x.value for x in history.effect if x.name == "partners_agree"]
    assert agree > 0.5
