"""``filiation verify``: a report that comes out again holds; one that does not is named, row by row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from filiation.evidence import Relation, Report, to_json
from tests.cli.conftest import FakeWalk, Ran
from tests.report.samples import full_report

Run = Callable[..., Ran]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    file = tmp_path / "report.json"
    file.write_text(to_json(full_report(6, 2)), encoding="utf-8")
    return file


def test_a_report_that_comes_out_again_holds(run: Run, walk: FakeWalk, stored: Path) -> None:
    done = run("verify", stored)
    assert done.code == 0
    assert done.out == "The report still holds: recomputing gives the same evidence and the same verdict.\n"
    (call,) = walk.calls
    assert call["suspect"] == "models/Aster-1B-chat"
    assert call["candidates"] == ["models/Meridian-1.2B"]
    assert (call["full"], call["budget"], call["base"]) == (False, None, None)


def test_models_may_have_moved(run: Run, walk: FakeWalk, stored: Path) -> None:
    done = run("verify", stored, "--suspect", "here/child", "--candidate", "there/base", "--lang", "zh-CN")
    assert done.code == 0
    assert done.out.startswith("报告仍然成立")
    assert walk.calls[0]["suspect"] == "here/child"
    assert walk.calls[0]["candidates"] == ["there/base"]
    assert run("verify", stored, "--candidate", "a", "--candidate", "b").code == 2


def weaker(report: Report) -> Report:
    evidence = (replace(report.evidence[0], statistic=3.0, log10_e=0.4), *report.evidence[2:])
    return replace(report, evidence=evidence, verdict=replace(report.verdict, relation=Relation.SUGGESTIVE))


def test_what_differs_is_named(run: Run, walk: FakeWalk, stored: Path) -> None:
    walk.report = weaker(walk.report)
    done = run("verify", stored)
    first, second = full_report(6, 2).evidence[:2]
    assert done.code == 1
    assert done.out.startswith("The report does not hold")
    assert f"{first.id}: statistic was 4850.0, is 3.0" in done.out
    assert f"{second.id}: no longer found" in done.out
    assert 'verdict: relation was "common_origin", is "suggestive"' in done.out


def test_the_outcome_as_json(run: Run, walk: FakeWalk, stored: Path, tmp_path: Path) -> None:
    walk.report = weaker(walk.report)
    done = run("verify", stored, "--json")
    assert done.code == 1
    outcome = json.loads(done.out)
    assert outcome["holds"] is False
    assert outcome["relation"] == {"old": "common_origin", "new": "suggestive"}
    assert {"record": "verdict", "field": "relation", "old": "common_origin", "new": "suggestive"} in outcome[
        "findings"
    ]
    assert outcome["inputs"] == []
    file = tmp_path / "outcome.json"
    assert run("verify", stored, "--json", file, "--quiet").code == 1
    assert json.loads(file.read_text()) == outcome


def test_other_models_are_said_first(run: Run, walk: FakeWalk, stored: Path) -> None:
    suspect = walk.report.models["suspect"]
    files = (replace(suspect.files[0], size=1), *suspect.files[1:])
    walk.report = replace(
        walk.report, models={**walk.report.models, "suspect": replace(suspect, files=files)}
    )
    done = run("verify", stored)
    assert done.code == 1
    assert done.out.startswith("The models are not the ones the report speaks of.")
    assert "files.config.json.size was 651, is 1" in done.out


def test_quiet_says_it_by_exit_code(run: Run, walk: FakeWalk, stored: Path) -> None:
    done = run("verify", stored, "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_a_report_of_another_command_cannot_be_verified(run: Run, walk: FakeWalk, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(to_json(replace(full_report(6, 2), command={"name": "audit"})), encoding="utf-8")
    done = run("verify", file, "--json")
    assert done.code == 4
    assert json.loads(done.out)["error"]["code"] == "report"
    assert not walk.calls
