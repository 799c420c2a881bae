"""Text that breaks its lines between Chinese characters too, where rich breaks at spaces only."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, OverflowMethod
from rich.containers import Lines
from rich.measure import Measurement
from rich.text import Text

_WIDE = r"\u2e80-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
_OPENING, _CLOSING = "（“《「", "，。；：、！？）”》」"  # never last on a line; never first on a line
_TOKEN = re.compile(
    rf"[{_OPENING}]*(?:[{_WIDE}]|[^\s{_WIDE}{_OPENING}{_CLOSING}]+|[{_OPENING}{_CLOSING}])[{_CLOSING}]*\s*|\s+"
)
_HAS_WIDE = re.compile(f"[{_WIDE}]")


class Flow(Text):
    """A rich text; lines break between any two wide characters, but not before a full stop."""

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """A column may be as narrow as the widest piece that must stay together."""
        measured = super().__rich_measure__(console, options)
        narrowest = max((cell_len(token.rstrip()) for token in _TOKEN.findall(self.plain)), default=0)
        return Measurement(min(narrowest, measured.minimum), measured.maximum)

    def wrap(
        self,
        console: Console,
        width: int,
        *,
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        tab_size: int = 8,
        no_wrap: bool | None = None,
    ) -> Lines:
        """Break the text into lines of at most ``width`` cells."""
        if no_wrap or not _HAS_WIDE.search(self.plain):
            return super().wrap(
                console, width, justify=justify, overflow=overflow, tab_size=tab_size, no_wrap=no_wrap
            )
        lines = Lines()
        for line in self.split(allow_blank=True):
            pieces = line.divide(breaks(line.plain, width))
            for piece in pieces:
                piece.rstrip_end(width)
            if justify:
                pieces.justify(console, width, justify=justify, overflow=overflow or "fold")
            lines.extend(pieces)
        return lines


def breaks(text: str, width: int) -> list[int]:
    """Return the offsets at which ``text`` is broken so that no line is wider than ``width`` cells."""
    offsets: list[int] = []
    used = start = 0
    for token in _tokens(text, width):
        if used and used + cell_len(token.rstrip()) > width:
            offsets.append(start)
            used = 0
        used += cell_len(token)
        start += len(token)
    return offsets


def _tokens(text: str, width: int) -> Iterator[str]:
    """Yield what must stay together; what is wider than a line is taken apart."""
    for token in _TOKEN.findall(text):
        if cell_len(token.rstrip()) > width:
            yield from token
        else:
            yield token
