"""Fixtures that must stay quiet (evidence contract, section 8): log10 e below 1, or not run.

Each is two models that were made independently and have some structure in common. Where the structure is one of copies,
the suspect is relabelled many times and the mean is looked at: copies counted twice are quiet most of the time too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from filiation.anatomy.model import Anatomy, Symmetry
from filiation.evidence import Relation
from filiation.lab import derive
from filiation.origin import history
from filiation.origin.examine import Examination
from filiation.origin.labelset import combine
from filiation.origin.pairing import Plan
from filiation.origin.verdict import judge
from tests.origin.models import Model, changed, dissected, examined, llama
from tests.origin.promise import keeps_its_promise
from tests.origin.scramble import BLOCKS, scrambled

SMALL = {"layers": 2, "width": 32, "ffn": 64, "kv": 2}


def small(seed: int) -> Model:
    return llama(seed, **SMALL)


def both(change: Callable[[Model], Model]) -> tuple[Model, Model]:
    return change(small(1)), change(small(2))


def is_quiet(x: Examination) -> bool:
    values = [t.log10_e for s in x.stages for t in (*s.residual, *s.blocks) if t.applied]
    return x.log10_e < 1 and all(v < 2.5 for v in values)


def reasons(x: Examination, symmetry: Symmetry) -> set[str | None]:
    """Why the tests of a symmetry did not run in the direct stage; None among them where one did."""
    stage = x.stages[0]
    return {
        e.reason
        for t in (*stage.residual, *stage.blocks)
        if t.subject.symmetry is symmetry
        for e in t.evidence
    }


def seed_of(model: Model) -> int:
    """A seed that differs between models, so that no two of them share a random number."""
    return int(abs(model[0]["model.norm.weight"][0]) * 1e6)


def upscaled(model: Model) -> Model:
    return derive.take_layers(*model, [0, 1, 0, 1])


def cloned_start(model: Model) -> Model:
    """Every layer began as a copy of the first and was trained on."""
    out, settings = derive.take_layers(*model, [0] * 6)
    return derive.add_noise(out, settings, level=0.5, seed=seed_of(model))


def upcycled(model: Model) -> Model:
    return derive.upcycle(*model, experts=8, active=2, noise=0.05, seed=seed_of(model), router_std=1.0)


def repeated_kv(model: Model) -> Model:
    return derive.repeat_kv_heads(*model, kv_heads=6)


def padded(model: Model) -> Model:
    """A third more FFN units, all zero, at the end."""

    def pad(name: str, values: np.ndarray) -> np.ndarray:
        if ".mlp." not in name:
            return values
        axis = 1 if "down" in name else 0
        return np.concatenate(
            [values, np.zeros_like(values.take(np.arange(values.shape[axis] // 3), axis))], axis
        )

    tensors, settings = changed(model, pad)
    return tensors, {**settings, "intermediate_size": tensors["model.layers.0.mlp.gate_proj.weight"].shape[0]}


def without_down(model: Model) -> Model:
    return changed(model, lambda name, v: v * 0 if name.endswith("down_proj.weight") else v)


def pruned_to_zero(model: Model) -> Model:
    """The same units (every third) were pruned away in both models."""

    def prune(name: str, values: np.ndarray) -> np.ndarray:
        if ".mlp." not in name:
            return values
        alive = np.arange(values.shape[1 if "down" in name else 0]) % 3 > 0
        return values * (alive if "down" in name else alive[:, None])

    return changed(model, prune)


def constant(model: Model) -> Model:
    """All gate rows are equal: everything is equally similar to everything."""
    return changed(model, lambda name, v: np.repeat(v[:1], len(v), axis=0) if "gate_proj" in name else v)


def common_direction(model: Model) -> Model:
    """All units lean the same way in both models; their order is by how much."""
    way = np.random.default_rng(0).standard_normal((1, SMALL["width"]))

    def lean(name: str, v: np.ndarray) -> np.ndarray:
        if not name.endswith(("gate_proj.weight", "v_proj.weight")):
            return v
        return v + np.abs(v[:, :1]) * way

    return sorted_ffn(changed(model, lean))


def sorted_ffn(model: Model) -> Model:
    """FFN units in order of the size of what they do to a normalised input, as importance pruning leaves them."""
    out = dict(model[0])
    for layer in range(model[1]["num_hidden_layers"]):
        at = f"model.layers.{layer}.mlp."
        gain = out[f"model.layers.{layer}.post_attention_layernorm.weight"]
        order = np.argsort(-np.linalg.norm(out[at + "gate_proj.weight"] * gain, axis=1))
        for which, axis in (("gate", 0), ("up", 0), ("down", 1)):
            out[f"{at}{which}_proj.weight"] = out[f"{at}{which}_proj.weight"].take(order, axis)
    return out, model[1]


def sorted_channels(model: Model) -> Model:
    """Residual channels in order of the size of their embedding columns."""
    embedding = model[0]["model.embed_tokens.weight"]
    scale = np.exp(np.linspace(0, 1, embedding.shape[1]))
    order = np.argsort(-np.linalg.norm(embedding * scale, axis=0))

    def move(name: str, v: np.ndarray) -> np.ndarray:
        v = v * scale if name == "model.embed_tokens.weight" else v
        if v.ndim == 1:
            return v[order]
        return v.take(order, 0 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1)

    return changed(model, move)


def widened(model: Model) -> Model:
    """Every FFN unit was cloned, and the clones were trained apart a little."""
    g = np.random.default_rng(seed_of(model))

    def clone(name: str, v: np.ndarray) -> np.ndarray:
        if ".mlp." not in name:
            return v
        doubled = np.concatenate([v, v], axis=1 if "down" in name else 0)
        return doubled + 0.2 * v.std() * g.standard_normal(doubled.shape)

    return changed(model, clone)[0], {**model[1], "intermediate_size": 2 * SMALL["ffn"]}


def tied_layers(model: Model) -> Model:
    """One set of weights for all layers (as ALBERT), written out six times."""
    return derive.take_layers(*model, [0] * 6)


def untied_head(model: Model) -> Model:
    tensors, settings = model
    head = {"lm_head.weight": tensors["model.embed_tokens.weight"].copy()}
    return {**tensors, **head}, {**settings, "tie_word_embeddings": False}


FIXTURES: dict[str, Callable[[], tuple[Model, Model]]] = {
    "upscaled, against an unrelated model": lambda: (upscaled(small(1)), llama(2, **{**SMALL, "layers": 4})),
    "two upscaled models": lambda: both(upscaled),
    "two models with a cloned-layer start": lambda: both(cloned_start),
    "upcycled, against an unrelated dense model": lambda: (upcycled(small(1)), small(2)),
    "dense, against an unrelated upcycled model": lambda: (small(1), upcycled(small(2))),
    "two upcycled models": lambda: both(upcycled),
    "repeated key-value heads": lambda: both(repeated_kv),
    "zero-padded units": lambda: both(padded),
    "zero down projections": lambda: both(without_down),
    "units pruned to zero": lambda: both(pruned_to_zero),
    "constant similarity": lambda: both(constant),
    "sorted feed-forward units": lambda: both(sorted_ffn),
    "sorted, against an unsorted model": lambda: (sorted_ffn(small(1)), small(2)),
    "sorted along a direction both models share": lambda: both(common_direction),
    "sorted channels": lambda: both(sorted_channels),
    "widened by cloning": lambda: both(widened),
    "layers tied together": lambda: both(tied_layers),
    "embedding and head tied": lambda: both(untied_head),
}


@pytest.mark.parametrize("name", FIXTURES)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "sampled"])
def test_quiet(name: str, whole: bool) -> None:
    suspect, candidate = FIXTURES[name]()
    examination = examined(suspect, candidate, whole=whole)
    assert is_quiet(examination), [(s.name, s.log_e) for s in examination.stages]
    assert judge(examination, None).relation in (Relation.NONE_FOUND, Relation.CANNOT_TEST)


@pytest.mark.parametrize(
    ("make", "symmetry", "reason"),
    [
        (sorted_ffn, Symmetry.FFN_ORDER, "order_not_arbitrary"),
        (sorted_channels, Symmetry.RESIDUAL_ORDER, "order_not_arbitrary"),
        (widened, Symmetry.FFN_ORDER, "order_not_arbitrary"),
        (widened, Symmetry.FFN_SIGN, "units_are_copies"),
        (repeated_kv, Symmetry.KV_GROUP_ORDER, "units_are_copies"),
        (constant, Symmetry.FFN_ORDER, "too_few_units"),
    ],
)
def test_what_is_no_label_is_not_tested_and_the_reason_is_given(
    make: Callable[[Model], Model], symmetry: Symmetry, reason: str
) -> None:
    assert reason in reasons(examined(*both(make)), symmetry)


def relabelled_in_step(model: Model, rng: np.random.Generator) -> Model:
    """Relabel the blocks of all layers alike: what H0 leaves free in a model whose layers are copies."""
    tensors, settings = model
    state = rng.bit_generator.state
    out = dict(tensors)
    for layer in range(settings["num_hidden_layers"]):
        rng.bit_generator.state = state
        moved, _ = scrambled(model, rng, BLOCKS, layers={layer})
        out |= {k: v for k, v in moved.items() if k.startswith(f"model.layers.{layer}.")}
    return out, settings


@pytest.mark.parametrize("noise", [0.0, 0.5], ids=["tied layers", "cloned start"])
def test_copies_are_counted_once(noise: float) -> None:
    """Against itself, relabelled in step, so that all layers agree by chance or none does.

    The mean over relabellings is what an exact test promises; the product over four copies would exceed it hugely
    whenever one lucky labelling comes up four times.
    """
    one = llama(1, layers=1, width=24, ffn=48, kv=2)
    model = derive.add_noise(*derive.take_layers(*one, [0] * 4), level=noise, seed=1)
    same, rng = dissected(model), np.random.default_rng(0)
    stages = [
        examined(relabelled_in_step(model, rng), same, seed=str(i), with_tokens=False).stages[0]
        for i in range(24)
    ]
    assert keeps_its_promise([combine(s.blocks) / math.log(10) for s in stages])
    assert {t.share for s in stages for t in s.blocks} == {0.25}


def test_a_shared_embedding_table_says_nothing_about_the_blocks() -> None:
    """A published table, frozen: the residual channels agree, whatever the blocks are."""
    suspect, candidate = small(1), small(2)
    shared = candidate[0]["model.embed_tokens.weight"]
    suspect = ({**suspect[0], "model.embed_tokens.weight": shared}, suspect[1])
    x = examined(suspect, candidate)
    residual = combine(x.stages[0].residual) / math.log(10)
    assert residual > 6
    for stage in x.stages:
        assert combine(stage.blocks) / math.log(10) < 1
    finding = judge(x, history.of(x, Plan("0" * 64, whole=True)))
    assert finding.relation is Relation.SHARED_PARTS
    assert finding.inherited == 0
    assert finding.scope == ("language: token embeddings",)


def test_values_quantised_in_blocks_are_compared_inside_them() -> None:
    """Both embeddings are stored in blocks of 32 channels: only the order inside 16 is used, so 2 of 32 in place."""
    suspect, candidate = small(1), small(2)
    blocked = [quantised_along_channels(m) for m in (suspect, candidate)]
    assert is_quiet(examined(*blocked))
    child = quantised_along_channels(suspect)
    order = [
        t
        for t in examined(child, child).stages[0].residual
        if t.subject.symmetry is Symmetry.RESIDUAL_ORDER and t.subject.detail == "embedding"
    ]
    assert order[0].matched == 32
    assert order[0].expected == 2.0


def quantised_along_channels(model: Model) -> Anatomy:
    found = dissected(model)
    parts = tuple(replace(p, blocked=(1,)) if p.role == "embedding" else p for p in found.parts)
    return replace(found, parts=parts)
