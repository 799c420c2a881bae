"""What is public among config values and module names: counted over transformers' families, kept as hashes.

A config key that four hundred families have says nothing when two models share it; one that no released family has
says much. The table is made by :mod:`filiation.traces.build` from pinned releases and is dated by them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

_SLOT = re.compile(
    r"[<\[|]{1,3}[A-Za-z_ |-]{1,40}[0-9]{1,5}[>\]|]{1,3}|<s>|</s>|<unk>|<pad>|<mask>|\[[A-Z]{2,8}\]|[\t\n ]+"
)
_NAMELESS = frozenset(
    # What torch's own modules call their parameters and buffers: no family's choice.
    {"weight", "bias", "running_mean", "running_var", "num_batches_tracked", "in_proj_weight", "in_proj_bias"}
)
_ADDED = frozenset(
    # Config keys that transformers writes, or wrote, for every model, and that no class declares.
    {
        "_name_or_path", "_attn_implementation", "_commit_hash", "architectures", "auto_map", "dtype", "model_type",
        "quantization_config", "rope_parameters", "rope_scaling", "rope_theta", "torch_dtype",
        "transformers_version", "use_cache", "pretraining_tp",
    }
)  # fmt: skip


def hash_of(text: str) -> int:
    """Return 32 bits of BLAKE2b of a text."""
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "little"
    )


def value_key(key: str, value: Any) -> str:
    """Return one text for a key and its value; 1 and 1.0 are the same value."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return f"{key}\0{json.dumps(value, sort_keys=True, default=str)}"


@dataclass(frozen=True)
class Public:
    """The table. ``families`` is how many families it counts over."""

    families: int
    sources: tuple[str, ...]
    _keys: Mapping[int, int]
    _values: Mapping[int, int]
    _names: Mapping[str, frozenset[int]]
    _name_counts: Mapping[int, int]
    _classes: frozenset[int]
    _tokens: frozenset[int]

    def families_with_key(self, key: str) -> int:
        """Return in how many families' configs a key stands."""
        return self.families if key in _ADDED else self._keys.get(hash_of(key), 0)

    def families_with_value(self, key: str, value: Any) -> int:
        """Return how many families have this default for this key."""
        return self._values.get(hash_of(value_key(key, value)), 0)

    def families_with_name(self, name: str) -> int:
        """Return in how many families a module or parameter has this name."""
        return len(self._names) if name in _NAMELESS else self._name_counts.get(hash_of(name), 0)

    def has_class(self, name: str) -> bool:
        """Return whether a released class has this name."""
        return hash_of(name) in self._classes

    def has_token(self, text: str) -> bool:
        """Return whether a published tokenizer has this added token, or it is a numbered reserve of any."""
        return _SLOT.fullmatch(text) is not None or hash_of(text) in self._tokens

    def names_of(self, family: str) -> frozenset[int]:
        """Return the hashes of a family's names; none for an unknown family."""
        return self._names.get(family, frozenset())

    @property
    def named_families(self) -> tuple[str, ...]:
        """The families whose names are known, sorted."""
        return tuple(sorted(self._names))


@cache
def public() -> Public:
    """Return the shipped table."""
    document = json.loads((HERE / "public.json").read_text(encoding="utf-8"))
    names = {family: frozenset(_numbers(text)) for family, text in document["names"].items()}
    counts: dict[int, int] = {}
    for found in names.values():
        for number in found:
            counts[number] = counts.get(number, 0) + 1
    return Public(
        families=document["families"],
        sources=tuple(source["file"] for source in document["sources"]),
        _keys=dict(struct.iter_unpack("<IH", base64.b64decode(document["keys"]))),
        _values=dict(struct.iter_unpack("<IH", base64.b64decode(document["values"]))),
        _names=names,
        _name_counts=counts,
        _classes=frozenset(_numbers(document["classes"])),
        _tokens=frozenset(_numbers(document["tokens"])),
    )


def _numbers(text: str) -> list[int]:
    return [row[0] for row in struct.iter_unpack("<I", base64.b64decode(text))]
