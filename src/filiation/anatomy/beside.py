"""What stands beside the layers of a tower of unknown names: embedding, head, positions, the norms at both ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from filiation.anatomy.config import Settings, longest_sequence, token_types
from filiation.anatomy.hints import BY_NAME, BY_ORDER, Kind, order_tells, settle, telling
from filiation.anatomy.infer import Guess
from filiation.anatomy.model import Inference
from filiation.anatomy.names import stem
from filiation.anatomy.tables import LEAVES, Hit, Path, Rule
from filiation.anatomy.towers import Found, Tower, name_layers
from filiation.checkpoint.model import TensorInfo

Tensors = Mapping[str, TensorInfo]

_FEW = 16
"""A table of at most this many rows counts kinds of tokens, not places."""


def place_beside(
    tower: Tower, loose: dict[Path, str], tensors: Tensors, width: int, settings: Settings
) -> None:
    """Infer the embedding, the head, positions and the norms among tensors outside the layers."""
    kinds = _kinds(loose, tensors)
    guess = Guess()
    tables = [k for k in kinds if k.weight and len(k.weight) == 2 and k.weight[1] == width]
    words = _tables(guess, tables, tower, settings)
    _vectors(guess, [k for k in kinds if k.weight == (width,)], tower)
    _scores(guess, kinds, words)
    _add(tower, guess, loose, tensors)
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
    for kind in tables:
        if kind.bias and kind.weight == (*kind.bias, *kind.bias):  # a dense layer, not a table
            left.remove(kind)
            if any(telling(kind.stem, role) for role in ("pooler", "head_dense")):
                guess.take(settle([kind], ("pooler", "head_dense")))
    rows = _vocabulary(left, settings)
    words = [k for k in left if _rows(k) == rows]
    if 0 < len(words) <= 2:
        guess.take(settle(words, ("embedding", "head")[: len(words)]))
    for kind in (k for k in left if k not in words):
        role, basis = _table_role(kind, tower)
        if role is None or any(rule.roles == (role,) for rule in guess.rules.values()):
            continue
        guess.add(kind.stem, Rule((role,)), basis)
        if role == "position":
            tower.family = tower.family.with_kinds(rope=None, positions="learned")
            tower.positions_known = tower.positions_known or basis != _SECOND
    return rows


def _rows(kind: Kind) -> int:
    return kind.weight[0] if kind.weight else 0


def _vocabulary(tables: Sequence[Kind], settings: Settings) -> int | None:
    """The rows of the embedding: as the config says (padding allowed), else by names, else the most there are."""
    plain = [k for k in tables if not telling(k.stem, "position") and not telling(k.stem, "token_type")]
    if settings.vocab is not None:
        return min((n for n in map(_rows, plain) if n >= settings.vocab), default=None)
    return max(map(_rows, plain), default=None)


_SECOND = "the largest table but the embedding"


def _table_role(kind: Kind, tower: Tower) -> tuple[str | None, str]:
    """Return what a table beside the embedding is, and from what that was inferred."""
    rows, places, types = _rows(kind), longest_sequence(tower.config), token_types(tower.config)
    by_name = max(("position", "token_type"), key=lambda role: telling(kind.stem, role))
    if telling(kind.stem, by_name):
        return by_name, BY_NAME
    if types is not None and rows == types:
        return "token_type", "the config's number of token types"
    if places is not None:
        return ("position" if places <= rows <= places + 2 else None), "the config's number of positions"
    if kind.weight == (rows, rows):
        return None, ""
    return ("token_type" if rows <= _FEW else "position"), _SECOND


def _vectors(guess: Guess, vectors: Sequence[Kind], tower: Tower) -> None:
    """Name the norms outside the layers."""
    bare = [k for k in vectors if k.bias is None]
    if len(vectors) == 2 == len(bare) and tower.family.kinds.norm == "layer" and order_tells(bare):
        guess.add(bare[0].stem, Rule(("final_norm",)), BY_ORDER)
        guess.add(bare[1].stem, Rule(("final_norm.bias",)), BY_ORDER)
        return
    heads = [k for k in vectors if telling(k.stem, "head_norm")]
    if len(heads) == 1 and len(vectors) > 1:
        guess.add(heads[0].stem, Rule(("head_norm",)), BY_NAME)
    left = [k for k in vectors if k.stem not in guess.rules]
    if len(left) == 1:
        is_first = ("token_type",) in [rule.roles for rule in guess.rules.values()]
        if telling(left[0].stem, "embedding_norm") or is_first:
            guess.add(
                left[0].stem,
                Rule(("embedding_norm",)),
                "token types are added to what it norms" if is_first else BY_NAME,
            )
        else:
            guess.add(left[0].stem, Rule(("final_norm",)), "the only norm beside the layers")
    elif len(left) == 2:
        guess.take(settle(left, ("embedding_norm", "final_norm")))


def _scores(guess: Guess, kinds: Sequence[Kind], words: int | None) -> None:
    """A vector as long as the vocabulary is the head's bias."""
    long = [
        k for k in kinds if words is not None and (words,) in (k.weight, k.bias) and k.stem not in guess.rules
    ]
    if len(long) == 1:
        role = "head" if long[0].weight is None else "head.bias"
        guess.add(long[0].stem, Rule((role,)), "as long as the vocabulary")


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
