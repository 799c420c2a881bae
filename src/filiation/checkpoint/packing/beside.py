"""8-bit matrices under their plain names: which of the scales beside them are applied, and what is read otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from filiation.checkpoint.packing import bitsandbytes, fp8
from filiation.checkpoint.packing.applied import Reading, Settings
from filiation.checkpoint.packing.base import Finding, Parts, Scheme, Stored
from filiation.errors import UnsupportedFormatError

_SHOWN = 3
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
# Methods whose loaders look for ``weight_scale`` alone.
_NO_INVERSE = frozenset(
    {
        "compressed-tensors",
        "fbgemm_fp8",
        "modelopt",
        "modelopt_fp4",
        "nvfp4",
        "quark",
        "w8a8_fp8",
        "w8a8_int8",
    }
)


@dataclass(frozen=True)
class Settled:
    """The tensors of a checkpoint, and which of them a scheme may take for its own.

    Attributes:
        tensors: all that stays: without scales that no loader applies.
        visible: the same without matrices that are read as they are stored.
        notes: what was passed over, one sentence each.
        unscaled: matrices that are read as they are stored.
    """

    tensors: Stored
    visible: Stored
    notes: tuple[str, ...] = ()
    unscaled: tuple[str, ...] = ()


def settle(tensors: Stored, settings: Settings, known: frozenset[str]) -> Settled:
    """Decide for every 8-bit matrix that has scales beside it whether loaders apply them.

    Args:
        known: all methods of which it is known what they pack how.

    Raises:
        UnsupportedFormatError: loaders differ on it, or nobody knows. To leave the matrix out would not be safe: what
            others of its layer do is told by it.
    """
    _refuse_scaled_floats(tensors, settings, known)
    plain: dict[str, tuple[str, ...]] = {}
    scaled: set[str] = set()
    for scheme, companions in (
        (fp8, fp8.companions(tensors)),
        (bitsandbytes, bitsandbytes.companions(tensors)),
    ):
        modules = {name: name.removesuffix(".weight") for name in companions}
        readings = settings.readings(modules.values(), scheme.METHODS, known)
        for name, beside in companions.items():
            found = readings[modules[name]]
            if found is Reading.UNCLEAR or (
                found is Reading.SCALED and _is_contested(name, beside, settings)
            ):
                raise _unclear(tensors, name, settings, known)
            if found is Reading.SCALED:
                scaled.add(name)
            else:
                plain[name] = (*plain.get(name, ()), *beside)
    gone = {part for beside in plain.values() for part in beside}
    kept = {name: tensor for name, tensor in tensors.items() if name not in gone}
    unscaled = tuple(name for name in plain if name not in scaled)
    visible = {name: tensor for name, tensor in kept.items() if name not in unscaled}
    return Settled(kept, visible, _notes(unscaled), unscaled)


def _refuse_scaled_floats(tensors: Stored, settings: Settings, known: frozenset[str]) -> None:
    """Refuse matrices of whole floats that the settings scale: some loaders multiply them, others round them first."""
    if not settings.stated or settings.is_trained_on:
        return
    found = fp8.companions(tensors, _FLOATS)
    modules = {name: name.removesuffix(".weight") for name in found}
    readings = settings.readings(modules.values(), fp8.METHODS, known)
    for name, module in modules.items():
        if readings[module] is not Reading.AS_STORED:
            raise _unclear(tensors, name, settings, known)


def _is_contested(name: str, beside: Sequence[str], settings: Settings) -> bool:
    """Whether it is not certain which scale is meant: there are two, or one that the method's loaders do not know."""
    inverse = name + "_scale_inv" in beside
    return inverse and (name + "_scale" in beside or (settings.stated and settings.method in _NO_INVERSE))


def _notes(plain: Sequence[str]) -> tuple[str, ...]:
    if not plain:
        return ()
    shown = ", ".join(plain[:_SHOWN]) + (", ..." if len(plain) > _SHOWN else "")
    return (
        f"{len(plain)} 8-bit tensors ({shown}) have scales beside them, but the settings do not say that loaders apply "
        "these: what is stored was read as it is, and the scales were passed over.",
    )


def _unclear(tensors: Stored, name: str, settings: Settings, known: frozenset[str]) -> UnsupportedFormatError:
    said = f"Scales lie beside it, and the quantization_config says '{settings.method}'"
    if settings.method not in known:
        why, how = ", which is not a method that is known.", "Compare the unquantised model."
    else:
        why = "; loaders differ on whether it leaves this module out, or on how its scales are meant."
        how = (
            "Name the modules that are not quantised in full where the method's loaders look for them "
            "(modules_to_not_convert, ignored_layers, ignore), as the publisher means them, and compare again."
        )
    return UnsupportedFormatError(
        "It cannot be told how loaders read a tensor.",
        file=tensors[name].info.file,
        tensor=name,
        reason=said + why,
        next_step=how,
    )


def require_named(scheme: Scheme, finding: Finding, tensors: Stored, settings: Settings) -> None:
    """Refuse packed words under a plain name (``X.weight``) where no settings name their packing.

    Loaders without such settings take the stored words for the matrix itself, or refuse the file.

    Raises:
        UnsupportedFormatError: there is a configuration, and it names no method that packs so.
    """
    if settings.names(scheme.METHODS):
        return
    for item in finding.tensors:
        name = item.tensor.info.name
        if name in item.parts:
            said = f"it says '{settings.method}'" if settings.method else "it has no quantization_config"
            raise Parts(scheme.NAME, tensors, name, name).fail(
                f"The configuration does not name this packing: {said}, so loaders take it for a plain tensor.",
                "Put the publisher's config.json beside the weights, with its quantization_config.",
            )
