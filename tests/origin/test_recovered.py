"""Children whose feed-forward labels are gone, and whose basis the embeddings still show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from filiation.evidence import Scale
from filiation.lab import launder
from filiation.lab.save import load_model
from filiation.origin import basis as bases
from filiation.origin.examine import STAGES, Examination, Stage
from filiation.origin.gather import Side, embedding_rows
from filiation.origin.history import measure
from filiation.origin.pairing import Plan
from filiation.origin.partners import STAND_OUT
from filiation.origin.recovered import ROTATION_CLEAR, Recovered, layers_by_values, recovered
from tests.origin.models import Model, dissected, examined, llama, tokens

EXAMPLES = Path(__file__).parents[2] / "examples" / "models"
FFN = (launder.permute_ffn, launder.flip_ffn_signs)
VALUES = (launder.permute_value_channels, launder.flip_value_signs, launder.permute_heads)


def hidden(model: Model, *steps: object, seed: int = 3) -> Model:
    for n, step in enumerate(steps):
        model = step(*model, seed=seed + n)  # type: ignore[operator]
    return model


def example(name: str) -> Model:
    return load_model(EXAMPLES / name)


def stage(found: Examination, name: str) -> Stage:
    return next(s for s in found.stages if s.name == name)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("turn", [launder.signed_permutation, launder.rotate_residual])
def test_values_are_tested_in_a_basis_where_no_neuron_shows_a_path(turn: object, whole: bool) -> None:
    found = examined(hidden(example("continued"), *FFN, turn), example("base"), whole=whole)
    best = found.best
    assert best is not None
    assert best.name == ("rebased" if turn is launder.signed_permutation else "rotated")
    assert best.recovered is not None
    assert all(i == j for i, j in best.pairing.layers)
    assert len(best.pairing.layers) == (6 if whole else 3)
    assert {t.subject.part.role for t in best.blocks} == {"heads", "values"}, (
        "the neurons' labels were read before"
    )
    assert len(best.carrying()) == len(best.pairing.layers)
    assert found.log10_e > 30


@pytest.mark.parametrize("turn", [launder.signed_permutation, launder.rotate_residual])
def test_a_clear_basis_is_told_where_no_label_is_left_in_it(turn: object) -> None:
    found = examined(hidden(example("continued"), *FFN, *VALUES, turn), example("base"))
    assert found.log10_e < 1, "an effect size is no e-value"
    assert found.recovered is not None
    assert found.recovered.clear
    (told,) = (e for e in found.evidence() if e.test == "recovered_basis")
    assert told.scale is Scale.CALIBRATED
    assert told.log10_e is None
    assert told.statistic == found.recovered.value
    assert found.best is not None
    history = measure(found.best.pairing, Plan("a seed", whole=True))
    assert history.weight_cosine is not None
    assert history.weight_cosine > 0.7, "measured in the basis that the embeddings showed"
    assert history.partners_agree is not None
    assert history.partners_agree > 0.9


@pytest.mark.parametrize("turn", [None, launder.signed_permutation, launder.rotate_residual])
def test_strangers_of_one_recipe_show_no_basis(turn: object) -> None:
    """They share what words mean; every direction weighs the same, so that it does not count."""
    found = examined(hidden(example("twin"), *([turn] if turn else [])), example("base"))
    assert found.recovered is None
    assert all(s.recovered is None for s in found.stages)
    assert not [e for e in found.evidence() if e.test == "recovered_basis"]


def judged(suspect: Model, candidate: Model, kind: str, count: int = 512) -> Recovered:
    s, c = dissected(suspect), dissected(candidate)
    rows = tokens(s, c).sample(count, np.random.default_rng(0))
    mine, theirs = embedding_rows(Side(s), rows.suspect), embedding_rows(Side(c), rows.candidate)
    assert mine is not None
    assert theirs is not None
    rng = np.random.default_rng(1)
    basis = (
        bases.rotation(mine, theirs) if kind == "rotation" else bases.signed_permutation(mine, theirs, rng)
    )
    found = recovered(basis, mine, theirs)
    assert found is not None
    return found


def test_strangers_stay_far_below_the_lines_and_children_above() -> None:
    for name, low, high in (("twin", 0.0, 0.6), ("continued", 1.2, 4.0), ("fine-tuned", 1.5, 4.0)):
        for kind, line in (("permutation", STAND_OUT), ("rotation", ROTATION_CLEAR)):
            turn = launder.rotate_residual if kind == "rotation" else launder.signed_permutation
            value = judged(hidden(example(name), turn), example("base"), kind).value / line
            assert low <= value <= high + (kind == "rotation") * 0.1, (name, kind, value)


def test_what_cannot_be_judged_is_not() -> None:
    g = np.random.default_rng(0)
    rows = g.standard_normal((100, 32)).astype(np.float32)
    assert recovered(bases.rotation(rows, rows), rows, rows) is None, "too few rows for a rotation"
    few = rows[:20]
    assert recovered(bases.signed_permutation(few, few, g), few, few) is None
    found = recovered(bases.signed_permutation(rows, rows, g), rows, rows)
    assert found is not None
    assert found.value == pytest.approx(1.0, abs=0.3)


def test_layers_of_models_of_other_depth_are_paired_by_what_their_values_hold() -> None:
    t, settings = llama(1)
    kept = (0, 2, 3)
    fewer = {k: v for k, v in t.items() if "layers." not in k}
    for new, old in enumerate(kept):
        at = f"layers.{old}."
        fewer |= {k.replace(at, f"layers.{new}."): v for k, v in t.items() if at in k}
    child = hidden((fewer, {**settings, "num_hidden_layers": 3}), *FFN, *VALUES)
    s, c = Side(dissected(child)), Side(dissected((t, settings)), is_suspect=False)
    assert layers_by_values(s, c, [0, 1, 2]) == ((0, 0), (1, 2), (2, 3))
    assert layers_by_values(c, c, [1, 3]) == ((1, 1), (3, 3))


def test_labels_drawn_anew_stay_quiet_in_the_recovered_basis() -> None:
    """The hardest null: the basis is the right one, every match is right, and the labels are random."""
    base, values = example("base"), []
    for seed in range(12):
        child = hidden(base, *FFN, *VALUES, launder.signed_permutation, seed=50 * seed)
        found = examined(child, base, seed=str(seed))
        values += [t.log_e for t in stage(found, "rebased").blocks if t.applied]
    assert len(values) > 100
    assert float(np.mean(np.exp(values))) < 1.5
    assert max(values) < np.log(1e3)


def test_the_weights_of_the_stages_stay_what_they_were() -> None:
    assert sum(STAGES.values()) == pytest.approx(1.0)
    assert STAGES["rebased"] == STAGES["rotated"] == 0.1
