"""The files beside the weights: config.json, the tokenizer's, the card. Read when asked for, within bounds."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from filiation.checkpoint.shards import INDEX_ENDING, POINTER_START, is_weight_name, read_json
from filiation.checkpoint.sources.base import Source
from filiation.errors import CorruptCheckpointError, InputError, NotFoundError, UnsafeCheckpointError

MAX_SIDE_FILE = 256 << 20
"""Bytes of a side file that are read at most; the largest tokenizer.json known has about 35 MB."""

_MAX_CONFIG = 16 << 20
_WEIGHTS, _SAFETENSORS = "transformers_weights", ".safetensors"
_TEXT_ENDINGS = (".json", ".txt", ".jinja", ".md", ".tiktoken", ".yml", ".yaml")

MODEL_FILES = frozenset(
    {
        "config.json",
        "generation_config.json",
        "params.json",
        "adapter_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "vocab.txt",
        "merges.txt",
        "tokenizer.model",
        "spiece.model",
        "sentencepiece.bpe.model",
        "chat_template.jinja",
        "preprocessor_config.json",
    }
)
"""Side files that belong to the model itself, and so to its digest; a card or a log does not."""


class SideFiles(Mapping[str, str]):
    """The text files that lie directly beside the weights, by name; each is read when first asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._sizes = {f.name: f.size for f in source.files()}
        self._names = sorted(name for name in self._sizes if _is_text(name))
        self._texts: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._texts:
            if not _is_text(name) or name not in self._sizes:
                raise KeyError(name)
            try:
                self._texts[name] = self.read(name).decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise _unusable(name, "It is not UTF-8 text.") from error
        return self._texts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def has(self, name: str) -> bool:
        """Tell whether :meth:`read` would find a file of this name."""
        return name in self._sizes

    def read(self, name: str) -> bytes:
        """Return a whole file, text or not.

        Raises:
            NotFoundError: no such file. CorruptCheckpointError: absurdly large, or a git-lfs pointer.
        """
        size = self._sizes.get(name)
        if size is None:
            raise NotFoundError(
                f"There is no file {name} beside the weights.",
                file=name,
                reason=f"{self._source.locator} does not hold it.",
                next_step="Download the checkpoint again, completely.",
            )
        if size > MAX_SIDE_FILE:
            raise _unusable(name, f"It is {size} bytes long; at most {MAX_SIDE_FILE} are read.")
        data = self._source.read(name, 0, size)
        if data.startswith(POINTER_START):
            raise _unusable(
                name, "In its place stands a git-lfs pointer.", "Run `git lfs pull` in the folder."
            )
        return data


def read_config(source: Source, name: str = "config.json") -> dict[str, Any] | None:
    """Return the parsed config.json, or None where there is none.

    Raises:
        CorruptCheckpointError: it is not a JSON object, or absurdly large.
    """
    if not any(f.name == name for f in source.files()):
        return None
    return read_json(source, name, _MAX_CONFIG, unique=False)


def named_weights(source: Source) -> str | None:
    """Return the file that config.json says holds the weights; None where it leaves that to the usual names.

    transformers 5 reads that file and looks for no other. Which file is meant is the caller's to say where he names
    one.

    Raises:
        UnsafeCheckpointError: it lies outside the folder.
        NotFoundError: it is not there.
        CorruptCheckpointError: it is no safetensors file and no index of them, so that loaders refuse the folder.
    """
    name = (read_config(source) or {}).get(_WEIGHTS) if getattr(source, "chosen", None) is None else None
    if name is None:
        return None
    if not isinstance(name, str) or not name.endswith((_SAFETENSORS, _SAFETENSORS + INDEX_ENDING)):
        raise CorruptCheckpointError(
            "The config names weights that cannot be read.",
            file="config.json",
            reason=f"Its {_WEIGHTS} is {ascii(name)[:80]}: no safetensors file and no index of such files.",
            next_step=f"Remove {_WEIGHTS} from the config, or name the weight file that is meant.",
        )
    plain = posixpath.normpath(name)
    if plain.startswith(("/", "../")) or "\\" in plain or ":" in plain or "\0" in plain:
        raise UnsafeCheckpointError(
            "The config names weights outside the checkpoint's folder; refused.",
            file="config.json",
            reason=f"Its {_WEIGHTS} is {ascii(name)[:80]}.",
            next_step="Do not use this checkpoint, or correct its config.",
        )
    if not any(record.name == plain for record in source.files()):
        refused: Mapping[str, InputError] = getattr(source, "refused", {})
        raise refused.get(plain) or NotFoundError(
            f"The weights that the config names are missing: {plain}.",
            file=plain,
            reason=f"config.json says that they are in this file ({_WEIGHTS}); it is not there.",
            next_step="Download it; or name the weight file that is meant.",
        )
    return plain


def _is_text(name: str) -> bool:
    if "/" in name or name.endswith(INDEX_ENDING):
        return False
    return name.lower().endswith(_TEXT_ENDINGS) and not is_weight_name(name)


def _unusable(name: str, reason: str, next_step: str = "Download the file again.") -> CorruptCheckpointError:
    return CorruptCheckpointError(f"{name} cannot be used.", file=name, reason=reason, next_step=next_step)
