"""Reports: what was found, worded and drawn. One renderer a file; all are fed by :mod:`filiation.evidence`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from filiation.evidence import AUDIT_SCHEMA, SCHEMA

if TYPE_CHECKING:
    from filiation.evidence import Document
    from filiation.report.custody import Custody
    from filiation.report.wording import Phrases

#: The renderers: each a module of this room with ``NAME``, ``SUFFIX`` and ``render``. A new output is one file here.
RENDERERS = ("terminal", "json", "html", "markdown")
#: The same for audits; their modules lie in ``audit/``.
AUDIT_RENDERERS = (*RENDERERS, "sarif", "cyclonedx", "spdx")


class Renderer(Protocol):
    """What a renderer's module offers."""

    NAME: str
    SUFFIX: str

    def render(
        self, report: Document, phrases: Phrases, custody: Custody | None = None, **drawing: Any
    ) -> str:
        """Return the report as text."""
        ...


def renderer(name: str, schema: str = SCHEMA) -> Renderer:
    """Return the renderer of a name for reports of a schema, importing it now (templates are not free).

    Raises:
        ValueError: there is none of that name.
    """
    from importlib import import_module
    from typing import cast

    known, room = (AUDIT_RENDERERS, "audit.") if schema == AUDIT_SCHEMA else (RENDERERS, "")
    if name not in known:
        raise ValueError(f"no renderer {name!r}; there are {', '.join(known)}")
    return cast("Renderer", import_module(f"filiation.report.{room}{name}"))
