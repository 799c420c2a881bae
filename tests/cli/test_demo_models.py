"""The command line on the demo models: byte-identical, verifiable after a move, worded to the last key."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from filiation.evidence import json_schema
from filiation.report import renderer
from filiation.report.reading import read_report
from filiation.report.wording import LANGUAGES, phrases
from tests.report.pages import read

MODELS = Path(__file__).parents[2] / "examples" / "models"


def call(*arguments: object, folder: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "filiation.cli", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models under short names, and the report of one comparison."""
    found = tmp_path_factory.mktemp("demo")
    for name in ("continued", "base", "laundered", "fine-tuned"):
        shutil.copytree(MODELS / name, found / name)
    done = call("compare", "continued", "base", "--json", "r.json", "--html", "r.html", folder=found)
    assert done.returncode == 0, done.stderr.decode()
    return found


def test_the_report_fits_its_schema_and_names_the_relation(folder: Path) -> None:
    document = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(json_schema()).validate(document)
    assert document["verdict"]["relation"] == "common_origin"
    assert [step["kind"] for step in document["verdict"]["derivation"]] == ["continued_pretraining"]


def test_the_same_call_gives_the_same_bytes(folder: Path) -> None:
    again = call("compare", "continued", "base", "--json", folder=folder)
    assert again.returncode == 0
    assert again.stdout == (folder / "r.json").read_bytes()


def test_the_report_holds_where_the_models_have_moved(folder: Path, tmp_path: Path) -> None:
    for name in ("continued", "base"):
        shutil.copytree(folder / name, tmp_path / f"my-{name}")
    done = call(
        "verify", folder / "r.json", "--suspect", "my-continued", "--candidate", "my-base", folder=tmp_path
    )
    assert done.returncode == 0, done.stdout.decode()
    assert b"still holds" in done.stdout
    swapped = call(
        "verify", folder / "r.json", "--suspect", "my-base", "--candidate", "my-base", folder=tmp_path
    )
    assert swapped.returncode == 1
    assert b"not the ones the report speaks of" in swapped.stdout


@pytest.mark.parametrize("suspect", ["continued", "laundered"])
def test_every_key_of_a_real_report_has_its_words(suspect: str, folder: Path) -> None:
    file = folder / "r.json"
    if suspect == "laundered":
        file = folder / "l.json"
        assert call("compare", suspect, "fine-tuned", "--json", file, folder=folder).returncode == 0
    report = read_report(file)
    names = {part for row in report.extra["deltas"] for part in str(row["tensor"]).split(".")}
    for language in LANGUAGES:
        text = read(renderer("html").render(report, phrases(language))).all("main")[0].text
        raw = set(re.findall(r"\b[a-z]+(?:_[a-z0-9]+)+\b", text)) - names
        assert not raw, "keys without a phrase"
        assert "{" not in text


def test_inspect_shows_the_same_digest_as_the_report(folder: Path) -> None:
    document = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    done = call("inspect", "base", "--json", folder=folder)
    assert done.returncode == 0
    assert json.loads(done.stdout)["model"]["digest"] == document["models"]["candidates"][0]["digest"]
    for language, words in (("en", "Order of the feed-forward"), ("zh-CN", "前馈神经元的次序")):
        assert words in call("inspect", "base", "--lang", language, folder=folder).stdout.decode()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare", "nowhere", "base"), "nowhere"),
        (("compare", "base/config.json", "base"), "base/config.json"),
        (("inspect", "nowhere"), "nowhere"),
        (("verify", "nowhere.json"), "nowhere.json"),
    ],
)
def test_what_is_missing_or_unreadable_is_named(arguments: tuple[str, ...], words: str, folder: Path) -> None:
    done = call(*arguments, folder=folder)
    assert done.returncode == 4, done.stderr.decode()
    assert words in done.stderr.decode()
    assert "next step" in done.stderr.decode()
    assert b"Traceback" not in done.stderr
