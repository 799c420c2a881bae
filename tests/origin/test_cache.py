from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from filiation.origin import cosines
from filiation.origin.cache import ReadCache, Recent
from filiation.origin.pairing import Plan
from tests.origin.models import changed, examined, llama


def test_what_was_used_last_is_kept() -> None:
    recent = Recent[str](40)
    for key, size in (("a", 10), ("b", 10), ("c", 10), ("d", 10)):
        recent.keep(key, key.upper(), size)
    assert recent.find("a") == "A"
    recent.keep("e", "E", 10)
    assert [recent.find(k) for k in "abcde"] == ["A", None, "C", "D", "E"]
    recent.keep("f", "F", 11)
    assert recent.find("f") is None, "more than a quarter of the room"


def test_rows_are_read_once_and_a_view_is_copied() -> None:
    cache, read = ReadCache(4000), []

    def rows() -> np.ndarray:
        read.append(1)
        return np.ones((20, 20), np.float32)[:5]

    found = cache.get("rows", rows)
    assert found.base is None
    assert cache.get("rows", rows) is found
    assert len(read) == 1
    large = cache.get("large", lambda: np.ones(251, np.float32))
    assert cache.get("large", lambda: np.ones(251, np.float32)) is not large


def test_matched_cosines_are_measured_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    base, plan = llama(1), Plan("a seed", whole=True)
    stage = examined(changed(base, lambda _, t: t + np.float32(1e-4)), base).best
    assert stage is not None
    first = [cosines.ffn_cosines(stage.pairing, pair, plan) for pair in stage.pairing.layers]
    assert all(found.mean() > cosines.WEIGHT_COSINE for found in first)
    monkeypatch.setattr(cosines, "nearest", _not_again)
    monkeypatch.setattr(cosines, "ffn_views", _not_again)
    some = replace(stage.pairing, layers=stage.pairing.layers[1:])
    again = [cosines.ffn_cosines(some, pair, plan) for pair in some.layers]
    assert [found is known for found, known in zip(again, first[1:], strict=True)] == [True] * len(again)
    with pytest.raises(AssertionError, match="second time"):
        cosines.ffn_cosines(replace(some, match_anywhere=True), some.layers[0], plan)


def _not_again(*_: object, **__: object) -> None:
    raise AssertionError("worked out a second time")
