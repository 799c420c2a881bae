"""Reports: what was found, worded and drawn. One renderer a file; all are fed by :mod:`filiation.evidence`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from filiation.evidence import Report
    from filiation.report.custody import Custody
    from filiation.report.wording import Phrases

#: The renderers: each a module of this room with ``NAME``, ``SUFFIX`` and ``render``. A new output is one file here.
RENDERERS = ("terminal", "json", "html", "markdown")


class Renderer(Protocol):
    """What a renderer's module offers."""

    NAME: str
    SUFFIX: str

    def render(self, report: Report, phrases: Phrases, custody: Custody | None = None) -> str:
        """Return the report as text."""
        ...


def renderer(name: str) -> Renderer:
    """Return a renderer by name, importing it now (templates and terminal colours are not free).

    Raises:
        ValueError: there is none of that name.
    """
    from importlib import import_module
    from typing import cast

    if name not in RENDERERS:
        raise ValueError(f"no renderer {name!r}; there are {', '.join(RENDERERS)}")
    return cast("Renderer", import_module(f"filiation.report.{name}"))
