"""``filiation probe`` as a person or a build runs it, against a scripted server on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from filiation.behaviour.phrasebook import CHOICES
from filiation.cli import probe as command
from filiation.endpoint.dialects import names
from filiation.evidence import ProbeRelation
from filiation.probing.request import TESTS
from tests.cli.conftest import Ran
from tests.probing.test_byhand import fill
from tests.probing.test_byhand import server as site
from tests.probing.test_walk import SMALL, server

FEW = ("--pairs", SMALL["pairs"], "--most-pairs", SMALL["most"], "--prompts", SMALL["prompts"])


def shell(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "filiation.cli", *(str(a) for a in arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        env={**os.environ, **environment},
    )


def test_the_lists_in_the_help_are_those_of_the_walk() -> None:
    assert {name.replace("-", "_") for name in command.TESTS} == set(TESTS)
    assert [name.replace("-", "_") for name in command.RELATIONS] == [r.value for r in ProbeRelation]
    assert set(command.DIALECTS) == set(names())
    assert set(command.LANGUAGES) == set(CHOICES)


def test_asks_draws_and_replays(tmp_path: Path) -> None:
    log = tmp_path / "p.jsonl"
    with server(1) as suspect, server(1) as reference:
        first = shell(
            "probe", suspect.url, "--model", "nova", "--yes", "--log", log, "--seed", 5, *FEW,
            "--reference", f"{reference.url}#lion", "--test", "same-model", "--test", "identity",
            "--json", tmp_path / "a.json", "--html", tmp_path / "a.html",
        )  # fmt: skip
    assert first.returncode == 0, first.stderr
    assert "What stands behind" in (tmp_path / "a.html").read_text(encoding="utf-8")
    second = shell("probe", "--replay", log, "--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md")
    assert second.returncode == 0, second.stderr
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()
    assert second.stdout == first.stdout
    drawn = shell("render", tmp_path / "a.json", "--lang", "zh-CN")
    assert drawn.returncode == 0
    assert "它自称是什么" in drawn.stdout
    schema = json.loads(shell("schema", "--of", "probe").stdout)
    jsonschema.validate(json.loads((tmp_path / "a.json").read_text(encoding="utf-8")), schema)


def test_without_a_terminal_and_without_yes_nothing_is_sent(tmp_path: Path) -> None:
    with server(1) as suspect:
        done = shell("probe", suspect.url, "--model", "nova", "--log", tmp_path / "p.jsonl")
        assert suspect.seen == []
    assert done.returncode == 2
    assert "--yes" in done.stderr


def test_an_endpoint_that_is_not_there_is_a_missing_input(tmp_path: Path) -> None:
    done = shell(
        "probe", "http://127.0.0.1:9/v1", "--model", "nova", "--yes", "--log", tmp_path / "p.jsonl", "--json"
    )
    assert done.returncode == 4
    error = json.loads(done.stdout)["error"]
    assert error["code"]
    assert error["next_step"]
    assert "127.0.0.1:9" in json.dumps(error)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("http://127.0.0.1:9/v1",),
        ("ftp://x/v1", "--model", "nova"),
        ("http://user:pass@127.0.0.1:9/v1", "--model", "nova"),
        ("http://127.0.0.1:9/v1", "--model", "nova", "--max-money", "1"),
        ("http://127.0.0.1:9/v1", "--model", "nova", "--price", "much"),
        ("http://127.0.0.1:9/v1", "--model", "nova", "--resume"),
        ("http://127.0.0.1:9/v1#hunter-pass@", "--model", "nova"),
    ],
)
def test_wrong_calls_end_with_2_and_say_what_to_write(
    arguments: tuple[str, ...], run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("probe", *arguments, *(("--yes",) if arguments else ()))
    assert done.code == 2
    assert done.err
    assert "pass@" not in done.err


def test_a_finding_turns_into_an_exit_code(tmp_path: Path, run: Callable[..., Ran]) -> None:
    log = tmp_path / "p.jsonl"
    with server(1) as suspect:
        asked = ("probe", suspect.url, "--model", "nova", "--yes", "--log", log, "--test", "identity", "-q")
        assert run(*asked).out.strip() == "cannot_test"
    assert run("probe", "--replay", log, "-q", "--fail-if", "cannot-test").code == 1
    assert run("probe", "--replay", log, "-q", "--fail-if", "inconclusive").code == 3
    assert run("probe", "--replay", log, "-q", "--fail-if", "derivative").code == 0


def test_a_log_that_is_none_is_refused(tmp_path: Path, run: Callable[..., Ran]) -> None:
    odd = tmp_path / "odd.jsonl"
    odd.write_text('{"kind": "shopping"}\n', encoding="utf-8")
    done = run("probe", "--replay", odd)
    assert done.code == 4
    assert str(odd) in done.err


def test_a_chat_site_is_asked_by_hand(tmp_path: Path, run: Callable[..., Ran]) -> None:
    sheet = tmp_path / "sheet.txt"
    assert run("probe", "--questions", sheet, "--model", "Nova Chat").code == 0
    text = sheet.read_text(encoding="utf-8")
    assert run("probe", "--questions", sheet, "--model", "Nova Chat").code == 4  # it may hold answers: kept
    assert sheet.read_text(encoding="utf-8") == text
    filled = [
        line + "\nI am Claude, made by Anthropic." if line.startswith("[[answer") else line
        for line in text.splitlines()
    ]
    sheet.write_text("\n".join(filled), encoding="utf-8")
    done = run("probe", "--answers", sheet, "--model", "Nova Chat", "--json", tmp_path / "a.json")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert report["verdict"]["relation"] == "cannot_test"
    (test,) = report["tests"]
    assert test["figures"]["vendors"][0]["claimed"] == test["figures"]["answers"] > 30


def test_the_model_may_stand_behind_the_address_as_for_every_other_model(
    tmp_path: Path, run: Callable[..., Ran]
) -> None:
    log = tmp_path / "p.jsonl"
    with server(1) as suspect:
        done = run("probe", f"{suspect.url}#nova", "--yes", "--log", log, "--test", "identity", "-q")
    assert done.code == 0
    assert json.loads(log.read_text(encoding="utf-8").splitlines()[0])["about"]["url"] == suspect.url


def test_a_sheet_is_repeated_from_the_sheet_and_claims_no_log(
    tmp_path: Path, run: Callable[..., Ran]
) -> None:
    sheet = tmp_path / "sheet.txt"
    assert run("probe", "--questions", sheet, "--model", "Nova Chat").code == 0
    text = sheet.read_text(encoding="utf-8")
    mark = text.split("[[answer ")[1].split("]]")[0]
    sheet.write_text(text.replace(f"[[answer {mark}]]", f"[[answer {mark}]]\nI am Kimi."), encoding="utf-8")
    done = run("probe", "--answers", sheet, "--model", "Nova Chat")
    assert done.code == 0
    assert "--answers sheet.txt --model" in done.out
    assert "SHA-256 of the sheet" in done.out
    assert "--replay" not in done.out
    assert "Seed of the probes" not in done.out


def test_a_sheet_is_held_against_a_live_reference_and_replayed_from_the_log(tmp_path: Path) -> None:
    sheet, log = tmp_path / "sheet.txt", tmp_path / "p.jsonl"
    with site(1) as behind, site(1) as reference:
        models = ("--model", "Nova Chat", "--reference", f"{reference.url}#lion", "--test", "same-model")
        first = shell("probe", "--questions", sheet, *models, "--pairs", 30)
        assert first.returncode == 0, first.stderr
        assert "30 questions" in first.stderr
        assert "the same models" in first.stderr
        assert reference.seen == []
        fill(sheet, behind)
        done = shell(
            "probe", "--answers", sheet, *models, "--yes", "--log", log, "--json", tmp_path / "a.json"
        )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert report["tests"][0]["figures"]["pairs"] == 30
    assert report["tests"][0]["outcome"] == "undecided"
    assert report["spent"]["by_role"]["suspect"] == 30
    sheet.unlink()
    again = shell("probe", "--replay", log, "--json", tmp_path / "b.json")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()


def test_a_sheet_takes_no_address_and_fits_its_options(tmp_path: Path, run: Callable[..., Ran]) -> None:
    sheet = tmp_path / "sheet.txt"
    for option in ("--questions", "--answers"):
        assert run("probe", "http://127.0.0.1:9/v1", option, sheet, "--model", "Nova Chat").code == 2
    assert not sheet.exists()
    assert run("probe", "--questions", sheet, "--model", "Nova Chat").code == 0
    late = run("probe", "--answers", sheet, "--model", "Nova Chat", "--reference", "http://127.0.0.1:9/v1#m")
    assert late.code == 2
    assert "same_model" in late.err
    assert run("probe", "--answers", sheet, "--model", "Nova Chat", "--test", "tokenizer").code == 2
