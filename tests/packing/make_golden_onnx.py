"""Make the golden ONNX files: graphs written by the real exporters and quantisers, and what each weight is.

torch writes the graphs, with both of its exporters; ONNX Runtime's own tools quantise them. ``<name>.npz`` holds what a
weight is by the name its module has in torch: for a float graph torch's own weight, for a quantised one what ONNX
Runtime multiplies by, which is its output for the unit vectors. Run in an environment of its own::

    pip install torch==2.13.0 onnx==1.23.2 onnxruntime==1.31.1 onnxscript==0.7.2
    python tests/packing/make_golden_onnx.py
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from torch import nn

GOLDEN = Path(__file__).parent / "golden_onnx"
WIDTH, INNER = 32, 64


class Block(nn.Module):
    """A feed-forward block with a norm; ``up`` has a bias, ``down`` has none."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, INNER)
        self.down = nn.Linear(INNER, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Model(nn.Module):
    """An embedding, two blocks, and a head that shares the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(48, WIDTH)
        self.layers = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(WIDTH, 48, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def save(name: str, model: onnx.ModelProto, weights: dict[str, np.ndarray]) -> None:
    """Write the graph and the weights it should be found to hold."""
    onnx.save_model(model, GOLDEN / f"{name}.onnx")
    np.savez_compressed(GOLDEN / f"{name}.npz", **weights)


def export(model: nn.Module, example: torch.Tensor, *, dynamo: bool) -> onnx.ModelProto:
    """Export with one of torch's two exporters."""
    buffer = io.BytesIO()
    torch.onnx.export(model, (example,), buffer, dynamo=dynamo, verbose=False)
    return onnx.load_model_from_string(buffer.getvalue())


class Examples(CalibrationDataReader):
    """Unit vectors, so that the input's scale holds them exactly."""

    def __init__(self, name: str, width: int) -> None:
        self._rows = iter([{name: row[None]} for row in np.eye(width, dtype=np.float32)])

    def get_next(self) -> Any:
        return next(self._rows, None)


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    torch.manual_seed(3)
    model = Model().eval()
    for parameter in model.parameters():
        # Equal tensors (fresh norms) would be stored once, under one name.
        parameter.data += torch.randn_like(parameter) * 0.1
    ids = torch.arange(6)[None]
    weights = {key: value.numpy() for key, value in model.state_dict().items() if key != "head.weight"}
    for dynamo in (False, True):
        save("dynamo" if dynamo else "torchscript", export(model, ids, dynamo=dynamo), weights)
    quantised()


def quantised() -> None:
    """One linear layer in every form that ONNX Runtime's tools give it."""
    layer = nn.Sequential(nn.Linear(WIDTH, INNER)).eval()
    layer[0].bias.data.zero_()
    plain = export(layer, torch.eye(1, WIDTH)[None], dynamo=False)
    flat = export(layer, torch.eye(1, WIDTH), dynamo=False)
    source = GOLDEN / "plain.onnx"
    forms: dict[str, onnx.ModelProto] = {}
    onnx.save_model(plain, source)
    for kind in (QuantType.QInt8, QuantType.QUInt8):
        for per_channel in (False, True):
            name = f"dynamic_{kind.name.lower()}" + ("_channel" if per_channel else "")
            quantize_dynamic(source, GOLDEN / "out.onnx", weight_type=kind, per_channel=per_channel)
            forms[name] = onnx.load_model(GOLDEN / "out.onnx")
    onnx.save_model(flat, source)
    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        for per_channel in (False, True):
            name = f"static_{form.name.lower()}" + ("_channel" if per_channel else "")
            reader = Examples(flat.graph.input[0].name, WIDTH)
            quantize_static(
                source,
                GOLDEN / "out.onnx",
                reader,
                quant_format=form,
                per_channel=per_channel,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QUInt8,
            )
            forms[name] = onnx.load_model(GOLDEN / "out.onnx")
    for bits in (4, 8):
        for symmetric in (True, False):
            onnx.save_model(plain, source)
            quantizer = MatMulNBitsQuantizer(
                onnx.load_model(source), bits=bits, block_size=16, is_symmetric=symmetric
            )
            quantizer.process()
            forms[f"nbits{bits}" + ("" if symmetric else "_asym")] = quantizer.model.model
    for name, graph in forms.items():
        save(name, graph, {"0.weight": linear(graph), "0.bias": np.zeros(INNER, dtype=np.float32)})
    for left in (source, GOLDEN / "out.onnx"):
        left.unlink()


def linear(graph: onnx.ModelProto) -> np.ndarray:
    """Return the layer's matrix ``[out, in]`` as ONNX Runtime multiplies by it (the layer's bias is zero).

    Unit vectors are exact when they are quantised to uint8: they range from 0 to 1.
    """
    session = ort.InferenceSession(
        without_rounding(graph).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    entry = session.get_inputs()[0]
    rows = []
    for row in np.eye(WIDTH, dtype=np.float32):
        result = session.run(None, {entry.name: row.reshape((1,) * (len(entry.shape) - 1) + (-1,))})[0]
        rows.append(result.reshape(-1))
    return np.stack(rows).T


def without_rounding(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Cut off the quantisation of the output that a statically quantised graph ends with."""
    graph = onnx.ModelProto.FromString(graph.SerializeToString())
    nodes = graph.graph.node
    if nodes[-1].op_type != "DequantizeLinear":
        return graph
    wanted = nodes[-1].output[0]
    del nodes[-1]
    if nodes[-1].op_type == "QuantizeLinear":
        del nodes[-1]
    if nodes[-1].op_type == "QGemm":
        del nodes[-1].input[7:]
    nodes[-1].output[0] = wanted
    return graph


if __name__ == "__main__":
    main()
