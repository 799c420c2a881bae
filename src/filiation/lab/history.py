"""What two models of one shape and one set of names share, measured plainly: the breeder's own check.

A breeder must know that a child he planted carries what it should: that a continued model keeps its parent's
gains, that two models with equal initial weights do not. These are effect sizes, not tests, and they look at
equal positions and equal names, which only somebody who knows the answer may do; the tests proper are in
`filiation.origin`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filiation.lab.launder import fold_gains
from filiation.lab.layout import (
    EMBEDDING,
    Array,
    Config,
    Tensors,
    ffn_blocks,
    is_gain,
    layer_count,
    residual_axis,
)


@dataclass(frozen=True)
class Shared:
    """Effect sizes between two models of one shape.

    Attributes:
        gain_correlation: mean over the norms of the Pearson correlation of their gains.
        gain_channels: residual channels whose gain profile (one value a norm, standardised) is nearest to that
            of the same channel.
        embedding_channels: residual channels whose embedding column correlates most, by magnitude, with the
            same column.
        channels: residual channels in all.
        weight_cosine: mean cosine of equal-named block matrices with the gains folded in.
        order: feed-forward units whose gate row is nearest, by cosine, to the one at the same place.
        signs: units so matched whose up row and down column agree in sign with their match's.
        units: feed-forward units in all.
        layers: per layer (order, signs, units).
    """

    gain_correlation: float
    gain_channels: int
    embedding_channels: int
    channels: int
    weight_cosine: float
    order: int
    signs: int
    units: int
    layers: tuple[tuple[int, int, int], ...]

    def line(self) -> str:
        """Return the figures on one line."""
        return (
            f"gain correlation {self.gain_correlation:.2f}, gain channels in place {self.gain_channels}"
            f"/{self.channels}, embedding channels {self.embedding_channels}/{self.channels}, weight cosine "
            f"{self.weight_cosine:.2f}, FFN order {self.order}/{self.units}, signs {self.signs}/{self.units}"
        )

    @property
    def is_history(self) -> bool:
        """Tell whether the effect sizes lie on descent's side of the provisional lines.

        Gain correlation of at least 0.5 with half of the gain channels in place, or weight cosine of at least 0.5.
        """
        gains = self.gain_correlation >= 0.5 and 2 * self.gain_channels >= self.channels
        return gains or self.weight_cosine >= 0.5


def shared(one: Tensors, other: Tensors, config: Config) -> Shared:
    """Measure what two models of one shape share at equal places. Experts are compared with those of equal number."""
    names = sorted(name for name in one if is_gain(name))
    a, b = (_standardise(np.stack([t[name] for name in names], axis=1)) for t in (one, other))
    layers = tuple(_units(one, other, layer) for layer in range(layer_count(config)))
    embedding = np.abs(_standardise(one[EMBEDDING]).T @ _standardise(other[EMBEDDING]))
    order, signs, units = (sum(layer[i] for layer in layers) for i in range(3))
    return Shared(
        gain_correlation=float((a * b).mean()),
        gain_channels=_in_place(-((a[:, None] - b[None]) ** 2).sum(-1)),
        embedding_channels=_in_place(embedding),
        channels=len(a),
        weight_cosine=_weight_cosine(fold_gains(one, config)[0], fold_gains(other, config)[0]),
        order=order,
        signs=signs,
        units=units,
        layers=layers,
    )


def _standardise(columns: Array) -> npt.NDArray[np.float64]:
    """Give every column mean 0 and standard deviation 1; a constant column becomes 0."""
    centred = columns.astype(np.float64) - columns.mean(0)
    spread = centred.std(0)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)


def _in_place(similarity: npt.NDArray[np.float64]) -> int:
    return int((similarity.argmax(1) == np.arange(len(similarity))).sum())


def _directions(rows: Array) -> npt.NDArray[np.float64]:
    wide = rows.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-30)


def _units(one: Tensors, other: Tensors, layer: int) -> tuple[int, int, int]:
    order = signs = units = 0
    for block in ffn_blocks(one, layer):
        match = (
            _directions(one[block.gate + ".weight"]) @ _directions(other[block.gate + ".weight"]).T
        ).argmax(1)
        up, up_match = (_directions(t[block.up + ".weight"]) for t in (one, other))
        down, down_match = (_directions(t[block.down + ".weight"].T) for t in (one, other))
        agreement = (up * up_match[match]).sum(1) + (down * down_match[match]).sum(1)
        order += int((match == np.arange(len(match))).sum())
        signs += int((agreement > 0).sum())
        units += len(match)
    return order, signs, units


def _weight_cosine(one: Tensors, other: Tensors) -> float:
    cosines: list[float] = []
    for name in sorted(one):
        if name.startswith("model.layers.") and one[name].ndim == 2 and residual_axis(name) is not None:
            a, b = one[name].astype(np.float64).reshape(-1), other[name].astype(np.float64).reshape(-1)
            cosines.append(float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))))
    return float(np.mean(cosines))
