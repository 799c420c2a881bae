"""Reports: what was found, worded and drawn. One renderer a file; all are fed by :mod:`filiation.evidence`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from filiation.evidence import AUDIT_SCHEMA, PROBE_SCHEMA, SCHEMA

if TYPE_CHECKING:
    from filiation.evidence import Document
    from filiation.report.custody import Custody
    from filiation.report.wording import Phrases

#: The renderers: each a module of this room with ``NAME``, ``SUFFIX`` and ``render``. A new output is one file here.
RENDERERS = ("terminal", "json", "html", "markdown")
#: The same for audits; their modules lie in ``audit/``.
AUDIT_RENDERERS = (*RENDERERS, "sarif", "cyclonedx", "spdx")
#: Which renderers a report of another schema has, and where their modules lie.
_OTHERS = {AUDIT_SCHEMA: (AUDIT_RENDERERS, "audit."), PROBE_SCHEMA: (RENDERERS, "probe.")}


class Renderer(Protocol):
    """What a renderer's module offers."""

    NAME: str
    SUFFIX: str

    def render(
        self, report: Document, phrases: Phrases, custody: Custody | None = None, **drawing: Any
    ) -> str:
        """Return the report as text."""
        ...


class Printer(Renderer, Protocol):
    """What the renderer for the terminal offers beside."""

    def on_screen(self, report: Document, phrases: Phrases) -> None:
        """Print to the terminal that standard output is."""
        ...


def printer_of(schema: str) -> Printer:
    """Return the renderer that prints reports of a schema to a terminal."""
    from typing import cast

    return cast("Printer", renderer("terminal", schema))


def renderer(name: str, schema: str = SCHEMA) -> Renderer:
    """Return the renderer of a name for reports of a schema, importing it now (templates are not free).

    Raises:
        ValueError: there is none of that name.
    """
    from importlib import import_module
    from typing import cast

    known, room = _OTHERS.get(schema, (RENDERERS, ""))
    if name not in known:
        raise ValueError(f"no renderer {name!r}; there are {', '.join(known)}")
    return cast("Renderer", import_module(f"filiation.report.{room}{name}"))
