"""Changes that no norm lets anybody see: a constant over the channels, and a residual stream laid into a wider one.

Each leaves the function of the changed model as it is. A child must still be found, and strangers that share nothing
but such a change must not be.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import filiation
from filiation.evidence import Relation, Verdict
from filiation.lab.forward import logits
from filiation.lab.launder import flip_ffn_signs, fold_gains, permute_ffn
from filiation.lab.layout import Config, Tensors, residual_axis
from filiation.lab.save import load_model, save_model
from tests.derivation.models import Model
from tests.derivation.test_architectures import bert, gpt2

MODELS = Path(__file__).parents[2] / "examples" / "models"


def compared(s: Model, c: Model, folder: Path) -> Verdict:
    for name, model in (("suspect", s), ("candidate", c)):
        save_model(folder / name, *model)
    return filiation.compare(str(folder / "suspect"), str(folder / "candidate")).verdict


def noisy(model: Model, level: float = 0.3) -> Model:
    """Return a child: every value moved by noise of a share of its tensor's size."""
    g = np.random.default_rng(9)
    return {
        name: (v + level * v.std() * g.standard_normal(v.shape)).astype(np.float32)
        for name, v in model[0].items()
    }, model[1]


def shifted_gpt2(model: Model, size: float) -> Model:
    """Add constants to what reads through each norm and to what is written; permute the neurons.

    Matrices are stored ``[in, out]``. Readers get ``k / gain`` in every channel, and their bias gives back what the
    norm's bias makes of it.
    """
    t, g = dict(model[0]), np.random.default_rng(5)
    for layer in range(model[1]["n_layer"]):
        at = f"h.{layer}."
        for norm, name in ((f"{at}ln_1", f"{at}attn.c_attn"), (f"{at}ln_2", f"{at}mlp.c_fc")):
            gain, bias, rows = t[f"{norm}.weight"], t[f"{norm}.bias"], t[f"{name}.weight"]
            added = size * np.linalg.norm(rows, axis=0) / np.sqrt(len(rows)) / gain[:, None]
            t[f"{name}.weight"] = (rows + added).astype(np.float32)
            t[f"{name}.bias"] = (t[f"{name}.bias"] - bias @ added).astype(np.float32)
        for name in (f"{at}attn.c_proj", f"{at}mlp.c_proj"):
            t[f"{name}.weight"] = _with_constant(t[f"{name}.weight"], size)
        order = g.permutation(len(t[f"{at}mlp.c_fc.bias"]))
        t[f"{at}mlp.c_fc.weight"] = t[f"{at}mlp.c_fc.weight"][:, order]
        t[f"{at}mlp.c_fc.bias"] = t[f"{at}mlp.c_fc.bias"][order]
        t[f"{at}mlp.c_proj.weight"] = t[f"{at}mlp.c_proj.weight"][order]
    return t, model[1]


def shifted_bert(model: Model, size: float) -> Model:
    """The same where norms stand behind the addition, so that no gain can be folded. Matrices are ``[out, in]``."""
    t = dict(model[0])
    before = "embeddings.LayerNorm"
    for layer in range(model[1]["num_hidden_layers"]):
        at = f"encoder.layer.{layer}."
        middle = f"{at}attention.output.LayerNorm"
        readers = [(before, f"{at}attention.self.{n}") for n in ("query", "key", "value")]
        for norm, name in [*readers, (middle, f"{at}intermediate.dense")]:
            gain, bias, rows = t[f"{norm}.weight"], t[f"{norm}.bias"], t[f"{name}.weight"]
            added = size * np.linalg.norm(rows, axis=1, keepdims=True) / np.sqrt(rows.shape[1]) / gain
            t[f"{name}.weight"] = (rows + added).astype(np.float32)
            t[f"{name}.bias"] = (t[f"{name}.bias"] - added @ bias).astype(np.float32)
        for name in (f"{at}attention.output.dense", f"{at}output.dense"):
            t[f"{name}.weight"] = _with_constant(t[f"{name}.weight"].T, size).T
        before = f"{at}output.LayerNorm"
    words = "embeddings.word_embeddings.weight"
    t[words] = _with_constant(t[words], size)
    return t, model[1]


def _with_constant(rows: np.ndarray, size: float) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True) / np.sqrt(rows.shape[1])
    return (rows + size * lengths).astype(np.float32)


def normed(x: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True)) * gain + bias


def test_the_constants_change_no_branch() -> None:
    before, after = gpt2(0)[0], shifted_gpt2(gpt2(0), 5.0)[0]
    x = np.random.default_rng(0).standard_normal((8, before["wte.weight"].shape[1]))
    one, other = (
        np.tanh(
            normed(x, t["h.1.ln_2.weight"], t["h.1.ln_2.bias"]) @ t["h.1.mlp.c_fc.weight"]
            + t["h.1.mlp.c_fc.bias"]
        )
        @ t["h.1.mlp.c_proj.weight"]
        for t in (before, after)
    )
    unit, zero = np.ones(x.shape[1]), np.zeros(x.shape[1])
    np.testing.assert_allclose(normed(x + one, unit, zero), normed(x + other, unit, zero), atol=1e-3)


@pytest.mark.parametrize("size", [5.0, 30.0])
def test_a_child_behind_constants_is_found(size: float, tmp_path: Path) -> None:
    for made, shifted in ((gpt2, shifted_gpt2), (bert, shifted_bert)):
        child = shifted(noisy(made(0)), size)
        found = compared(child, made(0), tmp_path / made.__name__)
        assert found.relation is Relation.COMMON_ORIGIN
        assert found.inherited_share == 1.0


def test_strangers_that_share_nothing_but_constants_are_none(tmp_path: Path) -> None:
    for made, shifted in ((gpt2, shifted_gpt2), (bert, shifted_bert)):
        pair = shifted(made(0), 30.0), shifted(made(1), 30.0)
        found = compared(*pair, tmp_path / made.__name__)
        assert found.relation is Relation.NONE_FOUND
        assert found.log10_e is not None
        assert found.log10_e < 1
        assert not found.inherited_share


def in_a_wider_stream(model: Model, width: int) -> Model:
    """Lay the residual stream into a wider one along random directions; gains folded first."""
    tensors, config = fold_gains(*model)
    narrow = int(config["hidden_size"])
    turn = np.linalg.qr(np.random.default_rng(8).standard_normal((width, narrow)))[0]
    out: Tensors = {}
    for name, value in tensors.items():
        if value.ndim == 1:
            out[name] = np.full(width, np.sqrt(narrow / width), np.float32)
        else:
            out[name] = (value @ turn.T if residual_axis(name) == 1 else turn @ value).astype(np.float32)
    eps = float(config["rms_norm_eps"]) * narrow / width
    wider: Config = {**config, "hidden_size": width, "rms_norm_eps": eps}
    return out, wider


def scrambled(model: Model) -> Model:
    """Put the neurons in another order and flip half of them: no label of theirs is left."""
    return flip_ffn_signs(*permute_ffn(*model, seed=3)[:2], seed=4)[:2]


@pytest.mark.parametrize("width", [80, 160])
def test_a_child_in_a_wider_stream_is_found_from_either_side(width: int, tmp_path: Path) -> None:
    child, parent, stranger = (load_model(MODELS / name) for name in ("continued", "base", "twin"))
    tokens = np.random.default_rng(0).integers(0, 512, (2, 24))
    wide = in_a_wider_stream(scrambled(child), width)
    one, other = (logits(*m, tokens, double=True) for m in (child, wide))
    assert np.abs(one - other).max() < 1e-3 * one.std()
    for n, pair in enumerate(((wide, parent), (parent, wide))):
        found = compared(*pair, tmp_path / f"child{n}")
        assert found.relation is Relation.COMMON_ORIGIN
        assert found.inherited_share == 1.0
        assert {"permuted", "rotated"} <= {step.kind for step in found.derivation}
    for n, pair in enumerate(((wide, stranger), (stranger, wide))):
        found = compared(*pair, tmp_path / f"stranger{n}")
        assert found.relation is Relation.NONE_FOUND
        assert found.log10_e is not None
        assert found.log10_e < 1
