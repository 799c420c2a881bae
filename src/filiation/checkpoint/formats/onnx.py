"""ONNX: the initialisers of a graph, dequantised, under the names that the graph gives their modules.

The file is parsed with the ``onnx`` package (an extra); the graph is never run. Weights stay in the file, or in the
external data files beside it, until they are read. Exporters store many matrices as ``[in, out]`` under numbers; where
the graph tells the module's name, the weight is offered as ``<module>.weight`` of shape ``[out, in]``.
"""

from __future__ import annotations

import importlib
from typing import Any

from filiation.checkpoint.formats.base import Loaded, chosen_file, weight_file
from filiation.checkpoint.model import RawTensor
from filiation.checkpoint.onnxfile.constants import constant, text
from filiation.checkpoint.onnxfile.graph import analyse, read_nodes, read_tensors
from filiation.checkpoint.onnxfile.weights import Weights, weights
from filiation.checkpoint.onnxfile.wire import Skeleton, skeleton
from filiation.checkpoint.shards import ask_for_one
from filiation.checkpoint.sources.base import Source
from filiation.errors import CorruptCheckpointError, MissingExtraError

NAME: str = "onnx"
ENDING = ".onnx"

_USUAL = ("model.onnx", "onnx/model.onnx")


def recognises(source: Source) -> bool:
    """Tell whether the source holds an ONNX file, in its own folder or in ``onnx/``."""
    chosen = chosen_file(source)
    return chosen.lower().endswith(ENDING) if chosen is not None else bool(_candidates(source))


def load(source: Source) -> Loaded:
    """Parse the graph and find its weights; see :class:`~filiation.checkpoint.formats.base.Format`.

    Raises:
        MissingExtraError: the ``onnx`` package is not installed.
        CorruptCheckpointError: the file is truncated, or a tensor contradicts its data.
        UnsafeCheckpointError: external data are said to lie outside the model's folder.
    """
    file = chosen_file(source) or _choose(source)
    outline = skeleton(source, file, weight_file(source, file).size)
    model = _parse(file, outline)
    constants: dict[str, RawTensor] = {}
    for i, (name, proto) in enumerate(read_tensors(model.graph)):
        payload = outline.payloads[i] if i < len(outline.payloads) else None
        array = constant(source, file, name, proto, payload)
        if array is not None:
            constants[name] = array
    found = weights(analyse(list(read_nodes(model.graph)), constants))
    if not found.tensors:
        raise _corrupt(file, "The graph has no initialiser that holds weights.")
    files = dict.fromkeys([file, *(tensor.info.file for tensor in found.tensors.values())])
    return Loaded(found.tensors, _metadata(model, found), _notes(found), tuple(files))


def _candidates(source: Source) -> list[str]:
    names = [record.name for record in source.files()]
    return sorted(n for n in names if n.lower().endswith(ENDING) and n.rpartition("/")[0] in ("", "onnx"))


def _choose(source: Source) -> str:
    candidates = _candidates(source)
    usual = [name for name in _USUAL if name in candidates]
    if usual or len(candidates) == 1:
        return (usual or candidates)[0]
    raise ask_for_one(source, candidates, NAME)


def _parse(file: str, outline: Skeleton) -> Any:
    try:
        onnx: Any = importlib.import_module("onnx")
        message: Any = importlib.import_module("google.protobuf.message")
    except ImportError as error:
        raise MissingExtraError("Reading an ONNX file", "onnx", "onnx") from error
    try:
        model = onnx.ModelProto.FromString(outline.model)
    except message.DecodeError as error:
        raise _corrupt(file, f"Protobuf says: {error}.") from error
    if not model.HasField("graph"):
        raise _corrupt(file, "It holds no graph.")
    if len(model.graph.initializer) != len(outline.payloads):
        raise _corrupt(file, "Its initialisers cannot be told apart.")
    return model


def _metadata(model: Any, found: Weights) -> dict[str, Any]:
    return {
        "producer": " ".join(text(part) for part in (model.producer_name, model.producer_version) if part),
        "opset": {text(entry.domain) or "ai.onnx": int(entry.version) for entry in model.opset_import},
        "properties": {text(entry.key): text(entry.value) for entry in model.metadata_props},
        "orientation": dict(found.orientation),
        "stored_names": dict(found.stored_names),
    }


def _notes(found: Weights) -> tuple[str, ...]:
    notes: list[str] = []
    turned = [name for name in found.stored_names if found.orientation.get(name) == "out_in"]
    if found.stored_names:
        notes.append(
            f"ONNX: {len(found.stored_names)} weights are named by the graph, not by the file; {len(turned)} matrices "
            "of them are read as [out, in]."
        )
    left = sum(way == "in_out" for way in found.orientation.values())
    if left:
        notes.append(f"ONNX: {left} matrices keep the [in, out] order in which they are stored.")
    if found.unscaled:
        notes.append(
            f"ONNX: {len(found.unscaled)} integer matrices were left out, because the graph does not show their scale "
            f"(the first is {found.unscaled[0]})."
        )
    return tuple(notes)


def _corrupt(file: str, reason: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        "An ONNX file cannot be read.",
        file=file,
        reason=reason,
        next_step="Download the file again and compare its size and SHA-256 with the publisher's.",
    )
