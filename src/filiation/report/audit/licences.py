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
_UNREAD = frozenset(
    {"licence_unreadable", "licence_unnamed", "text_unknown", "text_modified", "prose_says_two"}
)

NO_ASSERTION = "NOASSERTION"
"""What stands for a licence of which nothing is concluded."""


@dataclass(frozen=True, slots=True)
class Named:
    """A licence: ``spdx`` is its identifier in SPDX's own list, ``reference`` what to write where there is none."""

    name: str
    reference: str
    spdx: str | None = None
    link: str | None = None


def declared(report: AuditReport) -> tuple[Named, ...]:
    """Return what the repository says its licence is, as it is written where the registry does not know it."""
    subjects = ("license", "gguf_license", "license_name", "gguf_license_name", "prose_license")
    said = (c.text for subject in subjects for c in report.claims if c.subject == subject)
    written = [text for text in dict.fromkeys(said) if text.lower() not in _NONE]
    return tuple(dict.fromkeys(_written(text) for text in written))


def undecided(report: AuditReport) -> bool:
    """Whether nothing can be concluded of the licence: the files contradict one another or the parents' terms, a text
    was not recognised or is changed, or nobody knows which licence a parent is under.
    """
    rules = [r for r in report.rules if r.id in ("L1", "L2")]
    if any(r.status == "contradicted" or r.reason in _UNREAD for r in rules):
        return True
    if any(c.subject == "licence_text" and c.text == "unknown" for c in report.claims):
        return True
    return any(p.open or (set(p.basis) != {"code"} and not p.licences) for p in report.parents)


def concluded(report: AuditReport) -> tuple[Named, ...]:
    """Return what was found: the licences whose text is there, and those of parents whose terms bind on.

    A declared licence without its text is no conclusion; nor is one of several that cannot be told apart. Nothing is
    concluded where :func:`undecided` says so: "no assertion" is what a bill of materials then has to say.
    """
    if undecided(report):
        return ()
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
