"""The YAML at the front of a model card, read with bounds: text and lists of text by key, each with its line.

Only the events of the parser are used. No tag is resolved, no object built, an alias ends the reading (aliases are
how a small file becomes a large one), and sizes, depth and the number of values are limited.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

MAX_FRONT = 1 << 20
"""Characters of front matter that are looked at; benchmark cards have been seen with half a million."""

_WHOLE = 1 << 16
_MAX_VALUES = 50_000
_MAX_DEPTH = 40
_MAX_SCALAR = 20_000
_PLAIN_TAGS = frozenset({"str", "int", "float", "bool", "null", "seq", "map", "timestamp"})
_Kept = TypeVar("_Kept")
_KEY = re.compile(r"^([A-Za-z_][\w-]{0,60})[ \t]*:")


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar as written, with its line (from 1) and the key directly above it (list items have their list's)."""

    text: str
    line: int
    key: str = ""


@dataclass(frozen=True, slots=True)
class Front:
    """The front matter of a card.

    Attributes:
        values: scalars by top-level key, nested lists and mappings flattened in order.
        body_line: the line (from 1) on which the prose begins.
        unreadable: keys under which a tagged value stands, which is not read, with its line.
        repeated: keys that stand twice, with the line of the second; readers of YAML keep one of the two only.
        problem: phrase key of why it, or part of it, could not be read; None when it could.
    """

    values: dict[str, list[Value]] = field(default_factory=dict[str, list[Value]])
    body_line: int = 1
    problem: str | None = None
    unreadable: dict[str, int] = field(default_factory=dict[str, int])
    repeated: dict[str, int] = field(default_factory=dict[str, int])

    def first(self, key: str) -> Value | None:
        """Return the first value of a key."""
        found = self.values.get(key)
        return found[0] if found else None


def read(text: str, keys: frozenset[str]) -> Front:
    """Return what the front matter of a card says under some keys.

    Args:
        text: the whole card.
        keys: the top-level keys that are wanted; in a long front matter only their parts are parsed.
    """
    block, body_line, closed = _front(text)
    if block is None:
        return Front()
    if not closed:
        return Front({}, body_line, "front_matter_not_closed")
    if len(block) > _WHOLE:
        return _parts(block, keys, body_line)
    walk, problem = _events(block, 2)
    if problem is None:
        kept = _only(keys, walk.values)
        return Front(kept, body_line, None, _only(keys, walk.tagged), _only(keys, walk.repeated))
    rescued = _parts(
        block, keys, body_line
    )  # a broken part elsewhere does not hide the keys that can be read
    return Front(rescued.values, body_line, problem, rescued.unreadable, rescued.repeated)


def _only(keys: frozenset[str], found: Mapping[str, _Kept]) -> dict[str, _Kept]:
    return {key: value for key, value in found.items() if key in keys}


def read_plain(text: str, keys: frozenset[str]) -> Front:
    """Return the same of a YAML file that is all data (a merge recipe)."""
    walk, problem = _events(text[:_WHOLE], 1)
    kept = _only(keys, walk.values)
    return Front(kept, 1, "yaml_too_long" if len(text) > _WHOLE else problem, walk.tagged, walk.repeated)


def _front(text: str) -> tuple[str | None, int, bool]:
    """Return the block between the ``---`` lines, the line of the prose, and whether it is closed."""
    lines = text[:MAX_FRONT].splitlines()
    if not lines or lines[0].strip() != "---":
        return None, 1, True
    for number, line in enumerate(lines[1:], 2):
        if line.rstrip() == "---":
            return "\n".join(lines[1 : number - 1]) + "\n", number + 1, True
    return "", 1, False


def _parts(block: str, keys: frozenset[str], body_line: int) -> Front:
    """Parse only the top-level entries with wanted keys, each by itself."""
    found: dict[str, list[Value]] = {}
    hidden: dict[str, int] = {}
    again: dict[str, int] = {}
    problem: str | None = None
    lines = block.splitlines()
    starts = [(n, m.group(1)) for n, line in enumerate(lines) if (m := _KEY.match(line))]
    for position, (start, key) in enumerate(starts):
        if key not in keys:
            continue
        end = starts[position + 1][0] if position + 1 < len(starts) else len(lines)
        walk, trouble = _events("\n".join(lines[start:end])[:_WHOLE] + "\n", 2 + start)
        problem = problem or trouble
        hidden |= {k: v for k, v in walk.tagged.items() if k == key}
        again |= {key: 2 + start} if key in found else {}
        found.setdefault(key, []).extend(walk.values.get(key, ()))
    return Front(found, body_line, problem, hidden, again)


def _events(block: str, first_line: int) -> tuple[_Walk, str | None]:
    """Return what was seen, and a problem; what was read before a problem is kept."""
    import yaml

    reader = _Walk(first_line)
    try:
        for event in yaml.parse(block, Loader=_loader(yaml)):
            if isinstance(event, yaml.AliasEvent):
                return reader, "yaml_alias"
            problem = reader.take(event, yaml)
            if problem:
                return reader, problem
    except (yaml.YAMLError, ValueError, RecursionError):
        return reader, "yaml_broken"
    return reader, None


def _loader(yaml: Any) -> Any:
    """The C parser where PyYAML has it: thirty times faster, same events."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Walk:
    """Keeps, while events pass, which top-level key they belong to."""

    def __init__(self, first_line: int) -> None:
        self.values: dict[str, list[Value]] = {}
        self.tagged: dict[str, int] = {}
        self.repeated: dict[str, int] = {}
        self._seen: set[str] = set()
        self._hidden = 0  # depth at which a tagged collection was opened; 0 outside of one
        self._first = first_line
        self._kinds: list[str] = []  # open collections: "map" or "list"
        self._expects: list[bool] = []  # for each open mapping: is a key next?
        self._keys: list[str] = []  # for each open collection: the key that its values have
        self._count = 0

    def take(self, event: Any, yaml: Any) -> str | None:
        """Take one event; return a problem's key to stop."""
        self._count += 1
        if self._count > _MAX_VALUES:
            return "yaml_too_long"
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open("map" if isinstance(event, yaml.MappingStartEvent) else "list")
            if not self._hidden and self._tagged(event):
                self._hidden = len(self._kinds)
            return "yaml_too_deep" if len(self._kinds) > _MAX_DEPTH else None
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._hidden = 0 if self._hidden == len(self._kinds) else self._hidden
            self._kinds.pop()
            self._expects.pop()
            self._keys.pop()
        elif isinstance(event, yaml.ScalarEvent):
            hidden = bool(self._hidden) or self._tagged(event)
            self._scalar(str(event.value)[:_MAX_SCALAR], event.start_mark.line + self._first, hidden)
        return None

    def _tagged(self, event: Any) -> bool:
        """Whether a value has a tag of its own (``!!python/...``, ``!x``): what it means is not known."""
        tag = event.tag
        if not tag or str(tag) == "!" or str(tag).rpartition(":")[2] in _PLAIN_TAGS:
            return False
        if self._keys and self._keys[0]:
            self.tagged.setdefault(self._keys[0], event.start_mark.line + self._first)
        return True

    def _open(self, kind: str) -> None:
        self._turn()
        self._kinds.append(kind)
        self._expects.append(kind == "map")
        self._keys.append(self._keys[-1] if self._keys else "")

    def _turn(self) -> None:
        """What begins now fills the place of a value in the enclosing mapping."""
        if self._kinds and self._kinds[-1] == "map":
            self._expects[-1] = not self._expects[-1]

    def _scalar(self, text: str, line: int, hidden: bool) -> None:
        is_key = bool(self._kinds) and self._kinds[-1] == "map" and self._expects[-1]
        self._turn()
        if is_key:
            self._keys[-1] = text
            if len(self._kinds) == 1:
                self.repeated |= {text: line} if text in self._seen else {}
                self._seen.add(text)
        elif self._keys and self._kinds[0] == "map" and not hidden:
            self.values.setdefault(self._keys[0], []).append(Value(text, line, self._keys[-1]))
