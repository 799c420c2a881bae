"""Any edit of a real report ends in an answer or in an input error: never in an internal one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import filiation.comparison
from filiation.cli import main
from filiation.evidence import Report, to_json

MODELS = Path(__file__).parents[2] / "examples" / "models"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(["compare", "common_origin", "suspect", "candidates", "..", "a/b", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
compare: Callable[..., Report] = filiation.comparison.compare_models


@pytest.fixture(scope="module")
def real() -> Report:
    return compare(str(MODELS / "laundered"), [str(MODELS / "fine-tuned")])


@pytest.fixture
def walk(real: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real walk; what the unedited report asks for is computed once."""
    asked = real.command

    def once(suspect: str, candidates: list[str], *, progress: object = None, **options: Any) -> Report:
        given = {"name": "compare", "suspect": suspect, "candidates": list(candidates), **options}
        return real if given == asked else compare(suspect, candidates, **options)

    monkeypatch.setattr(filiation.comparison, "compare_models", once)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every subtree of a JSON value, as the keys that lead to it; lists by their first entries."""
    yield path
    items = (
        value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    )
    for key, child in items:
        yield from places(child, (*path, key))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    edited = copy.deepcopy(document)
    node = edited
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return edited


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True), depth=st.integers(1, 4), value=JSON)
@example(at=0.0, depth=1, value="text")
def test_no_edit_is_an_internal_error(
    walk: None,
    real: Report,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    at: float,
    depth: int,
    value: Any,
) -> None:
    document = json.loads(to_json(real))
    # By depth, so that the few keys at the top are tried as often as the thousands below them.
    paths = [path for path in places(document) if len(path) == depth]
    path = paths[int(at * len(paths))]
    file = tmp_path / "report.json"
    file.write_text(json.dumps(replaced(document, path, value)), encoding="utf-8")
    code = main(["verify", str(file), "--json"])
    out, err = capfd.readouterr()
    assert code in (0, 1, 2, 4), (path, value, err)
    if code in (2, 4):
        assert set(json.loads(out)) == {"error"}
    drawn = main(["render", str(file)])
    assert drawn in (0, 4), (path, value, capfd.readouterr().err)
    capfd.readouterr()
    drawn = main(["render", str(file), "--lang", "zh-CN", "--html", str(tmp_path / "r.html")])
    assert drawn in (0, 4), (path, value, capfd.readouterr().err)
    capfd.readouterr()
