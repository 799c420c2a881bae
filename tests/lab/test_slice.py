"""No error rate of the slice is worse than what is shipped: a part of the lab, measured again in every run."""

from __future__ import annotations

import json
from pathlib import Path

from tests.lab import slice


def test_no_error_rate_got_worse(tmp_path: Path) -> None:
    shipped, now = json.loads(slice.EXPECTED.read_text(encoding="utf-8")), slice.measure(tmp_path)
    assert now["roots"] == shipped["roots"], "other demo models: measure and ship the slice anew"
    assert {n: rate[1] for n, rate in now["rates"].items()} == {n: r[1] for n, r in shipped["rates"].items()}
    changed = "\n".join(
        f"{pair}: {shipped['outcomes'].get(pair)} -> {outcome}"
        for pair, outcome in now["outcomes"].items()
        if outcome != shipped["outcomes"].get(pair)
    )
    for name in slice.GOOD:
        assert now["rates"][name][0] >= shipped["rates"][name][0], f"{name} fell\n{changed}"
    for name in slice.BAD:
        assert now["rates"][name][0] <= shipped["rates"][name][0], f"{name} rose\n{changed}"


def test_what_is_shipped_calls_no_pair_without_kinship_a_common_origin() -> None:
    shipped = json.loads(slice.EXPECTED.read_text(encoding="utf-8"))
    assert all(shipped["rates"][name][0] == 0 for name in slice.BAD)
    assert shipped["rates"]["true_pairs_right"][1] > 80
