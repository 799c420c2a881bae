"""What two tokenizers have in common, counted: tokens, ids, order, merges, added tokens, the steps around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from filiation.tokenizer.fingerprint import fingerprints, hash_of, longest_ascent, ordinary
from filiation.tokenizer.model import Key, Tokenizer, TokenizerRelation

_ALL = 0.9995
_NEARLY = 0.98
_MOST = 0.95
_LEAST = 300  # shared tokens: the 256 bytes are everyone's
_MOST_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Overlap:
    """Counts over ordinary tokens: those that neither side has added.

    Attributes:
        suspect, reference: how many each has.
        shared: how many both have.
        equal_ids: how many of these stand at one id.
        ascending: the longest run of them whose ids ascend in both.
    """

    suspect: int
    reference: int
    shared: int
    equal_ids: int
    ascending: int

    @property
    def of_suspect(self) -> float:
        """Share of the suspect's tokens that the reference has."""
        return self.shared / self.suspect if self.suspect else 0.0

    @property
    def of_reference(self) -> float:
        """Share of the reference's tokens that the suspect has."""
        return self.shared / self.reference if self.reference else 0.0

    @property
    def jaccard(self) -> float:
        """Shared tokens over all tokens of either."""
        union = self.suspect + self.reference - self.shared
        return self.shared / union if union else 0.0

    @property
    def same_ids(self) -> float:
        """Share of the shared tokens that stand at one id."""
        return self.equal_ids / self.shared if self.shared else 0.0

    @property
    def order(self) -> float:
        """Share of the shared tokens that keep their order; about ``2/sqrt(shared)`` by chance."""
        return self.ascending / self.shared if self.shared else 0.0


def overlap(suspect: Tokenizer, reference: Tokenizer) -> Overlap:
    """Count what the ordinary tokens of two tokenizers share."""
    mine = ordinary(suspect.keys, suspect.added, reference.added)
    theirs = ordinary(reference.keys, suspect.added, reference.added)
    pairs = sorted((theirs[key], number) for key, number in mine.items() if key in theirs)
    return Overlap(
        suspect=len(mine),
        reference=len(theirs),
        shared=len(pairs),
        equal_ids=sum(a == b for a, b in pairs),
        ascending=longest_ascent([number for _, number in pairs]),
    )


def relation(found: Overlap, suspect: Tokenizer, reference: Tokenizer) -> TokenizerRelation:
    """Return how the suspect's ordinary tokens are related to the reference's.

    Containment alone says little: any large vocabulary holds most of a small one. The order of the shared ids decides,
    for independent trainings agree on it no more than chance makes them.
    """
    a, b = found.of_suspect, found.of_reference
    if min(a, b) >= _ALL and found.same_ids >= _ALL:
        return TokenizerRelation.SAME
    moved = found.order < _NEARLY or (found.same_ids < _NEARLY and min(a, b) >= _ALL)
    if min(a, b) >= _MOST and found.shared >= _LEAST and moved:
        return TokenizerRelation.REORDERED
    if found.shared >= _LEAST and found.order >= _NEARLY:
        if b >= _MOST and found.suspect >= found.reference:
            return TokenizerRelation.EXTENDED
        if a >= _MOST:
            return TokenizerRelation.PRUNED
    if _one_recipe(suspect, reference):
        return TokenizerRelation.RETRAINED
    return TokenizerRelation.UNRELATED


def _one_recipe(suspect: Tokenizer, reference: Tokenizer) -> bool:
    """Whether all but the tokens is the reference's: its steps, and added tokens that no public tokenizer has.

    That is what training a known tokenizer anew on other text leaves.
    """
    steps = pipeline(suspect, reference)
    if any(steps.get(key) != "equal" for key in ("model", "normalizer", "pre_tokenizer", "decoder")):
        return False
    shared = suspect.added.keys() & reference.added.keys()
    known = frozenset[int]().union(*(f.added for f in fingerprints()))
    rare = [text for text in shared if hash_of(b"\0" + text.encode()) not in known]
    most = len(shared) >= 0.8 * max(len(suspect.added), len(reference.added))
    return most and (len(rare) >= 2 or len(shared) >= 10)


def ranks(tokenizer: Tokenizer) -> tuple[Mapping[Key, int] | None, str]:
    """Return in which order merges make the tokens, and whether merges or ids say so."""
    if tokenizer.ranks is not None:
        return tokenizer.ranks, "merges"
    if tokenizer.vocabulary.kind in ("tiktoken", "sentencepiece"):
        return ordinary(tokenizer.keys, tokenizer.added), "ids"
    return None, "none"


def merges(suspect: Tokenizer, reference: Tokenizer) -> dict[str, Any]:
    """Return how the order of merges agrees."""
    (mine, how), (theirs, other) = ranks(suspect), ranks(reference)
    if mine is None or theirs is None:
        return {"not_measured": "merges_not_told"}
    pairs = sorted((theirs[key], number) for key, number in mine.items() if key in theirs)
    ascending = longest_ascent([number for _, number in pairs])
    found: dict[str, Any] = {
        "shared": len(pairs),
        "ascending": ascending,
        "order": ascending / len(pairs) if pairs else 0.0,
        "suspect_by": how,
        "reference_by": other,
    }
    if suspect.merges is not None and reference.merges is not None:
        equal = len(suspect.merges & reference.merges)
        found |= {
            "suspect_merges": len(suspect.merges),
            "reference_merges": len(reference.merges),
            "equal_merges": equal,
        }
    return found


def added(suspect: Tokenizer, reference: Tokenizer) -> dict[str, Any]:
    """Return how the added and special tokens agree."""
    if not suspect.added or not reference.added:
        return {"not_measured": "added_not_told"}
    mine, theirs = suspect.added, reference.added
    shared = mine.keys() & theirs.keys()
    return {
        "suspect": len(mine),
        "reference": len(theirs),
        "shared": len(shared),
        "equal_ids": sum(mine[text] == theirs[text] for text in shared),
        "only_suspect": sorted(mine.keys() - theirs.keys())[:_MOST_SHOWN],
        "only_reference": sorted(theirs.keys() - mine.keys())[:_MOST_SHOWN],
    }


def pipeline(suspect: Tokenizer, reference: Tokenizer) -> dict[str, Any]:
    """Return, step by step, whether the two say the same: ``equal``, ``differs``."""
    mine, theirs = suspect.pipeline, reference.pipeline
    if mine is None or theirs is None or mine.keys() != theirs.keys():
        return {"not_measured": "steps_not_told"}
    return {key: "equal" if mine[key] == theirs[key] else "differs" for key in mine}
