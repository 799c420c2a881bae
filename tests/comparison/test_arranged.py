"""Labels can be arranged by whoever holds both files: that must never read as a common origin."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import filiation
from filiation.cli import main
from filiation.evidence import Relation, to_json
from filiation.lab.derive import replace_embeddings
from filiation.lab.launder import fold_gains, rotate_residual
from filiation.lab.layout import EMBEDDING, Config, Tensors, gain_readers, residual_axis
from filiation.lab.save import load_model, save_model
from filiation.origin.history import History
from filiation.origin.history import of as history_of
from filiation.origin.pairing import Plan
from filiation.origin.verdict import Finding, judge
from filiation.report.answers import scope_text
from filiation.report.wording import LANGUAGES, phrases
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


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def named(layer: int, which: str) -> str:
    return f"model.layers.{layer}.mlp.{which}_proj.weight"


def test_one_copied_layer_does_not_vouch_for_arranged_ones(tmp_path: Path) -> None:
    """Layer 0 is the accused's; the others are the stranger's own, put in order; the gains are copied."""
    accused, _ = load_model(MODELS / "base")
    stranger, config = load_model(MODELS / "twin")
    copied = {n: accused[n] if n.startswith("model.layers.0.") else v for n, v in stranger.items()}
    found = compared(with_gains(arranged(copied, accused), accused), config, tmp_path)
    assert found.verdict.relation is Relation.SHARED_PARTS
    assert "language: layers 0" in found.verdict.scope
    assert found.verdict.inherited_share == pytest.approx(1 / 6)
    assert "more_labels_than_contents" in found.verdict.notes


def with_one_layer(stranger: Tensors, accused: Tensors) -> Tensors:
    return {n: accused[n] if n.startswith("model.layers.0.") else v for n, v in stranger.items()}


def test_the_bound_speaks_of_the_copied_layer_and_not_of_arranged_ones(tmp_path: Path) -> None:
    """All six layers together would read 10^-2138."""
    accused, _ = load_model(MODELS / "base")
    stranger, config = load_model(MODELS / "twin")
    copied = with_one_layer(stranger, accused)
    plain = compared(copied, config, tmp_path / "plain")
    framed = compared(with_gains(arranged(copied, accused), accused), config, tmp_path / "framed")
    assert plain.verdict.log10_e is not None
    assert plain.verdict.log10_e < 500
    assert framed.verdict.log10_e == pytest.approx(plain.verdict.log10_e, abs=3)
    assert framed.verdict.scope == ("language: layers 0",)
    assert framed.verdict.notes[:2] == ("gains_can_be_copied", "more_labels_than_contents")
    aside = {(e.part.layer, e.test) for e in framed.evidence if e.shows == "shows.labels_without_contents"}
    assert {layer for layer, _ in aside} == {1, 2, 3, 4, 5}
    assert (1, "ffn_order") in aside
    assert not any(e.shows == "shows.labels_without_contents" for e in plain.evidence)
    (history,) = (e for e in framed.evidence if e.test == "history")
    assert "/layers=0" in history.id


def test_a_framed_report_still_verifies(tmp_path: Path) -> None:
    accused, _ = load_model(MODELS / "base")
    stranger, config = load_model(MODELS / "twin")
    framed = compared(
        with_gains(arranged(with_one_layer(stranger, accused), accused), accused), config, tmp_path
    )
    stored = tmp_path / "report.json"
    stored.write_text(to_json(framed.report), encoding="utf-8")
    assert main(["verify", str(stored), "-q"]) == 0
    changed = json.loads(stored.read_text(encoding="utf-8"))
    changed["verdict"]["log10_e"] = 2138.0
    stored.write_text(json.dumps(changed), encoding="utf-8")
    assert main(["verify", str(stored), "-q"]) == 1


@pytest.mark.parametrize("copies", [16, 24])
def test_a_few_copied_neurons_do_not_vouch_for_a_layer(copies: int, tmp_path: Path) -> None:
    """The accused's rows in the stranger's weakest slots, their outputs nearly zero, everything put in order."""
    accused, _ = load_model(MODELS / "base")
    stranger, config = load_model(MODELS / "twin")
    for layer in LAYERS:
        down = stranger[named(layer, "down")].copy()
        weakest = np.argsort(np.linalg.norm(down, axis=0))[:copies]
        for which in ("gate", "up"):
            rows = stranger[named(layer, which)].copy()
            rows[weakest] = accused[named(layer, which)][:copies]
            stranger[named(layer, which)] = rows
        down[:, weakest] *= 1e-3
        stranger[named(layer, "down")] = down
    found = compared(with_gains(arranged(stranger, accused), accused), config, tmp_path)
    assert found.verdict.log10_e is not None
    assert found.verdict.log10_e > 100
    assert found.verdict.relation is Relation.SUGGESTIVE
    assert not any("layers" in part for part in found.verdict.scope)


def test_a_rotation_fitted_to_the_accused_is_no_common_origin(tmp_path: Path) -> None:
    """The stranger's residual stream is turned so that some of its rows line up with the accused's: same function."""
    accused, _ = load_model(MODELS / "base")
    stranger, config = load_model(MODELS / "twin")
    a, _ = fold_gains(accused, config)
    t, settings = fold_gains(stranger, config)
    turn = aligning_rotation(t, a, layers=(0, 1, 2), share=0.2)
    turned = {
        n: v if (x := residual_axis(n)) is None or v.ndim == 1 else rotated(v, turn, x) for n, v in t.items()
    }
    ordered = arranged({n: v.astype(np.float32) for n, v in turned.items()}, a)
    found = compared(with_gains_divided(ordered, accused), settings, tmp_path)
    assert found.verdict.relation in (Relation.SUGGESTIVE, Relation.NONE_FOUND)


def aligning_rotation(t: Tensors, a: Tensors, layers: tuple[int, ...], share: float) -> np.ndarray:
    """Fit a rotation to the best assigned gate and up rows of some layers, again and again."""
    turn = polar(t[EMBEDDING].T @ a[EMBEDDING])
    for _ in range(40):
        mine: list[np.ndarray] = []
        theirs: list[np.ndarray] = []
        for layer in layers:
            g, u = (unit(t[named(layer, w)]) for w in ("gate", "up"))
            g2, u2 = (unit(a[named(layer, w)]) for w in ("gate", "up"))
            by_gate, by_up = g @ turn @ g2.T, u @ turn @ u2.T
            score = np.minimum(by_gate, np.abs(by_up)) + 0.3 * (by_gate + np.abs(by_up))
            rows, columns = linear_sum_assignment(score, maximize=True)
            for i in np.argsort(-score[rows, columns])[: int(share * len(rows))]:
                r, c = rows[i], columns[i]
                mine += [g[r], u[r] * np.sign(by_up[r, c])]
                theirs += [g2[c], u2[c]]
        turn = polar(np.array(mine).T @ np.array(theirs))
    return turn


def polar(matrix: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(matrix.astype(np.float64))
    return left @ right


def rotated(value: np.ndarray, turn: np.ndarray, axis: int) -> np.ndarray:
    return value @ turn if axis == 1 else turn.T @ value


def with_gains_divided(tensors: Tensors, accused: Tensors) -> Tensors:
    """Take the accused's gains and divide what reads through them: a model with gains of one keeps its function."""
    out = dict(tensors)
    for gain in [n for n in accused if "norm" in n]:
        for reader in gain_readers(out, gain):
            out[reader] = out[reader] / accused[gain]
        out[gain] = accused[gain]
    return out


def test_gains_copied_over_a_shared_start_are_no_shared_training(tmp_path: Path) -> None:
    """The one innocent way to share labels, with the accused's gains on top."""
    accused, _ = load_model(MODELS / "base")
    same, config = load_model(MODELS / "same-init")
    for gains in (with_gains(same, accused), with_gains_divided(fold_gains(same, config)[0], accused)):
        found = compared(gains, {**config, "tie_word_embeddings": "lm_head.weight" not in gains}, tmp_path)
        assert found.verdict.relation is Relation.SHARED_INITIALISATION


def test_copied_attention_is_named_as_such(tmp_path: Path) -> None:
    accused, _ = load_model(MODELS / "base")
    stranger, config = load_model(MODELS / "twin")
    copied = {n: accused[n] if "v_proj" in n or "o_proj" in n else v for n, v in stranger.items()}
    found = compared(with_gains(copied, accused), config, tmp_path)
    assert found.verdict.relation is Relation.SHARED_PARTS
    assert found.verdict.reason == "attention_only"
    assert found.verdict.inherited_share is None
    assert found.verdict.scope == ("language: value channels of layers 0-5",)
    told = {language: scope_text(phrases(language), found.verdict.scope) for language in LANGUAGES}
    assert told == {"en": "value channels of layers 0–5", "zh-CN": "第 0–5 层的值通道"}


def test_beside_copied_attention_neither_arranged_neurons_nor_channels_count(tmp_path: Path) -> None:
    accused, _ = load_model(MODELS / "base")
    stranger, config = load_model(MODELS / "twin")
    turned = with_channels_arranged(stranger, accused, signs=True)
    attention = {n: accused[n] if "v_proj" in n or "o_proj" in n else v for n, v in turned.items()}
    plain = compared(attention, config, tmp_path / "plain")
    framed = compared(with_gains(arranged(attention, accused), accused), config, tmp_path / "framed")
    assert framed.verdict.scope == ("language: value channels of layers 0-5",)
    assert plain.verdict.log10_e is not None
    assert framed.verdict.log10_e == pytest.approx(plain.verdict.log10_e, abs=5)
