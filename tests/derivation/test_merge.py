"""Merges: the weights of the parents, and what is no merge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.derivation import decompose
from filiation.derivation.merge import Normal, sibling_gain
from filiation.evidence import Derivation
from filiation.lab import derive as lab
from filiation.lab import launder, mergers
from filiation.origin.pairing import Plan
from tests.derivation.models import Model, anatomy, base, examined, tuned


def child(seed: int) -> Model:
    return tuned(*base(), level=0.05, seed=seed)


def decomposed(
    suspect: Model, candidates: Sequence[Model], *, whole: bool = True, dtype: str = "F32", **options: Any
) -> Derivation | None:
    s, cs = anatomy(suspect, dtype), [anatomy(c, dtype) for c in candidates]
    plan = Plan("0" * 64, whole=whole)
    return decompose(s, cs, [(examined(s, c, plan),) for c in cs], plan, **options)


def merged(weights: Sequence[float], parents: Sequence[Model]) -> Model:
    return lab.merge([p[0] for p in parents], base()[1], weights=weights)


@pytest.mark.parametrize("weights", [(0.6, 0.4), (0.9, 0.1), (0.5, 0.3, 0.2)])
@pytest.mark.parametrize("whole", [True, False])
def test_weights_of_the_parents(weights: tuple[float, ...], whole: bool) -> None:
    parents = [child(seed) for seed in range(1, 1 + len(weights))]
    found = decomposed(merged(weights, parents), parents, whole=whole)
    assert found is not None
    assert found.kind == "merged"
    shown = found.numbers
    assert [shown["weights"][str(n)] for n in range(len(weights))] == pytest.approx(weights, abs=1e-4)
    assert shown["residual"] < 1e-6
    assert shown["gain"] > 0.999
    assert shown["method"] == "linear"
    assert not shown["collinearity_warning"]


def test_the_base_may_be_one_of_the_parents() -> None:
    parents = [child(1), child(2), base()]
    found = decomposed(merged((0.5, 0.3, 0.2), parents), parents)
    assert found is not None
    assert [found.numbers["weights"][str(n)] for n in range(3)] == pytest.approx((0.5, 0.3, 0.2), abs=1e-3)


def test_a_merge_that_was_tuned_afterwards() -> None:
    parents = [child(1), child(2)]
    found = decomposed(tuned(*merged((0.6, 0.4), parents), level=0.02, seed=7), parents)
    assert found is not None
    assert found.kind == "merged"
    assert found.numbers["weights"]["0"] == pytest.approx(0.6, abs=0.05)
    assert 0.4 < found.numbers["gain"] < 0.95


def test_merge_with_an_unrelated_model() -> None:
    parents = [base(), base(9)]
    found = decomposed(merged((0.7, 0.3), parents), parents)
    assert found is not None
    assert found.numbers["weights"]["0"] == pytest.approx(0.7, abs=1e-3)


def test_layers_of_two_parents() -> None:
    one, other = child(1), child(2)
    pieced = {n: (other if any(f".layers.{i}." in n for i in (3, 4, 5)) else one)[0][n] for n in one[0]}
    found = decomposed((pieced, base()[1]), [one, other])
    assert found is not None
    assert found.numbers["method"] == "by_layer"
    for row in found.numbers["layers"]:
        assert row["weights"][0 if row["layer"] < 3 else 1] == pytest.approx(1.0, abs=1e-3)


def test_numbers_of_candidates_are_those_of_the_report() -> None:
    parents = [child(1), child(2)]
    found = decomposed(merged((0.6, 0.4), parents), parents, numbers=[2, 5])
    assert found is not None
    assert found.numbers["weights"] == pytest.approx({"2": 0.6, "5": 0.4}, abs=1e-3)


@pytest.mark.parametrize(
    ("suspect", "candidates"),
    [
        (lambda: child(3), lambda: [child(1), child(2)]),  # a sibling of both
        (lambda: child(4), lambda: [child(1), child(2), child(3)]),
        (lambda: tuned(*child(1), level=0.02, seed=8), lambda: [child(1), child(2)]),  # a child of one
        (lambda: child(3), lambda: [base(), child(1)]),  # a child of the base
        (lambda: child(1), lambda: [child(1), child(2)]),  # one of them
        (lambda: base(9), lambda: [child(1), child(2)]),  # unrelated
    ],
)
def test_what_is_no_merge(suspect: Any, candidates: Any) -> None:
    found = decomposed(suspect(), candidates())
    assert found is None


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
@pytest.mark.parametrize("whole", [True, False])
def test_elements_of_several_parents(dtype: str, whole: bool) -> None:
    """TIES takes each element from the parent that moved it most, or leaves the base's: no weights explain that."""
    parents = [base(), child(1), child(2)]
    elected = mergers.ties([p[0] for p in parents], base()[1], density=0.4)
    found = decomposed(elected, parents, whole=whole, dtype=dtype)
    assert found is not None
    assert found.kind == "merged"
    assert found.numbers["method"] == "by_element"
    assert all(share > 0.1 for share in found.numbers["shares"].values())


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
@pytest.mark.parametrize("level", [0.002, 0.05])
def test_siblings_that_are_close_share_no_elements(dtype: str, level: float) -> None:
    siblings = [tuned(*base(), level=level, seed=seed) for seed in (1, 2, 3)]
    assert decomposed(siblings[0], [base(), siblings[1]], dtype=dtype) is None
    assert decomposed(siblings[0], siblings[1:], dtype=dtype) is None


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_a_child_that_left_most_elements_alone_is_no_merge(dtype: str) -> None:
    g = np.random.default_rng(0)
    tensors = {n: np.where(g.random(v.shape) < 0.3, child(3)[0][n], v) for n, v in base()[0].items()}
    assert decomposed((tensors, base()[1]), [base(), child(1)], dtype=dtype) is None


def test_nearly_equal_parents_bring_a_warning() -> None:
    one = child(1)
    parents = [base(), one, tuned(*one, level=0.004, seed=9)]
    found = decomposed(merged((0.2, 0.5, 0.3), parents), parents)
    assert found is not None
    assert found.numbers["collinearity"] > 0.95
    assert found.numbers["collinearity_warning"]


def test_candidates_in_another_basis_or_depth_are_left_out() -> None:
    parents = [child(1), launder.permute_residual(*child(2), seed=1)]
    suspect = merged((0.6, 0.4), [child(1), child(2)])
    assert decomposed(suspect, parents) is None
    assert decomposed(suspect, [child(1), lab.take_layers(*child(2), [0, 1, 2])]) is None
    assert decomposed(suspect, [child(1)]) is None


def test_gain_of_a_sibling() -> None:
    assert sibling_gain(2) == pytest.approx(0.25)
    assert sibling_gain(3) == pytest.approx(1 / 3)


@given(st.lists(st.floats(0.05, 1.0), min_size=2, max_size=4), st.integers(0, 1000))
def test_weights_add_up_to_one_and_are_recovered(raw: list[float], seed: int) -> None:
    weights = np.array(raw) / sum(raw)
    g = np.random.default_rng(seed)
    xs = [g.standard_normal(200).astype(np.float32) for _ in weights]
    normal = Normal(len(xs))
    y = sum(w * x.astype(np.float64) for w, x in zip(weights, xs, strict=True)).astype(np.float32)
    for part in range(0, 200, 50):
        normal.add(y[part : part + 50], [x[part : part + 50] for x in xs])
    assert normal.weights().sum() == pytest.approx(1.0)
    np.testing.assert_allclose(normal.weights(), weights, atol=1e-4)
    assert normal.residual() < 1e-6 * normal.energy + 1e-6
