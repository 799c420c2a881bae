"""``filiation verify``: a report that comes out again holds; one that does not is named, row by row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    first, *rest = done.out.splitlines()
    assert first == "The report still holds: recomputing gives the same evidence and the same verdict."
    assert [line.split(":")[0] for line in rest] == ["Not checked"]
    assert "'validation'" in rest[0]
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


def edited(stored: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    document = json.loads(stored.read_text(encoding="utf-8"))
    edit(document)
    stored.write_text(json.dumps(document), encoding="utf-8")
    return stored


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (
            lambda d: d["verdict"].update(false_positive_bound=1e-12),
            "verdict: false_positive_bound was 1e-12",
        ),
        (lambda d: d["models"]["suspect"].update(name="Another"), 'models.suspect: name was "Another"'),
        (lambda d: d["models"]["candidates"][0].update(name="A"), "models.candidates[0]: name was"),
        (lambda d: d["models"]["suspect"].update(locator="here"), "models.suspect: locator was"),
        (lambda d: d["models"]["suspect"].update(format="gguf"), "models.suspect: format was"),
        (lambda d: d["command"].update(note="sworn"), 'command: note was "sworn"'),
        (lambda d: d["tool"].update(name="other"), "tool: name was"),
        (lambda d: d.update(validation={"pairs": 10**6}), "validation: no longer found"),
        (lambda d: d.update(statement="sworn"), "statement: no longer found"),
    ],
)
def test_every_key_that_computing_determines_is_compared(
    run: Run, walk: FakeWalk, stored: Path, edit: Callable[[dict[str, Any]], object], named: str
) -> None:
    done = run("verify", edited(stored, edit))
    assert done.code == 1
    assert done.out.startswith("The report does not hold")
    assert named in done.out


def test_what_computing_cannot_confirm_is_said(run: Run, walk: FakeWalk, stored: Path) -> None:
    done = run("verify", edited(stored, lambda d: d["tool"].update(version="0.0.9")))
    assert done.code == 0
    assert "Not checked: that version 0.0.9 wrote the report" in done.out
    assert "Not checked: the measurements under 'validation'" in done.out
    outcome = json.loads(run("verify", stored, "--json").out)
    assert outcome["not_checked"] == ["tool.version", "validation"]


def test_names_of_moved_models_may_differ_and_are_told(run: Run, walk: FakeWalk, stored: Path) -> None:
    done = run(
        "verify", edited(stored, lambda d: d["models"]["suspect"].update(name="Another")), "--suspect", "here"
    )
    assert done.code == 0
    assert 'models.suspect: name was "Another"' in done.out
    assert "no part of the finding" in done.out


def test_a_forged_identity_does_not_hold_wherever_the_model_lies(
    run: Run, walk: FakeWalk, stored: Path
) -> None:
    def forge(document: dict[str, Any]) -> None:
        suspect = document["models"]["suspect"]
        suspect.update(digest="deadbeef" * 8, name="org/famous", locator="org/famous")
        document["command"]["suspect"] = "org/famous"
        for file in suspect["files"]:
            file["sha256"] = None

    done = run("verify", edited(stored, forge), "--suspect", "here/child")
    assert done.code == 1
    assert done.out.startswith("The models are not the ones the report speaks of.")
    assert "files.config.json.sha256 was null" in done.out


def test_the_word_of_the_report_is_used_again(run: Run, walk: FakeWalk, stored: Path) -> None:
    run("verify", edited(stored, lambda d: d["command"].update(seed="7 19 23")))
    assert walk.calls[0]["seed"] == "7 19 23"
    assert run("verify", edited(stored, lambda d: d["command"].update(seed=7))).code == 4


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.update(command="compare A B"),
        lambda d: d["command"].update(candidates="models/Meridian-1.2B"),
        lambda d: d["command"].update(suspect=7),
        lambda d: d["command"].update(budget="1000000"),
        lambda d: d["command"].update(budget=-5),
        lambda d: d["command"].update(full="no"),
        lambda d: d.update(models=[]),
        lambda d: d["models"].update(candidates="x"),
        lambda d: d["models"]["suspect"].update(files=[1]),
        lambda d: d.update(evidence={"id": 1}),
        lambda d: d["evidence"].append("x"),
        lambda d: d.update(verdict="common_origin"),
        lambda d: d["verdict"].update(relation="sure"),
        lambda d: d.update(layer_map=[{"log10_e": "many"}]),
        lambda d: d.update(stages=3),
        lambda d: d.update(deep=nested(200)),
        lambda d: d.update(surrogate="\ud800"),
        lambda d: d.update(large=10**400),
    ],
)
def test_a_malformed_report_is_an_input_error(
    run: Run, walk: FakeWalk, stored: Path, edit: Callable[[dict[str, Any]], object]
) -> None:
    done = run("verify", edited(stored, edit), "--json")
    assert done.code == 4, done.err
    assert json.loads(done.out)["error"]["code"] == "report"
    assert not walk.calls


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_no_record_may_hold_are_no_report(
    run: Run, walk: FakeWalk, stored: Path, number: str
) -> None:
    text = stored.read_text(encoding="utf-8")
    stored.write_text(text.replace('"log10_e": 4011.5', f'"log10_e": {number}', 1), encoding="utf-8")
    assert stored.read_text(encoding="utf-8") != text
    assert run("verify", stored).code == 4


def test_a_key_that_stands_twice_has_two_readings(run: Run, walk: FakeWalk, stored: Path) -> None:
    text = stored.read_text(encoding="utf-8")
    stored.write_text(text.replace("{", '{"verdict": {"relation": "none_found"},', 1), encoding="utf-8")
    assert run("verify", stored).code == 4


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


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def on_the_hub(report: Report, locator: str) -> Report:
    """The report of a suspect on the hub, pinned to a commit when it was made."""
    models = {
        "suspect": replace(report.models["suspect"], locator=locator, revision=COMMIT),
        "candidates": [replace(report.models["candidates"][0], locator="org/base", revision="not a commit")],
    }
    command = {**report.command, "suspect": locator, "candidates": ["org/base"]}
    return replace(report, models=models, command=command)


@pytest.mark.parametrize(
    ("locator", "opened"),
    [
        ("org/child", f"hf://org/child@{COMMIT}"),
        ("hf://org/child", f"hf://org/child@{COMMIT}"),
        ("hf://org/child/gguf/a.gguf", f"hf://org/child@{COMMIT}/gguf/a.gguf"),
        ("org/child@v2", "org/child@v2"),
        ("./child", "./child"),
        ("https://example.org/child", "https://example.org/child"),
    ],
)
def test_a_hub_id_without_a_revision_is_opened_at_the_reports_commit(
    run: Run, walk: FakeWalk, tmp_path: Path, locator: str, opened: str
) -> None:
    file = tmp_path / "report.json"
    stored = on_the_hub(full_report(6, 2), locator)
    file.write_text(to_json(stored), encoding="utf-8")
    pinned = replace(stored.models["suspect"], locator=opened)
    walk.report = replace(
        stored,
        models={**stored.models, "suspect": pinned},
        command={**stored.command, "suspect": opened},
    )
    done = run("verify", file)
    assert done.code == 0, done.out
    assert walk.calls[0]["suspect"] == opened
    assert walk.calls[0]["candidates"] == ["org/base"]
    assert [line.split(":")[0] for line in done.out.splitlines()[1:]] == ["Not checked"]


def test_a_model_that_lies_elsewhere_now_is_not_pinned(run: Run, walk: FakeWalk, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(to_json(on_the_hub(full_report(6, 2), "org/child")), encoding="utf-8")
    run("verify", file, "--suspect", "org/mirror")
    assert walk.calls[0]["suspect"] == "org/mirror"
