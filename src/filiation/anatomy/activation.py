"""Which nonlinearity a feed-forward network has: by the key that its family's code reads, not by any that a config has.

A GPT-2 reads ``activation_function`` and passes over a ``hidden_act``; a Gemma 2 reads ``hidden_activation``. Where the
loaders that a config names would take different ones, or nobody knows which of two keys is read, it is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from filiation.anatomy.config import SPELLINGS, WORD, Config, first_of
from filiation.anatomy.families import of_architecture, of_type
from filiation.anatomy.model import Inference
from filiation.anatomy.tables import Family, Rule

UNKNOWN = "unknown"
"""The activation of a network of which it is not known which one it has."""

_GELU = ("gelu_python", "gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh")
_ALIKE = {"swish": "silu", "swiglu": "silu", **dict.fromkeys(_GELU, "gelu")}
"""Words for one function, or for approximations of one that differ by half a thousandth."""

_WRITERS = ("o", "down")
_ENCODERS = ("language", "encoder")


def activation_of(config: Config, family: Family) -> tuple[str | None, tuple[Inference, ...]]:
    """Return the word for a tower's activation as its loaders take it, and what has to be said of it.

    :data:`UNKNOWN` where the readings differ; None where nobody says anything.

    Args:
        config: the tower's own.
        family: the table that named its parts.

    Raises:
        CorruptCheckpointError: a key that is read holds no word.
    """
    said = list(_said(config, family))
    words = [word for _, word in said]
    if len({_ALIKE.get(word, word) for word in words}) > 1:
        basis = ", ".join(dict.fromkeys(f"{source} says {word}" for source, word in said))
        return UNKNOWN, (Inference("the activation is not known", basis),)
    return (words[0] if words else family.kinds.activation), ()


def _said(config: Config, family: Family) -> Iterator[tuple[str, str]]:
    """Yield where each loader looks that the config names, and the word it takes."""
    codes = _codes(config, family)
    if codes is None:
        for key in SPELLINGS["activation"]:
            word = _word(config, key)
            if word is not None:
                yield key, word
        return
    for code in codes:
        usual = code.kinds.activation
        keys = code.keys.get("activation", SPELLINGS["activation"][:1])
        for key in (keys,) if isinstance(keys, str) else keys:
            word = _word(config, key) or usual
            if word is not None:
                yield f"{key} of {code.name}", word
        if not keys and usual is not None:
            yield f"the code of {code.name}", usual


def _word(config: Config, key: str) -> str | None:
    found = first_of(config, (key,), WORD)
    return found[1] if found else None


def _codes(config: Config, family: Family) -> list[Family] | None:
    """Return the tables of the loaders that a config names and that can hold these parts, as it makes them.

    None where it names no type, one that no table knows, or not the one that has the names of these parts.
    """
    kind, listed = config.get("model_type"), config.get("architectures")
    classes: Iterable[Any] = listed if isinstance(listed, (list, tuple)) else ()
    if kind is not None and not _beside(of_type(kind), family):
        return None
    groups = [of_type(kind), *(of_architecture(word) for word in classes if isinstance(word, str))]
    found = [group for group in (_beside(group, family) for group in groups) if group]
    if not any(family.name == code.name for group in found for code in group):
        return None
    same = [next((code for code in group if code.name == family.name), group[0]) for group in found]
    return list({code.name: code.under(config) for code in same if _holds(code, family)}.values())


def _beside(group: Iterable[Family], family: Family) -> list[Family]:
    """Return the tables of the same kind of tower."""
    kinds = _ENCODERS if family.component in _ENCODERS else (family.component,)
    return [code for code in group if code.component in kinds]


def _holds(code: Family, family: Family) -> bool:
    """Whether a loader finds under its own names what writes to the stream under those of ``family``."""
    return code.container == family.container and all(_names(code, r) & _names(family, r) for r in _WRITERS)


def _names(family: Family, role: str) -> set[str]:
    return {
        name
        for name, entry in family.layer.items()
        if role in (entry.roles if isinstance(entry, Rule) else (entry,))
    }
