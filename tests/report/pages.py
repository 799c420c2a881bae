"""Reading a page the way a strict reader would."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img", "input", "col"}


@dataclass
class Element:
    """One element: its tag, attributes and text."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """Every element of a page, in order; fails on tags that do not match."""

    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1].tag == tag, f"</{tag}> inside <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def all(self, tag: str) -> list[Element]:
        """Every element of one tag."""
        return [e for e in self.elements if e.tag == tag]

    def by_id(self, name: str) -> Element:
        """The element with this id."""
        (found,) = [e for e in self.elements if e.attributes.get("id") == name]
        return found


def read(html: str) -> Page:
    """Parse a page; every tag must be closed."""
    page = Page()
    page.feed(html)
    page.close()
    assert not page.open, f"never closed: {[e.tag for e in page.open]}"
    return page
