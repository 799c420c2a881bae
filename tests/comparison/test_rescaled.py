"""Copies whose paired matrices were scaled by any power of two compute the same to the last bit, and are told alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filiation.derivation import derive
from filiation.evidence import Relation
from filiation.lab.layout import FINAL_NORM, gain_readers, is_gain
from filiation.origin.history import of as history_of
from filiation.origin.pairing import Plan
from filiation.origin.verdict import judge
from tests.derivation.models import Model, anatomy, examined, tokens, tuned
from tests.origin.models import DIM, FFN, HEADS, KV, llama

FAR, LAYERS = 100, 2
FEW = settings(max_examples=2)
exponents = st.integers(-FAR, FAR)


@dataclass(frozen=True)
class Told:
    """What is said of a pair."""

    relation: Relation
    log10_e: float
    steps: frozenset[str]


def told(suspect: Model, candidate: Model) -> Told:
    """Examine and derive; whatever overflows on the way is an error."""
    s, c = anatomy(suspect), anatomy(candidate)
    plan, rows = Plan("0" * 64, whole=True), tokens(s, c)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = examined(s, c, plan, rows)
        finding = judge(found, history_of(found, plan))
        steps = (
            derive(s, c, found, plan, rows, full=False).steps
            if finding.relation is Relation.COMMON_ORIGIN
            else ()
        )
    assert finding.log10_e is not None
    return Told(finding.relation, finding.log10_e, frozenset(s.kind for s in steps))


def scaled(model: Model, kind: str, factors: np.ndarray) -> Model:
    """Scale what is paired: units of ``ffn``, ``values`` or ``rotary`` pairs of every layer, channels of ``gains``.

    Args:
        factors: as many powers of two as there are such units.
    """
    tensors, config = dict(model[0]), model[1]

    def times(name: str, by: np.ndarray, axis: int) -> None:
        values = tensors[name].astype(np.float64) * np.expand_dims(by, 1 - axis)
        tensors[name] = values.astype(np.float32)

    for layer in range(LAYERS):
        at, group = f"model.layers.{layer}.", HEADS // KV
        heads = factors.reshape(KV, -1) if kind in ("values", "rotary") else factors
        if kind == "ffn":
            times(at + "mlp.up_proj.weight", factors, 0)
            times(at + "mlp.down_proj.weight", 1 / factors, 1)
        elif kind == "values":
            times(at + "self_attn.v_proj.weight", factors, 0)
            times(at + "self_attn.o_proj.weight", 1 / np.repeat(heads, group, axis=0).reshape(-1), 1)
        elif kind == "rotary":
            heads = np.tile(heads, (1, 2))  # both channels of a pair alike
            times(at + "self_attn.k_proj.weight", heads.reshape(-1), 0)
            times(at + "self_attn.q_proj.weight", 1 / np.repeat(heads, group, axis=0).reshape(-1), 0)
    for gain in [n for n in tensors if kind == "gains" and is_gain(n) and n != FINAL_NORM]:
        for reader in gain_readers(tensors, gain):
            times(reader, factors, 1)
        tensors[gain] = (tensors[gain].astype(np.float64) / factors).astype(np.float32)
    return tensors, config


UNITS = {"ffn": FFN, "values": KV * DIM, "rotary": KV * DIM // 2, "gains": 48}
KINDS = sorted(UNITS)


def alike(kind: str, exponent: int) -> np.ndarray:
    return np.full(UNITS[kind], 2.0**exponent)


def each_its_own(kind: str, seed: int, most: int) -> np.ndarray:
    return 2.0 ** np.random.default_rng(seed).integers(-most, most + 1, UNITS[kind])


@cache
def pair() -> tuple[Model, Model]:
    parent = llama(1, LAYERS)
    return tuned(*parent, level=0.2), parent


@cache
def stranger() -> Model:
    return llama(2, LAYERS)


@cache
def plain(*, kin: bool) -> Told:
    return told(pair()[0] if kin else stranger(), pair()[1])


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(exponents)
@example(FAR)
@example(-FAR)
def test_a_child_with_scaled_matrices_is_told_alike(kind: str, exponent: int) -> None:
    found = told(scaled(pair()[0], kind, alike(kind, exponent)), pair()[1])
    assert found.relation is plain(kin=True).relation is Relation.COMMON_ORIGIN
    assert found.log10_e == pytest.approx(plain(kin=True).log10_e, rel=1e-9)
    assert exponent == 0 or "rescaled" in found.steps


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(st.integers(0, 2**32), st.integers(1, FAR))
@example(0, FAR)
@example(0, 10)
def test_a_child_with_every_unit_scaled_by_itself_is_told_alike(kind: str, seed: int, most: int) -> None:
    found = told(scaled(pair()[0], kind, each_its_own(kind, seed, most)), pair()[1])
    assert found.relation is Relation.COMMON_ORIGIN
    # Profiles of gains are blind to one scale for all, not to one for each.
    slack = 0.01 if kind == "gains" else 1e-9
    assert found.log10_e == pytest.approx(plain(kin=True).log10_e, rel=slack)
    assert "rescaled" in found.steps


@pytest.mark.parametrize("kind", KINDS)
def test_models_scaled_against_one_another_are_told_alike(kind: str) -> None:
    child, parent = (scaled(m, kind, alike(kind, e)) for m, e in zip(pair(), (FAR, -FAR), strict=True))
    found = told(child, parent)
    assert found.relation is Relation.COMMON_ORIGIN
    assert "rescaled" in found.steps


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(st.integers(0, 2**32), exponents)
@example(0, FAR)
@example(0, 10)
@example(0, -FAR)
def test_strangers_stay_strangers(kind: str, seed: int, exponent: int) -> None:
    own, other = (each_its_own(kind, seed + n, abs(exponent)) for n in range(2))
    for mine, theirs in ((own, other), (alike(kind, exponent), alike(kind, exponent))):
        found = told(scaled(stranger(), kind, mine), scaled(pair()[1], kind, theirs))
        assert found.relation is plain(kin=False).relation is Relation.NONE_FOUND
