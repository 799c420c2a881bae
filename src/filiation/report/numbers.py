"""How figures are written: counts, bounds, sizes, and text that came from a model's own files."""

from __future__ import annotations

import math
import re
import unicodedata

MISSING = "–"
# Control characters, and the marks that reverse the reading direction: a model's name may hold both.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_DECIMAL = ("B", "kB", "MB", "GB", "TB")


def clean(text: object) -> str:
    """Return ``text`` on one line, without control or direction-changing characters."""
    return _UNSAFE.sub(" ", unicodedata.normalize("NFC", str(text))).strip()


def bound(log10_e: float | None) -> str:
    """Return the false-positive bound ``1/e`` as text, never smaller than it is: ``10^-844``, ``0.013``, ``1``.

    Bounds are rounded towards 1, so the text never promises more than the e-value does.
    """
    if log10_e is None:
        return MISSING
    if log10_e <= 0:
        return "1"
    if log10_e >= 4:
        return f"10^-{math.floor(log10_e):d}"
    value = 10.0**-log10_e
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / step - 1e-9) * step:.6f}".rstrip("0").rstrip(".")


def bans(log10_e: float | None) -> str:
    """Return ``log10 e`` as text, rounded down: one decimal below 100, whole above."""
    if log10_e is None:
        return MISSING
    if log10_e >= 100:
        return f"{math.floor(log10_e):,d}"
    rounded = math.floor(log10_e * 10 + 1e-9) / 10
    return f"{rounded + 0.0:.1f}".replace("-", "−")


def count(value: float | None) -> str:
    """Return a count with thousands separators; what is not whole keeps a decimal where that matters."""
    if value is None:
        return MISSING
    if float(value).is_integer() or abs(value) >= 20:
        return f"{value:,.0f}"
    return f"{value:,.1f}"


def figure(value: object) -> str:
    """Return a number of any kind, or a short list of them, for a table of figures."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,d}".replace("-", "−")
    if isinstance(value, float):
        return _float(value)
    return clean(value)


def _float(value: float) -> str:
    if value.is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}".replace("-", "−")
    if 0 < abs(value) < 0.001:
        return f"{value:.2e}".replace("e-0", "e-").replace("-", "−")
    text = f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:,.1f}"
    return text.replace("-", "−")


def decimal(value: float, digits: int) -> str:
    """Return a number with a fixed count of decimals, a true minus sign, and no minus before a zero."""
    text = f"{round(value, digits) + 0.0:,.{digits}f}"
    return text.replace("-", "−")


def short(value: float) -> str:
    """Return a number with three significant digits and a true minus sign: a tick of a drawing, a quantile."""
    return f"{value:.3g}".replace("-", "−")


def share(value: float | None) -> str:
    """Return a share of 1 as per cent, rounded so that only all is 100 % and only nothing 0 %."""
    if value is None:
        return MISSING
    if 0 < value < 0.001:
        return "<0.1\u00a0%"
    if 0.999 < value < 1:
        return ">99.9\u00a0%"
    return f"{value:.1%}".replace(".0%", "%").replace("%", "\u00a0%")


def size(nbytes: int) -> str:
    """Return a number of bytes in decimal units, three significant digits: ``1.21 GB``."""
    value, unit = float(nbytes), 0
    while value >= 999.5 and unit < len(_DECIMAL) - 1:
        value, unit = value / 1000, unit + 1
    digits = 0 if unit == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:,.{digits}f} {_DECIMAL[unit]}"


def ranges(numbers: list[int]) -> str:
    """Return sorted whole numbers as ranges: ``0–3, 6, 8–9``."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in runs)


def path(pairs: list[tuple[int, int]]) -> str:
    """Return an alignment of layers, suspect to candidate, in runs: ``0–3 ↔ 0–3, 4–5 ↔ 6–7``."""
    runs: list[tuple[list[int], list[int]]] = []
    for mine, theirs in sorted(pairs):
        if runs and runs[-1][0][1] + 1 == mine and runs[-1][1][1] + 1 == theirs:
            runs[-1][0][1], runs[-1][1][1] = mine, theirs
        else:
            runs.append(([mine, mine], [theirs, theirs]))
    return ", ".join(f"{_run(a)} ↔ {_run(b)}" for a, b in runs)


def _run(ends: list[int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}–{ends[1]}"
