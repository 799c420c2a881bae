"""The few SVG elements the drawings need. Every attribute and text is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from filiation.report.numbers import clean


def number(value: float) -> str:
    """Return a coordinate with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def element(tag: str, content: str = "", **attributes: str | float | None) -> str:
    """Return one element; ``_`` in attribute names becomes ``-`` (``class_`` is ``class``), None is left out."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value) if isinstance(value, str) else number(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{written}>{content}</{tag}>" if content else f"<{tag}{written}/>"


def text(
    x: float, y: float, words: str, class_: str = "", anchor: str | None = None, rotate: float = 0
) -> str:
    """Return a line of text."""
    turned = f"rotate({number(rotate)} {number(x)} {number(y)})" if rotate else None
    return element(
        "text", escape(clean(words)), x=x, y=y, class_=class_ or None, text_anchor=anchor, transform=turned
    )


def rect(x: float, y: float, width: float, height: float, class_: str, title: str | None = None) -> str:
    """Return a rectangle, with a tooltip when ``title`` is given."""
    content = element("title", escape(clean(title))) if title else ""
    return element("rect", content, x=x, y=y, width=width, height=height, class_=class_)


def squares(cells: Iterable[tuple[float, float]], size: float, class_: str) -> str:
    """Return many equal squares as one path: thousands of cells in a few kilobytes."""
    side = number(size)
    shape = "".join(f"M{number(x)} {number(y)}h{side}v{side}h-{side}z" for x, y in cells)
    return element("path", d=shape, class_=class_) if shape else ""


def picture(width: float, height: float, label: str, content: Iterable[str], class_: str) -> str:
    """Return the whole drawing; ``label`` is what a screen reader says."""
    return element(
        "svg",
        "".join(content),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=clean(label),
        class_=class_,
    )


def tick_step(count: int) -> int:
    """Return every how many layers an axis is labelled."""
    return next((step for step in (1, 5, 10, 20, 50) if count / step <= 13), 100)
