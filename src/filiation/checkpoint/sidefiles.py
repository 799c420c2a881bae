"""The files beside the weights: config.json, the tokenizer's, the card. Read when asked for, within bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from filiation.checkpoint.shards import INDEX_ENDING, POINTER_START, is_weight_name, read_json
from filiation.checkpoint.sources.base import Source
from filiation.errors import CorruptCheckpointError, NotFoundError

MAX_SIDE_FILE = 256 << 20
"""Bytes of a side file that are read at most; the largest tokenizer.json known has about 35 MB."""

_MAX_CONFIG = 16 << 20
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


def _is_text(name: str) -> bool:
    if "/" in name or name.endswith(INDEX_ENDING):
        return False
    return name.lower().endswith(_TEXT_ENDINGS) and not is_weight_name(name)


def _unusable(name: str, reason: str, next_step: str = "Download the file again.") -> CorruptCheckpointError:
    return CorruptCheckpointError(f"{name} cannot be used.", file=name, reason=reason, next_step=next_step)
