"""Help for choosing controls: which public models stand as near to a claimed parent as a non-relative can.

Agreement beyond a control is worth as much as the control is comparable. One with another tokenizer, or two years
older, is beaten by anything recent; so the list puts models with the parent's tokenizer first, then those of its
generation, and says what each shares. The table ``controls.toml`` is general knowledge of public model cards, marked
so; the caller may name any other model and say what it shares.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_GENERATION_MONTHS = 9
_TUNED = re.compile(r"-(?:instruct|chat|it|base)$")
_FILE = re.compile(r"(?:[.-](?:i?q\d\w*|b?f16|f32|fp16|fp32))?(?:\.gguf)?$")


@dataclass(frozen=True, slots=True)
class Known:
    """A public model.

    Attributes:
        name: its name at its publisher's, such as ``HuggingFaceTB/SmolLM2-135M``.
        tokenizer: a label that models of one tokenizer share.
        released: year and month, ``2024-11``.
        parameters: millions.
        lineage: a label that models of one pretraining run, or of one made from the other, share.
    """

    name: str
    tokenizer: str
    released: str
    parameters: int
    lineage: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What a control shares with the claimed parent; ``None`` where it is not known."""

    same_tokenizer: bool | None = None
    same_generation: bool | None = None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A control to consider, and why."""

    model: Known
    standing: Standing


@cache
def known() -> tuple[Known, ...]:
    """Return the shipped table of public models."""
    text = (files("filiation.behaviour") / "controls.toml").read_text(encoding="utf-8")
    return tuple(
        Known(row["name"], row["tokenizer"], row["released"], row["parameters"], row["lineage"])
        for row in tomllib.loads(text)["model"]
    )


def find(name: str) -> Known | None:
    """Return the model of that name, ``None`` if it is not known.

    With or without its publisher, in any case; of a file's name the ending and the quantisation are left out. A
    variant for instructions that is not listed has the tokenizer, age and line of its base.
    """
    wanted = _FILE.sub("", name.casefold().rpartition("/")[2])
    listed = {m.name.casefold().rpartition("/")[2]: m for m in known()}
    return listed.get(wanted) or listed.get(_TUNED.sub("", wanted))


def standing(parent: Known | None, control: Known | None) -> Standing:
    """Return what is known of a control against a parent."""
    if parent is None or control is None:
        return Standing()
    near = abs(_months(parent.released) - _months(control.released)) <= _GENERATION_MONTHS
    return Standing(parent.tokenizer == control.tokenizer, near)


def suggest(parent: str, count: int = 5) -> tuple[Suggestion, ...]:
    """Return models to hold beside ``parent``: same tokenizer first, then same generation, then nearest in size.

    Models of the parent's own lineage are left out: agreement with a sibling says nothing against descent. Empty
    where the parent is not known; the caller then has to name controls.
    """
    own = find(parent)
    if own is None:
        return ()
    others = [Suggestion(m, standing(own, m)) for m in known() if m.lineage != own.lineage]

    def rank(each: Suggestion) -> tuple[bool, bool, float, str]:
        larger, smaller = sorted((each.model.parameters, own.parameters), reverse=True)
        return (
            not each.standing.same_tokenizer,
            not each.standing.same_generation,
            larger / smaller,
            each.model.name,
        )

    return tuple(sorted(others, key=rank)[:count])


def wanting(standings: Mapping[str, Standing], controls: Sequence[str]) -> tuple[str, ...]:
    """Return phrase keys of what no control is known to share with the parent."""
    rows = [standings.get(role, Standing()) for role in controls]
    missing: list[str] = []
    if not any(row.same_tokenizer for row in rows):
        missing.append("no_control_tokenizer")
    if not any(row.same_generation for row in rows):
        missing.append("no_control_generation")
    return tuple(missing)


def _months(released: str) -> int:
    year, month = released.split("-")
    return 12 * int(year) + int(month)
