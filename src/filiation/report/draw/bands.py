"""The colour bands of amounts of evidence: the same in every map, cut at the contract's lines."""

from __future__ import annotations

from itertools import pairwise

from filiation.report.wording import Phrases

#: Lower ends of the bands, in ``log10 e``. 2 and 6 are the lines of the evidence contract.
EDGES = (2.0, 6.0, 20.0, 60.0, 200.0)
UNREAD = "unread"


def band(log10_e: float | None) -> str:
    """Return the CSS class of an amount of evidence: ``b0`` (as unrelated) to ``b5``, or ``unread``."""
    return UNREAD if log10_e is None else f"b{sum(log10_e >= edge for edge in EDGES)}"


def legend(phrases: Phrases) -> tuple[tuple[str, str], ...]:
    """Return the legend: CSS class and wording of every band."""
    rows = [("b0", phrases.say("ui", "legend_none")), ("b1", phrases.say("ui", "legend_suggestive"))]
    for n, (low, high) in enumerate(pairwise(EDGES[1:]), 2):
        rows.append((f"b{n}", phrases.say("ui", "legend_band", low=f"{low:g}", high=f"{high:g}")))
    rows.append((f"b{len(EDGES)}", phrases.say("ui", "legend_top", low=f"{EDGES[-1]:g}")))
    rows.append((UNREAD, phrases.say("ui", "legend_unread")))
    return tuple(rows)
