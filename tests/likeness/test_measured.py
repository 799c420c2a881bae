"""Backgrounds that filiation measured itself: the newest file, the pair's stratum, counted by families, never 0."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from filiation import likeness
from filiation.anatomy import dissect
from filiation.evidence import Evidence, Scale
from filiation.lab.backgrounds import ABOUT, ONE_SHAPE, OTHER_SHAPE
from filiation.lab.layout import Config, Tensors
from filiation.likeness import measured as own
from filiation.origin import TESTS
from filiation.origin.examine import examine
from filiation.origin.pairing import Plan, TokenRows
from tests.lab import models
from tests.support import memory_checkpoint

ENTRY = {"pairs": 3, "least": -0.01, "median": 0.0, "largest": 0.02}
HIGH = {"pairs": 1, "least": 0.5, "median": 0.5, "largest": 0.5}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    strata = {
        "one_shape": {"a / a": ENTRY, "b / b": HIGH},
        "other_shape": {"a / b": {**ENTRY, "pairs": 7}},
    }
    for day, found in (
        ("2026-01-02", {"norm_correlation": strata}),
        ("2026-01-01", {"norm_correlation": {}}),
    ):
        record = {"measured": day, "recipe": "tiny", "statistics": found}
        (tmp_path / f"lab-{day}.json").write_text(json.dumps(record), encoding="utf-8")
    monkeypatch.setattr(own, "FOLDER", tmp_path)
    own._known.cache_clear()
    yield tmp_path
    own._known.cache_clear()


def evidence(suspect: tuple[Tensors, Config], candidate: tuple[Tensors, Config]) -> dict[str, Evidence]:
    s, c = (dissect(memory_checkpoint(*made)) for made in (suspect, candidate))
    plan, tokens = Plan("x", whole=True), TokenRows(np.arange(20), np.arange(20), by_string=False)
    found = examine(s, c, "language", plan, tokens, TESTS)
    return {e.test: e for e in likeness.measure(found, plan, tokens, full=False, number=0).evidence}


def test_a_pair_stands_beside_its_own_stratum_counted_by_families(folder: Path) -> None:
    found = evidence(models.llama(1), models.llama(1))["norm_correlation"]
    assert found.scale is Scale.CALIBRATED
    background = found.background
    assert background is not None
    assert (background.n_pairs, background.n_families) == (4, 2)
    assert background.quantiles == {"low": -0.01, "median": 0.25, "high": 0.5}
    # No family reaches 1; one is added, so that the rate is never 0.
    assert background.false_positive_rate == pytest.approx(1 / 3)
    assert (
        background.source
        == "filiation lab, recipe tiny, 2026-01-02: independent models of one family and one shape"
    )


def test_other_shapes_are_another_stratum(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = models.llama(1)
    monkeypatch.setattr(models, "FFN", models.FFN + 8)
    background = evidence(one, models.llama(1))["norm_correlation"].background
    assert background is not None
    assert (background.n_pairs, background.n_families) == (7, 1)


def test_what_was_published_stays_where_it_is_a_distribution(folder: Path) -> None:
    found = evidence(models.llama(1), models.llama(2))
    assert found["cka"].background is not None
    assert "AWM" in found["cka"].background.description
    # Nothing was measured for it, nobody published anything.
    assert found["neuron_match"].background is None


def test_the_shipped_file_says_how_it_was_made() -> None:
    (shipped,) = own.FOLDER.glob("lab-*.json")
    known = json.loads(shipped.read_text(encoding="utf-8"))
    assert shipped.name == f"lab-{known['measured']}.json"
    assert known["about"] == ABOUT
    assert len(known["zoo_sha256"]) == 64
    assert set(known["statistics"]) == {s.name for s in likeness.STATISTICS}
    for strata in known["statistics"].values():
        assert set(strata) == {ONE_SHAPE, OTHER_SHAPE} == {own.ONE_SHAPE, own.OTHER_SHAPE}
        for families in strata.values():
            assert all(
                e["least"] <= e["median"] <= e["largest"] and e["pairs"] > 0 for e in families.values()
            )
