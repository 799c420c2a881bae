"""Added tokens that stand at the same ids in both repositories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from filiation.evidence import Place
from filiation.repository.model import Repository
from filiation.traces.documents import load
from filiation.traces.model import Trace
from filiation.traces.public import public

_MOST = 200
_SOURCES = ("tokenizer.json", "tokenizer_config.json", "added_tokens.json")


def traces(suspect: Repository, reference: Repository, number: int) -> Iterator[Trace]:
    """Yield the added tokens that both have at one id; rare ones are those that no published tokenizer has.

    Numbered reserves (``<|reserved_special_token_7|>``) count as tokens, never as rare ones.
    """
    (mine, file), (theirs, _) = added(suspect), added(reference)
    shared = {token: n for token, n in mine.items() if theirs.get(token) == n}
    if file is None or not shared:
        return
    rare = sorted((n, token) for token, n in shared.items() if not public().has_token(token))
    yield Trace(
        "added_tokens",
        Place(file=file, digest=suspect.files[file].sha256),
        "shows.added_tokens_rare" if rare else "shows.added_tokens",
        {
            "at_equal_ids": len(shared),
            "suspect_tokens": len(mine),
            "reference_tokens": len(theirs),
            "rare": [{"id": n, "token": token} for n, token in rare[:_MOST]],
            "rare_count": len(rare),
        },
        number,
        ("cannot_show.common_source", "cannot_show.dated_table"),
    )


def added(repository: Repository) -> tuple[dict[str, int], str | None]:
    """Return the added tokens with their ids, and the file that names them."""
    for file in _SOURCES:
        document = load(repository, file)
        found = {} if document is None else _of(document)
        if found:
            return found, file
    return {}, None


def _of(document: Mapping[str, Any]) -> dict[str, int]:
    entries: Any = document.get("added_tokens")
    if isinstance(entries, list):
        listed = [cast("dict[str, Any]", e) for e in cast("list[Any]", entries) if isinstance(e, dict)]
        return {e["content"]: e["id"] for e in listed if _is_token(e.get("content"), e.get("id"))}
    decoder: Any = document.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        pairs = [(n, e) for n, e in cast("dict[str, Any]", decoder).items() if isinstance(e, dict)]
        known = [(cast("dict[str, Any]", e).get("content"), n) for n, e in pairs]
        return {str(c): int(n) for c, n in known if isinstance(c, str) and n.isdecimal() and len(n) < 10}
    if all(type(value) is int for value in document.values()):
        return dict(document)
    return {}


def _is_token(content: Any, number: Any) -> bool:
    return isinstance(content, str) and type(number) is int
