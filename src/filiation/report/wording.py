"""The phrase files: every sentence a report says, looked up by key.

``phrases/<language>.toml`` holds what ``compare`` says, ``phrases/<language>/*.toml`` what the wings say, a file
each; the tables add up. A key that no file knows is shown as it is: a report never fails for want of a phrase.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, cast

from filiation.errors import UsageError
from filiation.report.numbers import clean

LANGUAGES = ("en", "zh-CN")


class _Gaps(dict[str, object]):
    """Leaves a placeholder without a value as it stands instead of failing."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


@dataclass(frozen=True)
class Phrases:
    """The wording of one language."""

    language: str
    tree: Mapping[str, Any]

    def find(self, *path: str) -> str | None:
        """Return the phrase at ``path`` (section, key, field), or None where there is none."""
        node: Any = self.tree
        for step in path:
            if not isinstance(node, Mapping):
                return None
            node = cast("Mapping[str, Any]", node).get(step)
        return node if isinstance(node, str) else None

    def say(self, *path: str, **values: object) -> str:
        """Return the phrase at ``path`` with its placeholders filled; the raw key where there is none."""
        phrase = self.find(*path)
        return clean(path[-1]) if phrase is None else self.fill(phrase, **values)

    def name(self, section: str, key: str) -> str:
        """Return ``section.key.name`` or ``section.key``; an unknown key is shown with spaces for underscores."""
        known = self.find(section, key, "name") or self.find(section, key)
        return known or clean(key).replace("_", " ")

    def name_at(self, *path: str) -> str:
        """Return the phrase at ``path``; the last step with spaces for underscores where there is none."""
        return self.find(*path) or clean(path[-1]).replace("_", " ")

    def resolve(self, key: str, *sections: str) -> str | None:
        """Return the phrase of a record's key: a dotted path (``shows.ffn_order``), or a key of one of ``sections``."""
        if "." in key and (known := self.find(*key.split("."))):
            return known
        last = key.rpartition(".")[2].replace(" ", "_")
        return next((known for section in sections if (known := self.find(section, last))), None)

    def reworded(self, sentence: str, section: str = "said") -> str | None:
        """Return the wording of an English sentence that a lower room wrote, by a section of such; else None."""
        for pattern, wording in _sentences(self.language, section):
            if found := pattern.fullmatch(sentence):
                parts = {k: self.reworded(v, section) or clean(v) for k, v in found.groupdict().items()}
                return self.fill(wording, **parts)
        return None

    @staticmethod
    def fill(phrase: str, /, **values: object) -> str:
        """Fill the placeholders of ``phrase``; those without a value stay."""
        return phrase.format_map(_Gaps(values))

    def ordered(self, section: str, record: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """Return a record's items in the order of a section's keys; what the section does not know comes last.

        A stored report has lost the order in which its records were made; this one is the same for both.
        """
        node: Any = self.tree.get(section)
        known = list(cast("Mapping[str, Any]", node)) if isinstance(node, Mapping) else []
        rank = {key: n for n, key in enumerate(known)}
        return sorted(record.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0]))


@cache
def _sentences(language: str, section: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """A section of sentences as patterns: a placeholder matches anything. Sentences without one come first."""
    said = phrases(language).tree.get(section, {})
    ordered = sorted(said.items(), key=lambda item: "{" in item[0])
    return tuple(
        (re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+)", re.escape(key))), text) for key, text in ordered
    )


@cache
def phrases(language: str = "en") -> Phrases:
    """Return the phrases of ``language``.

    Raises:
        UsageError: there is no phrase file for it.
    """
    if language not in LANGUAGES:
        raise UsageError(
            f"There are no phrases for the language '{language}'.",
            next_step=f"Use one of: {', '.join(LANGUAGES)}.",
        )
    tree: dict[str, Any] = {}
    for name, table in phrase_files(language).items():
        _add(tree, table, name)
    return Phrases(language, tree)


def phrase_files(language: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the phrase files of a language by name, parsed: the general one first, then the wings' by name."""
    folder = files("filiation.report") / "phrases"
    general = folder / f"{language}.toml"
    wings = sorted(
        (f for f in (folder / language).iterdir() if f.name.endswith(".toml")), key=lambda f: f.name
    )
    named = {general.name: general, **{f"{language}/{wing.name}": wing for wing in wings}}
    return {name: tomllib.loads(file.read_text(encoding="utf-8")) for name, file in named.items()}


def _add(tree: dict[str, Any], table: Mapping[str, Any], file: str) -> None:
    """Add the phrases of one file; a phrase has one home.

    Raises:
        ValueError: another file has said the same phrase already.
    """
    for key, value in table.items():
        known = tree.setdefault(key, {}) if isinstance(value, Mapping) else tree.get(key)
        if isinstance(value, Mapping) and isinstance(known, dict):
            _add(cast("dict[str, Any]", known), cast("Mapping[str, Any]", value), file)
        elif known is None:
            tree[key] = value
        else:
            raise ValueError(f"the phrase '{key}' of {file} stands in another phrase file too")
