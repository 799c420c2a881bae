"""Parts that differ in what norms let nobody see are laid beside each other without it."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.derivation import NO_PART
from tests.comparison.test_unseen import noisy, shifted_bert, shifted_gpt2
from tests.derivation.models import Model, derived
from tests.derivation.test_architectures import bert, gpt2


def unpermuted(model: Model, size: float) -> Model:
    """Shift a GPT-2 and put its neurons back where they were."""
    shifted, config = shifted_gpt2(model, size)
    still, _ = shifted_gpt2(model, 0.0)
    out = dict(shifted)
    for name, value in model[0].items():
        if "mlp" in name and name.endswith(("c_fc.weight", "c_fc.bias", "c_proj.weight")):
            axis = 1 if name.endswith("c_fc.weight") else 0
            back = np.lexsort(np.moveaxis(still[name], axis, -1).reshape(-1, value.shape[axis]))
            there = np.lexsort(np.moveaxis(value, axis, -1).reshape(-1, value.shape[axis]))
            order = np.empty_like(back)
            order[there] = back
            out[name] = np.take(shifted[name], order, axis=axis)
    return out, config


@pytest.mark.parametrize("whole", [True, False])
def test_a_child_behind_constants_is_laid_beside_its_parent(whole: bool) -> None:
    for child, parent in (
        (unpermuted(noisy(gpt2(0), 0.1), 30.0), gpt2(0)),
        (shifted_bert(noisy(bert(0), 0.1), 30.0), bert(0)),
    ):
        found = derived(child, parent, whole=whole)
        assert NO_PART not in found.notes
        matrices = [d for d in found.deltas if d.role in ("q", "k", "v", "o", "up", "down")]
        assert matrices
        for delta in matrices:
            assert delta.cosine is not None
            assert delta.cosine > 0.95
            assert delta.relative_delta is not None
            assert delta.relative_delta < 0.3
        assert not {"grafted", "low_rank_update"} & {s.kind for s in found.steps}


def test_neurons_behind_constants_are_found_where_they_went() -> None:
    found = derived(shifted_gpt2(noisy(gpt2(0), 0.1), 30.0), gpt2(0))
    kinds = {s.kind for s in found.steps}
    assert "permuted" in kinds
    assert "grafted" not in kinds


@pytest.mark.parametrize("whole", [True, False])
def test_strangers_with_the_same_constants_agree_in_nothing(whole: bool) -> None:
    for s, c in (
        (unpermuted(gpt2(0), 30.0), unpermuted(gpt2(1), 30.0)),
        (shifted_bert(bert(0), 30.0), shifted_bert(bert(1), 30.0)),
    ):
        assert NO_PART in derived(s, c, whole=whole).notes
