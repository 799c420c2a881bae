"""What stands beside the layers of a tower of unknown names: embedding, head, positions, the norms at both ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from filiation.anatomy.config import Settings, longest_sequence, token_types
from filiation.anatomy.hints import BY_ORDER, BY_SHAPE, Kind, Settled, order_tells, settle, telling
from filiation.anatomy.infer import Guess
from filiation.anatomy.model import Inference
from filiation.anatomy.names import stem
from filiation.anatomy.tables import LEAVES, Hit, Path, Rule
from filiation.anatomy.towers import Found, Tower, name_layers
from filiation.checkpoint.model import TensorInfo

Tensors = Mapping[str, TensorInfo]

_FEW = 16
"""A table of at most this many rows counts kinds of tokens, not places."""
_PADDING = 1024
"""Rows that a vocabulary may have been padded by."""


def place_beside(
    tower: Tower, loose: dict[Path, str], tensors: Tensors, width: int, settings: Settings
) -> None:
    """Infer the embedding, the head, positions and the norms among tensors outside the layers."""
    kinds = _kinds(loose, tensors)
    guess = Guess()
    tables = [k for k in kinds if k.weight and len(k.weight) == 2 and k.weight[1] == width]
    words = _tables(guess, tables, tower, settings)
    vectors = [k for k in kinds if k.weight == (width,)]
    _vectors(guess, vectors, tower)
    scores = [k for k in kinds if k.weight == (words,) and words != width]
    if len(scores) == 1:
        guess.add(scores[0].stem, Rule(("head.bias",)), "as long as the vocabulary")
    _add(tower, guess, loose, tensors)
    if any(rule.roles == ("position",) for rule in guess.rules.values()):
        tower.family = tower.family.with_kinds(rope=None, positions="learned")
        tower.positions_known = True
    _norms_after(tower, guess, tensors)


def _kinds(loose: Mapping[Path, str], tensors: Tensors) -> list[Kind]:
    kinds: dict[Path, Kind] = {}
    for place, (path, name) in enumerate(loose.items()):
        base, shape = stem(path), tensors[name].shape
        kind = kinds.get(base, Kind(base, None, None, place))
        is_bias = path != base and LEAVES[path[-1]] == ".bias"
        kinds[base] = replace(kind, bias=shape) if is_bias else replace(kind, weight=shape)
    return list(kinds.values())


def _tables(guess: Guess, tables: Sequence[Kind], tower: Tower, settings: Settings) -> int | None:
    """Name tables with one row for each token, place or kind of token; return how many tokens there are."""
    left = list(tables)
    wanted = ("pooler", "head_dense")
    for kind in tables:
        if kind.bias and kind.weight == (*kind.bias, *kind.bias):  # a dense layer, not a table
            left.remove(kind)
            if any(telling(kind.stem, role) for role in wanted):
                guess.take(settle([kind], wanted))
    rows = _vocabulary(left, settings)
    if rows is None:
        return None
    words = [k for k in left if _rows(k) == rows]
    guess.take(
        settle(words, ("embedding", "head")[: len(words)])
        if len(words) <= 2
        else Settled(open=words, left=["embedding", "head"])
    )
    for kind in (k for k in left if k not in words):
        role = _table_role(kind, tower, settings)
        if role is not None and not any(rule.roles == (role,) for rule in guess.rules.values()):
            guess.add(kind.stem, Rule((role,)), "its number of rows" if settings.vocab else BY_SHAPE)
    return rows


def _rows(kind: Kind) -> int:
    return kind.weight[0] if kind.weight else 0


def _vocabulary(tables: Sequence[Kind], settings: Settings) -> int | None:
    """The rows of the embedding: as the config says (padding allowed), else by names, else the most there are."""
    said = settings.vocab
    if said is not None:
        fits = [n for n in map(_rows, tables) if said <= n <= said + _PADDING]
        return min(fits, default=None) or max(map(_rows, tables), default=None)
    plain = [k for k in tables if not telling(k.stem, "position") and not telling(k.stem, "token_type")]
    return max(map(_rows, plain), default=None) or max(map(_rows, tables), default=None)


def _table_role(kind: Kind, tower: Tower, settings: Settings) -> str | None:
    rows, places, types = _rows(kind), longest_sequence(tower.config), token_types(tower.config)
    by_name = max(("position", "token_type"), key=lambda role: telling(kind.stem, role))
    if telling(kind.stem, by_name):
        return by_name
    if types is not None and rows == types:
        return "token_type"
    if places is not None:
        return "position" if places <= rows <= places + 2 else None
    return "token_type" if rows <= _FEW else "position"


def _vectors(guess: Guess, vectors: Sequence[Kind], tower: Tower) -> None:
    bare = [k for k in vectors if k.bias is None]
    if len(vectors) == 2 == len(bare) and tower.family.kinds.norm == "layer" and order_tells(bare):
        guess.add(bare[0].stem, Rule(("final_norm",)), BY_ORDER)
        guess.add(bare[1].stem, Rule(("final_norm.bias",)), BY_ORDER)
    elif len(vectors) == 1:
        role = "embedding_norm" if telling(vectors[0].stem, "embedding_norm") else "final_norm"
        guess.take(settle(vectors, (role,)))
    elif len(vectors) == 2:
        guess.take(settle(vectors, ("embedding_norm", "final_norm")))


def _add(tower: Tower, guess: Guess, loose: dict[Path, str], tensors: Tensors) -> None:
    for path, name in list(loose.items()):
        rule = guess.rules.get(stem(path))
        if rule is not None:
            is_bias = path != stem(path) and LEAVES[path[-1]] == ".bias"
            tower.found.append(Found(tensors[name], Hit(rule, is_bias), None))
            del loose[path]
    tower.notes += guess.notes


_AFTER = {"attn_norm": "post_attn_norm", "ffn_norm": "post_ffn_norm"}


def _norms_after(tower: Tower, guess: Guess, tensors: Tensors) -> None:
    """Where the embeddings are normed and the last layer is not, norms stand after the branches, as BERT's."""
    roles = [rule.roles for rule in guess.rules.values()]
    inside = [rule.roles[0] for rule in tower.family.layer.values() if isinstance(rule, Rule)]
    is_after = ("embedding_norm",) in roles and ("final_norm",) not in roles
    if tower.known or not is_after or tower.family.kinds.norm != "layer" or not set(_AFTER) <= set(inside):
        return
    layer = {
        name: replace(rule, roles=(_AFTER.get(rule.roles[0], rule.roles[0]), *rule.roles[1:]))
        for name, rule in tower.family.layer.items()
        if isinstance(rule, Rule)
    }
    tower.family = replace(tower.family, layer=layer).with_kinds(norm_position="post")
    tower.notes.append(
        Inference("norms stand after the branches", "embeddings are normed, the last layer is not")
    )
    name_layers(tower, tensors)
