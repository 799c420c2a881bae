"""Known models under names nobody uses, and which part each tensor truly is."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from filiation.anatomy import Anatomy, dissect
from tests.anatomy.test_families import dissected, inventory
from tests.support import shape_checkpoint

Key = tuple[str, str, int | None, int | None]
Words = Mapping[str, str]

TELLING: Mapping[str, tuple[str, ...]] = {
    "q": ("query", "queries", "wq", "to_query", "q"),
    "k": ("key", "keys", "wk", "to_key", "k"),
    "v": ("value", "values", "wv", "to_value", "v"),
    "o": ("out", "output", "wo", "mix", "merge", "blend"),
    "qkv": ("qkv", "joined", "all_three"),
    "gate": ("gate", "gating", "gate_map"),
    "up": ("up", "rise", "expand", "lift", "grow"),
    "down": ("down", "drop", "contract", "squeeze"),
    "router": ("router", "selector", "dispatch"),
    "attn_norm": ("ln1", "norm_1", "pre_attn_norm", "first_norm"),
    "ffn_norm": ("ln2", "norm_2", "pre_ff_norm", "second_norm"),
    "q_norm": ("query_norm", "qnorm"),
    "k_norm": ("key_norm", "knorm"),
    "embedding": ("tokens", "embed", "word_table", "vocab_in"),
    "head": ("logits", "head", "unembed"),
    "position": ("positions", "place_table", "pos"),
    "token_type": ("segments", "kinds"),
    "final_norm": ("last_norm", "ln_out", "final"),
    "embedding_norm": ("embed_norm", "token_norm"),
    "pooler": ("pooler", "pool"),
}
"""Role -> words of which one tells every part from the others of its shape (``query`` tells ``mix``)."""

LEANING = {**TELLING, "gate": ("act", "valve", "w1"), "up": ("lift", "expand", "w3")}
"""Words for gate and up that lean only; other models use the same words otherwise."""

ATTENTION = frozenset({"q", "k", "v", "o", "qkv", "q_norm", "k_norm"})
FFN = frozenset({"gate", "up", "down"})


@dataclass(frozen=True)
class Name:
    """What a tensor is: its role in a layer (or beside the layers), whether it is a bias, and its expert."""

    role: str
    layer: int | None
    expert: int | None
    bias: bool


@dataclass(frozen=True)
class Scheme:
    """How tensors are named anew.

    Attributes:
        words: role -> word. ``attention``, ``ffn`` and ``experts`` are modules (empty for none).
        spell: the pieces of a name and the number of its layer -> the name.
        first: the number of the first layer and of the first expert.
        weight, bias: the last pieces.
    """

    words: Words
    spell: Callable[[list[str], int | None], str]
    first: int = 0
    weight: str = "weight"
    bias: str = "bias"

    def name(self, name: Name) -> str:
        """Return the new name."""
        module = self.words["attention"] if name.role in ATTENTION else self.words["ffn"]
        inside = name.layer is not None and name.role in ATTENTION | FFN | {"router"}
        expert = [] if name.expert is None else [self.words["experts"], str(name.expert + self.first)]
        pieces = [module, *expert] if inside and module else [*expert]
        pieces += [self.words[name.role], self.bias if name.bias else self.weight]
        return self.spell(pieces, None if name.layer is None else name.layer + self.first)


def dotted(container: str) -> Callable[[list[str], int | None], str]:
    """``net.units.3.mixer.query.weight``."""
    root = container.rpartition(".")[0]
    return lambda pieces, layer: ".".join(
        [root, *pieces] if layer is None else [container, str(layer), *pieces]
    ).strip(".")


def glued(word: str) -> Callable[[list[str], int | None], str]:
    """``unit3.mixer.query.weight``."""
    return lambda pieces, layer: ".".join(pieces if layer is None else [f"{word}{layer}", *pieces])


def flat(prefix: str, word: str) -> Callable[[list[str], int | None], str]:
    """``net_unit_3_mixer_query_weight``."""
    return lambda pieces, layer: "_".join([prefix, *([] if layer is None else [word, str(layer)]), *pieces])


def number_late(prefix: str) -> Callable[[list[str], int | None], str]:
    """``net.mixer.query.3.weight``."""
    return lambda pieces, layer: ".".join(
        [prefix, *pieces] if layer is None else [prefix, *pieces[:-1], str(layer), pieces[-1]]
    )


def number_between(prefix: str) -> Callable[[list[str], int | None], str]:
    """``net.mixer.3.query.weight``: every module has its own list of layers."""
    return lambda pieces, layer: ".".join(
        [prefix, *pieces] if layer is None else [prefix, *pieces[:-2], str(layer), *pieces[-2:]]
    )


def number_last(prefix: str) -> Callable[[list[str], int | None], str]:
    """``net/mixer/query/weight_3``."""
    return lambda pieces, layer: "/".join([prefix, *pieces]) + ("" if layer is None else f"_{layer}")


def renamed(model: str, scheme: Scheme) -> dict[str, str]:
    """Return old name -> new name for a model of the inventories."""
    found = {tensor: scheme.name(name) for tensor, name in taken_apart(model).items()}
    if len(set(found.values())) < len(found):
        raise ValueError("two tensors would have one name")
    return found


SPELLINGS = (
    dotted("net.units"),
    dotted("wrapped.core.model.decoder.blk"),
    dotted("blocks"),
    glued("unit"),
    glued("blk_"),
    flat("net", "unit"),
    number_late("net"),
    number_between("net"),
    number_last("net"),
)


def drawn_scheme(model: str, rng: random.Random, table: Mapping[str, tuple[str, ...]] | None) -> Scheme:
    """Draw a scheme: words from a table (letters that mean nothing without one), any spelling, any first number."""
    roles = sorted({name.role for name in taken_apart(model).values()})
    if table is None:
        letters = [a + b for a in "xyzrstu" for b in "abcdfghij"]
        words = dict(zip(roles, rng.sample(letters, len(roles)), strict=True))
    else:
        words = {role: rng.choice(table.get(role, (role.replace(".", "_"),))) for role in roles}
    words |= {
        "attention": rng.choice(["attn", "mixer", "att", "xx", ""]),
        "ffn": rng.choice(["ff", "mlp", "dense_net", "yy", ""]),
        "experts": rng.choice(["experts", "pool", "specialists"]),
    }
    leaf = rng.choice([("weight", "bias"), ("kernel", "bias"), ("w", "b")])
    return Scheme(words, rng.choice(SPELLINGS), rng.choice([0, 1]), *leaf)


@cache
def taken_apart(model: str) -> Mapping[str, Name]:
    """Return what each tensor of a model of the inventories is, as the tables know it."""
    roles: dict[str, list[str]] = {}
    parts = {part.tensor: part for part in dissected(model).parts}
    for part in dissected(model).parts:
        roles.setdefault(part.tensor, []).append(part.role.removesuffix(".bias"))
    usual = {"post_attn_norm": "attn_norm", "post_ffn_norm": "ffn_norm"}
    return {
        tensor: Name(
            "qkv" if len(found) == 3 else usual.get(found[0], found[0]),
            parts[tensor].layer,
            parts[tensor].expert,
            parts[tensor].role.endswith(".bias"),
        )
        for tensor, found in roles.items()
    }


def dissected_anew(
    model: str, names: Mapping[str, str], config: Mapping[str, Any] | None, *, shuffle: int | None = None
) -> Anatomy:
    """Dissect a model of the inventories under other names.

    Args:
        shuffle: a seed; without one, names are in alphabetical order, as writers of safetensors store them.
    """
    shapes = {names[old]: shape for old, shape in inventory(model)["shapes"].items()}
    order = sorted(shapes)
    if shuffle is not None:
        random.Random(shuffle).shuffle(order)
    return dissect(shape_checkpoint({name: shapes[name] for name in order}, config))


def invented_config(model: str) -> dict[str, Any]:
    """Return the model's config under a type that no table knows."""
    config = dict(inventory(model)["config"])
    return {**config, "model_type": "borealis", "architectures": ["BorealisForCausalLM"]}


def truth(model: str, names: Mapping[str, str]) -> dict[Key, str]:
    """Return where each renamed tensor belongs."""
    return {(p.component, p.role, p.layer, p.expert): names[p.tensor] for p in dissected(model).parts}


def found(anatomy: Anatomy) -> dict[Key, str]:
    """Return where each tensor was placed."""
    return {(p.component, p.role, p.layer, p.expert): p.tensor for p in anatomy.parts}


def without_numbers(name: str) -> str:
    """Return the name with every number masked, for messages."""
    return re.sub(r"\d+", "#", name)
