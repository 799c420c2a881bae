"""Four-bit quantisation with calibration text: GPTQ (arXiv 2210.17323) and AWQ (arXiv 2306.00978), packed as published.

Small numpy versions of the algorithms, for the block matrices of a small Llama; embedding, head and norms stay. The
files have the layout of AutoGPTQ and AutoAWQ (``qweight``, ``qzeros``, ``scales``), group size 32, asymmetric.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation.lab.forward import logits
from filiation.lab.layout import Config, Tensors, ffn_blocks, layer_count, layer_prefix

Doubles = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
GROUP, LARGEST = 32, 15
#: Where column 8i+k of an AWQ word is kept: AutoAWQ interleaves even and odd columns.
_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


@dataclass(frozen=True)
class Quantised:
    """Codes 0..15 of a matrix (rows, columns), with scale and zero point (rows, groups) of 32 columns each."""

    codes: Codes
    scales: Doubles
    zeros: Codes

    def values(self) -> Doubles:
        """Return the dequantised matrix."""
        groups = self.codes.reshape(len(self.codes), -1, GROUP) - self.zeros[..., None]
        return (groups * self.scales[..., None]).reshape(self.codes.shape)


def calibrate(tensors: Tensors, config: Config, tokens: npt.NDArray[np.int64]) -> Mapping[str, Doubles]:
    """Return what each projection is given on calibration text: stem -> (tokens, inputs)."""
    seen: dict[str, Any] = {}
    logits(tensors, config, tokens, double=True, seen=seen)
    return seen


def gptq(matrix: Doubles, given: Doubles, damping: float = 0.01) -> Quantised:
    """Round column by column and let the later columns make up for the error, by the inverse Hessian."""
    left = matrix.copy()
    rows, columns = left.shape
    hessian = 2 * given.T @ given
    hessian += damping * np.mean(np.diag(hessian)) * np.eye(columns)
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
    codes = np.zeros((rows, columns), dtype=np.int64)
    scales, zeros = np.zeros((rows, columns // GROUP)), np.zeros((rows, columns // GROUP), dtype=np.int64)
    for column in range(columns):
        group = column // GROUP
        if column % GROUP == 0:
            scales[:, group], zeros[:, group] = _range(left[:, column : column + GROUP])
        scale, zero = scales[:, group], zeros[:, group]
        codes[:, column] = np.clip(np.rint(left[:, column] / scale) + zero, 0, LARGEST)
        error = (left[:, column] - (codes[:, column] - zero) * scale) / upper[column, column]
        left[:, column + 1 :] -= np.outer(error, upper[column, column + 1 :])
    return Quantised(codes, scales, zeros)


def nearest(matrix: Doubles) -> Quantised:
    """Round every group of 32 columns to its own 16 levels."""
    rows, columns = matrix.shape
    groups = matrix.reshape(rows, columns // GROUP, GROUP)
    scales, zeros = _range(groups)
    codes = np.clip(np.rint(groups / scales[..., None]) + zeros[..., None], 0, LARGEST)
    return Quantised(codes.reshape(rows, columns).astype(np.int64), scales, zeros)


def _range(values: Doubles) -> tuple[Doubles, Codes]:
    """Return scale and zero point over the last axis; scales are kept to float16, as the files hold them."""
    low, high = np.minimum(values.min(-1), 0), np.maximum(values.max(-1), 0)
    scale = np.maximum((high - low) / LARGEST, 1e-7).astype(np.float16).astype(np.float64)
    scale = np.maximum(scale, 2.0**-24)
    return scale, np.clip(np.rint(-low / scale), 0, LARGEST).astype(np.int64)


def quantise_gptq(
    tensors: Tensors, config: Config, tokens: npt.NDArray[np.int64]
) -> tuple[dict[str, Any], Config]:
    """Return the arrays of a GPTQ file and its config."""
    seen = calibrate(tensors, config, tokens)
    out: dict[str, Any] = dict(tensors)
    for stem, given in seen.items():
        found = gptq(out.pop(stem + ".weight").astype(np.float64), given)
        codes, zeros = found.codes.T, found.zeros.T - 1
        out[stem + ".qweight"] = _packed(codes.reshape(len(codes) // 8, 8, -1).swapaxes(1, 2))
        out[stem + ".qzeros"] = _packed(zeros.reshape(len(zeros), -1, 8))
        out[stem + ".scales"] = np.ascontiguousarray(found.scales.T.astype(np.float16))
        out[stem + ".g_idx"] = (np.arange(len(codes)) // GROUP).astype(np.int32)
    settings = {
        "quant_method": "gptq",
        "bits": 4,
        "group_size": GROUP,
        "sym": False,
        "desc_act": False,
        "checkpoint_format": "gptq",
    }
    return out, {**config, "quantization_config": settings}


def quantise_awq(
    tensors: Tensors, config: Config, tokens: npt.NDArray[np.int64]
) -> tuple[dict[str, Any], Config]:
    """Return the arrays of an AWQ file and its config: activation-aware scales first, then rounding."""
    seen = calibrate(tensors, config, tokens)
    scaled = {name: value.astype(np.float64) for name, value in tensors.items()}
    for layer in range(layer_count(config)):
        at = layer_prefix(layer)
        (block,) = ffn_blocks(tensors, layer)
        attention = [f"{at}self_attn.{which}_proj" for which in "qkv"]
        for gain, readers in (
            (at + "input_layernorm.weight", attention),
            (at + "post_attention_layernorm.weight", [block.gate, block.up]),
        ):
            scaled[gain] /= (factors := _search(scaled, readers, seen[readers[0]]))
            for stem in readers:
                scaled[stem + ".weight"] *= factors
        factors = _search(scaled, [block.down], seen[block.down])
        scaled[block.up + ".weight"] /= factors[:, None]
        scaled[block.down + ".weight"] *= factors
    out: dict[str, Any] = {
        name: np.asarray(value, dtype=np.float32)
        for name, value in scaled.items()
        if name.removesuffix(".weight") not in seen
    }
    for stem in seen:
        found = nearest(scaled[stem + ".weight"])
        out[stem + ".qweight"] = _packed(_interleaved(found.codes.T))
        out[stem + ".qzeros"] = _packed(_interleaved(found.zeros.T))
        out[stem + ".scales"] = np.ascontiguousarray(found.scales.T.astype(np.float16))
    settings = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"}
    return out, {**config, "quantization_config": settings}


def _search(values: Mapping[str, Doubles], stems: list[str], given: Doubles) -> Doubles:
    """Return the channel scales |x|^a whose rounding changes the outputs least, over a grid of a."""
    size = np.maximum(np.abs(given).mean(0), 1e-6)
    best, least = np.ones(given.shape[1]), np.inf
    for power in np.linspace(0, 1, 11):
        factors = size**power
        factors /= np.sqrt(factors.max() * factors.min())
        error = 0.0
        for stem in stems:
            matrix = values[stem + ".weight"]
            change = nearest(matrix * factors).values() / factors - matrix
            error += float(((given @ change.T) ** 2).sum())
        if error < least:
            best, least = factors, error
    return best


def _interleaved(codes: Codes) -> Codes:
    return codes.reshape(len(codes), -1, 8)[..., list(_AWQ_ORDER)]


def _packed(codes: Codes) -> npt.NDArray[np.int32]:
    """Pack eight codes of four bits, along the last axis, into one word, the first lowest."""
    words = ((codes & LARGEST) << (4 * np.arange(8))).sum(-1)
    return np.ascontiguousarray(words.astype(np.uint32).view(np.int32))
