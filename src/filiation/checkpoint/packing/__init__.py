"""Quantised safetensors: packed tensors become logical ones under plain names, dequantised as they are read.

A scheme is one file here and one entry of :data:`SCHEMES`. The tensors decide which scheme it is. Of words that only
one scheme can read (``qweight``, ``weight_packed``) config.json's ``quantization_config`` may be missing or wrong, and
where it disagrees the notes say so. A matrix under its plain name is scaled only where the settings say that loaders do
so (:mod:`filiation.checkpoint.packing.applied`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from filiation.checkpoint.model import StoredTensor
from filiation.checkpoint.packing.applied import Settings
from filiation.checkpoint.packing.base import Finding, Scheme, Stored, Unpacked
from filiation.checkpoint.packing.beside import Settled, require_named, settle
from filiation.errors import UnsupportedFormatError

SCHEMES = ("gptq", "awq", "bitsandbytes", "wna16", "fp4", "fp8", "mxfp4", "mlx")
"""Modules of this package, imported when a checkpoint holds anything but plain floats."""

# Companions that speak of activations or the KV cache, not of weights.
_ACTIVATION = (
    *("input_scale", "input_global_scale", "input_zero_point", "activation_scale"),
    *("output_scale", "output_global_scale", "output_zero_point"),
    *("k_scale", "v_scale", "q_scale", "prob_scale"),
)

# Names that only packings use which are not read: (ending, what it is).
_UNREAD = (
    (".W_q", "HQQ"),
    (".codebooks", "AQLM"),
    (".Qidxs", "QuIP#"),
    (".trellis", "EXL3"),
    (".q_weight", "EXL2"),
    (".B", "Marlin"),
    (".bitmask", "a compressed-tensors sparse format"),
    (".scale_packed", "compressed-tensors marlin-24"),
)
# What no packing stores its codes in: a checkpoint of these alone is plain, unless a name says otherwise.
_PLAIN_KINDS = frozenset({"F64", "F32", "F16", "BF16", "I64", "BOOL"})
_PACKED_NAMES = (".qweight", ".qzeros", ".SCB", "_packed", "_blocks", "_scale", "_scale_inv", "_scale_2")
_PACKED_KINDS = frozenset({"I8", "U8", "I16", "U16", "I32", "U32"})


@dataclass(frozen=True)
class Logical:
    """The tensors of a checkpoint as the rest of the toolkit sees them.

    Attributes:
        notes: what was recognised or assumed, one sentence each.
        unscaled: matrices that are read as they are stored, because no loader applies the scales beside them.
    """

    tensors: Stored
    notes: tuple[str, ...] = ()
    unscaled: tuple[str, ...] = ()


def schemes() -> tuple[Scheme, ...]:
    """Return the modules of :data:`SCHEMES`."""
    return tuple(cast(Scheme, importlib.import_module(f"{__name__}.{name}")) for name in SCHEMES)


def unpack(
    tensors: Stored,
    config: Mapping[str, Any] | None,
    elsewhere: Callable[[], Mapping[str, Any] | None] = lambda: None,
) -> Logical:
    """Replace packed tensors by logical ones.

    Args:
        tensors: what the format loaded, in stored order.
        config: the parsed config.json, or None.
        elsewhere: reads settings that lie in a file of their own; asked only where config.json has none.

    Returns:
        The tensors under plain names (``...q_proj.weight``); where nothing is packed, as they came.

    Raises:
        UnsupportedFormatError: a packed tensor is incomplete, its shapes contradict each other, the packing is
            not one that is read, or no settings name it where loaders need them.
    """
    settings = settings_of(config)
    if settings.method is None and _is_plain(tensors):
        return Logical(tensors)
    if settings.method is None and config is not None:
        settings = _stated_elsewhere(elsewhere(), settings)
    known = frozenset(method for scheme in schemes() for method in scheme.METHODS)
    settled = settle(tensors, settings, known)
    unpacked, notes = _unpacked(settled, settings, known)
    return Logical(unpacked, (*notes, *settled.notes), settled.unscaled)


def _unpacked(settled: Settled, settings: Settings, known: frozenset[str]) -> tuple[Stored, tuple[str, ...]]:
    tensors, method = settled.tensors, settings.method
    findings = [(scheme, scheme.find(settled.visible, settings.quantization)) for scheme in schemes()]
    found = [(scheme, finding) for scheme, finding in findings if finding.tensors]
    _refuse_unread(settled.visible, method, known=method in known)
    for scheme, finding in found:
        require_named(scheme, finding, tensors, settings)
    if not found:
        plain = f"config.json says the weights are quantised ('{method}'), but no tensor is; they are read as they are."
        return tensors, (plain,) if method is not None else ()
    notes = [note for scheme, finding in found for note in _notes(scheme, finding, method)]
    return _merged(tensors, [finding for _, finding in found]), tuple(notes)


def _is_plain(tensors: Stored) -> bool:
    return not any(
        tensor.info.dtype not in _PLAIN_KINDS or name.endswith(_PACKED_NAMES)
        for name, tensor in tensors.items()
    )


def settings_of(config: Mapping[str, Any] | None) -> Settings:
    """Return what config.json says of the packing."""
    quantization = quantization_of(config)
    # Only MLX looks under this name.
    aside = config is not None and quantization is config.get("quantization")
    kind: Any = None if config is None else config.get("model_type")
    return Settings(
        quantization,
        method_of(quantization),
        config is not None,
        kind if isinstance(kind, str) else None,
        loaded=not aside or method_of(quantization) == "mlx",
    )


def _stated_elsewhere(found: Mapping[str, Any] | None, settings: Settings) -> Settings:
    """Return ModelOpt's settings, which older versions of it wrote beside config.json alone."""
    inner: Any = None if found is None else found.get("quantization")
    if not isinstance(inner, Mapping) or not cast("Mapping[str, Any]", inner).get("quant_algo"):
        return settings
    return Settings(cast("Mapping[str, Any]", inner), "modelopt", True, settings.model_type)


def quantization_of(config: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return config.json's quantization_config, of the model or of its text part, or an empty mapping."""
    if config is None:
        return {}
    for holder in (config, config.get("text_config")):
        for key in ("quantization_config", "compression_config", "quantization"):
            value: Any = cast("Mapping[str, Any]", holder).get(key) if isinstance(holder, Mapping) else None
            if isinstance(value, Mapping):
                return cast("Mapping[str, Any]", value)
    return {}


def method_of(quantization: Mapping[str, Any]) -> str | None:
    """Return the ``quant_method``, as config.json says it or as older configs imply it."""
    method = quantization.get("quant_method")
    if isinstance(method, str):
        return method.lower()
    if quantization.get("load_in_4bit") or quantization.get("load_in_8bit"):
        return "bitsandbytes"
    # MLX writes the same few keys and no method.
    return "mlx" if {"group_size", "bits"} <= quantization.keys() else None


def _notes(scheme: Scheme, finding: Finding, method: str | None) -> list[str]:
    kinds = ", ".join(sorted({item.tensor.info.dtype for item in finding.tensors}))
    notes = [
        f"{len(finding.tensors)} tensors are packed ({scheme.NAME}: {kinds}) and are dequantised as they are read."
    ]
    if method is None:
        notes.append(
            f"config.json has no quantization_config; {scheme.NAME} was recognised from the tensors."
        )
    elif method not in scheme.METHODS:
        notes.append(
            f"config.json says '{method}', the tensors are packed as {scheme.NAME}; the tensors were believed."
        )
    return [*notes, *finding.notes]


def _merged(tensors: Stored, findings: Sequence[Finding]) -> Stored:
    """Put every logical tensor where the first of its parts stood, and leave out the rest of them."""
    place = {name: i for i, name in enumerate(tensors)}
    at: dict[str, Unpacked] = {}
    gone: set[str] = set()
    for finding in findings:
        for item in finding.tensors:
            first = min(item.parts, key=place.__getitem__)
            if first in at:
                _refuse_twice({item.tensor.info.name: at[first].tensor}, item.tensor)
            at[first] = item
            gone.update(item.parts)
    out: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        if name in at:
            unpacked = at[name].tensor
            _refuse_twice(out, unpacked)
            out[unpacked.info.name] = unpacked
        elif name not in gone and not name.endswith(_ACTIVATION):
            _refuse_twice(out, tensor)
            out[name] = tensor
    return out


def _refuse_twice(seen: Mapping[str, StoredTensor], tensor: StoredTensor) -> None:
    name = tensor.info.name
    if name in seen:
        raise UnsupportedFormatError(
            "A weight is stored twice, packed and plain, or packed in two ways.",
            file=tensor.info.file,
            tensor=name,
            reason=f"{seen[name].info.dtype} and {tensor.info.dtype} tensors both stand for this name.",
            next_step="Remove one of them; the two need not hold the same weights.",
        )


def _refuse_unread(tensors: Stored, method: str | None, *, known: bool) -> None:
    """Refuse packings that are not read, by the names that only they use or by a method that is not known."""
    for name, tensor in tensors.items():
        packed = tensor.info.dtype in _PACKED_KINDS
        packing = next((what for ending, what in _UNREAD if name.endswith(ending) and packed), None)
        if packing is None and method is not None and not known and packed and len(tensor.info.shape) >= 2:
            packing = f"'{method}' (quant_method of config.json)"
        if packing is not None:
            raise UnsupportedFormatError(
                f"The weights are packed in a way that cannot be read: {packing}.",
                file=tensor.info.file,
                tensor=name,
                reason=f"Readable are: {', '.join(scheme.NAME for scheme in schemes())}.",
                next_step="Compare the unquantised model, or convert this one to bf16 safetensors with the tool "
                "that quantised it.",
            )
