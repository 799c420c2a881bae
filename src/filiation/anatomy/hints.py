"""Telling parts of one shape apart: by what their names resemble, else by the order they are stored in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import permutations

from filiation.anatomy.tables import Path

Shape = tuple[int, ...]


def _words(table: Mapping[str, str]) -> dict[str, frozenset[str]]:
    return {role: frozenset(words.split()) for role, words in table.items()}


_TELLING = _words(
    {
        "q": "q wq query queries",
        "k": "k wk key keys",
        "v": "v wv value values val vals",
        "o": "o wo out output attnout",
        "gate": "gate gating gated",
        "up": "up wup",
        "down": "down wdown",
        "router": "router routing",
        "q_norm": "q query queries qnorm",
        "k_norm": "k key keys knorm",
        "embedding": "embed embedding embeddings emb wte",
        "head": "head logits unembed unembedding embedout",
        "position": "pos position positions positional wpe",
        "token_type": "type types segment segments",
        "final_norm": "final lnf last",
        "embedding_norm": "embed embedding embeddings emb tok token tokens word words",
        "pooler": "pool pooler pooling",
        "head_dense": "transform head prediction predictions",
        "head_norm": "transform head prediction predictions",
    }
)
"""Words that say a role: alone they tell it from the others of its shape."""

_LEANING = _words(
    {
        "o": "dense proj projection mix mixing mixer merge combine blend fuse join back",
        "gate": "w1 wg wi0 act activation activate activated swish silu glu sluice valve switch",
        "up": "w3 fc1 fcin fc wi wi1 lin1 inner in expand expansion intermediate h4h rise raise lift grow widen "
        "hidden enter",
        "down": "w2 fc2 fcout wo out lin2 outer contract contraction output proj drop fall lower shrink narrow "
        "compress reduce squeeze leave exit 4hh h",
        "router": "gate switch select selector dispatch choose",
        "attn_norm": "attn attention ln1 norm1 1 input first pre before one",
        "ffn_norm": "ffn mlp ff feed feedforward ln2 norm2 2 second post mid two",
        "post_attn_norm": "attn attention post after",
        "post_ffn_norm": "ffn mlp ff feed feedforward post after",
        "embedding": "tok token tokens word words input vocab lookup entry",
        "head": "out output lm decoder exit",
        "position": "place places where",
        "final_norm": "norm ln out output end top post",
        "embedding_norm": "input first pre entry stem",
    }
)
"""Words that lean towards a role; other models use the same words otherwise (Qwen's first ``w1`` is the up branch)."""

_SHARED = "shared."
_COMMON = frozenset({"shared", "share", "common"})

_TELLS, _LEANS = 4, 1
_SHORTEST_STEM = 4
"""Words from this length on are also found at the start of longer ones: ``expander``, ``gates``."""

_MOST = 7
"""More parts of one shape than this are not told apart: their assignments are too many to try."""

BY_SHAPE = "the only part of its shape"
BY_NAME = "shape and resemblance of names"
BY_ORDER = "shape and stored order"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of tensor in a layer: its stem (numbers masked), the shapes of weight and bias, its place."""

    stem: Path
    weight: Shape | None
    bias: Shape | None
    place: int


@lru_cache(maxsize=4096)
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
    """Return how much a stem reads like ``role``; words that tell weigh more than words that lean."""
    leaning = _LEANING.get(role.removeprefix(_SHARED), frozenset())
    return _TELLS * telling(stem, role) + _LEANS * _count(stem, leaning)


def telling(stem: Path, role: str) -> int:
    """Return how many words of a stem say ``role``, those of the last segment counted twice."""
    count = _count(stem, _TELLING.get(role.removeprefix(_SHARED), frozenset()))
    return count + (_count(stem, _COMMON) if role.startswith(_SHARED) else 0)


def _count(stem: Path, hints: frozenset[str]) -> int:
    every, last = words_of(stem)
    return sum(_is_one_of(word, hints) for word in every) + sum(_is_one_of(word, hints) for word in last)


def _is_one_of(word: str, hints: frozenset[str]) -> bool:
    return word in hints or any(len(h) >= _SHORTEST_STEM and word.startswith(h) for h in hints)


def is_anonymous(stems: Sequence[Path]) -> bool:
    """Whether the stems differ in numbers alone, so that their names say nothing."""
    return len({re.sub(r"\d+", "", ".".join(stem)) for stem in stems}) == 1


def order_tells(kinds: Sequence[Kind]) -> bool:
    """Whether the stored order is more than the alphabetical order that writers of safetensors impose."""
    by_place = [kind.stem for kind in sorted(kinds, key=lambda kind: kind.place)]
    return is_anonymous(by_place) or by_place != sorted(by_place)


@dataclass
class Settled:
    """Which kind has which role, and how that was told.

    Attributes:
        roles: stem -> role. ``bases`` says from what each was inferred.
        uncertain: roles that leaning words or the stored order gave, not shapes or telling words.
        open: the kinds that nothing tells apart, in stored order, and ``left``, the roles among which they are.
    """

    roles: dict[Path, str] = field(default_factory=dict[Path, str])
    bases: dict[Path, str] = field(default_factory=dict[Path, str])
    uncertain: set[str] = field(default_factory=set[str])
    open: list[Kind] = field(default_factory=list[Kind])
    left: list[str] = field(default_factory=list[str])

    def take(self, kind: Kind, role: str, basis: str, *, certain: bool) -> None:
        """Give ``kind`` a role."""
        self.roles[kind.stem], self.bases[kind.stem] = role, basis
        if not certain:
            self.uncertain.add(role)


Score = Callable[[Path, str], int]


def settle(kinds: Sequence[Kind], roles: Sequence[str], more: Score | None = None) -> Settled:
    """Give each kind one of ``roles`` (listed in the order models store them) as far as anything tells them apart.

    Args:
        kinds: at most as many as there are roles.
        roles: what they may be.
        more: what else speaks for a role, added to the resemblance of names.
    """
    settled = Settled(left=list(roles))
    if len(kinds) == 1 and len(roles) == 1:
        settled.take(kinds[0], roles[0], BY_SHAPE, certain=True)
        settled.left = []
        return settled
    told = _agreed(
        kinds, roles, lambda stem, role: resemblance(stem, role) + (more(stem, role) if more else 0)
    )
    sure = _agreed(kinds, roles, telling)
    for kind, role in told.items():
        settled.take(kind, role, BY_NAME, certain=sure.get(kind) == role)
        settled.left.remove(role)
    settled.open = sorted((k for k in kinds if k not in told), key=lambda kind: kind.place)
    if settled.open and len(settled.open) == len(settled.left) and order_tells(settled.open):
        for kind, role in zip(settled.open, list(settled.left), strict=True):
            settled.take(kind, role, BY_ORDER, certain=False)
        settled.open, settled.left = [], []
    return settled


def _agreed(kinds: Sequence[Kind], roles: Sequence[str], score: Score) -> dict[Kind, str]:
    """Return the roles on which all best assignments agree; nothing where no word says anything."""
    if len(kinds) > _MOST:
        return {}
    ranked = [
        (sum(score(kind.stem, role) for kind, role in zip(kinds, chosen, strict=True)), chosen)
        for chosen in permutations(roles, len(kinds))
    ]
    top = max((total for total, _ in ranked), default=0)
    best = [chosen for total, chosen in ranked if total == top]
    if top <= 0:
        return {}
    return {kind: best[0][i] for i, kind in enumerate(kinds) if len({chosen[i] for chosen in best}) == 1}


def best_score(kinds: Sequence[Kind], roles: Sequence[str]) -> tuple[int, int]:
    """Return how well names fit when each kind takes one of ``roles``: by telling words, by all words."""
    if len(kinds) > _MOST:
        return 0, 0
    fits = [
        tuple(
            sum(score(kind.stem, role) for kind, role in zip(kinds, chosen, strict=True))
            for score in (telling, resemblance)
        )
        for chosen in permutations(roles, len(kinds))
    ]
    return max(((fit[0], fit[1]) for fit in fits), default=(0, 0))
