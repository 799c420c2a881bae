"""``filiation compare``: what goes where, and with which exit code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from filiation.cli.compare import _RELATIONS
from filiation.cli.policy import RELATIONS
from filiation.errors import NotFoundError
from filiation.evidence import Relation, to_json
from tests.cli.conftest import FakeWalk, Ran
from tests.report.samples import verdict_report

Run = Callable[..., Ran]


def test_options_reach_the_walk(run: Run, walk: FakeWalk) -> None:
    done = run(
        "compare", "S", "A", "B", "--full", "--budget", "500MB", "--base", "X", "--seed", "7 19", "--quiet"
    )
    assert done.code == 0
    (call,) = walk.calls
    assert call == {
        "suspect": "S",
        "candidates": ["A", "B"],
        "full": True,
        "budget": 500_000_000,
        "base": "X",
        "seed": "7 19",
        "progress": None,
    }


def test_text_goes_to_stdout_and_talk_to_stderr(run: Run, walk: FakeWalk) -> None:
    done = run("compare", "S", "C")
    assert done.code == 0
    assert done.out.strip().startswith("Consistent with common origin")
    assert "hint: --html report.html" in done.err
    assert "\x1b" not in done.out + done.err


def test_quiet_prints_the_relation_alone(run: Run, walk: FakeWalk) -> None:
    done = run("compare", "S", "C", "--quiet")
    assert (done.out, done.err) == ("common_origin\n", "")


def test_json_on_stdout_is_the_canonical_report_and_nothing_else(run: Run, walk: FakeWalk) -> None:
    done = run("compare", "S", "C", "--json")
    assert done.out == to_json(walk.report)
    assert "hint" not in done.err


@pytest.mark.parametrize(
    "place", [("--json", "-", "S", "C"), ("S", "C", "--json", "-"), ("S", "C", "--json=-")]
)
def test_a_dash_behind_json_is_standard_output(place: tuple[str, ...], run: Run, walk: FakeWalk) -> None:
    done = run("compare", *place)
    assert (done.code, done.out) == (0, to_json(walk.report))
    assert (walk.calls[0]["suspect"], walk.calls[0]["candidates"]) == ("S", ["C"])


@pytest.mark.parametrize("name", ["report.txt", "report", "./r.jsonl", "{tmp}/report.txt", "{tmp}/r"])
def test_a_json_file_of_another_ending_is_explained(
    name: str, run: Run, walk: FakeWalk, tmp_path: Path
) -> None:
    name = name.format(tmp=tmp_path)
    done = run("compare", "S", "C", "--json", name)
    assert done.code == 2
    assert f"A JSON file must end in .json, and '{name}' does not" in done.err
    assert f"--json={name}" in done.err
    assert json.loads(done.out)["error"]["code"] == "usage"
    assert not walk.calls
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", ["org/name", "org/name@main", "hf://org/name", "https://example.org/a/b"])
def test_a_model_elsewhere_may_stand_behind_json(model: str, run: Run, walk: FakeWalk) -> None:
    assert run("compare", "--json", model, "C").code == 0
    assert walk.calls[0]["suspect"] == model


def test_a_model_after_json_is_never_taken_for_a_file_to_write(
    run: Run, walk: FakeWalk, tmp_path: Path
) -> None:
    model = tmp_path / "model.safetensors.index.json"
    model.write_text("{}")
    done = run("compare", "--json", model, "C")
    assert done.code == 0
    assert walk.calls[0]["suspect"] == str(model)
    assert model.read_text() == "{}"


def test_files_are_written_with_custody_beside_them(run: Run, walk: FakeWalk, tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("r.json", "r.html", "r.md")]
    done = run(
        "compare", "S", "C", "--json", names[0], "--html", names[1], "--markdown", names[2], "--lang", "zh-CN"
    )
    assert done.code == 0
    assert names[0].read_text(encoding="utf-8") == to_json(walk.report)
    kept = json.loads((tmp_path / "r.custody.json").read_text())
    assert kept["report_sha256"] == hashlib.sha256(names[0].read_bytes()).hexdigest()
    html = names[1].read_text(encoding="utf-8")
    assert kept["report_sha256"] in html
    assert '<html lang="zh-CN">' in html
    assert "与同源相符" in names[2].read_text(encoding="utf-8")
    assert "与同源相符" in done.out
    assert all(f"wrote {name}" in done.err for name in names)
    assert f"filiation verify {names[0]}" in done.err
    assert {p.name for p in tmp_path.iterdir()} == {"r.json", "r.custody.json", "r.html", "r.md"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--html", "{tmp}/nowhere/r.html"), "folder does not exist"),
        (("--json={tmp}/S",), "is one of the inputs"),
        (("--html", "{tmp}/r.x", "--markdown", "{tmp}/r.x"), "same file name"),
    ],
)
def test_outputs_are_checked_before_anything_is_computed(
    arguments: tuple[str, ...], reason: str, run: Run, walk: FakeWalk, tmp_path: Path
) -> None:
    suspect = tmp_path / "S"
    suspect.write_text("weights")
    done = run("compare", suspect, "C", *(a.format(tmp=tmp_path) for a in arguments))
    assert done.code in (2, 4)
    assert reason in done.err
    assert not walk.calls
    assert suspect.read_text() == "weights"


def test_a_failure_under_json_is_the_envelope(run: Run, walk: FakeWalk) -> None:
    walk.failure = NotFoundError(
        "Nothing is at S.", file="S", reason="No such folder.", next_step="Check the path."
    )
    done = run("compare", "S", "C", "--json")
    assert done.code == 4
    assert json.loads(done.out) == {
        "error": {
            "code": "not_found",
            "message": "Nothing is at S.",
            "file": "S",
            "tensor": None,
            "reason": "No such folder.",
            "next_step": "Check the path.",
        }
    }
    assert "Error: Nothing is at S." in done.err
    assert "next step: Check the path." in done.err


def test_a_failure_leaves_no_file(run: Run, walk: FakeWalk, tmp_path: Path) -> None:
    walk.failure = KeyboardInterrupt()
    done = run("compare", "S", "C", "--json", tmp_path / "r.json", "--html", tmp_path / "r.html")
    assert done.code == 130
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("relation", "fail_if", "code"),
    [
        (Relation.COMMON_ORIGIN, "common-origin", 1),
        (Relation.COMMON_ORIGIN, "shared-parts", 0),
        (Relation.IDENTICAL, "identical", 1),
        (Relation.IDENTICAL, "common-origin", 1),
        (Relation.SUGGESTIVE, "inconclusive", 3),
        (Relation.CANNOT_TEST, "inconclusive", 3),
        (Relation.SUGGESTIVE, "suggestive", 1),
        (Relation.NONE_FOUND, "inconclusive", 0),
    ],
)
def test_fail_if_decides_the_exit_code(
    relation: Relation, fail_if: str, code: int, run: Run, walk: FakeWalk
) -> None:
    walk.report = verdict_report(relation)
    done = run("compare", "S", "C", "--fail-if", fail_if, "--json")
    assert done.code == code
    assert done.out == to_json(walk.report)  # the report is there whatever the policy says
    assert ("Policy met." in done.err) == (code == 0)


def test_every_relation_can_be_named() -> None:
    assert _RELATIONS == RELATIONS
    assert {r.replace("-", "_") for r in RELATIONS} == {*map(str, Relation), "inconclusive"}


def test_a_wrong_policy_is_found_before_anything_is_computed(
    run: Run, walk: FakeWalk, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[policy]\nfail_fi = ["identical"]\n')
    done = run("compare", "S", "C", "--policy", policy)
    assert done.code == 2
    assert "A policy has no key 'fail_fi'." in done.err
    assert not walk.calls


def test_a_policy_file_is_applied(run: Run, walk: FakeWalk, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[policy]\nmax_inherited_share = 0.5\n")
    done = run("compare", "S", "C", "--policy", policy)
    assert done.code == 1
    assert "the inherited share is 93.1\u00a0%, the policy allows at most 50\u00a0%" in done.err


def test_when_little_was_found_the_next_step_is_proposed(run: Run, walk: FakeWalk) -> None:
    walk.report = replace(verdict_report(Relation.NONE_FOUND), limits=("sampled",))
    assert "hint: --full reads every byte" in run("compare", "S", "C").err
    assert "hint: --full" not in run("compare", "S", "C", "--full").err
    walk.report = replace(walk.report, limits=())
    assert "hint: --full" not in run("compare", "S", "C").err, "all was read already"
