"""What configuration files and GGUF metadata say of a model's parents, licence and name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from filiation.disclosure import cardyaml
from filiation.errors import FiliationError
from filiation.evidence import Claim, Place
from filiation.repository import Repository, RepositorySource

MAX_JSON = 8 << 20
"""Bytes of a configuration file that is read."""

_MAX_GGUF = 8
_CONFIGS = {
    "config.json": {
        "_name_or_path": "config_name_or_path",
        "name_or_path": "config_name_or_path",
        "model_name": "config_name",
        "name": "config_name",
        "model_type": "config_model_type",
        "architectures": "config_architecture",
        "auto_map": "auto_map",
        "quantization_config.quant_method": "quantization",
    },
    "adapter_config.json": {"base_model_name_or_path": "adapter_base", "peft_type": "adapter_type"},
    "tokenizer_config.json": {
        "tokenizer_class": "tokenizer_class",
        "name_or_path": "tokenizer_name_or_path",
        "auto_map": "auto_map",
    },
}
MERGE_FILES = ("mergekit_config.yml", "mergekit_config.yaml", "mergekit_moe_config.yml", "merge_config.yml")
MERGE_KEYS = frozenset({"models", "slices", "base_model", "merge_method", "experts", "modules"})
_MODEL_KEYS = frozenset({"model", "path", "base_model", "source_model"})
_GGUF = {
    "general.name": "gguf_name",
    "general.license": "gguf_license",
    "general.license.name": "gguf_license_name",
    "general.license.link": "gguf_license_link",
    "general.source.repo_url": "gguf_source",
    "general.source.huggingface.repository": "gguf_source",
    "general.architecture": "gguf_architecture",
    "general.file_type": "quantization",
}


def config_claims(repository: Repository) -> Iterator[Claim]:
    """Yield what JSON configuration files say."""
    for path in sorted(repository.files):
        keys = _CONFIGS.get(path.rpartition("/")[2])
        if keys is None or path.count("/") > 1 or not repository.readable(path):
            continue
        text, data = read_json(repository, path)
        for key, subject in keys.items():
            for value in _texts(_find(data, key)):
                yield Claim(
                    subject, value, _place(repository, path, _line(text, key.rpartition(".")[2], value))
                )


def read_json(repository: Repository, path: str) -> tuple[str, Mapping[str, Any]]:
    """Return text and content of a JSON object; an empty one when it is none, too large or broken."""
    if not repository.readable(path) or (repository.files[path].size or 0) > MAX_JSON:
        return "", {}
    text = repository.text(path)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return text, {}
    return text, cast("Mapping[str, Any]", data) if isinstance(data, dict) else {}


def _find(data: Mapping[str, Any], key: str) -> Any:
    value: Any = data
    for step in key.split("."):
        value = cast("Mapping[str, Any]", value).get(step) if isinstance(value, Mapping) else None
    return value


def _texts(value: Any) -> list[str]:
    """The strings of a value, a list or a mapping's values; nothing deeper than two levels."""
    if isinstance(value, str):
        return [value[:500]] if value.strip() else []
    inner: list[Any] = []
    if isinstance(value, Mapping):
        inner = list(cast("Mapping[str, Any]", value).values())
    elif isinstance(value, list):
        inner = cast("list[Any]", value)
    flat = [y for x in inner[:100] for y in (cast("list[Any]", x) if isinstance(x, list) else [x])]
    return [x[:500] for x in flat if isinstance(x, str) and x.strip()]


def _line(text: str, key: str, value: str) -> int | None:
    """The line of a value of a JSON file, found by its spelling; the key's line where that fails."""
    for part in (json.dumps(value), json.dumps(value, ensure_ascii=False), f'"{key}"'):
        at = text.find(part)
        if at >= 0:
            return text.count("\n", 0, at) + 1
    return None


def _place(repository: Repository, path: str, line: int | None) -> Place:
    return Place(file=path, line=line, digest=repository.files[path].sha256)


def merge_claims(repository: Repository) -> Iterator[Claim]:
    """Yield the models that a merge recipe names, and its method."""
    for path in sorted(repository.files):
        if path.rpartition("/")[2].lower() not in MERGE_FILES or not repository.readable(path):
            continue
        front = cardyaml.read_plain(repository.text(path), MERGE_KEYS)
        for key, values in front.values.items():
            for value in values:
                place = _place(repository, path, value.line)
                if key == "merge_method":
                    yield Claim("merge_method", value.text, place)
                elif value.key in _MODEL_KEYS:
                    for name in value.text.split("+"):  # "model+lora": both are parents
                        yield Claim("merge_parent", name.strip(), place)


def gguf_claims(repository: Repository) -> Iterator[Claim]:
    """Yield what the ``general.*`` keys of GGUF files say; a file that cannot be read says nothing."""
    found = sorted(p for p, f in repository.files.items() if p.lower().endswith(".gguf") and f.size)
    for path in found[:_MAX_GGUF]:
        for key, value in _gguf_values(repository, path).items():
            subject = _GGUF.get(key) or _gguf_parent(key)
            if subject is not None and str(value).strip():
                text = _hub_name(str(value)) if subject in _ADDRESSES else str(value)
                yield Claim(
                    subject, text[:500], Place(file=path, tensor=key, digest=repository.files[path].sha256)
                )


_ADDRESSES = frozenset({"gguf_base_model", "gguf_source", "gguf_dataset"})


def _gguf_parent(key: str) -> str | None:
    """``general.base_model.0.repo_url`` (or ``.name`` where there is no address), ``general.dataset.0.repo_url``."""
    parts = key.split(".")
    if len(parts) == 4 and parts[0] == "general" and parts[2].isdigit():
        if parts[1] == "base_model" and parts[3] in {"repo_url", "name"}:
            return "gguf_base_model"
        if parts[1] == "dataset" and parts[3] in {"repo_url", "name"}:
            return "gguf_dataset"
    return None


def _gguf_values(repository: Repository, path: str) -> dict[str, Any]:
    """Return the scalar ``general.*`` values; where a parent has an address, its plain name is left out."""
    from filiation.checkpoint.formats.gguf import MAGIC
    from filiation.checkpoint.ggufheader import Cursor, read_values

    cursor = Cursor(RepositorySource(repository), path, repository.files[path].size or 0)
    try:
        if cursor.take(4) != MAGIC or cursor.number("I") not in (2, 3):
            return {}
        cursor.number("Q")
        values = read_values(cursor, cursor.number("Q"))
    except FiliationError:
        return {}
    kept = {k: v for k, v in values.items() if k.startswith("general.") and isinstance(v, str | int)}
    return {k: v for k, v in kept.items() if not (k.endswith(".name") and f"{k[:-5]}.repo_url" in kept)}


def _hub_name(address: str) -> str:
    """Return ``publisher/model`` of an address on a hub, else the address."""
    for host in ("huggingface.co/", "hf.co/", "modelscope.cn/models/"):
        if host in address:
            rest = address.partition(host)[2].removeprefix("datasets/").split("/")
            return "/".join(rest[:2])
    return address
