"""The registry: every licence in a data file, ``licences/<id>.toml``, and how to find one by what a card says."""

from __future__ import annotations

import base64
import datetime
import re
import tomllib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, cast

from filiation.disclosure.model import Fingerprint, Licence, ModelPattern, Obligation, Reading
from filiation.disclosure.text import line_key

_MAX_NAME = 300
_MIN_SPELLED = 3
_PLAIN = (
    "version",
    "spdx",
    "relicense_clause",
    "output_clause",
    "blanks",
    "valid_from",
    "valid_to",
)
_LISTS = ("attaches", "hub", "names", "links", "sources", "marks", "aliases")


@cache
def licences() -> Mapping[str, Licence]:
    """Return every licence of the registry by id, sorted."""
    folder = files("filiation.disclosure") / "licences"
    found = [
        _licence(entry.name.removesuffix(".toml"), tomllib.loads(entry.read_text(encoding="utf-8")))
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    ]
    return {licence.id: licence for licence in sorted(found, key=lambda licence: licence.id)}


def _licence(ident: str, table: Mapping[str, Any]) -> Licence:
    named: dict[str, Any] = {key: table[key] for key in _PLAIN if key in table}
    named |= {key: tuple(table[key]) for key in _LISTS if key in table}
    return Licence(
        id=ident,
        name=table["name"],
        kind=table["kind"],
        family=table.get("family", ident),
        reading=Reading(table["reading"]),
        relicense=table.get("relicense", "free"),
        models=tuple(ModelPattern(**entry) for entry in table.get("models", ())),
        obligations=tuple(_obligation(entry) for entry in table.get("obligation", ())),
        fingerprints=tuple(unpack(e["modulus"], e["hashes"]) for e in table.get("text", ())),
        **named,
    )


def _obligation(table: Mapping[str, Any]) -> Obligation:
    given = dict(table)
    given["phrases"] = tuple(given.get("phrases", ()))
    return Obligation(**given)


def pack(print_: Fingerprint) -> str:
    """Return the hashes as text for a data file: base 64 over sorted 4-byte numbers, wrapped."""
    raw = b"".join(number.to_bytes(4, "big") for number in sorted(print_.hashes))
    text = base64.b64encode(raw).decode()
    return "\n".join(text[start : start + 100] for start in range(0, len(text), 100))


def unpack(modulus: int, text: str) -> Fingerprint:
    """Return the fingerprint that :func:`pack` wrote."""
    raw = base64.b64decode("".join(text.split()))
    numbers = (int.from_bytes(raw[at : at + 4], "big") for at in range(0, len(raw), 4))
    return Fingerprint(modulus, frozenset(numbers))


def by_tag(tag: str) -> tuple[Licence, ...]:
    """Return the licences that a value of the hub's ``license`` field, or an SPDX id, can mean."""
    wanted = tag.strip().lower()
    return tuple(
        licence
        for licence in licences().values()
        if wanted
        and (
            wanted in (h.lower() for h in licence.hub) or wanted in {(licence.spdx or "").lower(), licence.id}
        )
    )


def by_name(name: str) -> tuple[Licence, ...]:
    """Return the licences that a ``license_name`` (or a title) can mean; empty where none is known by it."""
    wanted = line_key(name[:_MAX_NAME])
    if not wanted:
        return ()
    exact = tuple(x for x in licences().values() if wanted in {line_key(n) for n in (x.name, x.id, *x.names)})
    return exact or by_tag(name)


def by_link(link: str) -> tuple[Licence, ...]:
    """Return the licences whose text is published at a link; the scheme and a trailing slash do not count."""
    wanted = _address(link[: _MAX_NAME * 2])
    return tuple(
        x for x in licences().values() if wanted and wanted in {_address(known) for known in x.links}
    )


def _address(link: str) -> str:
    bare = link.strip().lower().removeprefix("https://").removeprefix("http://").removeprefix("www.")
    return bare.rstrip("/").replace("/raw/", "/blob/").replace("/resolve/", "/blob/")


def of_model(name: str, when: datetime.date | None) -> tuple[Licence, ...]:
    """Return the licences that a model was under on a day, by the registry's patterns.

    More than one means that it depends on the day (or the size), and the day is not known.
    """
    wanted = name.strip().lower()[:_MAX_NAME]
    entries = [(x, e, _governs(e.pattern.lower(), wanted)) for x in licences().values() for e in x.models]
    closest = max((length for _, _, length in entries), default=0)
    kept = [x for x, e, length in entries if length and length == closest and _in_time(e, when)]
    return tuple(dict.fromkeys(kept))


def _governs(pattern: str, name: str) -> int:
    """Return how much of a pattern's model part is spelled out where it matches, 0 where it does not.

    A name without a publisher is held against the model part alone, which must then say something of its own.
    """
    model = pattern.rpartition("/")[2]
    spelled = len(model.replace("*", ""))
    if "/" in name:
        return spelled + 1 if fnmatchcase(name, pattern) else 0
    written = re.sub(r"[\s_]+", "-", name)
    fits = fnmatchcase(written, model) or fnmatchcase(
        f"{written}-", model
    )  # "Llama 2" alone means every size
    return spelled if spelled >= _MIN_SPELLED and fits else 0


def _in_time(entry: ModelPattern, when: datetime.date | None) -> bool:
    if when is None:
        return True
    return (entry.since is None or entry.since <= when) and (entry.until is None or when < entry.until)


def family(licence: Licence) -> tuple[Licence, ...]:
    """Return the licence's near-tie family, itself included."""
    return tuple(x for x in licences().values() if x.family == licence.family)


def known(ids: Iterable[str]) -> tuple[Licence, ...]:
    """Return the licences with these ids, in their order; ids that the registry lacks are left out."""
    everything = licences()
    return tuple(everything[i] for i in ids if i in everything)


@cache
def datasets() -> tuple[Mapping[str, Any], ...]:
    """Return the table of datasets: ``pattern``, ``licence``, ``outputs_of`` (models), ``terms`` (API terms' ids)."""
    text = (files("filiation.disclosure") / "words" / "datasets.toml").read_text(encoding="utf-8")
    return tuple(cast("list[Mapping[str, Any]]", tomllib.loads(text)["dataset"]))
