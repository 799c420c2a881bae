"""What has no effect on what a model computes must neither make nor break a verdict.

Every change here leaves the function of the changed model as it is (or as good as): layers whose outputs are nearly
zero, neurons that write next to nothing, channels that nobody writes, tokens that are never used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import filiation
from filiation.evidence import Relation, Verdict
from filiation.lab.forward import logits
from filiation.lab.layout import EMBEDDING, FINAL_NORM, Config, Tensors, gain_readers, is_gain
from filiation.lab.save import load_model, save_model
from filiation.origin.effects import of_model, rectified, spread, together, usual
from filiation.origin.gather import Side
from filiation.origin.history import History, Shared
from filiation.origin.pairing import Plan
from filiation.origin.weighing import beside_half
from filiation.report.answers import word_answer
from filiation.report.wording import LANGUAGES, phrases
from tests.comparison.test_arranged import named, traced
from tests.derivation.models import Model, anatomy, base, derived
from tests.derivation.test_architectures import gpt2

MODELS = Path(__file__).parents[2] / "examples" / "models"
LAYERS, WIDTH, FFN = 6, 64, 192
FAINT = 1e-6


def accused() -> Model:
    return load_model(MODELS / "base")


def stranger() -> Model:
    return load_model(MODELS / "twin")


def with_gains_of(tensors: Tensors, other: Tensors) -> Tensors:
    """Take the other's gains in the blocks and divide what reads through them: the same function."""
    out = dict(tensors)
    for gain in [n for n in tensors if is_gain(n) and n != FINAL_NORM]:
        for reader in gain_readers(out, gain):
            out[reader] = (out[reader] * (out[gain] / other[gain])).astype(np.float32)
        out[gain] = other[gain]
    return out


def same_function(a: Model, b: Model, within: float = 1e-3) -> None:
    tokens = np.random.default_rng(0).integers(0, 1024, (2, 24))
    one, other = (logits(*m, tokens, double=True)[..., :1024] for m in (a, b))
    assert np.abs(one - other).max() < within * one.std()


def compared(s: Model, c: Model, folder: Path) -> filiation.Comparison:
    for name, model in (("suspect", s), ("candidate", c)):
        save_model(folder / name, *model)
    return filiation.compare(str(folder / "suspect"), str(folder / "candidate"))


def with_idle_layers(model: Model, other: Tensors, scale: float = FAINT) -> Model:
    """Append the other's layers with their outputs scaled to nearly nothing."""
    tensors, config = dict(model[0]), model[1]
    for name, value in other.items():
        if name.startswith("model.layers."):
            layer, rest = name.removeprefix("model.layers.").split(".", 1)
            faint = scale if rest.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
            tensors[f"model.layers.{int(layer) + LAYERS}.{rest}"] = (value * faint).astype(np.float32)
    return tensors, {**config, "num_hidden_layers": 2 * LAYERS}


def with_idle_neurons(model: Model, other: Tensors, scale: float, count: int = FFN) -> Model:
    """Add the other's neurons, loud where they read and next to silent where they write."""
    tensors, config = dict(model[0]), model[1]
    for layer in range(LAYERS):
        for which, axis, factor in (("gate", 0, 10.0), ("up", 0, 10.0), ("down", 1, scale)):
            name = named(layer, which)
            theirs = np.take(other[name], np.arange(count), axis=axis) * factor
            tensors[name] = np.concatenate([tensors[name], theirs.astype(np.float32)], axis=axis)
    return tensors, {**config, "intermediate_size": FFN + count}


def idle_layers() -> Model:
    own, config = stranger()
    return with_idle_layers((with_gains_of(own, accused()[0]), config), accused()[0])


def idle_neurons(scale: float = FAINT, count: int = FFN) -> Model:
    own, config = stranger()
    return with_idle_neurons((with_gains_of(own, accused()[0]), config), accused()[0], scale, count)


def shuffled_neurons_beside(scale: float = FAINT) -> Model:
    """Every neuron of the stranger is split in two halves, which alone would drop them as copies of each other."""
    tensors, config = (dict(x) for x in stranger())
    tensors = with_gains_of(tensors, accused()[0])
    for layer in range(LAYERS):
        for which, axis in (("gate", 0), ("up", 0), ("down", 1)):
            own = tensors[named(layer, which)]
            halves = [own * 0.5, own * 0.5] if which == "down" else [own, own]
            theirs = accused()[0][named(layer, which)] * (scale if which == "down" else 1.0)
            tensors[named(layer, which)] = np.concatenate([theirs, *halves], axis=axis).astype(np.float32)
    return tensors, {**config, "intermediate_size": 3 * FFN}


def unheard_neurons() -> Model:
    """The accused's neurons are there in full, but their gates are scaled so that they never fire to speak of."""
    tensors, config = (dict(x) for x in stranger())
    tensors = with_gains_of(tensors, accused()[0])
    for layer in range(LAYERS):
        for which, axis, factor in (("gate", 0, 1e-4), ("up", 0, 1e-4), ("down", 1, 1.0)):
            theirs = accused()[0][named(layer, which)] * factor
            tensors[named(layer, which)] = np.concatenate(
                [tensors[named(layer, which)], theirs], axis=axis
            ).astype(np.float32)
    return tensors, {**config, "intermediate_size": 2 * FFN}


@pytest.mark.parametrize("turned", [False, True], ids=["framer against accused", "accused against framer"])
@pytest.mark.parametrize(
    "framer",
    [idle_layers, idle_neurons, lambda: idle_neurons(0.0), shuffled_neurons_beside, unheard_neurons],
    ids=["layers", "neurons", "neurons that write nothing", "split neurons", "neurons that never fire"],
)
def test_what_does_nothing_makes_no_common_origin(
    framer: Callable[[], Model], turned: bool, tmp_path: Path
) -> None:
    framed = framer()
    same_function(stranger(), framed)
    pair = (accused(), framed) if turned else (framed, accused())
    found = compared(*pair, tmp_path)
    assert found.verdict.log10_e is not None
    assert found.verdict.log10_e > 6, "the labels do agree"
    assert found.verdict.relation is Relation.SUGGESTIVE
    assert found.verdict.inherited_share is None
    assert found.verdict.derivation == ()


def test_idle_neurons_make_no_shared_start(tmp_path: Path) -> None:
    """Eighty of another model's neurons, next to silent, beside 192 of one's own."""
    framed = idle_neurons(count=80)
    same_function(stranger(), framed)
    assert compared(framed, accused(), tmp_path).verdict.relation is Relation.SUGGESTIVE


NARROW = 40


def narrow_stranger() -> Model:
    """The stranger cut to fewer channels and neurons: some model of its own."""
    tensors, config = stranger()
    cut: Tensors = {}
    for name, value in tensors.items():
        index = tuple(
            slice(NARROW) if size == WIDTH and axis in live(name) else slice(None)
            for axis, size in enumerate(value.shape)
        )
        cut[name] = np.ascontiguousarray(value[index])
    for layer in range(LAYERS):
        for which in ("gate", "up"):
            cut[named(layer, which)] = cut[named(layer, which)][:128]
        cut[named(layer, "down")] = np.ascontiguousarray(cut[named(layer, "down")][:, :128])
    return cut, {**config, "hidden_size": NARROW, "intermediate_size": 128}


def live(name: str) -> tuple[int, ...]:
    """Return the axes that lie over the residual channels."""
    if name.endswith(("o_proj.weight", "down_proj.weight")) or is_gain(name):
        return (0,)
    return (1,)


def with_idle_channels() -> Model:
    """The narrow stranger in the accused's shape: what reads the channels that nobody writes is the accused's."""
    own, _ = narrow_stranger()
    theirs, shape = accused()
    kept = np.arange(NARROW)
    scale = np.sqrt(NARROW / WIDTH)
    out: Tensors = {}
    for name, value in theirs.items():
        loud = name.endswith(("gate_proj.weight", "up_proj.weight", "v_proj.weight"))
        out[name] = value * (30.0 if loud else 0.0)
        if is_gain(name):
            out[name] = value.copy()
            if name == FINAL_NORM:
                out[name][kept] = own[name] * scale
    for name, value in own.items():
        if is_gain(name):
            continue
        rows = value
        gain = next((g for g in own if is_gain(g) and name in gain_readers(own, g)), None)
        if gain is not None and gain != FINAL_NORM:
            rows = value * (own[gain] * scale / theirs[gain][kept])
        axis = live(name)[0]
        if name.endswith(("gate_proj.weight", "up_proj.weight")):
            out[name][:128, kept] = rows
            out[name][128:] = theirs[name][128:]
        elif name.endswith("down_proj.weight"):
            out[name][kept, :128] = rows
            out[name][:, 128:] = FAINT * theirs[name][:, 128:]
        elif axis == 1:
            out[name][:, kept] = rows
        else:
            out[name][kept] = rows
    return {n: v.astype(np.float32) for n, v in out.items()}, {**shape, "rms_norm_eps": 1e-5 * NARROW / WIDTH}


def test_what_reads_channels_that_nobody_writes_makes_no_common_origin(tmp_path: Path) -> None:
    framed = with_idle_channels()
    same_function(narrow_stranger(), framed, within=2e-2)
    found = compared(framed, accused(), tmp_path)
    assert found.verdict.log10_e is not None
    assert found.verdict.log10_e > 6
    assert found.verdict.relation is Relation.SUGGESTIVE


def with_unread_channels() -> Model:
    """The stranger leaves channels free that nothing of it reads; the accused's units write into those alone."""
    own, config = stranger()
    theirs, out, free = accused()[0], dict(own), np.arange(NARROW, WIDTH)
    for name, value in out.items():
        if value.ndim == 2:
            value[(free,) if live(name) == (0,) else (slice(None), free)] = 0.0
    for layer in range(LAYERS):
        for which in ("gate", "up"):
            out[named(layer, which)] = np.concatenate([theirs[named(layer, which)], out[named(layer, which)]])
        writes = 3 * theirs[named(layer, "down")]
        writes[:NARROW] = 0.0
        out[named(layer, "down")] = np.concatenate([writes, out[named(layer, "down")]], axis=1)
    return with_gains_of(out, theirs), {**config, "intermediate_size": 2 * FFN}


@pytest.mark.parametrize("turned", [False, True], ids=["framer against accused", "accused against framer"])
def test_what_is_written_where_nobody_reads_makes_no_common_origin(turned: bool, tmp_path: Path) -> None:
    pair = with_unread_channels(), accused()
    found = compared(*(reversed(pair) if turned else pair), tmp_path)
    assert found.verdict.log10_e is not None
    assert found.verdict.log10_e > 6
    assert found.verdict.relation is Relation.SUGGESTIVE


def test_tokens_that_are_never_used_make_no_common_origin(tmp_path: Path) -> None:
    """The accused's token rows, faint, under its own numbers; the stranger's are further down the table."""
    own, config = idle_layers()
    rows = np.concatenate([accused()[0][EMBEDDING] * 0.01, own[EMBEDDING]]).astype(np.float32)
    found = compared(({**own, EMBEDDING: rows}, {**config, "vocab_size": len(rows)}), accused(), tmp_path)
    assert found.verdict.relation in (Relation.SUGGESTIVE, Relation.SHARED_PARTS)
    assert not any("layers" in part for part in found.verdict.scope)


def ungated_beside(*, bias: float | None = None, faint: float = 1.0) -> Model:
    """An independent GPT-2 with the accused's gains, and its neurons beside its own: silenced by a bias, or faint."""
    theirs, _ = gpt2(0)
    own, config = gpt2(1)
    out = dict(own)
    for layer in range(int(config["n_layer"])):
        reads, biases, writes = (f"h.{layer}.mlp.{n}" for n in ("c_fc.weight", "c_fc.bias", "c_proj.weight"))
        quiet = theirs[biases] if bias is None else np.full(len(own[biases]), bias, np.float32)
        out[reads] = np.concatenate([own[reads], theirs[reads]], axis=1)
        out[biases] = np.concatenate([own[biases], quiet])
        out[writes] = np.concatenate([own[writes], (faint * theirs[writes]).astype(np.float32)])
    gains = {n for n in out if ".ln_" in n or n.startswith("ln_f")}
    framed = {n: theirs[n] if n in gains else v for n, v in out.items()}
    return framed, {**config, "n_inner": len(out["h.0.mlp.c_fc.bias"])}


@pytest.mark.parametrize(
    "framed",
    [lambda: ungated_beside(faint=FAINT), lambda: ungated_beside(bias=-1e3)],
    ids=["they write next to nothing", "a bias keeps them from firing"],
)
def test_an_ungated_model_with_idle_neurons_is_no_relative(framed: Callable[[], Model]) -> None:
    for pair in ((framed(), gpt2(0)), (gpt2(0), framed())):
        _, finding = traced(*pair, Plan("0" * 64, whole=True))
        assert finding.relation is Relation.SUGGESTIVE


# What was done to a true child and has no effect must not hide it.


def child() -> Model:
    return load_model(MODELS / "continued")


def test_one_loud_neuron_that_writes_nothing_hides_no_child(tmp_path: Path) -> None:
    tensors, config = child()
    drawn = np.random.default_rng(0)
    for layer in range(LAYERS):
        lengths = [np.linalg.norm(tensors[named(layer, w)], axis=x) for w, x in (("gate", 1), ("down", 0))]
        weakest = int(np.argmin(lengths[0] * lengths[1]))
        for which in ("gate", "up"):
            tensors[named(layer, which)] = tensors[named(layer, which)].copy()
            tensors[named(layer, which)][weakest] = 50 * drawn.standard_normal(WIDTH)
        tensors[named(layer, "down")] = tensors[named(layer, "down")].copy()
        tensors[named(layer, "down")][:, weakest] = 0
    found = compared((tensors, config), accused(), tmp_path)
    assert found.verdict.relation is Relation.COMMON_ORIGIN


def test_neurons_that_read_what_never_comes_hide_no_child(tmp_path: Path) -> None:
    """The direction that token rows hold least of is given up; junk reads that alone, and is silent for every token."""
    tensors, config = child()
    _, vectors = np.linalg.eigh(np.cov(tensors[EMBEDDING].T))
    given_up, drawn = vectors[:, :1], np.random.default_rng(0)
    out = dict(tensors)
    for name, value in tensors.items():
        if value.ndim == 2 and (name == EMBEDDING or live(name) == (0,)):
            part = given_up @ (given_up.T @ value) if live(name) == (0,) else (value @ given_up) @ given_up.T
            out[name] = (value - part).astype(np.float32)
    for layer in range(LAYERS):
        gain = tensors[f"model.layers.{layer}.post_attention_layernorm.weight"]
        junk = 4 * drawn.standard_normal((32, 1)) @ (given_up.T / gain)
        for which in ("gate", "up"):
            out[named(layer, which)] = np.concatenate([out[named(layer, which)], junk]).astype(np.float32)
        loud = 4 * drawn.standard_normal((WIDTH, 32))
        loud -= given_up @ (given_up.T @ loud)
        out[named(layer, "down")] = np.concatenate([out[named(layer, "down")], loud], axis=1).astype(
            np.float32
        )
    hidden = out, {**config, "intermediate_size": FFN + 32}
    for pair in ((hidden, accused()), (accused(), hidden)):
        assert compared(*pair, tmp_path).verdict.relation is Relation.COMMON_ORIGIN


def test_loud_rows_of_unused_tokens_hide_no_child(tmp_path: Path) -> None:
    tensors, config = child()
    drawn = np.random.default_rng(0)
    rows = 1e4 * drawn.standard_normal((64, 1)) @ drawn.standard_normal((1, WIDTH))
    table = np.concatenate([tensors[EMBEDDING], rows]).astype(np.float32)
    hidden = {**tensors, EMBEDDING: table}, {**config, "vocab_size": len(table)}
    for pair in ((hidden, accused()), (accused(), hidden)):
        verdict = compared(*pair, tmp_path).verdict
        assert verdict.relation is Relation.COMMON_ORIGIN
        assert "networks_rewritten" not in {step.kind for step in verdict.derivation}


def test_neurons_split_in_two_hide_no_child(tmp_path: Path) -> None:
    tensors, config = child()
    drawn = np.random.default_rng(1)
    whole = dict(tensors)
    for layer in range(LAYERS):
        order = drawn.permutation(2 * FFN)
        gate, up, down = (tensors[named(layer, w)] for w in ("gate", "up", "down"))
        whole[named(layer, "gate")] = np.concatenate([gate, gate])[order]
        whole[named(layer, "up")] = np.concatenate([up, up])[order]
        whole[named(layer, "down")] = np.concatenate([0.3 * down, 0.7 * down], axis=1)[:, order]
    split = {n: v.astype(np.float32) for n, v in whole.items()}, {**config, "intermediate_size": 2 * FFN}
    same_function(child(), split)
    assert compared(split, accused(), tmp_path).verdict.relation is Relation.COMMON_ORIGIN


def junk(drawn: np.random.Generator, name: str, like: np.ndarray) -> np.ndarray:
    if like.ndim == 1:
        return (like.mean() * (1 + 0.2 * drawn.standard_normal(like.shape))).astype(np.float32)
    faint = 1e-5 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
    return (faint * like.std() * drawn.standard_normal(like.shape)).astype(np.float32)


def with_junk_layers(model: Model, each: int) -> Model:
    """Put idle layers of random numbers behind every layer."""
    tensors, config = model
    drawn = np.random.default_rng(7)
    out = {n: v for n, v in tensors.items() if not n.startswith("model.layers.")}
    for name, value in tensors.items():
        if name.startswith("model.layers."):
            layer, rest = name.removeprefix("model.layers.").split(".", 1)
            for k in range(each + 1):
                place = f"model.layers.{(each + 1) * int(layer) + k}.{rest}"
                out[place] = junk(drawn, name, value) if k else value
    return out, {**config, "num_hidden_layers": (each + 1) * LAYERS}


@pytest.mark.parametrize("each", [1, 2])
def test_idle_layers_in_between_hide_no_child(each: int, tmp_path: Path) -> None:
    hidden = with_junk_layers(child(), each)
    same_function(child(), hidden, within=1e-2)
    found = compared(hidden, accused(), tmp_path)
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert found.verdict.inherited_share == pytest.approx(1.0)


def test_layers_split_into_their_branches_hide_no_child(tmp_path: Path) -> None:
    tensors, config = child()
    drawn = np.random.default_rng(6)
    out = {n: v for n, v in tensors.items() if not n.startswith("model.layers.")}
    for name, value in tensors.items():
        if name.startswith("model.layers."):
            layer, rest = name.removeprefix("model.layers.").split(".", 1)
            own = 0 if "self_attn" in rest or rest.startswith("input_") else 1
            for k in (0, 1):
                place = f"model.layers.{2 * int(layer) + k}.{rest}"
                out[place] = value if k == own else junk(drawn, name, value)
    hidden: tuple[Tensors, Config] = out, {**config, "num_hidden_layers": 2 * LAYERS}
    same_function(child(), hidden, within=1e-2)
    assert compared(hidden, accused(), tmp_path).verdict.relation is Relation.COMMON_ORIGIN


def test_neurons_that_cancel_each_other_hide_no_child(tmp_path: Path) -> None:
    tensors, config = child()
    drawn = np.random.default_rng(3)
    out = dict(tensors)
    for layer in range(LAYERS):
        gate, up, down = (tensors[named(layer, w)] for w in ("gate", "up", "down"))
        more = [v.std() * drawn.standard_normal(v.shape) for v in (gate, up, down)]
        out[named(layer, "gate")] = np.concatenate([gate, more[0], more[0]])
        out[named(layer, "up")] = np.concatenate([up, more[1], more[1]])
        out[named(layer, "down")] = np.concatenate([down, more[2], -more[2]], axis=1)
    hidden = {n: v.astype(np.float32) for n, v in out.items()}, {**config, "intermediate_size": 3 * FFN}
    same_function(child(), hidden)
    assert compared(hidden, accused(), tmp_path).verdict.relation is Relation.COMMON_ORIGIN


# A sampled reading sees less: rows of gate and up, the spread of some token rows, a few channels of what is written.

SAMPLED = Plan("0" * 64, whole=False)


@pytest.mark.parametrize("turned", [False, True], ids=["framer against accused", "accused against framer"])
@pytest.mark.parametrize(
    "framer",
    [idle_layers, idle_neurons, shuffled_neurons_beside, unheard_neurons, with_idle_channels],
    ids=["layers", "neurons", "split neurons", "neurons that never fire", "channels"],
)
def test_a_sampled_reading_is_not_deceived_either(framer: Callable[[], Model], turned: bool) -> None:
    pair = (accused(), framer()) if turned else (framer(), accused())
    _, finding = traced(*pair, SAMPLED)
    assert finding.relation is Relation.SUGGESTIVE


def test_a_child_stays_a_child_in_a_sampled_reading() -> None:
    history, finding = traced(child(), accused(), SAMPLED)
    assert history.weight_cosine is not None
    assert history.weight_cosine > 0.75
    assert finding.relation is Relation.COMMON_ORIGIN


def test_a_loud_neuron_that_one_sample_holds_makes_no_other_layer_idle() -> None:
    """SmolLM2 has one; where the neurons were shuffled, the rows read of the parent do not hold it."""
    parent, config = accused()
    loud = {**parent, named(3, "down"): parent[named(3, "down")].copy()}
    loud[named(3, "down")][:, 0] *= 700
    width = SAMPLED.units // 2
    read = int(SAMPLED.rng("effects/layers").integers(0, FFN - width + 1))
    moved = np.roll(np.arange(FFN), read + 5)
    shuffled = {**loud, **{named(3, w): loud[named(3, w)][moved] for w in ("gate", "up")}}
    shuffled[named(3, "down")] = loud[named(3, "down")][:, moved]
    for pair in (((shuffled, config), (loud, config)), ((loud, config), (shuffled, config))):
        _, finding = traced(*pair, SAMPLED)
        assert finding.relation is Relation.COMMON_ORIGIN


# What decides is measured.


def test_effects_are_those_of_running_the_model() -> None:
    """Silence each layer's feed-forward network in turn: what changes follows the effects that were worked out."""
    model = accused()
    tokens = np.random.default_rng(0).integers(0, 1024, (4, 24))
    before = logits(*model, tokens, double=True)
    changes: list[float] = []
    for scale in (1.0, 0.3, 0.1, 0.01):
        tensors = dict(model[0])
        tensors[named(2, "down")] = (tensors[named(2, "down")] * scale).astype(np.float32)
        effects = of_model(Side(anatomy((tensors, model[1]))), Plan("0" * 64, whole=True))
        assert effects is not None
        share = effects.share(2, "ffn")
        assert share is not None
        changes.append(float(np.abs(logits(tensors, model[1], tokens, double=True) - before).mean()))
        whole = effects.share(3, "ffn")
        assert whole is not None
        assert share == pytest.approx(scale * whole, rel=0.6)
    assert changes == sorted(changes)


def test_clones_are_taken_together() -> None:
    """Two halves of a neuron are one neuron; two that undo each other are none."""
    drawn = np.random.default_rng(0)
    gate, up, down = (drawn.standard_normal((3, 16)).astype(np.float32) for _ in range(3))
    halves, clones = together(
        np.concatenate([0.3 * down, 0.7 * down]), np.tile(gate, (2, 1)), np.tile(up, (2, 1))
    )
    assert clones.tolist() == [2.0] * 6
    lengths = np.linalg.norm(halves, axis=1)
    assert np.sqrt(np.square(lengths[:3]) + np.square(lengths[3:])) == pytest.approx(
        np.linalg.norm(down, axis=1)
    )
    undone, _ = together(np.concatenate([down, down]), np.tile(gate, (2, 1)), np.concatenate([up, -up]))
    assert np.abs(undone).max() < 1e-5


def test_the_effect_of_a_row_that_is_as_loud_as_can_be_is_a_number() -> None:
    rows = np.full((2, 96), 3e37, np.float32)
    rows[1] = 2.0
    moment = np.eye(96, dtype=np.float32)
    for given in (moment, np.diag(moment)):
        np.testing.assert_allclose(spread(rows, given), np.array([3e37, 2.0]) * 96**0.5, rtol=1e-5)


def test_units_that_fire_never_or_always() -> None:
    fires = rectified(np.array([1.0, 1.0, 1.0]), np.array([0.0, -50.0, 50.0]))
    assert fires == pytest.approx([np.sqrt(0.5), 0.0, np.sqrt(50.0**2 + 1)])


def test_what_is_usual_is_moved_neither_by_idle_layers_nor_by_one_loud_layer() -> None:
    assert usual([1.0, 1.1, 0.9, *[1e-6] * 30]) == pytest.approx(1.0, abs=0.11)
    assert usual([100.0, *[1.0] * 31]) == 1.0
    assert usual([0.0, 0.0]) == 0.0


def test_what_units_usually_do_is_moved_neither_by_dead_nor_by_one_loud_unit() -> None:
    """SmolLM2 has a neuron that does as much as two hundred others of its layer."""
    assert beside_half(np.array([1.0] * 8 + [0.0] * 56))[:8] == pytest.approx(1.0)
    assert beside_half(np.array([1.0] * 999 + [200.0]))[:999] == pytest.approx(1.0)
    few_loud = beside_half(np.array([1.0] * 4 + [0.01] * 252))
    assert few_loud[4:] == pytest.approx(0.01), "many faint units are not what is usual beside loud ones"
    assert beside_half(np.zeros(3)).tolist() == [0.0] * 3


def test_weights_that_agree_closely_are_not_called_innocent() -> None:
    """Where only gains disagree, or only what is read of channels, nothing is said against descent."""
    history = History(Shared.INITIALISATION, "gains", 0.1, 0.1, 13, 0.97, 100, 1.0, reading_correlation=0.9)
    assert history.divided
    assert not replace(history, weight_cosine=0.7).divided
    assert not replace(history, reading_correlation=0.2).divided
    # A merge with 30 % of a stranger: gains correlate, and no longer tell one channel from the next.
    merged = replace(history, gain_correlation=0.92, gains_in_place=0.23, computed_alike=0.9)
    assert merged.divided
    assert not merged.drifted
    assert replace(merged, computed_alike=0.2).drifted
    verdict = Verdict(Relation.SHARED_INITIALISATION, 100.0, ("language: layers 0-5",), "history_divided")
    for language in LANGUAGES:
        told = phrases(language)
        plain = word_answer(told, replace(verdict, reason="history_absent"), ("a", "b"), (), 10)
        careful = word_answer(told, verdict, ("a", "b"), (), 10)
        assert careful.means
        assert careful.means != plain.means
        assert any("\u4e00" <= letter <= "\u9fff" for letter in careful.means) == (language == "zh-CN")


def test_tensors_that_were_exchanged_are_no_fine_tuning() -> None:
    """Two matrices of five changed beyond their own size, the others hardly: by the median it would be training."""
    tensors, config = base()
    drawn = np.random.default_rng(0)
    changed = dict(tensors)
    for number, name in enumerate(n for n, v in tensors.items() if v.ndim == 2):
        size = 2.0 if number % 5 < 2 else 0.01
        noise = drawn.standard_normal(tensors[name].shape) * np.exp(
            drawn.standard_normal((len(tensors[name]), 1))
        )
        changed[name] = (tensors[name] + size * tensors[name].std() * noise).astype(np.float32)
    steps = derived((changed, config), (tensors, config)).kinds
    assert "fine_tuned" not in steps
    assert "cannot_tell" in steps
