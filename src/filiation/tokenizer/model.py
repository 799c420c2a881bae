"""The records of the wing: a tokenizer as it is compared, and what the comparison found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from filiation.evidence import Evidence
from filiation.vocabulary import Vocabulary

Key = bytes
"""A token as it is compared: one byte that says whether it is a byte piece, then the bytes it stands for."""


class TokenizerRelation(StrEnum):
    """How the suspect's tokenizer is related to the reference's."""

    SAME = "same"
    EXTENDED = "extended"
    PRUNED = "pruned"
    REORDERED = "reordered"
    RETRAINED = "retrained"
    UNRELATED = "unrelated"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer, read from whatever file holds it.

    Attributes:
        vocabulary: tokens by id.
        file: where it was read.
        digest: SHA-256 of that file, where its bytes are at hand.
        source: ``tokenizer_json``, ``gguf`` or ``pieces`` (every other file: tokens and ids only).
        added: the added and special tokens with their ids.
        ranks: the tokens that merges make, each with the order of its first merge; None where merges are not told
            and ids stand for their order (tiktoken, sentencepiece).
        merges: the merges themselves as pairs of tokens, in order; None where they are not told.
        pipeline: normaliser, pre-tokeniser, decoder, post-processor as JSON; None where they are not told.
    """

    vocabulary: Vocabulary
    file: str
    digest: str | None
    source: str
    added: Mapping[str, int] = field(default_factory=dict[str, int])
    ranks: Mapping[Key, int] | None = None
    merges: frozenset[tuple[bytes, bytes]] | None = None
    pipeline: Mapping[str, Any] | None = None
    keys: Mapping[Key, int] = field(default_factory=dict[Key, int])


@dataclass(frozen=True, slots=True)
class Explanation:
    """A public tokenizer that explains an agreement.

    Attributes:
        kind: ``suspect_is``, ``reference_is`` (one of the two is that tokenizer), ``common_ancestor`` (both hold it).
        name: its name in the shipped fingerprints.
        tokens: how many tokens it has.
        suspect_share, reference_share: share of its tokens that each of the two holds, estimated from a sample.
        suspect_equal_ids, reference_equal_ids: share of its tokens that each holds at the same id.
        source: where its fingerprint was taken.
    """

    kind: str
    name: str
    tokens: int
    suspect_share: float
    reference_share: float
    suspect_equal_ids: float
    reference_equal_ids: float
    source: str


@dataclass(frozen=True, slots=True)
class TokenizerFinding:
    """How two tokenizers are related. It speaks of the tokenizers alone, never of the weights.

    Attributes:
        relation: see :class:`TokenizerRelation`.
        numbers: what was counted; JSON types only. What could not be measured is there as ``{"not_measured": key}``.
        explanation: the public tokenizers that explain what the two share, the largest first.
        evidence: the same as evidence records.
    """

    relation: TokenizerRelation
    numbers: Mapping[str, Any]
    explanation: tuple[Explanation, ...]
    evidence: tuple[Evidence, ...]
