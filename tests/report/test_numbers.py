"""How figures are written: bounds are never written smaller than they are, names never carry control characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.report import numbers

Bans = st.floats(min_value=-400, max_value=20000, allow_nan=False)


def value_of(text: str) -> float:
    """log10 of a bound as it was written."""
    import math

    return -float(text.removeprefix("10^-")) if text.startswith("10^-") else math.log10(float(text))


@given(Bans)
def test_a_bound_is_never_written_smaller_than_it_is(log10_e: float) -> None:
    written = value_of(numbers.bound(log10_e))
    assert written >= -max(log10_e, 0.0) - 1e-9
    assert written <= -max(log10_e, 0.0) + 1.0


@given(Bans)
def test_bans_are_never_written_larger_than_they_are(log10_e: float) -> None:
    written = float(numbers.bans(log10_e).replace(",", "").replace("−", "-"))
    assert written <= log10_e + 1e-6


@pytest.mark.parametrize(
    ("log10_e", "text"),
    [
        (844.3, "10^-844"),
        (6.0, "10^-6"),
        (4.0, "10^-4"),
        (3.0, "0.001"),
        (1.3, "0.051"),
        (0.0, "1"),
        (-3.0, "1"),
    ],
)
def test_bound_examples(log10_e: float, text: str) -> None:
    assert numbers.bound(log10_e) == text


def test_what_is_not_measured_is_a_dash_not_a_number() -> None:
    assert numbers.bound(None) == numbers.bans(None) == numbers.count(None) == numbers.share(None) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (9_810_411_784, "9.81 GB"), (10**15, "1,000 TB")],
)
def test_sizes(value: int, text: str) -> None:
    assert numbers.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "100"), (0.9999, ">99.9"), (0.0, "0"), (0.0004, "<0.1"), (0.5, "50")]
)
def test_only_all_is_a_hundred_per_cent(value: float, text: str) -> None:
    assert numbers.share(value) == f"{text}\u00a0%"


@given(st.sets(st.integers(0, 90)))
def test_ranges_name_every_number_once(values: set[int]) -> None:
    named: list[int] = []
    for run in filter(None, numbers.ranges(sorted(values)).split(", ")):
        first, _, last = run.partition("–")
        named += range(int(first), int(last or first) + 1)
    assert named == sorted(values)


def test_path_joins_runs() -> None:
    pairs = [(0, 0), (1, 1), (2, 4), (3, 5), (4, 5)]
    assert numbers.path(pairs) == "0–1 ↔ 0–1, 2–3 ↔ 4–5, 4 ↔ 5"


@given(st.text())
def test_cleaned_text_is_one_line_without_controls(text: str) -> None:
    cleaned = numbers.clean(text)
    assert len(cleaned.splitlines()) <= 1
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2066" for c in cleaned)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "yes"),
        (1234, "1,234"),
        (-0.25, "−0.25"),
        (0.00012, "1.20e−4"),
        (12.0, "12"),
        ("a\x1bb", "a b"),
    ],
)
def test_figures(value: object, text: str) -> None:
    assert numbers.figure(value) == text
