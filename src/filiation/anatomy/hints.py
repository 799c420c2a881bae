"""Telling parts of one shape apart: by what their names resemble, else by the order they are stored in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from filiation.anatomy.tables import Path

Shape = tuple[int, ...]

_WORDS: Mapping[str, frozenset[str]] = {
    role: frozenset(words.split())
    for role, words in {
        "q": "q wq query queries",
        "k": "k wk key keys",
        "v": "v wv value values",
        "o": "o wo out output dense proj attnout",
        "gate": "gate w1 wi0 wg",
        "up": "up w3 fc1 fcin fc wi wi1 lin1 inner expand intermediate h4h",
        "down": "down w2 fc2 fcout wo out lin2 outer contract output proj",
        "router": "router gate switch",
        "attn_norm": "attn attention ln1 norm1 1 input first pre",
        "ffn_norm": "ffn mlp ff feed feedforward ln2 norm2 2 second post",
        "post_attn_norm": "attn attention post after",
        "post_ffn_norm": "ffn mlp ff feed feedforward post after",
        "q_norm": "q query qnorm",
        "k_norm": "k key knorm",
        "embedding": "embed embedding embeddings emb wte tok token tokens input",
        "head": "head output out logits unembed lm embedout",
        "position": "pos position positions wpe",
        "final_norm": "norm ln final lnf last",
    }.items()
}
"""Words that names of a role tend to hold. Only the relation among candidates of one shape matters."""


BY_ORDER = "shape and stored order"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of tensor in a layer: its stem (numbers masked), the shapes of weight and bias, its place."""

    stem: Path
    weight: Shape | None
    bias: Shape | None
    place: int


def words_of(stem: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Return the words of a stem, and those of its last segment, which count twice."""
    split = [_split(segment) for segment in stem]
    return frozenset(word for words in split for word in words), frozenset(split[-1] if split else ())


def _split(segment: str) -> list[str]:
    pieces = re.findall(r"[A-Z]?[a-z]+\d*|[A-Z]+(?![a-z])\d*|\d+", segment)
    words = [piece.lower() for piece in pieces]
    words += [word.rstrip("0123456789") for word in words if word[-1:].isdigit() and not word.isdigit()]
    return [*words, "".join(words)]


def resemblance(stem: Path, role: str) -> int:
    """Return how much a stem reads like ``role``."""
    every, last = words_of(stem)
    hints = _WORDS.get(role, frozenset())
    return len(every & hints) + len(last & hints)


def is_anonymous(stems: Sequence[Path]) -> bool:
    """Whether the stems differ in numbers alone, so that their names say nothing."""
    return len({re.sub(r"\d+", "", ".".join(stem)) for stem in stems}) == 1


def order_tells(kinds: Sequence[Kind]) -> bool:
    """Whether the stored order is more than the alphabetical order that writers of safetensors impose."""
    by_place = [kind.stem for kind in sorted(kinds, key=lambda kind: kind.place)]
    return is_anonymous(by_place) or by_place != sorted(by_place)


def arrange(kinds: Sequence[Kind], roles: Sequence[str]) -> tuple[dict[Path, str], str] | None:
    """Give each kind one of ``roles`` (listed in the order models store them); None where nothing tells.

    Returns:
        stem -> role, and what it was inferred from.
    """
    if len(kinds) == 1 and len(roles) == 1:
        return {kinds[0].stem: roles[0]}, "the only part of its shape"
    ranked = sorted(
        ((sum(resemblance(k.stem, r) for k, r in zip(kinds, chosen, strict=True)), chosen))
        for chosen in permutations(roles, len(kinds))
    )
    best, second = ranked[-1], ranked[-2] if len(ranked) > 1 else None
    if best[0] > 0 and (second is None or best[0] > second[0]):
        return {k.stem: r for k, r in zip(kinds, best[1], strict=True)}, "shape and resemblance of names"
    if len(kinds) == len(roles) and order_tells(kinds):
        placed = sorted(kinds, key=lambda kind: kind.place)
        return {k.stem: r for k, r in zip(placed, roles, strict=True)}, BY_ORDER
    return None
