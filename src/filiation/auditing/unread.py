"""Files that are there and do not say what they were written to say: another encoding, broken JSON or YAML, too large.

Every head of an audit passes over such a file in silence, because others may still speak. Here the silence is told.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator

from filiation.disclosure.cardyaml import read, read_plain
from filiation.disclosure.claims import CARD_KEYS
from filiation.disclosure.configs import MAX_JSON, MERGE_FILES, MERGE_KEYS
from filiation.disclosure.papers import MAX_PAPER, is_card, is_paper
from filiation.errors import InputError
from filiation.repository import Repository

MAX_FILES = 400
"""Files of each kind that are tried."""

MAX_TRIED = 64 << 20
"""Bytes of a JSON file that is tried: the largest tokenizers have a quarter of that."""

_CONFIGS = frozenset({"config.json", "adapter_config.json", "tokenizer_config.json"})
#: What some head of an audit reads; other JSON files say nothing that is asked for, and a hub would be asked for them.
_READ = _CONFIGS | {
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "params.json",
    "preprocessor_config.json",
    "processor_config.json",
    "vocab.json",
}
_INDEX = ".index.json"
_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SAMPLE = 4096


def unread(repository: Repository) -> Iterator[tuple[str, str]]:
    """Yield path and phrase key of each file that could not be read for what it says."""
    for path, why in _each(repository):
        yield path, f"audit.unread.{why}"


def _each(repository: Repository) -> Iterator[tuple[str, str]]:
    readable = [path for path in sorted(repository.files) if repository.readable(path)]
    papers = [path for path in readable if is_paper(path)]
    for path in papers[:MAX_FILES]:
        yield from ((path, why) for why in _paper(repository, path))
    recipes = [path for path in readable if path.rpartition("/")[2].lower() in MERGE_FILES]
    for path in recipes[:MAX_FILES]:
        if read_plain(repository.text(path), MERGE_KEYS).problem:
            yield path, "yaml_broken"
    documents = [path for path in readable if _is_read(path) and path.count("/") <= 1]
    for path in documents[:MAX_FILES]:
        why = _document(repository, path)
        if why is not None:
            yield path, why


def _is_read(path: str) -> bool:
    name = path.rpartition("/")[2].lower()
    return name in _READ or name.endswith(_INDEX)


def _paper(repository: Repository, path: str) -> Iterator[str]:
    if (repository.files[path].size or 0) > MAX_PAPER:
        yield "paper_too_large"
        return
    data = repository.data(path)
    encoding = _encoding(data)
    if encoding is not None:
        yield encoding
    if encoding == "wide" or not is_card(path):
        return
    front = read(repository.text(path), CARD_KEYS)
    if front.problem:
        yield front.problem
    if front.unreadable:
        yield "yaml_tagged"


def _document(repository: Repository, path: str) -> str | None:
    size = repository.files[path].size or 0
    if size > MAX_TRIED or (path.rpartition("/")[2] in _CONFIGS and size > MAX_JSON):
        return "json_too_large"
    try:
        if _encoding(repository.data(path)[:_SAMPLE]) == "wide":
            return "wide"
        json.loads(repository.text(path))
    except RecursionError:
        return "json_too_deep"
    except InputError:
        return "changed"
    except ValueError:
        return "json_broken"
    return None


def _encoding(data: bytes) -> str | None:
    """Return ``wide`` for UTF-16 and UTF-32, ``latin`` for what is not UTF-8 either, None for what is."""
    if data.startswith(_MARKS) or data[:_SAMPLE].count(0) * 4 > len(data[:_SAMPLE]):
        return "wide"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return "latin"
    return None
