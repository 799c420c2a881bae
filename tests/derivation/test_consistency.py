"""Children of really trained models under every disguise: no report contradicts itself, read whole or in samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from filiation import comparison
from filiation.evidence import Derivation, Relation, Verdict
from filiation.lab import derive as lab
from filiation.lab import launder
from filiation.origin import beside_grafts
from filiation.origin.pairing import Plan
from filiation.origin.verdict import Finding
from tests.derivation.consistency import contradictions
from tests.derivation.models import Model, anatomy, demo

CHILDREN = ("fine-tuned", "continued", "moe-upcycled")
NOISE = (0.01, 0.1, 0.3)

Disguise = Callable[[Model], Model]


def _after(*steps: Callable[..., Model]) -> Disguise:
    def change(model: Model) -> Model:
        for seed, step in enumerate(steps, 11):
            model = step(*model) if step is launder.fold_gains else step(*model, seed=seed)
        return model

    return change


INNER = (launder.permute_ffn, launder.permute_heads, launder.permute_value_channels)
SIGNS = (launder.flip_ffn_signs, launder.flip_value_signs)
DISGUISES: dict[str, Disguise] = {
    "rotation": _after(launder.rotate_residual),
    "permutation": _after(launder.permute_ffn, launder.permute_residual),
    "signed permutation": _after(launder.signed_permutation),
    "signs": _after(*SIGNS),
    "gains folded": _after(launder.fold_gains),
    "heads": _after(launder.permute_heads),
    "inner order": _after(*INNER),
    "inner order and signs": _after(*INNER, *SIGNS),
    "all": _after(*INNER, launder.rotate_residual),
}


@cache
def noisy(name: str, level: float) -> Model:
    """One of the demo models with white noise of this size, relative to each matrix."""
    tensors, config = demo(name)
    g = np.random.default_rng(3)

    def added(value: np.ndarray) -> np.ndarray:
        noise = level * value.std() * g.standard_normal(value.shape)
        return (value + noise).astype(np.float32) if value.ndim > 1 else value

    return {key: added(value) for key, value in tensors.items()}, config


def _silent(stage: str, done: int, total: int | None) -> None:
    del stage, done, total


def compared(child: Model, *, whole: bool, base: Model | None = None, **plan: Any) -> tuple[Any, Verdict]:
    suspect, candidate = anatomy(child, "BF16"), anatomy(base or demo("base"), "BF16")
    pair = comparison.examine_pair(
        suspect, candidate, Plan("0" * 64, whole=whole, **plan), 0, full=False, progress=_silent
    )
    return pair, comparison.overall_verdict(suspect, [candidate], [pair])


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "sampled"])
@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("name", CHILDREN)
def test_no_report_contradicts_itself(name: str, noise: float, disguise: str, whole: bool) -> None:
    pair, verdict = compared(DISGUISES[disguise](noisy(name, noise)), whole=whole)
    assert contradictions(pair, verdict) == []
    assert "grafted" not in {s.kind for s in verdict.derivation}
    if disguise == "inner order and signs":
        assert verdict.relation is Relation.SHARED_PARTS
        assert verdict.reason == "order_and_signs_destroyed"
        assert verdict.inherited_share is None, "no label is left: nothing was tested and found missing"
    else:
        assert verdict.relation is Relation.COMMON_ORIGIN
        assert verdict.inherited_share == 1.0


def test_flips_alone_are_not_called_a_permutation() -> None:
    for whole in (True, False):
        _, verdict = compared(DISGUISES["signs"](demo("fine-tuned")), whole=whole)
        kinds = {s.kind for s in verdict.derivation}
        assert "permuted" not in kinds
        assert {"ffn_signs", "value_signs"} == {
            s.numbers["what"] for s in verdict.derivation if s.kind == "rescaled"
        }


def test_a_graft_is_told_and_the_share_says_the_same() -> None:
    """Two layers of a stranger: they count among the layers looked at, so the share is not 100 %."""
    grafted = lab.graft(demo("fine-tuned")[0], demo("twin")[0], demo("base")[1], layers=[1, 4])
    pair, verdict = compared(grafted, whole=True)
    assert contradictions(pair, verdict) == []
    assert verdict.inherited_share == pytest.approx(4 / 6)
    step = next(s for s in verdict.derivation if s.kind == "grafted")
    assert step.numbers["foreign"] == [1, 4]


def test_foreign_attention_in_every_layer_leaves_no_share() -> None:
    """Half of each layer is somebody else's: then neither 0 % nor 100 % of the layers are inherited."""
    child, other = demo("fine-tuned"), demo("twin")[0]
    tensors = {name: other[name] if "self_attn" in name else value for name, value in child[0].items()}
    pair, verdict = compared((tensors, child[1]), whole=True)
    assert contradictions(pair, verdict) == []
    step = next(s for s in verdict.derivation if s.kind == "grafted")
    assert step.numbers["foreign_attention"] == [*range(6)]
    assert verdict.inherited_share is None


GRAFTED = {"inherited": [], "foreign": [0, 1, 2], "share": 0.0}


@pytest.mark.parametrize(
    ("layers", "numbers", "relation"),
    [
        ((0, 1, 2), GRAFTED, Relation.SUGGESTIVE),
        ((0, 1, 2, 3), GRAFTED, Relation.COMMON_ORIGIN),
        ((3, 4), {**GRAFTED, "reversed": True}, Relation.SUGGESTIVE),
        ((), GRAFTED, Relation.COMMON_ORIGIN),
    ],
)
def test_a_finding_does_not_stand_on_layers_that_are_foreign(
    layers: tuple[int, ...], numbers: dict[str, Any], relation: Relation
) -> None:
    finding = Finding(Relation.COMMON_ORIGIN, 90.0, ("language",), (), 4, 6, layers)
    found = beside_grafts(finding, [Derivation("grafted", numbers)])
    assert found.relation is relation
    assert found.inherited == 0
    assert found.reasons == (("labels_without_contents",) if relation is Relation.SUGGESTIVE else ())


def test_single_experts_that_are_foreign_count_as_parts_of_layers() -> None:
    finding = Finding(Relation.COMMON_ORIGIN, 90.0, ("language",), (), 6, 6, tuple(range(6)))
    assert beside_grafts(finding, [Derivation("grafted", {"share": 0.75})]).inherited == pytest.approx(4.5)
    assert beside_grafts(finding, [Derivation("grafted", {"components": ["vision"]})]) == finding


def test_the_checker_sees_what_was_wrong_before() -> None:
    pair, verdict = compared(demo("fine-tuned"), whole=True)

    def told(*steps: Derivation) -> list[str]:
        return contradictions(
            pair, Verdict(Relation.COMMON_ORIGIN, 9.0, inherited_share=1.0, derivation=steps)
        )

    assert not contradictions(pair, verdict)
    assert told(Derivation("grafted", {"inherited": [0], "foreign": [1]}))
    assert any("a share of 0%" in x for x in told(Derivation("grafted", {"inherited": [], "share": 0.0})))
    every = {"inherited": [], "foreign": [*range(6)], "share": 0.0}
    assert any("all of which are foreign" in x for x in told(Derivation("grafted", every)))
    assert told(Derivation("permuted", {"what": "ffn", "moved": 0, "flipped": 3}))
    assert told(Derivation("fine_tuned", {"median_relative_delta": 0.0}))
    assert told(Derivation("sparsified", {"zeros": 0.0}))
    assert told(
        *(Derivation(k, {"median_relative_delta": 1.0}) for k in ("fine_tuned", "continued_pretraining"))
    )
    assert told()
