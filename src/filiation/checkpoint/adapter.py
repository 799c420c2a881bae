"""A PEFT adapter laid over its base model: ``W + scaling * B A``, computed for the rows that are read.

LoRA (arXiv 2106.09685) with rsLoRA's scaling (arXiv 2312.03732), alpha and rank patterns, ``fan_in_fan_out``,
``modules_to_save``, biases, and DoRA's magnitudes on linear layers (:mod:`filiation.checkpoint.dora`). Other methods
change the weights in ways that are not merged here; they are refused, not approximated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from filiation.checkpoint.dora import scaled
from filiation.checkpoint.formats import safetensors, torch
from filiation.checkpoint.formats.base import chosen_file
from filiation.checkpoint.model import (
    ByteCounter,
    Checkpoint,
    Floats,
    Index,
    Span,
    StoredTensor,
    TensorInfo,
    spans_of,
)
from filiation.checkpoint.sidefiles import SideFiles, read_config
from filiation.checkpoint.sources.base import Source
from filiation.errors import CorruptCheckpointError, UnsupportedFormatError

CONFIG = "adapter_config.json"
WEIGHTS = (safetensors.ADAPTER, torch.ADAPTER)

_PREFIX = "base_model.model."
_MATRIX = re.compile(
    r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<half>[AB])(?:\.[^.]+)??(?:\.weight)?"
)
_MAGNITUDE = re.compile(r"(?P<module>.+)\.lora_magnitude_vector(?:\.[^.]+)??(?:\.weight)?")
_SAVED = re.compile(r"modules_to_save\.(?:[^.]+\.)?|base_layer\.")
_PLAIN_PATTERN = re.compile(r"\^?(?:[\w\-]|\\?\.)+\$?")
# Settings that, where they are set, mean more than W + scaling B A.
_REFUSED_FLAGS = (
    *("use_qalora", "use_bdlora", "lora_bias", "layer_replication", "target_parameters"),
    *("trainable_token_indices", "arrow_config", "kasa_config", "velora_config", "monteclora_config"),
)
_REFUSED_STARTS = ("pissa", "olora", "corda", "loftq", "lora_ga")


def adapter_file(source: Source) -> str | None:
    """Return the adapter's weight file where the source holds an adapter's files, else None."""
    names = {record.name for record in source.files()}
    chosen = chosen_file(source)
    if chosen is not None:
        return chosen if chosen in WEIGHTS else None
    return next((name for name in WEIGHTS if name in names), None) if CONFIG in names else None


def needs_base(source: Source) -> UnsupportedFormatError:
    """Return the error for an adapter without its base model."""
    config = read_config(source, CONFIG) or {}
    named = config.get("base_model_name_or_path")
    hint = f" (its configuration names {named!a})" if isinstance(named, str) and named else ""
    return UnsupportedFormatError(
        "This is a PEFT adapter, not a whole model.",
        file=adapter_file(source),
        reason="It holds only the difference to a base model, which it does not contain.",
        next_step=f"Name the base model as well: --base MODEL{hint}.",
    )


def merge(source: Source, base: Checkpoint) -> Checkpoint:
    """Return the base model with the adapter laid over it; nothing is computed before it is read.

    Raises:
        UnsupportedFormatError: not a LoRA adapter, or of a variant that is not merged.
        CorruptCheckpointError: it does not fit the base model.
    """
    file = adapter_file(source)
    assert file is not None
    if base.format == "gguf":
        raise _unsupported("The base is a GGUF file, whose tensors have other names than the adapter's.")
    settings = _settings(read_config(source, CONFIG))
    stored, notes = _load(source, file)
    # What is replaced outright goes first: an embedding may be saved whole and changed by a pair as well.
    merged = {**base.stored, **_saved(stored, base.stored, file, dora=settings.dora)}
    magnitudes = _magnitudes(stored, base.stored, file) if settings.dora else {}
    for target, pair in _pairs(stored, base.stored, file).items():
        whole = _merged(target, pair, merged[target], settings)
        merged[target] = scaled(whole, magnitudes.get(target), file) if settings.dora else whole
    beside = SideFiles(source)

    def read_file(name: str) -> bytes:
        return beside.read(name) if beside.has(name) else base.read_file(name)

    used = [r for r in source.files() if r.name in (file, CONFIG)]
    note = f"PEFT adapter {source.name} merged into {base.name} ({settings.describe()})"
    return replace(
        base,
        locator=source.locator,
        name=source.name,
        files=(*(replace(r, name=f"base/{r.name}") for r in base.files), *used),
        stored=merged,
        counter=_Sum((base.counter, source)),
        notes=(*base.notes, *notes, note),
        revision=source.revision,
        side_files=_Either(beside, base.side_files),
        file_reader=read_file,
        kept=False,  # each may be within a bound that both together are not
    )


@dataclass(frozen=True, slots=True)
class _Settings:
    alpha: float
    rslora: bool
    dora: bool
    transposed: bool
    alphas: Mapping[str, float]

    def scaling(self, module: str, rank: int) -> float:
        """Return the factor of ``B A`` for a module; the rank is that of its matrices, whatever the config says."""
        alpha = _match(self.alphas, module, self.alpha)
        return alpha / math.sqrt(rank) if self.rslora else alpha / rank

    def describe(self) -> str:
        varied = " or by alpha_pattern" if self.alphas else ""
        return (
            f"alpha {self.alpha:g}{varied}, divided by {'the root of the rank' if self.rslora else 'the rank'}"
            + (", with DoRA's magnitudes" if self.dora else "")
        )


def _settings(config: Mapping[str, Any] | None) -> _Settings:
    if config is None:
        raise _misfit(CONFIG, f"There is no {CONFIG} beside the adapter's weights.")
    method = config.get("peft_type")
    if method != "LORA":
        raise _unsupported(f"Its method is {method!a}; LORA is merged.")
    for flag in _REFUSED_FLAGS:
        if config.get(flag):
            raise _unsupported(f"It uses {flag}.")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_REFUSED_STARTS):
        raise _unsupported(
            f"It was begun with {start[:40]!a}, which changes the base model's weights as well."
        )
    return _Settings(
        _positive(config, "lora_alpha"),
        bool(config.get("use_rslora")),
        bool(config.get("use_dora")),
        bool(config.get("fan_in_fan_out")),
        _patterns(config, "alpha_pattern"),
    )


def _positive(config: Mapping[str, Any], key: str) -> float:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise _misfit(CONFIG, f"Its {key} is {ascii(value)[:40]}, not a positive number.")
    return value


def _patterns(config: Mapping[str, Any], key: str) -> dict[str, float]:
    value = config.get(key) or {}
    if not isinstance(value, dict):
        raise _misfit(CONFIG, f"Its {key} is not a map.")
    entries = cast(dict[str, Any], value)
    for pattern in entries:
        # PEFT takes these for regular expressions; one from a stranger can keep a matcher busy for ever.
        if not _PLAIN_PATTERN.fullmatch(pattern) or len(pattern) > 256:
            raise _unsupported(
                f"Its {key} holds the expression {pattern[:60]!a}; plain module names are read."
            )
    return {pattern: _positive(entries, pattern) for pattern in entries}


def _match(patterns: Mapping[str, float], module: str, default: float) -> float:
    """Return the value of the first pattern that is the module's name or the end of it, as PEFT does."""
    for pattern, value in patterns.items():
        anchored = pattern.startswith("^")
        name = pattern.strip("^$").replace("\\.", ".")
        if module == name or (not anchored and module.endswith("." + name)):
            return value
    return default


def _load(source: Source, file: str) -> tuple[Mapping[str, StoredTensor], list[str]]:
    if file == torch.ADAPTER or file.endswith(".bin"):
        return torch.read_file(source, file)
    return safetensors.read_header(source, file).tensors, []


@dataclass(slots=True)
class _Pair:
    module: str
    embedding: bool
    halves: dict[str, StoredTensor] = field(default_factory=dict[str, StoredTensor])


def _pairs(
    stored: Mapping[str, StoredTensor], base: Mapping[str, StoredTensor], file: str
) -> dict[str, _Pair]:
    """Group the low-rank halves by the base tensor they change."""
    pairs: dict[str, _Pair] = {}
    for name, tensor in stored.items():
        match = _MATRIX.fullmatch(name)
        if match is None:
            continue
        module = match["module"].removeprefix(_PREFIX)
        target = _target(module + ".weight", base, file, name)
        pair = pairs.setdefault(target, _Pair(module, match["embedding"] is not None))
        if match["half"] in pair.halves:
            raise _misfit(file, "It holds more than one adapter for one tensor.", name)
        pair.halves[match["half"]] = tensor
    for target, pair in pairs.items():
        if len(pair.halves) != 2:
            raise _misfit(file, f"Of the two matrices for {target}, one is missing.", pair.module)
    return pairs


def _magnitudes(
    stored: Mapping[str, StoredTensor], base: Mapping[str, StoredTensor], file: str
) -> dict[str, StoredTensor]:
    """Return DoRA's magnitude vectors by the base tensor they scale."""
    found = ((name, _MAGNITUDE.fullmatch(name)) for name in stored)
    return {
        _target(match["module"].removeprefix(_PREFIX) + ".weight", base, file, name): stored[name]
        for name, match in found
        if match is not None
    }


def _saved(
    stored: Mapping[str, StoredTensor], base: Mapping[str, StoredTensor], file: str, *, dora: bool
) -> dict[str, StoredTensor]:
    """Return the tensors that the adapter replaces outright: modules_to_save and biases."""
    found: dict[str, StoredTensor] = {}
    for name, tensor in stored.items():
        if _MATRIX.fullmatch(name) or (dora and _MAGNITUDE.fullmatch(name)):
            continue
        if "lora_" in name:
            raise _unsupported(f"It holds {name[:80]!a}, which belongs to a variant that is not merged.")
        target = _target(_SAVED.sub("", name.removeprefix(_PREFIX)), base, file, name)
        # Resized embeddings are saved whole, so the number of rows may differ.
        if tensor.info.shape[1:] != base[target].info.shape[1:]:
            raise _misfit(
                file, f"Its shape {tensor.info.shape} does not fit the base model's {target}.", name
            )
        found[target] = tensor
    return found


def _target(wanted: str, base: Mapping[str, StoredTensor], file: str, name: str) -> str:
    """Find the base tensor by name; a prefix more or less (``model.``) is a matter of how the base was saved."""
    if wanted in base:
        return wanted
    ends = [n for n in base if n.endswith("." + wanted) or wanted.endswith("." + n)]
    if len(ends) == 1:
        return ends[0]
    raise _misfit(file, f"The base model has no tensor {wanted}: the adapter belongs to another base.", name)


def _merged(target: str, pair: _Pair, base: StoredTensor, settings: _Settings) -> MergedTensor:
    a, b = pair.halves["A"], pair.halves["B"]
    shape, rank = base.info.shape, a.info.shape[0] if a.info.shape else 0
    if len(shape) != 2 or len(a.info.shape) != 2 or len(b.info.shape) != 2:
        raise _unsupported(f"It changes {target}, which is not a matrix.")
    delta = (b.info.shape[0], a.info.shape[1])
    if b.info.shape[1] != rank or not rank or shape not in (delta, delta[::-1]):
        reason = f"Its matrices {b.info.shape} x {a.info.shape} do not give the base model's shape {shape}."
        raise _misfit(a.info.file, reason, target)
    # PEFT, too, lets the shape overrule fan_in_fan_out; a square matrix does not tell.
    transposed = settings.transposed or pair.embedding if delta == delta[::-1] else shape != delta
    if settings.dora and transposed:
        raise _unsupported(f"It is a DoRA adapter of {target}, which is an embedding or stored [in, out].")
    info = replace(base.info, name=target)
    return MergedTensor(info, base, a, b, settings.scaling(pair.module, rank), transposed)


@dataclass(frozen=True, slots=True)
class MergedTensor:
    """``base + scaling * B A`` (transposed where the base stores ``[in, out]``), row by row."""

    info: TensorInfo
    base: StoredTensor
    a: StoredTensor
    b: StoredTensor
    scaling: float
    transposed: bool

    def read(self, index: Index = ()) -> Floats:
        """Return ``tensor[index]`` as float32; of the factors, only what the rows need is read."""
        rows, columns = (*index, *(slice(None),) * 2)[:2]
        left, right = (self.a, self.b) if self.transposed else (self.b, self.a)
        if self.transposed:  # (B A)^T = A^T B^T
            x, y = left.read((slice(None), rows)).T, right.read((columns,)).T
        else:
            x, y = left.read((rows,)), right.read((slice(None), columns))
        change: Floats = np.asarray(x @ y, np.float32) * np.float32(self.scaling)
        return np.asarray(self.base.read(index) + change, np.float32)

    def spans(self, index: Index = ()) -> Sequence[Span]:
        """Return the bytes that :meth:`read` would read."""
        rows, columns = (*index, *(slice(None),) * 2)[:2]
        whole, leading = (self.a, columns) if self.transposed else (self.a, rows)
        return (*spans_of(self.base, index), *spans_of(whole, ()), *spans_of(self.b, (leading,)))


@dataclass(frozen=True, slots=True)
class _Sum:
    counters: tuple[ByteCounter, ...]

    @property
    def bytes_read(self) -> int:
        return sum(counter.bytes_read for counter in self.counters)


class _Either(Mapping[str, str]):
    """The adapter's side files, and the base's where the adapter has none of that name."""

    def __init__(self, first: Mapping[str, str], second: Mapping[str, str]) -> None:
        self._first, self._second = first, second

    def __getitem__(self, name: str) -> str:
        return self._first[name] if name in self._first else self._second[name]

    def __iter__(self) -> Any:
        return iter(sorted({*self._first, *self._second}))

    def __len__(self) -> int:
        return len({*self._first, *self._second})


def _unsupported(reason: str) -> UnsupportedFormatError:
    return UnsupportedFormatError(
        "This PEFT adapter cannot be merged.",
        file=CONFIG,
        reason=reason,
        next_step="Merge it with PEFT (merge_and_unload), save the model, and name that.",
    )


def _misfit(file: str, reason: str, tensor: str | None = None) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        "The PEFT adapter does not fit.",
        file=file,
        tensor=tensor,
        reason=reason,
        next_step="Check that --base names the model the adapter was trained on, and download the adapter again.",
    )
