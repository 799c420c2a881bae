"""The drawings: well-formed, escaped, of bounded size, with every cell where it belongs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.report.draw.bands import EDGES, band, legend
from filiation.report.draw.curves import curve, strip
from filiation.report.draw.heatmap import heatmap
from filiation.report.draw.inheritance import inheritance_map
from filiation.report.extras import Curve, LayerMap, inheritance, layer_maps
from filiation.report.mapping import summary
from filiation.report.wording import phrases
from tests.report.samples import full_report

SVG = "{http://www.w3.org/2000/svg}"
EN = phrases("en")


def drawn_map(suspect: int, candidate: int) -> LayerMap:
    values = tuple(tuple(7.0 if i == j else -0.5 for j in range(candidate)) for i in range(suspect))
    pairs = tuple((i, i) for i in range(min(suspect, candidate)))
    return LayerMap(
        0, "language", tuple(range(suspect)), tuple(range(candidate)), values, (), 64, pairs, "identity"
    )


def squares(svg: ET.Element, name: str) -> int:
    paths = [p for p in svg.iter(f"{SVG}path") if p.get("class") == f"cell {name}"]
    return sum((p.get("d") or "").count("M") for p in paths)


@pytest.mark.parametrize(("suspect", "candidate"), [(1, 1), (2, 7), (24, 32), (80, 80), (126, 61)])
def test_every_pair_of_layers_is_drawn_once(suspect: int, candidate: int) -> None:
    text = heatmap(drawn_map(suspect, candidate), EN)
    svg = ET.fromstring(text)
    paired = min(suspect, candidate)
    assert squares(svg, "b2") == paired
    assert squares(svg, "b0") == suspect * candidate - paired
    assert len([r for r in svg.iter(f"{SVG}rect") if str(r.get("class")).startswith("pair")]) == paired
    _, _, width, height = map(float, str(svg.get("viewBox")).split())
    assert width <= 720
    assert height <= 720


def test_a_map_of_eighty_layers_stays_small_and_its_axes_readable() -> None:
    text = heatmap(drawn_map(80, 80), EN)
    assert len(text) < 250_000
    ticks = [t.text for t in ET.fromstring(text).iter(f"{SVG}text") if t.get("class") == "tick"]
    assert ticks == [str(n) for n in range(0, 80, 10)] * 2


def test_small_maps_carry_their_figures() -> None:
    figures = [t.text for t in ET.fromstring(heatmap(drawn_map(4, 4), EN)).iter(f"{SVG}text")]
    assert figures.count("7") == 4


def test_what_was_not_read_is_told_from_what_is_weak() -> None:
    found = layer_maps(full_report(12, 2))[0]
    svg = ET.fromstring(heatmap(found, EN))
    assert squares(svg, "unread") == 10
    assert "unread" in dict(legend(EN))


def test_pairs_outside_the_map_are_left_out() -> None:
    text = heatmap(replace(drawn_map(3, 3), pairs=((0, 0), (9, 1), (1, 9))), EN)
    assert text.count('class="pair"') == 1


def test_bands_are_cut_at_the_lines_of_the_contract() -> None:
    assert [band(v) for v in (None, -5.0, 1.99, 2.0, 5.99, 6.0, 1e6)] == [
        "unread",
        "b0",
        "b0",
        "b1",
        "b1",
        "b2",
        "b5",
    ]
    assert [name for name, _ in legend(EN)] == [f"b{n}" for n in range(len(EDGES) + 1)] + ["unread"]


def test_inheritance_states_differ_in_shape() -> None:
    cells = inheritance(full_report(12, 2))
    svg = ET.fromstring(inheritance_map(cells, EN))
    states = [str(r.get("class")).removeprefix("state ") for r in svg.iter(f"{SVG}rect")]
    assert sorted(states) == sorted(c.state for c in cells)
    assert len(list(svg.iter(f"{SVG}circle"))) == states.count("not_found")
    titles = [str(t.text) for t in svg.iter(f"{SVG}title")]
    assert "layer 3, down: not found; 1 / 256; log₁₀ e 0.0; cosine 0.01" in titles
    assert "token embedding: not found; 1 / 256; log₁₀ e 0.1; cosine 0.01" in titles


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=40),
    st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=40),
)
def test_curves_of_any_length_with_gaps(suspect: list[float | None], candidate: list[float | None]) -> None:
    svg = ET.fromstring(curve(Curve("sigma_q", tuple(suspect), tuple(candidate)), EN))
    points = [p for line in svg.iter(f"{SVG}polyline") for p in str(line.get("points")).split()]
    assert len(points) == sum(v is not None for v in (*suspect, *candidate))
    for point in points:
        x, y = map(float, point.split(","))
        assert 0 <= x <= 340
        assert 0 <= y <= 190


@given(
    st.floats(-3, 3),
    st.dictionaries(st.sampled_from([0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]), st.floats(-3, 3)),
)
def test_strips_hold_whatever_the_background_offers(value: float, quantiles: dict[float, float]) -> None:
    ordered = dict(zip(sorted(quantiles), sorted(quantiles.values()), strict=True))
    svg = ET.fromstring(strip(value, ordered, EN))
    for rect in svg.iter(f"{SVG}rect"):
        assert float(str(rect.get("width"))) > 0
        assert 0 <= float(str(rect.get("x"))) <= 340


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"suspect_layers": [0], "log10_e": []},
        {"suspect_layers": [0, 1], "candidate_layers": [0], "log10_e": [[1.0]]},
    ],
)
def test_a_broken_map_is_drawn_as_far_as_it_goes(row: dict[str, Any]) -> None:
    report = replace(full_report(4, 1), extra={"layer_map": [row], "pairing": []})
    (found,) = layer_maps(report)
    ET.fromstring(heatmap(found, EN))


def test_hostile_text_cannot_leave_an_attribute() -> None:
    name = 'x" onload="alert(1)" y="<script>'
    svg = ET.fromstring(curve(Curve(name, (1.0, 2.0), (1.0,)), EN))
    assert svg.get("onload") is None
    assert name in str(svg.get("aria-label"))


def test_too_few_units_is_not_called_not_found() -> None:
    report = full_report(4, 1)
    row = report.extra["inheritance"][-1] | {"state": "not_found", "matched": 2, "n": 2, "log10_e": 0.1}
    report = replace(report, extra=report.extra | {"inheritance": [row]})
    cells = inheritance(report)
    assert [c.state for c in cells] == ["undecided"]
    svg = ET.fromstring(inheritance_map(cells, EN))
    assert [r.get("class") for r in svg.iter(f"{SVG}rect")] == ["state undecided"]
    assert not list(svg.iter(f"{SVG}circle"))


def test_a_part_of_few_units_was_tested() -> None:
    report = full_report(4, 1)
    row = report.extra["inheritance"][-1] | {"state": "not_tested", "reason": "too_few_units", "log10_e": 0.1}
    unread = row | {"log10_e": None}
    report = replace(report, extra=report.extra | {"inheritance": [row, unread]})
    assert [c.state for c in inheritance(report)] == ["undecided", "not_tested"]


def test_where_no_label_agrees_nothing_is_said_of_contents() -> None:
    report = full_report(4, 1)
    rows = [row | {"state": "not_found", "matched": 1, "n": 9} for row in report.extra["inheritance"]]
    cells = inheritance(replace(report, extra=report.extra | {"inheritance": rows}))
    assert summary(cells, EN).startswith(f"None of {len(cells)} tested parts carries")


@pytest.mark.parametrize("values", [(-1.33, 1.27, -0.0002), (0.0001, 0.0002, 0.00015), (900.0, 12000.0, 3.0)])
def test_the_figures_of_an_axis_fit_beside_it(values: tuple[float, ...]) -> None:
    svg = ET.fromstring(curve(Curve("sigma_q", values, values[::-1]), EN))
    ticks = [t for t in svg.iter(f"{SVG}text") if t.get("text-anchor") == "end"]
    assert len(ticks) == 3
    assert all(len(t.text or "") <= 8 and "-" not in (t.text or "") for t in ticks)


def test_the_map_that_carries_the_pairing_is_the_one_shown_first() -> None:
    report = full_report(6, 2)
    empty = report.extra["layer_map"][0] | {"log10_e": [[-0.3] * 6 for _ in range(4)]}
    report = replace(report, extra=report.extra | {"layer_map": [empty, *report.extra["layer_map"], empty]})
    found = layer_maps(report)
    assert [(m.chosen, bool(m.pairs)) for m in found] == [(True, True), (False, False), (False, False)]
    assert found[0].log10_e[0][0] is not None
    assert found[0].log10_e[0][0] > 6


def test_where_layers_were_paired_by_number_the_inheritance_map_fills_the_cells() -> None:
    report = full_report(6, 0)
    report = replace(report, extra={k: v for k, v in report.extra.items() if k != "layer_map"})
    (found,) = layer_maps(report)
    assert found.chosen
    assert found.suspect_layers == found.candidate_layers == tuple(range(6))
    assert [found.log10_e[i][i] for i in (0, 3)] == [340.0, 0.0]
    assert found.log10_e[0][1] is None


def test_without_pairs_there_is_still_a_map() -> None:
    report = replace(full_report(6, 2), extra=full_report(6, 2).extra | {"pairing": []})
    (found,) = layer_maps(report)
    assert found.chosen
    assert not found.pairs
