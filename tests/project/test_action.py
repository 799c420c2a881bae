"""The GitHub Action and the pre-commit hook: their shell steps are run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tests.auditing import made
from tests.project.tree import ROOT

ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["id"]: step for step in ACTION["runs"]["steps"]}
HOOKS: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
INPUT = re.compile(r"\$\{\{ inputs\.([\w-]+)(?: \|\| [\w.]+)? \}\}")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the steps are written for bash")


def step(name: str, folder: Path, /, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run one step with its inputs as a runner gives them: through the environment that action.yml maps."""
    defaults = {key: str(entry["default"]) for key, entry in ACTION["inputs"].items()}
    values = defaults | {key.replace("_", "-"): value for key, value in inputs.items()}
    env = {key: INPUT.sub(lambda m: values[m[1]], text) for key, text in STEPS[name]["env"].items()}
    bin_ = folder / "bin"
    bin_.mkdir(exist_ok=True)
    program = bin_ / "filiation"
    # The shipped corpus takes ten seconds to index; what is tested here is the step.
    program.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m filiation.cli "$@" --no-corpus\n', encoding="utf-8"
    )
    program.chmod(0o755)
    files = {key: str(folder / key.lower()) for key in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    known = os.environ | env | files
    known |= {"PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "RUNNER_TEMP": str(folder / "temp")}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[name]["run"]],
        cwd=folder,
        env=known,
        capture_output=True,
        text=True,
        check=False,
    )


def outputs(folder: Path) -> dict[str, str]:
    lines = (folder / "github_output").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_the_step_writes_reports_outputs_and_a_summary(tmp_path: Path) -> None:
    made.suspect(tmp_path)
    made.reference(tmp_path)
    done = step("audit", tmp_path, repository="Yours-1B", against="Example-1B\n\n", parent="a/b\nc/d e")
    assert done.returncode == 0, done.stderr
    found = outputs(tmp_path)
    assert set(found) == set(ACTION["outputs"])
    assert found["outcome"] == "owed"
    assert {"$schema", "runs", "version"} == set(json.loads(Path(found["sarif"]).read_text(encoding="utf-8")))
    report = json.loads(Path(found["json"]).read_text(encoding="utf-8"))
    assert report["command"]["against"] == ["Example-1B"]
    assert report["command"]["parents"] == ["a/b", "c/d e"]
    assert all(Path(found[key]).is_file() for key in ("html", "cyclonedx"))
    assert "Audit of Yours" in (tmp_path / "github_step_summary").read_text(encoding="utf-8")


def test_the_step_fails_with_the_exit_code_of_the_policy_and_still_reports(tmp_path: Path) -> None:
    made.suspect(tmp_path)
    (tmp_path / "policy.toml").write_text('[audit]\nfail_if = ["L1"]\n', encoding="utf-8")
    done = step("audit", tmp_path, repository="Yours-1B", policy="policy.toml")
    assert done.returncode == 1
    assert "L1 (missing)" in done.stderr or "exit code 1" in done.stdout
    assert outputs(tmp_path)["outcome"] == "owed"
    assert step("audit", tmp_path, repository="Yours-1B", fail_if="inconclusive\n").returncode == 3
    assert step("audit", tmp_path, repository="nothing here").returncode == 4


def test_the_step_takes_the_published_name_that_naming_rules_test(tmp_path: Path) -> None:
    made.suspect(tmp_path)
    words = {"parent": "meta-llama/Meta-Llama-3-8B", "derived_on": "2024-05-20", "name": "Llama-3-Yours"}
    assert step("audit", tmp_path, repository="Yours-1B", **words).returncode == 0
    report = json.loads(Path(outputs(tmp_path)["json"]).read_text(encoding="utf-8"))
    assert [r["status"] for r in report["rules"] if r["id"] == "L4" and r["licence"] == "llama3"] == [
        "satisfied"
    ]


def test_inputs_are_words_and_never_shell(tmp_path: Path) -> None:
    made.suspect(tmp_path)
    nasty = "$(touch RAN)`touch RAN`; touch RAN #"
    done = step("audit", tmp_path, repository="Yours-1B", parent=nasty)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("RAN"))
    for name in STEPS:
        assert "${{" not in STEPS[name]["run"]


def test_the_action_installs_itself_unless_told_otherwise() -> None:
    assert STEPS["install"]["env"]["FILIATION_PACKAGE"] == "${{ inputs.package || github.action_path }}"
    assert '"$FILIATION_PACKAGE"' in STEPS["install"]["run"]


def test_every_input_reaches_a_step_and_every_output_a_value() -> None:
    mapped = {name for s in STEPS.values() for text in s["env"].values() for name in INPUT.findall(text)}
    assert mapped == set(ACTION["inputs"])
    for name, entry in ACTION["outputs"].items():
        assert entry["value"] == f"${{{{ steps.audit.outputs.{name} }}}}"


def test_the_hook_is_a_call_that_the_program_takes_and_fails_on_what_is_owed(tmp_path: Path) -> None:
    from filiation.cli.audit import command

    (hook,) = HOOKS
    assert hook["entry"] == "filiation audit"
    command.make_context("audit", list(hook["args"]), parent=click.Context(click.Group("filiation")))
    suspect = made.suspect(tmp_path)
    words = [
        sys.executable,
        "-m",
        *hook["entry"].replace("filiation", "filiation.cli").split(),
        *hook["args"],
    ]
    done = subprocess.run([*words, "--no-corpus"], cwd=suspect, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [
        name for name in ("README.md", "LICENSE", "config.json", "a.py") if not re.search(hook["files"], name)
    ] == []
