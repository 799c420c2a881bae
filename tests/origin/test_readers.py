"""What is read of each channel: one that a model gave up must not drown the others, nor many be left aside."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.lab.save import load_model
from filiation.origin.gather import Side
from filiation.origin.pairing import Pairing, Plan
from filiation.origin.readers import FEW, reading_of
from tests.comparison.test_arranged import named
from tests.comparison.test_without_effect import LAYERS, MODELS, WIDTH, accused, stranger
from tests.derivation.models import Model, anatomy

WHOLE = Plan("0" * 64, whole=True)


def reading(suspect: Model, candidate: Model) -> float:
    sides = Side(anatomy(suspect)), Side(anatomy(candidate), is_suspect=False)
    found = reading_of(Pairing(*sides, tuple((i, i) for i in range(LAYERS)), "direct"), WHOLE)
    assert found is not None
    return found[0]


def reading_little_of(model: Model, channels: list[int], factor: float) -> Model:
    tensors = dict(model[0])
    for layer in range(LAYERS):
        for part in ("gate", "up"):
            tensors[named(layer, part)] = tensors[named(layer, part)].copy()
            tensors[named(layer, part)][:, channels] *= np.float32(factor)
    return tensors, model[1]


@pytest.mark.parametrize("factor", [0.0, 1e-20, 1e-4])
def test_a_channel_that_is_given_up_hides_no_child(factor: float) -> None:
    child = load_model(MODELS / "continued")
    before = reading(child, accused())
    assert before > 0.7
    assert abs(reading(reading_little_of(child, [5], factor), accused()) - before) < 0.05
    assert abs(reading(accused(), reading_little_of(child, [5, 40], factor)) - before) < 0.05


def test_many_channels_that_are_given_up_count() -> None:
    """Whoever could leave channels aside would choose those that disagree."""
    child = load_model(MODELS / "continued")
    given_up = list(range(WIDTH // FEW + 1))
    assert reading(reading_little_of(child, given_up, 1e-20), accused()) < 0.3


def test_a_stranger_gains_next_to_nothing_by_giving_channels_up() -> None:
    """By those two, of all, that it disagrees in most."""
    own = stranger()
    at_most = reading(own, accused())
    for channel in range(0, WIDTH, 8):
        at_most = max(at_most, reading(reading_little_of(own, [channel, channel + 3], 0.0), accused()))
    assert at_most < 0.2
