"""The tokenizers that an endpoint is held against: shipped ones, and those in the user's own files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from filiation import repository, vocabulary
from filiation.behaviour import shipped, tables
from filiation.behaviour.encoders import Encoder, Ids
from filiation.behaviour.encoding import JsonEncoder, is_available
from filiation.behaviour.tables import NoEncoder
from filiation.checkpoint.ggufheader import Cursor, read_values
from filiation.errors import InputError, UnsupportedFormatError
from filiation.repository import Repository, RepositorySource
from filiation.vocabulary import Vocabulary
from filiation.vocabulary.huggingface import from_tokenizer_json, parsed


@dataclass(frozen=True, eq=False)
class Candidate:
    """A tokenizer that can be held against an endpoint.

    Attributes:
        name: short name.
        source: the locator, or where the shipped table was taken from.
        encoder: text to ids.
        vocabulary: tokens by id.
        digest: SHA-256 of the file, where it is known.
        vendor: whose model it belongs to, where that is known; for the contradiction with what a model claims.
        is_shipped: whether it comes with filiation.
    """

    name: str
    source: str
    encoder: Encoder
    vocabulary: Vocabulary
    digest: str | None = None
    vendor: str | None = None
    is_shipped: bool = False

    @cached_property
    def where(self) -> Mapping[bytes, tuple[int, ...]]:
        """The ids of each token."""
        ids: dict[bytes, tuple[int, ...]] = {}
        for number, token in enumerate(self.vocabulary.tokens):
            if token is not None:
                ids[token] = (*ids.get(token, ()), number)
        return ids

    def encode(self, texts: Sequence[str]) -> tuple[Ids, ...]:
        """Return the ids of each text, without special tokens.

        Raises:
            InputError: the tokenizer failed.
        """
        return self.encoder.encode(texts)


@dataclass(frozen=True, slots=True)
class Unusable:
    """A candidate that was named and cannot be held against anything, with a phrase key that says why."""

    name: str
    reason: str


def open_all(
    named: Mapping[str, str], *, with_shipped: bool = True
) -> tuple[tuple[Candidate, ...], tuple[Unusable, ...]]:
    """Return the candidates of these files (name -> locator) and the shipped ones; and those that are of no use.

    Raises:
        InputError: nothing is at a locator, or a tokenizer file is damaged.
    """
    usable = [*shipped_candidates()] if with_shipped else []
    unusable: list[Unusable] = []
    for name, locator in named.items():
        try:
            usable.append(open_file(locator, name))
        except UnsupportedFormatError as error:
            unusable.append(Unusable(name, error.reason or "tokenizer_kind"))
    return tuple(usable), tuple(unusable)


def shipped_candidates(names: Iterable[str] | None = None) -> tuple[Candidate, ...]:
    """Return the shipped tokenizers, or those of these names."""
    wanted = None if names is None else set(names)
    return tuple(
        Candidate(
            entry["name"],
            entry["source"],
            shipped.encoder_of(entry["file"]),
            shipped.vocabulary_of(entry["file"]),
            vendor=entry["vendor"],
            is_shipped=True,
        )
        for entry in shipped.sources()
        if wanted is None or entry["name"] in wanted
    )


def open_file(locator: str, name: str | None = None) -> Candidate:
    """Return the candidate in a tokenizer file, a GGUF file, or a folder or repository that holds one.

    Raises:
        UnsupportedFormatError: no encoder can be made of what is there; ``reason`` is a phrase key.
        InputError: nothing is there, or the file is damaged.
    """
    opened = repository.open(locator)
    path = _path(opened)
    if path is None:
        raise _unusable(locator, "no_tokenizer")
    encoder, found = _read(opened, path)
    if isinstance(encoder, NoEncoder) or found is None:
        raise _unusable(path, encoder.reason if isinstance(encoder, NoEncoder) else "no_tokenizer")
    return Candidate(name or locator, locator, encoder, found, opened.files[path].sha256)


def _unusable(file: str, reason: str) -> UnsupportedFormatError:
    return UnsupportedFormatError(
        "Of this tokenizer no encoder can be made.",
        file=file,
        reason=reason,
        next_step="Give its tokenizer.json, and install filiation[tokenizers].",
    )


_ORDER = ("tokenizer.json", ".gguf", ".tiktoken", "tokenizer.model")


def _path(opened: Repository) -> str | None:
    for ending in _ORDER:
        fitting = [p for p in opened.files if p.lower().endswith(ending)]
        if fitting:
            return min(fitting, key=lambda path: (path.count("/"), path))
    return min((p for p in opened.files if p.lower().endswith(".json")), default=None)


def _read(opened: Repository, path: str) -> tuple[Encoder | NoEncoder, Vocabulary | None]:
    if path.lower().endswith(".gguf"):
        metadata = _metadata(opened, path)
        return tables.from_gguf(metadata), vocabulary.from_metadata(metadata)
    if path.lower().endswith(".json"):
        return _from_json(opened, path)
    name = path.rpartition("/")[2]
    found = vocabulary.from_files({name}, lambda _: opened.data(path))
    if found is None or found.kind != "tiktoken":
        return NoEncoder("sentencepiece_alone"), found
    return tables.from_ranks(found), found


def _from_json(opened: Repository, path: str) -> tuple[Encoder | NoEncoder, Vocabulary]:
    text = opened.text(path)
    document = parsed(text, path)
    found = from_tokenizer_json(document, path)
    encoder = tables.from_json(cast("Mapping[str, Any]", document))
    if isinstance(encoder, NoEncoder) and is_available():
        return JsonEncoder(text, path), found
    return encoder, found


def _metadata(opened: Repository, path: str) -> Mapping[str, Any]:
    size = opened.files[path].size
    if size is None or opened.part is None:
        raise _unusable(path, "header_not_at_hand")
    cursor = Cursor(RepositorySource(opened), path, size)
    if cursor.take(4) != b"GGUF" or cursor.number("I") not in (2, 3):
        raise _unusable(path, "not_gguf")
    cursor.number("Q")
    return read_values(cursor, cursor.number("Q"))


__all__ = ["Candidate", "InputError", "Unusable", "open_all", "open_file", "shipped_candidates"]
