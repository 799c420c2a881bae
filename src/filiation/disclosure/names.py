"""Names of models: which two mean the same model, and whether a name meets a licence's naming rule.

Only the model's own name counts: ``publisher/`` is not part of it. Capitals and separators are forgiven, digits are
not: "Llama 3" begins "Llama-3.1-Tuned" and "llama3-v", but not "Llama-30B".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_PIECES = re.compile(r"[a-z]+|[0-9]+(?:\.[0-9]+)*|[\u3400-\u9fff]+")
_MAX = 300
_PUBLISHERS = frozenset({"meta", "hf", "official", "the"})
_BYTES = frozenset({"gguf", "ggml", "awq", "gptq", "bf", "fp", "int", "hf", "safetensors"})


def own(name: str) -> str:
    """Return the model's name without its publisher, path, revision and file ending."""
    last = name.strip()[:_MAX].rstrip("/").replace("\\", "/").rpartition("/")[2].partition("@")[0]
    return re.sub(r"\.(?:gguf|safetensors|bin)$", "", last)


def publisher(name: str) -> str | None:
    """Return the publisher of ``publisher/model``, or None: a path has none."""
    parts = name.strip().split("/")
    return parts[0].lower() if len(parts) == 2 and all(parts) and parts[0] not in {".", "..", "~"} else None


def pieces(name: str) -> tuple[str, ...]:
    """Return letters and numbers of the model's name, lower case; a leading publisher's word is dropped."""
    found = _PIECES.findall(own(name).lower().replace("_", "-"))
    while len(found) > 1 and found[0] in _PUBLISHERS:
        found = found[1:]
    return tuple(found)


def same(one: str, other: str) -> bool:
    """Return whether two names mean the same model: equal but for publisher, capitals and separators."""
    left, right = pieces(one), pieces(other)
    return bool(left) and left == right


def means(said: str, model: str) -> bool:
    """Return whether what a text says ("Llama 2") can mean a model ("meta-llama/Llama-2-7b-hf").

    What is said must be the beginning of the model's name, piece by piece; "Llama" alone means every Llama, "Llama 3"
    also means Llama 3.1, and never the other way round.
    """
    short, long = pieces(said), pieces(model)
    if not short or not long or len(short) > len(long):
        return False
    *head, last = short
    if list(long[: len(head)]) != head:
        return False
    reached = long[len(head)]
    return reached == last or (last[0].isdigit() and reached.startswith(last + "."))


def siblings(one: str, other: str) -> bool:
    """Return whether two names differ in nothing but tuning or packing words: same words, version and size."""
    return _bare(one) == _bare(other) != ()


def _bare(name: str) -> tuple[str, ...]:
    tuned = {"instruct", "chat", "it", "base", "sft", "dpo", "pt"} | _BYTES
    found = [p for p in pieces(name) if p not in tuned]
    return tuple(found)


def meets(name: str, part: str, rule: str) -> bool:
    """Return whether a model's name meets a licence's naming rule.

    Args:
        name: the name, with or without its publisher.
        part: what it must hold, e.g. ``Llama 3``.
        rule: ``starts_with`` or ``includes``.

    Raises:
        ValueError: a rule of another kind: a mistake in a data file.
    """
    if rule not in {"starts_with", "includes"}:
        raise ValueError(f"not a naming rule: {rule}")
    wanted = r"[\s._-]*".join(re.escape(p) for p in _PIECES.findall(part.lower()))
    wanted += r"(?![0-9])" if part[-1].isdigit() else ""
    found = re.search(wanted, own(name).lower())
    return bool(found) and (rule == "includes" or found.start() == 0)


def suggestion(name: str, part: str, rule: str) -> str:
    """Return a name that meets the rule and keeps the rest of the present one."""
    mine = own(name)
    if meets(mine, part, rule):
        return mine
    return f"{part.replace(' ', '-')}-{mine}"


def any_meets(names: Sequence[str], part: str, rule: str) -> list[bool]:
    """Return for each name whether it meets the rule."""
    return [meets(name, part, rule) for name in names]
