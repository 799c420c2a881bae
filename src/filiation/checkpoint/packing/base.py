"""What packing schemes share: how a scheme looks, what it finds, and the companions of a packed tensor.

A scheme is one module with ``NAME: str``, ``METHODS: frozenset[str]`` (the ``quant_method`` values of
config.json that mean it) and ``find(stored, quantization) -> Finding``; the list is
``filiation.checkpoint.packing.SCHEMES``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from filiation.checkpoint.model import Index, RawTensor, Span, StoredTensor, TensorInfo, spans_of
from filiation.errors import UnsupportedFormatError

Stored = Mapping[str, StoredTensor]

FP8_KINDS = frozenset({"F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"})


@dataclass(frozen=True, slots=True)
class Unpacked:
    """One logical tensor and the stored names it was made of."""

    tensor: StoredTensor
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a scheme recognised.

    Attributes:
        tensors: the logical tensors.
        notes: what was assumed, one sentence each.
        drops: stored names that belong to the packing alone (activation scales).
    """

    tensors: tuple[Unpacked, ...] = ()
    notes: tuple[str, ...] = ()
    drops: frozenset[str] = frozenset()


class Scheme(Protocol):
    """A packing scheme, as :func:`~filiation.checkpoint.packing.unpack` sees its module."""

    NAME: str
    METHODS: frozenset[str]

    def find(self, stored: Stored, quantization: Mapping[str, Any]) -> Finding:
        """Recognise this scheme's tensors among ``stored``; ``quantization`` is config.json's, or empty.

        Raises:
            UnsupportedFormatError: a companion tensor is missing or shapes contradict each other.
        """
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """The stored tensors of one packed module; ``stem`` is what their names share.

    Attributes:
        scheme: the name used in errors.
        stored: all tensors of the checkpoint.
        stem: e.g. ``model.layers.0.mlp.up_proj`` for GPTQ, ``....up_proj.weight`` for FP8.
        main: the tensor that an error speaks of.
    """

    scheme: str
    stored: Stored
    stem: str
    main: str

    def has(self, suffix: str) -> bool:
        """Whether the companion ``stem + suffix`` is there."""
        return self.stem + suffix in self.stored

    def need(self, suffix: str, *kinds: str, ndim: int | None = None) -> RawTensor:
        """Return the companion ``stem + suffix``.

        Raises:
            UnsupportedFormatError: it is missing, empty, of another kind or of another number of dimensions.
        """
        name = self.stem + suffix
        tensor = self.stored.get(name)
        if tensor is None:
            raise self.fail(f"Its companion tensor {name} is missing.")
        if not isinstance(tensor, RawTensor):
            raise self.fail(f"{name} lies in a file format whose packed integers cannot be read.")
        if kinds and tensor.info.dtype not in kinds:
            raise self.fail(f"{name} is stored as {tensor.info.dtype}; {' or '.join(kinds)} was expected.")
        if ndim is not None and len(tensor.info.shape) != ndim:
            raise self.fail(
                f"{name} has the shape {list(tensor.info.shape)}; {ndim} dimensions were expected."
            )
        self.check(0 not in tensor.info.shape, f"{name} holds no values (shape {list(tensor.info.shape)}).")
        return tensor

    def maybe(self, suffix: str, *kinds: str, ndim: int | None = None) -> RawTensor | None:
        """Return the companion ``stem + suffix``, or None when there is none."""
        return self.need(suffix, *kinds, ndim=ndim) if self.has(suffix) else None

    def names(self, *suffixes: str) -> tuple[str, ...]:
        """Return the full names of those companions that exist, in this order."""
        return tuple(self.stem + suffix for suffix in suffixes if self.has(suffix))

    def info(self, name: str, shape: tuple[int, ...], dtype: str, parts: Iterable[str]) -> TensorInfo:
        """Describe the logical tensor: ``nbytes`` counts every stored part, ``file`` is the main tensor's."""
        nbytes = sum(self.stored[part].info.nbytes for part in parts)
        return TensorInfo(name, shape, dtype, nbytes, self.stored[self.main].info.file)

    def check(self, holds: bool, reason: str) -> None:
        """Raise :meth:`fail` unless ``holds``."""
        if not holds:
            raise self.fail(reason)

    def fail(self, reason: str, next_step: str | None = None) -> UnsupportedFormatError:
        """Return the error for this module, naming its tensor and the scheme."""
        file = self.stored[self.main].info.file if self.main in self.stored else None
        return UnsupportedFormatError(
            f"A tensor packed as {self.scheme} cannot be unpacked.",
            file=file,
            tensor=self.main,
            reason=reason,
            next_step=next_step
            or "Check the download against the publisher's files; if it is complete, convert the model to "
            "bf16 safetensors with the tool that quantised it.",
        )


def stems(stored: Stored, suffix: str) -> Iterator[str]:
    """Yield what stands before ``suffix`` in every name that ends with it, in stored order."""
    for name in stored:
        if name.endswith(suffix):
            yield name[: -len(suffix)]


def weight_schemes(quantization: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what compressed-tensors' ``config_groups`` say of weights, as far as it is well-formed."""
    groups: Any = quantization.get("config_groups")
    found: list[Mapping[str, Any]] = []
    for group in cast("Mapping[str, Any]", groups).values() if isinstance(groups, Mapping) else ():
        weights: Any = cast("Mapping[str, Any]", group).get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping):
            found.append(cast("Mapping[str, Any]", weights))
    return found


def prefetch(wanted: Iterable[tuple[StoredTensor, Index]]) -> None:
    """Announce small reads that follow at once, so that a remote source joins them into few requests."""
    by_file: dict[tuple[int, str], list[Span]] = {}
    for tensor, index in wanted:
        for span in spans_of(tensor, index):
            by_file.setdefault((id(span.source), span.file), []).append(span)
    for spans in by_file.values():
        spans[0].source.prefetch(spans[0].file, sorted({(span.start, span.stop) for span in spans}))
