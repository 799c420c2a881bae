"""Matching the channels inside attention heads: value channels, and the rotary pairs of queries and keys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filiation.derivation.reading import row_cosines
from filiation.derivation.scaling import SPREAD, paired_scaling
from filiation.origin.matching import assign
from filiation.origin.scale import energy, held, wide
from filiation.origin.units import Doubles, Floats, Integers, unit_rows

#: A move of channels must take away this share of the difference.
EXPLAINS = 0.5
#: Difference below which channels are in place and nothing more is looked for.
CLOSE = 0.02
#: Mean angle of rotary pairs (radians) from which on a rotation is looked for.
TURNED = 0.02
#: Squared differences of both matrices together up to which channels are in place and only scales are looked for.
NEAR = 0.3


@dataclass(frozen=True, eq=False)
class Channels:
    """How the channels of each head of one kind lie in the candidate's, ``(heads, d_head)`` each; None: as they were.

    ``index`` holds the candidate's channel inside its head. ``mix`` ``(heads, d_head, d_head)`` turns the first
    matrix's channels; the second's too, since a rotation is its own inverse transposed.
    """

    index: Integers | None = None
    sign: Floats | None = None
    factor: Floats | Doubles | None = None
    mix: Floats | None = None
    spread: float | None = None
    moved: int = 0
    flipped: int = 0


NOTHING = Channels()


def _distance(a: Floats, b: Floats | Doubles) -> float:
    own = float(energy(a))
    return float(energy(a - b)) / own if own > 0 else 0.0


def match_values(v_s: Floats, v_c: Floats, o_s: Floats, o_c: Floats, rng: np.random.Generator) -> Channels:
    """Match value channels: in place, permuted and flipped, scaled, or turned by a rotation of each head.

    Args:
        v_s, v_c: value rows ``(kv, d_head, d)``, heads matched.
        o_s, o_c: output columns of the same channels, the group's heads side by side ``(kv, d_head, group * d)``.
    """
    before = _distance(v_s, v_c) + _distance(o_s, o_c)
    if before < CLOSE**2:
        return NOTHING
    near = before < NEAR
    index, sign = _in_place(v_s.shape) if near else _assign_channels(v_s, v_c, o_s, o_c, rng)
    picked_v = np.take_along_axis(v_c, index[..., None], 1) * sign[..., None]
    picked_o = np.take_along_axis(o_c, index[..., None], 1) * sign[..., None]
    scaling = paired_scaling(_flat(v_s), _flat(picked_v), _flat(o_s), _flat(picked_o))
    factor = None if scaling is None else scaling.factor.reshape(sign.shape)
    if factor is not None:
        picked_v, picked_o = picked_v * factor[..., None], picked_o / factor[..., None]
    after = _distance(v_s, picked_v) + _distance(o_s, picked_o)
    if not near:
        turned = _rotated(v_s, v_c, o_s, o_c)
        rotated = _distance(v_s, turned @ v_c) + _distance(o_s, turned @ o_c)
        if rotated < EXPLAINS * min(before, after):
            return Channels(mix=turned.astype(np.float32))
    if after > EXPLAINS * before:
        return NOTHING
    moved = int((index != np.arange(index.shape[1])).sum())
    flipped = int((sign < 0).sum())
    return Channels(
        index if moved else None,
        sign if flipped else None,
        factor,
        None,
        None if scaling is None else scaling.spread,
        moved,
        flipped,
    )


def _in_place(shape: tuple[int, ...]) -> tuple[Integers, Floats]:
    return np.tile(np.arange(shape[1]), (shape[0], 1)), np.ones(shape[:2], np.float32)


def _assign_channels(
    v_s: Floats, v_c: Floats, o_s: Floats, o_c: Floats, rng: np.random.Generator
) -> tuple[Integers, Floats]:
    index = np.empty(v_s.shape[:2], np.int64)
    sign = np.ones(v_s.shape[:2], np.float32)
    for head in range(len(v_s)):
        v = (unit_rows(v_s[head]) @ unit_rows(v_c[head]).T).astype(np.float64)
        o = (unit_rows(o_s[head]) @ unit_rows(o_c[head]).T).astype(np.float64)
        score = np.abs(v + o)
        stays = bool((np.diag(score) > 0.5 * score.max(axis=1)).all())
        index[head] = np.arange(len(score)) if stays else assign(score, rng)
        sign[head] = np.where((v + o)[np.arange(len(score)), index[head]] < 0, -1.0, 1.0)
    return index, sign


def _rotated(v_s: Floats, v_c: Floats, o_s: Floats, o_c: Floats) -> Doubles:
    """Return for each head the rotation that carries the candidate's channels nearest to the suspect's."""
    v_s, v_c, o_s, o_c = (wide(rows) for rows in (v_s, v_c, o_s, o_c))
    cross = np.einsum("hid,hjd->hij", v_s, v_c) + np.einsum("hid,hjd->hij", o_s, o_c)
    left, _, right = np.linalg.svd(cross.astype(np.float64))
    return left @ right


def _flat(heads: Floats) -> Floats:
    return heads.reshape(-1, heads.shape[2])


def match_pairs(q_s: Floats, q_c: Floats, k_s: Floats, k_c: Floats, rope: str) -> Channels:
    """Match the rotary pairs of queries and keys: one scale and one angle for each pair of each kv head.

    A rotation inside a rotary pair commutes with the position's rotation; keys scaled up and queries scaled down
    cancel.

    Args:
        q_s, q_c: query rows ``(kv, group, d_head, d)``, heads matched.
        k_s, k_c: key rows ``(kv, d_head, d)``.
        rope: ``neox`` (channel ``i`` with ``i + d_head/2``) or ``interleaved``.
    """
    before = _distance(k_s, k_c) + _distance(q_s, q_c)
    if before < CLOSE**2 or k_s.shape[1] % 2:
        return NOTHING
    half = k_s.shape[1] // 2
    first, second = _halves(half, rope)
    keys = _complex_factor(k_s, k_c, first, second)
    heads, group = q_s.shape[:2]
    queries = _complex_factor(
        q_s.reshape(heads * group, 2 * half, -1), q_c.reshape(heads * group, 2 * half, -1), first, second
    ).reshape(heads, group, half)
    lengths = np.abs(keys), np.abs(queries)
    size = np.sqrt(lengths[0] / _or_least(lengths[1].mean(axis=1)))
    size = np.where(size > 0, size, 1.0)  # keys of zeros tell no size
    angle = np.angle(keys / _or_least(lengths[0]) + (queries / _or_least(lengths[1])).mean(1))
    every = np.empty((heads, 2 * half))
    every[:, first] = every[:, second] = size
    factor = held(every)
    plain = _pair_distance(q_s, q_c, k_s, k_c, factor, None)
    logarithms = np.log(_or_least(size))
    spread = float(logarithms.std())
    keep = factor if max(spread, abs(float(logarithms.mean()))) >= SPREAD else None
    if float(np.abs(angle).mean()) > TURNED:
        mix = _pair_rotations(angle, first, second)
        if _pair_distance(q_s, q_c, k_s, k_c, factor, mix) < EXPLAINS * min(plain, before):
            return Channels(factor=keep, mix=mix, spread=spread if keep is not None else None)
    if keep is not None and plain < EXPLAINS * before:
        return Channels(factor=factor, spread=spread)
    return NOTHING


def _halves(half: int, rope: str) -> tuple[Integers, Integers]:
    if rope == "interleaved":
        return np.arange(0, 2 * half, 2), np.arange(1, 2 * half, 2)
    return np.arange(half), np.arange(half, 2 * half)


def _complex_factor(s: Floats, c: Floats, first: Integers, second: Integers) -> np.ndarray:
    """Return the complex number of each rotary pair that carries the candidate's rows nearest to the suspect's."""
    s, c = wide(s), wide(c)
    a = s[:, first] + 1j * s[:, second]
    b = c[:, first] + 1j * c[:, second]
    return (a * b.conj()).sum(axis=2) / _or_least(np.square(np.abs(b)).sum(axis=2))


def _or_least(sizes: np.ndarray) -> np.ndarray:
    """Return sizes with a small one in place of none at all."""
    return np.where(sizes > 0, sizes, 1e-30)


def _pair_rotations(angle: Doubles, first: Integers, second: Integers) -> Floats:
    heads, half = angle.shape
    mix = np.zeros((heads, 2 * half, 2 * half), np.float32)
    cos, sin = np.cos(angle), np.sin(angle)
    mix[:, first, first], mix[:, second, second] = cos, cos
    mix[:, first, second], mix[:, second, first] = -sin, sin
    return mix


def _pair_distance(
    q_s: Floats, q_c: Floats, k_s: Floats, k_c: Floats, factor: Floats | Doubles, mix: Floats | None
) -> float:
    k = k_c if mix is None else mix @ k_c
    q = q_c if mix is None else mix[:, None] @ q_c
    return _distance(k_s, k * factor[..., None]) + _distance(q_s, q / factor[:, None, :, None])


def mean_cosine(a: Floats, b: Floats) -> float:
    """Return the mean cosine of equally numbered channels ``(heads, d_head, d)``."""
    return float(row_cosines(_flat(a), _flat(b)).mean())
