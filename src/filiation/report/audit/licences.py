"""The licences of an audited repository as a bill of materials names them: declared, and concluded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from filiation.auditing.records import AuditReport
from filiation.disclosure import licences as registry
from filiation.disclosure.own import lookup

_OWN = re.compile(r"[^A-Za-z0-9.-]+")
_NONE = frozenset({"other", "unknown"})


@dataclass(frozen=True, slots=True)
class Named:
    """A licence: ``spdx`` is its identifier in SPDX's own list, ``reference`` what to write where there is none."""

    name: str
    reference: str
    spdx: str | None = None
    link: str | None = None


def declared(report: AuditReport) -> tuple[Named, ...]:
    """Return what the repository says its licence is, as it is written where the registry does not know it."""
    said = [c.text for c in report.claims if c.subject in ("license", "gguf_license")]
    names = [c.text for c in report.claims if c.subject in ("license_name", "gguf_license_name")]
    written = [text for text in dict.fromkeys((*said, *names)) if text.lower() not in _NONE]
    return tuple(dict.fromkeys(_written(text) for text in written))


def concluded(report: AuditReport) -> tuple[Named, ...]:
    """Return what was found: the licences whose text is there, and those of parents whose terms bind on.

    A declared licence without its text is no conclusion; nor is one of several that cannot be told apart.
    """
    texts = [c.text for c in report.claims if c.subject == "licence_text" and c.text != "unknown"]
    binding = [x for p in report.parents for x in p.licences]
    kept = [x for x in binding if x in registry() and registry()[x].kind not in ("permissive", "notice_only")]
    return _known(dict.fromkeys((*texts, *kept)))


def of_parent(ids: Iterable[str]) -> tuple[Named, ...]:
    """Return the licences of a parent, by their ids in the registry."""
    return _known(ids)


def _known(ids: Iterable[str]) -> tuple[Named, ...]:
    return tuple(_named(ident) for ident in ids)


def _written(text: str) -> Named:
    found = lookup(text)
    return _named(found[0].id) if len(found) == 1 else Named(text, _reference(text))


def _named(ident: str) -> Named:
    licence = registry().get(ident)
    if licence is None:
        return Named(ident, _reference(ident))
    listed = licence.spdx if licence.spdx and not licence.spdx.startswith("LicenseRef-") else None
    link = licence.links[0] if licence.links else None
    return Named(licence.name, licence.spdx or _reference(ident), listed, link)


def _reference(text: str) -> str:
    return f"LicenseRef-filiation-{_OWN.sub('-', text).strip('-') or 'unknown'}"


def expression(found: Iterable[Named]) -> str:
    """Return an SPDX expression: all of them hold."""
    return " AND ".join(named.spdx or named.reference for named in found)
