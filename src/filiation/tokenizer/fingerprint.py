"""Public tokenizers recognised from fingerprints: a sample of token hashes with their ids, no vocabulary.

A fingerprint holds the tokens whose hashes are smallest (a bottom-k sketch), each as 48 bits of its hash and its id.
Which tokens these are depends on their hashes only, so they are a uniform sample of the vocabulary, and the share of
them that another tokenizer holds estimates the share of the whole, with a standard error of at most 1.6 points for
1,024.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from filiation.tokenizer.model import Key

HERE = Path(__file__).resolve().parent
SAMPLE = 1024
_HOLDS = 0.95
_IS = 0.995
_ORDERED = 0.98


@dataclass(frozen=True)
class Fingerprint:
    """A public tokenizer.

    Attributes:
        name: short name.
        tokens: how many ordinary tokens it has (added ones not counted).
        set_digest: SHA-256 over the sorted hashes of all its ordinary tokens.
        sample: hash and id of the sampled tokens, by id.
        added: hashes of its added tokens.
        source: the package, version and SHA-256 it was made from.
    """

    name: str
    tokens: int
    set_digest: str
    sample: tuple[tuple[int, int], ...]
    added: frozenset[int]
    source: str


@dataclass(frozen=True, slots=True)
class Held:
    """How much of a fingerprint a tokenizer holds.

    Attributes:
        share: of its tokens.
        equal_ids: share of its tokens that stand at the same id.
        order: share of the held tokens whose ids ascend as the fingerprint's do (longest increasing run).
        is_it: whether the tokenizer holds hardly anything else.
        exact: whether the ordinary tokens are the very same.
    """

    share: float
    equal_ids: float
    order: float
    is_it: bool
    exact: bool

    @property
    def holds(self) -> bool:
        """Whether the tokenizer holds it: nearly all of its tokens, in its order."""
        return self.share >= _HOLDS and self.order >= _ORDERED


def hash_of(key: Key) -> int:
    """Return 48 bits of BLAKE2b of a token's key."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=6).digest(), "big")


def digest_of(hashes: Iterable[int]) -> str:
    """Return the SHA-256 over the sorted hashes."""
    return hashlib.sha256(b"".join(h.to_bytes(6, "big") for h in sorted(hashes))).hexdigest()


def ordinary(keys: Mapping[Key, int], *added: Mapping[str, int]) -> dict[Key, int]:
    """Return the tokens without the added ones of either table."""
    drop = {b"\0" + text.encode() for table in added for text in table}
    return {key: number for key, number in keys.items() if key not in drop}


def hashes_of(keys: Mapping[Key, int]) -> dict[int, int]:
    """Return the hash of each token with its id."""
    return {hash_of(key): number for key, number in keys.items()}


def make(name: str, keys: Mapping[Key, int], added: Mapping[str, int], source: str) -> dict[str, Any]:
    """Return the fingerprint of a tokenizer as JSON types."""
    hashes = hashes_of(ordinary(keys, added))
    sample = sorted(sorted(hashes.items())[:SAMPLE], key=lambda pair: pair[1])
    rows = b"".join(h.to_bytes(6, "big") + struct.pack(">I", number) for h, number in sample)
    extra = b"".join(h.to_bytes(6, "big") for h in sorted(hash_of(b"\0" + text.encode()) for text in added))
    return {
        "name": name,
        "tokens": len(hashes),
        "set_digest": digest_of(hashes),
        "sample": base64.b64encode(rows).decode("ascii"),
        "added": base64.b64encode(extra).decode("ascii"),
        "source": source,
    }


@cache
def fingerprints() -> tuple[Fingerprint, ...]:
    """Return the shipped fingerprints, the largest first."""
    document = json.loads((HERE / "fingerprints.json").read_text(encoding="utf-8"))
    found = [_parsed(entry) for entry in document]
    return tuple(sorted(found, key=lambda f: (-f.tokens, f.name)))


def _parsed(entry: Mapping[str, Any]) -> Fingerprint:
    rows, extra = base64.b64decode(entry["sample"]), base64.b64decode(entry["added"])
    sample = [
        (int.from_bytes(rows[at : at + 6], "big"), int.from_bytes(rows[at + 6 : at + 10], "big"))
        for at in range(0, len(rows), 10)
    ]
    added = [int.from_bytes(extra[at : at + 6], "big") for at in range(0, len(extra), 6)]
    return Fingerprint(
        entry["name"], entry["tokens"], entry["set_digest"], tuple(sample), frozenset(added), entry["source"]
    )


def held(fingerprint: Fingerprint, hashes: Mapping[int, int]) -> Held:
    """Return how much of a fingerprint the ordinary tokens of a tokenizer hold (hash -> id)."""
    pairs = [(hashes[h], number) for h, number in fingerprint.sample if h in hashes]
    share = len(pairs) / len(fingerprint.sample)
    equal = sum(mine == theirs for mine, theirs in pairs)
    order = longest_ascent([mine for mine, _ in pairs]) / len(pairs) if pairs else 0.0
    like_size = abs(len(hashes) - fingerprint.tokens) <= (1 - _IS) * fingerprint.tokens
    exact = like_size and share == 1.0 and digest_of(hashes) == fingerprint.set_digest
    return Held(
        share, equal / len(fingerprint.sample), order, like_size and share >= _IS and order >= _ORDERED, exact
    )


def longest_ascent(numbers: Sequence[int]) -> int:
    """Return the length of the longest strictly increasing subsequence."""
    ends: list[int] = []
    for number in numbers:
        at = bisect_left(ends, number)
        ends[at : at + 1] = [number]
    return len(ends)
