"""What layers compute decides: units that cancel one another can be put into any layer, and change nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import filiation
from filiation.evidence import Relation, Verdict
from filiation.lab import launder
from filiation.lab.layout import EMBEDDING, Tensors, is_gain, residual_axis
from filiation.lab.save import load_model, save_model
from filiation.origin.computed import COMPUTES_ALIKE, TRAINED_ALIKE, UNRELATED
from filiation.origin.few import LAYERS as LAYERS_ASKED
from filiation.origin.few import blurred
from filiation.report.answers import word_answer
from filiation.report.wording import LANGUAGES, phrases
from tests.comparison.test_arranged import named
from tests.comparison.test_without_effect import (
    LAYERS,
    MODELS,
    accused,
    compared,
    same_function,
    stranger,
    with_gains_of,
)
from tests.derivation.models import Model

Planted = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[list[np.ndarray], ...]]


def rounded(values: np.ndarray) -> np.ndarray:
    """Few digits: sums of these cancel exactly."""
    return np.round(values * 256) / 256


def by_three(gate: np.ndarray, up: np.ndarray, down: np.ndarray) -> tuple[list[np.ndarray], ...]:
    """No two of the three are clones of each other; what they write adds up to nothing for every input."""
    up = rounded(up)
    apart = rounded(np.random.default_rng(0).standard_normal(up.shape) * up.std() * 0.35)
    return [gate] * 3, [up + apart, up - apart, -up], [down * 4, down * 4, down * 8]


def by_four(gate: np.ndarray, up: np.ndarray, down: np.ndarray) -> tuple[list[np.ndarray], ...]:
    """``silu(g)u - silu(-g)u = gu``, and the same with gate and up exchanged is taken off again."""
    return [gate, -gate, up, -up], [up, up, gate, gate], [down * 2, -down * 2, -down * 2, down * 2]


def with_units_that_cancel(model: Model, other: Tensors, planted: Planted) -> Model:
    tensors, config = dict(model[0]), model[1]
    for layer in range(LAYERS):
        units = planted(*(other[named(layer, which)] for which in ("gate", "up", "down")))
        for which, axis, rows in zip(("gate", "up", "down"), (0, 0, 1), units, strict=True):
            name = named(layer, which)
            tensors[name] = np.concatenate([tensors[name], *rows], axis=axis).astype(np.float32)
    return tensors, {**config, "intermediate_size": tensors[named(0, "up")].shape[0]}


def in_the_order_of(tensors: Tensors, other: Tensors) -> Tensors:
    """Put a model's residual channels (and signs) where they fit the other's embedding columns best."""
    from scipy.optimize import linear_sum_assignment

    mine, theirs = (t[EMBEDDING] - t[EMBEDDING].mean(axis=0) for t in (tensors, other))
    cosines = (theirs / np.linalg.norm(theirs, axis=0)).T @ (mine / np.linalg.norm(mine, axis=0))
    rows, order = linear_sum_assignment(-np.abs(cosines))
    signs = np.sign(cosines[rows, order])
    out: Tensors = {}
    for name, value in tensors.items():
        axis = residual_axis(name)
        if axis is None:
            out[name] = value
            continue
        moved = np.take(value, order, axis=axis)
        turned = signs if axis == value.ndim - 1 else signs[:, None]
        out[name] = moved if is_gain(name) else (moved * turned).astype(np.float32)
    return out


def framed(planted: Planted) -> Model:
    """An independent model with the accused's gains, channel order and units, that computes what it did before."""
    own, config = stranger()
    theirs = accused()[0]
    return with_units_that_cancel(
        (with_gains_of(in_the_order_of(own, theirs), theirs), config), theirs, planted
    )


def computed(found: filiation.Comparison) -> float:
    """Return what the report says of what the layers compute."""
    return next(e.value for r in found.evidence for e in r.effect if e.name == "computed_alike")


@pytest.mark.parametrize("turned", [False, True], ids=["framer against accused", "accused against framer"])
@pytest.mark.parametrize("planted", [by_three, by_four])
def test_units_that_cancel_make_no_common_origin(planted: Planted, turned: bool, tmp_path: Path) -> None:
    model = framed(planted)
    same_function(stranger(), model)
    found = compared(*((accused(), model) if turned else (model, accused())), tmp_path)
    assert found.verdict.log10_e is not None
    assert found.verdict.log10_e > 6, "the labels do agree"
    assert found.verdict.relation is Relation.SUGGESTIVE
    assert abs(computed(found)) < UNRELATED


def by_clipping(gate: np.ndarray, up: np.ndarray, down: np.ndarray) -> tuple[list[np.ndarray], ...]:
    """What a loader clips at 6 writes next to nothing where the gate is loud and the other factor faint."""
    return [gate * 2.0**20], [up * 2.0**-20], [down]


@pytest.mark.parametrize("turned", [False, True], ids=["framer against accused", "accused against framer"])
def test_units_that_the_loader_clips_make_no_common_origin(turned: bool, tmp_path: Path) -> None:
    pair = framed(by_clipping), accused()
    one, other = ((tensors, {**config, "hidden_act": "relu6"}) for tensors, config in pair)
    found = compared(*((other, one) if turned else (one, other)), tmp_path)
    assert found.verdict.relation is Relation.SUGGESTIVE
    assert abs(computed(found)) < UNRELATED


def test_a_shared_start_with_copied_gains_is_no_common_origin(tmp_path: Path) -> None:
    """Gains that are exchanged, and divided out where they are read, leave the function and deny the history."""
    own, config = load_model(MODELS / "same-init")
    sibling = with_gains_of(own, accused()[0]), config
    same_function((own, config), sibling)
    found = compared(sibling, accused(), tmp_path)
    assert found.verdict.relation is Relation.SHARED_INITIALISATION
    assert computed(found) < TRAINED_ALIKE


KIN: dict[str, tuple[Callable[[Model], Model], float]] = {
    "itself": (lambda m: m, 0.99),
    "neurons permuted": (lambda m: launder.permute_ffn(*m, seed=1), 0.99),
    "channels permuted and flipped": (lambda m: launder.signed_permutation(*m, seed=1), 0.99),
    "rotated": (lambda m: launder.rotate_residual(*m, seed=1), 0.95),
    "fine-tuned": (lambda m: load_model(MODELS / "fine-tuned"), 0.9),
    "continued": (lambda m: load_model(MODELS / "continued"), TRAINED_ALIKE),
}


@pytest.mark.parametrize("name", KIN)
def test_children_compute_alike(name: str, tmp_path: Path) -> None:
    """One matrix is scaled, so that files are not equal and the history is looked at."""
    change, least = KIN[name]
    tensors, config = change(accused())
    tensors = {**tensors, named(0, "gate"): tensors[named(0, "gate")] * np.float32(1.001)}
    assert computed(compared((tensors, config), accused(), tmp_path)) >= least


def test_the_lines_stand_in_their_order() -> None:
    assert UNRELATED < COMPUTES_ALIKE < TRAINED_ALIKE


@pytest.mark.parametrize("language", LANGUAGES)
def test_traces_that_agree_are_not_said_to_differ(language: str) -> None:
    """Buried in noise or copied gains: the usual sentence would say that traces of training differ."""
    told = phrases(language)
    verdict = Verdict(
        Relation.SHARED_INITIALISATION, 500.0, ("language",), "history_computes_apart", 0, 1e-300
    )
    plain = word_answer(told, replace(verdict, reason="history_absent"), ("a", "b"), (), 10)
    careful = word_answer(told, verdict, ("a", "b"), (), 10)
    assert careful.sentence != plain.sentence
    assert careful.means == told.find("relation", "shared_initialisation", "means_divided")


@pytest.fixture
def only_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take these models for large ones: read in samples, and not hashed."""
    monkeypatch.setattr("filiation.comparison.opening.WHOLE_UP_TO", 1)
    monkeypatch.setattr("filiation.checkpoint.opening.SMALL", 1)


@pytest.mark.usefixtures("only_samples")
@pytest.mark.parametrize("turned", [False, True], ids=["framer against accused", "accused against framer"])
@pytest.mark.parametrize("planted", [by_three, by_four])
def test_a_sample_asks_what_layers_compute_through_a_few_channels(
    planted: Planted, turned: bool, tmp_path: Path
) -> None:
    for name, model in (("framed", framed(planted)), ("accused", accused())):
        save_model(tmp_path / name, *model)
    pair = [str(tmp_path / name) for name in ("framed", "accused")]
    found = filiation.compare(*(reversed(pair) if turned else pair))
    assert found.verdict.log10_e is not None
    assert found.verdict.log10_e > 6, "the labels do agree"
    assert found.verdict.relation is Relation.SUGGESTIVE
    assert found.verdict.reason in ("computes_otherwise", "labels_without_contents")
    assert abs(computed(found)) < UNRELATED + blurred(LAYERS_ASKED)


@pytest.mark.usefixtures("only_samples")
def test_a_sample_says_through_how_little_layers_were_asked(tmp_path: Path) -> None:
    found = filiation.compare(str(MODELS / "continued"), str(MODELS / "base"))
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert computed(found) > COMPUTES_ALIKE
    assert "computes_through_few" in found.report.limits
    assert "what_layers_compute" not in found.report.limits
    full = filiation.compare(str(MODELS / "continued"), str(MODELS / "base"), full=True)
    assert "computes_through_few" not in full.report.limits


@pytest.mark.usefixtures("only_samples")
def test_in_a_large_model_a_full_reading_asks_what_layers_compute(tmp_path: Path) -> None:
    for name, model in (("framed", framed(by_four)), ("accused", accused())):
        save_model(tmp_path / name, *model)
    pair = str(tmp_path / "accused"), str(tmp_path / "framed")
    frugal = filiation.compare(*pair, budget=10**7)
    assert frugal.verdict.relation is Relation.COMMON_ORIGIN, "under a budget it is not seen"
    assert "what_layers_compute" in frugal.report.limits, "and the report says so"
    full = filiation.compare(*pair, full=True)
    assert full.verdict.relation is Relation.SUGGESTIVE
    assert full.verdict.reason == "computes_otherwise"
    assert abs(computed(full)) < UNRELATED


@pytest.mark.usefixtures("only_samples")
@pytest.mark.parametrize("budget", [300_000, 800_000, 3_000_000])
def test_asking_what_layers_compute_keeps_a_budget(budget: int) -> None:
    places = str(MODELS / "continued"), str(MODELS / "base")
    found = filiation.compare(*places, full=True, budget=budget).to_dict()["models"]
    assert all(m["bytes_read"] <= budget for m in [found["suspect"], *found["candidates"]])
