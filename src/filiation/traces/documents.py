"""JSON files that say the same although their bytes differ, and config values that few others have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from filiation.errors import InputError
from filiation.evidence import Place
from filiation.repository.identity import same_bytes
from filiation.repository.model import Repository
from filiation.traces.model import Trace
from filiation.traces.public import public

_DOCUMENTS = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "adapter_config.json",
    "chat_template.json",
    "vocab.json",
)
_LEAST = 3  # entries: two equal lines say nothing
_MOST_RARE = 200
_DEEPEST = 8
_RARE_KEY = 2  # families that may have a key, of more than five hundred
_RARE_VALUE = 0
_GEOMETRY = re.compile(
    r"(hidden|intermediate|vocab|ffn|embedding|mlp|head|inner|state)_?(size|dim)"
    r"|(num|n)_[a-z_]*(layers?|heads?|experts?|embd|head|inner|ctx|positions|tok)[a-z_]*"
    r"|(d|dim)_(model|ff|kv|inner|head)|[a-z_]*_token_(id|index)|max_position_embeddings|depth|width"
    r"|rope_theta|type_vocab_size|model_max_length|transformers_version|torch_dtype|dtype|version"
)


def equal_documents(suspect: Repository, reference: Repository, number: int) -> Iterator[Trace]:
    """Yield the JSON files that are equal once parsed, where their bytes are not known to be equal."""
    for path in sorted(suspect.files):
        if path.rpartition("/")[2] not in _DOCUMENTS or path not in reference.files:
            continue
        if same_bytes(suspect.files[path], reference.files[path]) is True:
            continue
        mine, theirs = load(suspect, path), load(reference, path)
        if mine is None or mine != theirs or len(mine) < _LEAST:
            continue
        yield Trace(
            "equal_json",
            Place(file=path, digest=suspect.files[path].sha256),
            "shows.equal_json",
            {"entries": len(mine)},
            number,
            ("cannot_show.common_source", "cannot_show.trace_direction"),
        )


def load(repository: Repository, path: str) -> dict[str, Any] | None:
    """Return a JSON object of a repository, None where there is none that can be read."""
    if not repository.readable(path):
        return None
    try:
        document = json.loads(repository.text(path))
    except (ValueError, RecursionError, InputError):
        return None
    return cast("dict[str, Any]", document) if isinstance(document, dict) else None


def config_values(suspect: Repository, reference: Repository, number: int) -> Iterator[Trace]:
    """Yield what two config.json have in common: how many keys are equal, and which of them are rare.

    Rare is a key that at most two released families have, or a value that no released family has as its default;
    sizes are not counted, for whoever builds on one base shares them.
    """
    mine, theirs = load(suspect, "config.json"), load(reference, "config.json")
    if mine is None or theirs is None:
        return
    left, right = dict(flat(mine)), dict(flat(theirs))
    equal = sorted(key for key in left.keys() & right.keys() if left[key] == right[key])
    rare = [entry for key in equal if (entry := _rarity(key, left[key])) is not None]
    if not equal:
        return
    yield Trace(
        "config_values",
        Place(file="config.json", digest=suspect.files["config.json"].sha256),
        "shows.config_values_rare" if rare else "shows.config_values",
        {
            "equal": len(equal),
            "suspect_values": len(left),
            "reference_values": len(right),
            "rare": rare[:_MOST_RARE],
            "rare_count": len(rare),
            "families": public().families,
            "counted_over": list(public().sources),
        },
        number,
        ("cannot_show.common_source", "cannot_show.dated_table"),
    )


def flat(document: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield every value of a document under its dotted key; lists are values."""
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value and depth < _DEEPEST:
            yield from flat(cast("Mapping[str, Any]", value), name + ".", depth + 1)
        else:
            yield name, value


def _rarity(path: str, value: Any) -> dict[str, Any] | None:
    """Return how rare a value is, None where it is not."""
    key = path.rpartition(".")[2]
    if path.startswith(("auto_map.", "architectures", "id2label.", "label2id.", "_name_or_path")):
        return None  # references are looked at apart; labels are the task's
    with_key = public().families_with_key(key)
    with_value = public().families_with_value(key, value)
    unusual = with_value <= _RARE_VALUE and _is_telling(value) and not _GEOMETRY.fullmatch(key)
    if with_key > _RARE_KEY and not (unusual and with_key < public().families):
        return None
    return {"key": path, "value": value, "families_with_key": with_key, "families_with_value": with_value}


def _is_telling(value: Any) -> bool:
    """A switch or an empty value is one of two that anyone may choose."""
    return value is not None and not isinstance(value, bool) and value not in ("", [], {})
