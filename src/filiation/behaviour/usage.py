"""Is the usage block a count of tokens at all? Looked at before anything is concluded from it.

Gateways are known to state a constant, characters divided by four, or weighted counts of characters instead of tokens.
Each of these leaves a pattern that no tokenizer leaves over texts of eight kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Fabrication:
    """What a series of stated counts was found to be instead of a count of tokens.

    Attributes:
        kind: ``missing``, ``zero_or_one``, ``constant``, ``implausible`` (more tokens than bytes, by far), ``line`` (a
            whole-number part of a straight line in a count of characters), ``weighted`` (the same with a weight of its
            own for characters beyond ASCII).
        measure: of which count, such as ``characters``; None where that does not apply.
        slope: tokens for each unit of it, the middle of what fits.
    """

    kind: str
    measure: str | None = None
    slope: float | None = None


MEASURES: dict[str, Callable[[str], int]] = {
    "characters": len,
    "bytes": lambda text: len(text.encode()),
    "utf16_units": lambda text: len(text.encode("utf-16-le")) // 2,
    "words": lambda text: len(text.split()),
}
_FEWEST = 6
_MOST_EXTRA = 1_000_000


def fabricated(texts: Sequence[str], counts: Sequence[int | None]) -> Fabrication | None:
    """Return what the counts are instead of tokens, None where nothing is odd about them.

    Args:
        texts: what was counted, as it was sent.
        counts: what the server stated for each.
    """
    stated = [(text, count) for text, count in zip(texts, counts, strict=True) if count is not None]
    if len(stated) < min(_FEWEST, len(texts)):
        return Fabrication("missing")
    numbers = [count for _, count in stated]
    if all(count in (0, 1) for count in numbers):
        return Fabrication("zero_or_one")
    if len(set(numbers)) == 1 and len({text for text, _ in stated}) > 1:
        return Fabrication("constant")
    if any(count < 0 or count > len(text.encode()) + _MOST_EXTRA for text, count in stated):
        return Fabrication("implausible")
    if len(stated) < _FEWEST:
        return None
    return _on_a_line(stated) or _weighted(stated)


def _on_a_line(stated: Sequence[tuple[str, int]]) -> Fabrication | None:
    for name, measure in MEASURES.items():
        slope = slope_of([measure(text) for text, _ in stated], [count for _, count in stated])
        if slope is not None:
            return Fabrication("line", name, slope)
    return None


def slope_of(measured: Sequence[int], counts: Sequence[int]) -> float | None:
    """Return a slope ``a`` for which some ``b`` makes every count the whole-number part of ``a x + b``; else None.

    For every pair, ``c_i - c_j - 1 < a (x_i - x_j) < c_i - c_j + 1``; those bounds are also enough.
    """
    x, c = np.array(measured, np.float64), np.array(counts, np.float64)
    step, rise = x[:, None] - x[None, :], c[:, None] - c[None, :]
    same = step == 0
    if bool((np.abs(rise[same]) >= 1).any()) or bool(same.all()):
        return None
    ahead = step > 0
    low = float(((rise[ahead] - 1) / step[ahead]).max())
    high = float(((rise[ahead] + 1) / step[ahead]).min())
    return (low + high) / 2 if low < high else None


def _weighted(stated: Sequence[tuple[str, int]]) -> Fabrication | None:
    """Is every count the whole-number part of ``a * ASCII characters + b * other characters + c``?"""
    from scipy.optimize import linprog

    ascii_count = np.array([sum(c < "\x80" for c in text) for text, _ in stated], np.float64)
    others = np.array([len(text) for text, _ in stated], np.float64) - ascii_count
    counts = np.array([count for _, count in stated], np.float64)
    if len({*others.tolist()}) < 3 or len({*ascii_count.tolist()}) < 3:
        return None
    rows = np.column_stack([ascii_count, others, np.ones(len(counts))])
    found = linprog(
        [0, 0, 0],
        A_ub=np.vstack([-rows, rows]),
        b_ub=np.concatenate([-counts, counts + 1 - 1e-9]),
        bounds=[(0, None), (0, None), (None, None)],
    )
    solution = None if found.status != 0 else found.x
    return None if solution is None else Fabrication("weighted", "characters", float(solution[0]))
