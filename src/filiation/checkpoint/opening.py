"""Opening a checkpoint: find the place, choose the format, read headers and config, unpack, lay an adapter over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from filiation.checkpoint.formats import Format, Loaded, recognised
from filiation.checkpoint.hashing import SMALL, Progress, without_hash
from filiation.checkpoint.hashing import hash_files as hashed
from filiation.checkpoint.locate import open_source
from filiation.checkpoint.model import Checkpoint, StoredTensor
from filiation.checkpoint.packing import unpack
from filiation.checkpoint.shards import WEIGHT_ENDINGS, is_weight_name
from filiation.checkpoint.sidefiles import MODEL_FILES, SideFiles, read_config
from filiation.checkpoint.tensor_parallel import PARAMS, read_params
from filiation.checkpoint.view import SourceView
from filiation.errors import InputError, NotFoundError, UnsupportedFormatError
from filiation.evidence import FileRecord

#: Where older versions of NVIDIA's ModelOpt say how a model is quantised.
_MODELOPT = "hf_quant_config.json"

_ADAPTER = "adapter_config.json"
_OTHER_WEIGHTS = (
    ".h5",
    ".msgpack",
    ".npz",
    ".npy",
    ".nemo",
    ".tflite",
    ".mlmodel",
    ".keras",
    ".joblib",
    ".pkl",
)


def open(
    locator: str,
    *,
    base: str | None = None,
    budget: int | None = None,
    keep: int | None = None,
    hash_files: bool = False,
    progress: Progress | None = None,
) -> Checkpoint:
    """Open a model: read its headers and config.json, and no weights.

    Args:
        locator: a folder, a weight file, ``org/name[@revision]``, ``hf://``, ``https://``, ``s3://`` ...
        base: the base model's locator, for a PEFT adapter; a whole model ignores it.
        budget: bytes that may be read from the place in all; None for no limit.
        keep: what the caller means to read at most. A place on this machine that is no larger is read once and kept
            in memory (up to 64 MB); of a larger one nothing is hashed unasked. Opening is held to it, to the byte.
        hash_files: hash every weight file, whatever its size. Without it, weights of at most 64 MB in all on this
            machine are hashed, larger ones only where the place tells their SHA-256.
        progress: called while files are hashed.

    Raises:
        UsageError: the locator names nothing that can be opened, or several models.
        InputError: missing, unreadable, damaged, unsafe, or of a kind that is not read.
        BudgetError: the headers alone take more than the budget, or than ``keep``.
    """
    source = SourceView(open_source(locator), budget, None if keep is None else min(keep, SMALL), keep)
    _check_refused(source)
    formats = [] if _is_adapter_file(source) else recognised(source)
    if not formats:
        from filiation.checkpoint.adapter import adapter_file, merge, needs_base

        if adapter_file(source) is None:
            raise _no_weights(source)
        if base is None:
            raise needs_base(source)
        return merge(source, open(base, budget=budget, keep=keep, hash_files=hash_files, progress=progress))
    loaded = formats[0].load(source)
    hash_small = keep is None or source.kept
    opened = _checkpoint(
        source, formats, loaded, hash_all=hash_files, hash_small=hash_small, progress=progress
    )
    source.opened()
    return opened


def _checkpoint(
    source: SourceView,
    formats: Sequence[Format],
    loaded: Loaded,
    *,
    hash_all: bool,
    hash_small: bool,
    progress: Progress | None,
) -> Checkpoint:
    # A GGUF carries its own settings; a config.json beside it may be another model's.
    config, params = (None, None) if formats[0].NAME == "gguf" else (read_config(source), None)
    if config is None and formats[0].NAME in ("torch", "safetensors"):
        config = params = read_params(source)
    logical = unpack(loaded.tensors, config, lambda: read_config(source, _MODELOPT))
    if not logical.tensors:
        raise _empty(source, loaded)
    notes = [*source.notes, *_format_notes(formats), *_adapter_notes(source), *loaded.notes, *logical.notes]
    if params is not None:
        notes.append(f"settings are taken from {PARAMS}; there is no config.json")
    if config is None:
        notes.append(_no_config(formats[0].NAME))
    side_files = SideFiles(source)
    return Checkpoint(
        locator=source.locator,
        name=source.name,
        format=formats[0].NAME,
        files=_records(source, loaded, hash_all=hash_all, hash_small=hash_small, progress=progress),
        stored=logical.tensors,
        counter=source,
        config=config,
        metadata=loaded.metadata,
        revision=source.revision,
        notes=tuple(notes),
        is_local=all(source.local_path(file) is not None for file in _files_of(loaded.tensors)),
        side_files=side_files,
        file_reader=side_files.read,
        kept=source.kept,
        unscaled=logical.unscaled,
    )


def _records(
    source: SourceView, loaded: Loaded, *, hash_all: bool, hash_small: bool, progress: Progress | None
) -> tuple[FileRecord, ...]:
    """Return the records of the model's own files, hashed where that is cheap or asked for."""
    weights = set(loaded.files) or _files_of(loaded.tensors)
    records = [r for r in source.files() if r.name in weights or r.name in MODEL_FILES]
    local = all(source.local_path(r.name) is not None for r in records)
    if hash_all or (hash_small and local and sum(r.size for r in records) <= SMALL):
        return hashed(source, records, progress)
    return without_hash(records)


def _files_of(tensors: Mapping[str, StoredTensor]) -> set[str]:
    return {tensor.info.file for tensor in tensors.values()}


def _is_adapter_file(source: SourceView) -> bool:
    if source.chosen is None or not source.chosen.startswith("adapter_model"):
        return False
    from filiation.checkpoint.adapter import WEIGHTS

    return source.chosen in WEIGHTS


def _format_notes(formats: Sequence[Format]) -> list[str]:
    if len(formats) == 1:
        return []
    others = ", ".join(f.NAME for f in formats[1:])
    return [f"the folder also holds weights as {others}; those as {formats[0].NAME} were read"]


def _adapter_notes(source: SourceView) -> list[str]:
    """Whole weights are read, and no adapter beside them; where PEFT is installed transformers does it otherwise."""
    if source.chosen is not None or not any(record.name == _ADAPTER for record in source.files()):
        return []
    return [
        f"the folder also holds {_ADAPTER}; its whole weights were read, where transformers with PEFT would load "
        "the base that it names, and the adapter"
    ]


def _no_config(format_name: str) -> str:
    if format_name == "gguf":
        return "settings are taken from the GGUF metadata, not from a config.json"
    return "no config.json: settings are inferred from the tensors"


def _check_refused(source: SourceView) -> None:
    """Refuse a checkpoint whose weights or settings are links that may not be followed."""
    for name, error in sorted(source.refused.items()):
        if "/" not in name and (is_weight_name(name) or name in MODEL_FILES):
            raise error


def _no_weights(source: SourceView) -> InputError:
    names: list[str] = [record.name for record in source.files()]
    deeper = sorted({n.rpartition("/")[0] for n in names if "/" in n and n.endswith(WEIGHT_ENDINGS)})
    other = sorted(n for n in names if n.lower().endswith(_OTHER_WEIGHTS))
    if source.chosen is not None:
        return _unsupported(
            source, source.chosen, "Neither its name nor its first bytes are of a known format."
        )
    if deeper:
        return NotFoundError(
            f"There are no weights directly in {source.locator}.",
            file=source.locator,
            reason=f"They are in its sub-folders: {', '.join(deeper[:5])}.",
            next_step="Name the sub-folder that is meant.",
        )
    if other:
        return _unsupported(source, other[0], "Its format is not one that is read.")
    return NotFoundError(
        f"There are no weights in {source.locator}.",
        file=source.locator,
        reason="It holds no safetensors, GGUF, PyTorch or ONNX file.",
        next_step="Check the path; a model's folder holds config.json and its weight files.",
    )


def _unsupported(source: SourceView, file: str, reason: str) -> UnsupportedFormatError:
    return UnsupportedFormatError(
        f"The weights in {source.locator} cannot be read.",
        file=file,
        reason=f"{reason} Read are safetensors, GGUF, PyTorch and ONNX.",
        next_step="Convert the model to safetensors with the program that made it.",
    )


def _empty(source: SourceView, loaded: Loaded) -> UnsupportedFormatError:
    file = loaded.files[0] if loaded.files else source.locator
    return UnsupportedFormatError(
        "The file holds no tensors.",
        file=file,
        reason="Its header is in order and lists none (a vocabulary-only GGUF is of this kind).",
        next_step="Name the file that holds the weights.",
    )
