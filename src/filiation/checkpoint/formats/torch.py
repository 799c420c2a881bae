"""PyTorch's ``.bin``, ``.pt``, ``.pth``: the zip form, the form before it, single or sharded.

Such a file is a pickle, which could ask for anything. It is never unpickled: an interpreter of our own
(:mod:`filiation.checkpoint.torchfile.machine`) builds a description of the tensors and refuses every name outside a
closed list. torch itself is not needed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from filiation.checkpoint.formats.base import (
    Loaded,
    chosen_file,
    leading_bytes,
    top_level,
    weight_file,
)
from filiation.checkpoint.model import StoredTensor
from filiation.checkpoint.shards import (
    INDEX_ENDING,
    PART,
    ShardIndex,
    ask_for_one,
    check_index,
    in_two_files,
    numbered_sets,
    read_index,
    shard_name,
)
from filiation.checkpoint.sources.base import Source
from filiation.checkpoint.tensor_parallel import check_numbers, joined, read_params
from filiation.checkpoint.torchfile.archive import MAGIC
from filiation.checkpoint.torchfile.standins import PickleError, UnsafePickleError, UnsupportedPickleError
from filiation.checkpoint.torchfile.statedict import find_tensors, stored_tensors
from filiation.checkpoint.torchfile.storages import TorchFile, damaged, open_legacy, open_zip, unsupported
from filiation.errors import UnsafeCheckpointError

NAME = "torch"
ENDINGS = (".bin", ".pt", ".pth", ".ckpt")
ADAPTER = "adapter_model.bin"

_INDEX = "pytorch_model.bin" + INDEX_ENDING
_NOT_WEIGHTS = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state|random_states|trainer_state|adapter_model|openvino|tf_|"
    r"flax_|tokenizer|vocab|mp_rank_\d+_\w*optim|zero_pp_rank).*"
)


def recognises(source: Source) -> bool:
    """Tell whether the source holds PyTorch weights that are not just an adapter's."""
    chosen = chosen_file(source)
    if chosen is not None:
        return chosen == _INDEX or _is_torch(source, chosen) or chosen.lower().endswith(ENDINGS)
    return bool(top_level(source, _INDEX)) or bool(_candidates(source))


def load(source: Source) -> Loaded:
    """Read the structure of all shards; see :class:`~filiation.checkpoint.formats.base.Format`."""
    files, index, notes = _choose(source)
    tensors: dict[str, StoredTensor] = {}
    found = list(notes)
    parts: list[tuple[str, dict[str, StoredTensor]]] = []
    for file in files:
        part, said = read_file(source, file)
        found += said
        parts.append((file, part))
    if len(parts) > 1 and all(PART.fullmatch(file) for file in files):
        tensors = joined(parts, read_params(source))
        found.append(f"{len(parts)} tensor-parallel parts were put together")
        parts = []
    for file, part in parts:
        for name, tensor in part.items():
            if name in tensors:
                raise in_two_files(name, tensors[name].info.file, file)
            tensors[name] = tensor
    if index is not None:
        found += check_index(index, tensors)
    used = (*files, *([index.file] if index else []))
    return Loaded(tensors, {}, tuple(dict.fromkeys(found)), used)


def read_file(source: Source, file: str) -> tuple[dict[str, StoredTensor], list[str]]:
    """Read one file's structure; returns its tensors and what was assumed.

    Raises:
        UnsafeCheckpointError: its pickle names something that is not on the list.
        CorruptCheckpointError: it is damaged. UnsupportedFormatError: torch did not write it, or it holds code.
    """
    size = weight_file(source, file).size
    try:
        opened: TorchFile
        if source.read(file, 0, min(size, 4)) == MAGIC:
            opened = open_zip(source, file, size)
        else:
            opened = open_legacy(source, file, size)
        named = find_tensors(opened.root, file)
        return stored_tensors(named, opened, file), named.notes
    except UnsafePickleError as error:
        raise _unsafe(file, str(error.args[0])) from error
    except UnsupportedPickleError as error:
        raise unsupported(file, f"It holds {error.args[0]}.") from error
    except PickleError as error:
        raise damaged(file, f"Its pickle cannot be read: {error.args[0]}.") from error


def _choose(source: Source) -> tuple[Sequence[str], ShardIndex | None, tuple[str, ...]]:
    """Pick the files that make up the model, in the order in which transformers would look for them."""
    chosen = chosen_file(source)
    alone = chosen is not None and shard_name(chosen) is None and not PART.fullmatch(chosen)
    if chosen is not None and alone and chosen != _INDEX:
        return [chosen], None, ()
    names = _candidates(source)
    if "pytorch_model.bin" in names:
        return ["pytorch_model.bin"], None, _left_out(len(names) - 1)
    if top_level(source, _INDEX):
        index = read_index(source, _INDEX)
        return index.files, index, _left_out(len([n for n in names if n not in index.files]))
    sets = list(numbered_sets(names).values())
    single = [name for name in names if shard_name(name) is None]
    if len(sets) == 1 and (not single or sets[0][0].startswith("pytorch_model")):
        note = f"no index file: the {len(sets[0])} shards were found by their numbers"
        return sets[0], None, (note, *_left_out(len(single)))
    parts = [name for name in single if PART.fullmatch(name)]
    if not sets and parts and len(parts) == len(single):
        check_numbers(parts)
        return parts, None, ()
    if not sets and len(single) == 1:
        return single, None, ()
    raise ask_for_one(source, [*(s[0] for s in sets), *single], "PyTorch")


def _left_out(count: int) -> tuple[str, ...]:
    return (f"{count} other PyTorch files of the folder were not read",) if count else ()


def _candidates(source: Source) -> list[str]:
    """Return the files that may be weights: by name, and by their first bytes where the name says little."""
    names = [name for name in top_level(source, *ENDINGS) if not _NOT_WEIGHTS.fullmatch(name)]
    return [n for n in names if n.startswith("pytorch_model") or PART.fullmatch(n) or _is_torch(source, n)]


def _is_torch(source: Source, name: str) -> bool:
    first = leading_bytes(source, name, 4)
    return first == MAGIC or (first[:1] == b"\x80" and first[1:2] in b"\2\3\4\5")


def _unsafe(file: str, name: str) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(
        "The PyTorch file asks for more than tensors; it was not read.",
        file=file,
        reason=f"Its pickle names {name[:200]!a}. A pickle can run what it names; filiation reads only names that "
        "describe tensors, and runs none.",
        next_step="Ask the publisher for safetensors. If you trust the file, convert it where harm is contained: "
        "torch.load(file, weights_only=True), then safetensors.torch.save_file.",
    )
