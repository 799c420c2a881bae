"""Reading a repository's tokenizer: tokenizer.json, GGUF metadata, sentencepiece, tiktoken ranks, older files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from filiation import vocabulary
from filiation.checkpoint.ggufheader import Cursor, read_values
from filiation.errors import InputError
from filiation.repository.model import Repository
from filiation.repository.source import RepositorySource
from filiation.tokenizer.model import Key, Tokenizer
from filiation.vocabulary import Vocabulary
from filiation.vocabulary.huggingface import added_tokens, from_tokenizer_json, parsed
from filiation.vocabulary.spelling import spelt

_COMPLETE = "tokenizer.json"
_OTHERS = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt")
_PIPELINE = ("normalizer", "pre_tokenizer", "decoder", "post_processor")
_CONTROL = (3, 4)
_MOST_MERGES = 4_000_000


def load(repository: Repository) -> Tokenizer | None:
    """Return the repository's tokenizer, None where it holds none that can be read.

    tokenizer.json comes first, then a GGUF file's own, then the older files; the one nearest to the root.

    Raises:
        CorruptCheckpointError: a tokenizer file is there and is damaged.
    """
    complete = _nearest(repository, _is_complete)
    if complete is not None:
        return _from_json(repository, complete)
    packed = min((p for p in repository.files if p.lower().endswith(".gguf")), default=None)
    if packed is not None and (found := _from_gguf(repository, packed)) is not None:
        return found
    return _from_pieces(repository)


def keyed(found: Vocabulary) -> dict[Key, int]:
    """Return the tokens as keys with their ids; of a token that is held twice, the first."""
    keys: dict[Key, int] = {}
    for number, token in enumerate(found.tokens):
        if token is not None:
            keys.setdefault((b"\1" if number in found.fallback else b"\0") + token, number)
    return keys


def _is_complete(path: str) -> bool:
    return path.rpartition("/")[2] == _COMPLETE


def _is_older(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name in _OTHERS or name.endswith(".tiktoken")


def _nearest(repository: Repository, wanted: Callable[[str], bool]) -> str | None:
    """Return the readable file of this kind that is nearest to the root."""
    fitting = [path for path in repository.files if wanted(path) and repository.readable(path)]
    return min(fitting, key=lambda path: (path.count("/"), path), default=None)


def _from_json(repository: Repository, path: str) -> Tokenizer:
    document = parsed(repository.text(path), path)
    found = from_tokenizer_json(document, path)
    known = cast("dict[str, Any]", document)
    model = cast("dict[str, Any]", known["model"])
    merges = _merges(model.get("merges"), found.kind)
    entries: Any = known.get("added_tokens")
    listed = (
        [cast("dict[str, Any]", e) for e in entries if isinstance(e, dict)]
        if isinstance(entries, list)
        else []
    )
    added = {
        e["content"]: e["id"]
        for e in listed
        if isinstance(e.get("content"), str) and type(e.get("id")) is int
    }
    return Tokenizer(
        vocabulary=found,
        file=path,
        digest=repository.files[path].sha256,
        source="tokenizer_json",
        added=added,
        ranks=None if merges is None else _ranks(merges),
        merges=None if merges is None else frozenset(merges),
        pipeline={"model": model.get("type"), **{key: known.get(key) for key in _PIPELINE}},
        keys=keyed(found),
    )


def _merges(listed: Any, kind: str) -> list[tuple[bytes, bytes]] | None:
    """Return merges, written as ``"a b"`` or as ``["a", "b"]``, as pairs of bytes."""
    if not isinstance(listed, list | tuple) or not listed or len(cast("list[Any]", listed)) > _MOST_MERGES:
        return None
    found: list[tuple[bytes, bytes]] = []
    known: dict[str, bytes] = {}
    for entry in cast("list[Any]", listed):
        pair = entry.split(" ") if isinstance(entry, str) else entry
        if not isinstance(pair, list) or len(cast("list[Any]", pair)) != 2:
            continue
        first, second = (str(part) for part in cast("list[Any]", pair))
        for part in (first, second):
            if part not in known:
                known[part] = spelt(part, kind)
        found.append((known[first], known[second]))
    return found or None


def _ranks(merges: Iterable[tuple[bytes, bytes]]) -> dict[Key, int]:
    ranks: dict[Key, int] = {}
    for number, (first, second) in enumerate(merges):
        ranks.setdefault(b"\0" + first + second, number)
    return ranks


def _from_gguf(repository: Repository, path: str) -> Tokenizer | None:
    size = repository.files[path].size
    if size is None or repository.part is None:
        return None
    cursor = Cursor(RepositorySource(repository), path, size)
    if cursor.take(4) != b"GGUF" or cursor.number("I") not in (2, 3):
        return None
    cursor.number("Q")
    metadata = read_values(cursor, cursor.number("Q"))
    found = vocabulary.from_metadata(metadata)
    if found is None:
        return None
    merges = _merges(_listed(metadata, "tokenizer.ggml.merges"), found.kind)
    named: Any = metadata.get("tokenizer.ggml.pre")
    return Tokenizer(
        vocabulary=found,
        file=path,
        digest=repository.files[path].sha256,
        source="gguf",
        added=_control(metadata, found),
        ranks=None if merges is None else _ranks(merges),
        merges=None if merges is None else frozenset(merges),
        pipeline=None if named is None else {"ggml_pre": str(named)},
        keys=keyed(found),
    )


def _control(metadata: Mapping[str, Any], found: Vocabulary) -> dict[str, int]:
    """Return the tokens that a GGUF file marks as control or user-defined."""
    types: Any = metadata.get("tokenizer.ggml.token_type")
    if types is None:
        return {}
    marked = [n for n, kind in enumerate(types) if int(kind) in _CONTROL and n < len(found.tokens)]
    return {token.decode("utf-8", "replace"): n for n in marked if (token := found.tokens[n]) is not None}


def _listed(metadata: Mapping[str, Any], key: str) -> list[Any] | None:
    value: Any = metadata.get(key)
    return None if value is None else list(value)


def _from_pieces(repository: Repository) -> Tokenizer | None:
    path = _nearest(repository, _is_older)
    if path is None:
        return None
    folder = path[: len(path) - len(path.rpartition("/")[2])]
    inside = [p[len(folder) :] for p in repository.files if p.startswith(folder) and repository.readable(p)]
    names = {name for name in inside if "/" not in name}
    found = vocabulary.from_files(names, lambda name: repository.data(folder + name))
    if found is None:
        return None
    file = folder + found.source
    added = _added_beside(repository, folder)
    merges = _merges(_merges_txt(repository, folder + "merges.txt"), found.kind)
    return Tokenizer(
        vocabulary=found,
        file=file,
        digest=repository.files[file].sha256,
        source="pieces",
        added=added,
        ranks=None if merges is None else _ranks(merges),
        merges=None if merges is None else frozenset(merges),
        keys=keyed(found),
    )


def _merges_txt(repository: Repository, path: str) -> list[str] | None:
    if not repository.readable(path):
        return None
    return [line for line in repository.text(path).split("\n") if line and not line.startswith("#version")]


def _added_beside(repository: Repository, folder: str) -> dict[str, int]:
    added: dict[str, int] = {}
    for name in ("added_tokens.json", "tokenizer_config.json"):
        if repository.readable(folder + name):
            try:
                added |= added_tokens(parsed(repository.text(folder + name), folder + name))
            except InputError:
                continue
    return added
