"""Errors say whose files they speak of; one model is not compared twice; text is as wide as COLUMNS says."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from filiation import checkpoint
from filiation.comparison import compare_models, open_model
from filiation.errors import NonFiniteWeightsError, UsageError
from filiation.report import terminal
from filiation.report.wording import phrases
from tests.cli.conftest import Ran

Run = Callable[..., Ran]
MODELS = Path(__file__).parents[2] / "examples" / "models"
BASE, TUNED = str(MODELS / "base"), str(MODELS / "fine-tuned")


def broken(folder: Path, how: str) -> Path:
    """A copy of a demo model whose weights are cut short or hold a NaN."""
    shutil.copytree(TUNED, folder)
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    if how == "truncated":
        del data[300_000:]
    else:
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        start = 8 + size + header["model.layers.3.mlp.up_proj.weight"]["data_offsets"][0]
        data[start : start + 2] = b"\xc0\x7f"
    file.write_bytes(data)
    return folder


@pytest.mark.parametrize("how", ["truncated", "nan"])
def test_an_error_names_the_model_it_speaks_of(how: str, tmp_path: Path, run: Run) -> None:
    place = broken(tmp_path / "B", how)
    done = run("compare", BASE, TUNED, place, "--json")
    assert done.code == 4
    assert json.loads(done.out)["error"]["message"].startswith(f"Candidate {place}: ")
    assert json.loads(done.out)["error"]["file"] == "model.safetensors"
    assert f"Suspect {place}: " in run("compare", place, BASE).err
    assert "Candidate nowhere/at/all: There is nothing" in run("compare", BASE, "nowhere/at/all").err


def test_a_model_is_named_when_it_is_read_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(broken(tmp_path / "B", "nan"))

    def nothing(*_: object, **__: object) -> None: ...

    monkeypatch.setattr(checkpoint, "scan_finite", nothing)
    model = open_model(place, None, None, nothing, role="candidate")
    with pytest.raises(NonFiniteWeightsError) as caught:
        model.checkpoint.read("model.layers.3.mlp.up_proj.weight")
    assert caught.value.message.startswith(f"Candidate {place}: ")
    assert str(caught.value).count(place) == 1


@pytest.mark.parametrize("text", ["", "null", '{"model": {"vocab": {"a": -5}}}'])
def test_an_error_of_a_tokenizer_names_its_model(text: str, tmp_path: Path, run: Run) -> None:
    place = tmp_path / "B"
    shutil.copytree(TUNED, place)
    (place / "tokenizer.json").write_text(text)
    assert f"Error: Candidate {place}: A tokenizer file" in run("compare", BASE, place).err
    assert f"Error: Suspect {place}: A tokenizer file" in run("compare", place, BASE).err


@pytest.mark.parametrize("again", ["base", "./base", "base/", "../models/base"])
def test_one_place_named_twice_is_a_wrong_call(again: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(MODELS)
    with pytest.raises(UsageError, match="given twice"):
        compare_models("fine-tuned", ["base", again])


def test_one_model_in_two_forms_is_a_wrong_call(tmp_path: Path) -> None:
    link, weights = tmp_path / "link", tmp_path / "weights.safetensors"
    link.symlink_to(BASE)
    weights.symlink_to(Path(BASE) / "model.safetensors")
    for again in (f"{BASE}/model.safetensors", str(link), str(link / "model.safetensors"), str(weights)):
        with pytest.raises(UsageError, match=r"is given twice\. It is what .*base names too"):
            compare_models(TUNED, [BASE, again])


def test_copies_of_a_candidate_are_paid_for_once(tmp_path: Path) -> None:
    shutil.copytree(BASE, tmp_path / "copy")
    twin, copy = str(MODELS / "twin"), str(tmp_path / "copy")
    alone = compare_models(TUNED, [BASE]).verdict.log10_e
    copied = compare_models(TUNED, [BASE, copy]).verdict
    two = compare_models(TUNED, [twin, BASE]).verdict.log10_e
    three = compare_models(TUNED, [twin, BASE, copy]).verdict.log10_e
    assert alone is not None
    assert copied.log10_e == pytest.approx(alone, abs=1e-9)
    assert copied.candidate == 0
    assert two == pytest.approx(alone - math.log10(2), abs=1e-3)
    assert three == two


def test_one_hub_id_named_twice_is_a_wrong_call() -> None:
    with pytest.raises(UsageError, match="org/name is given twice"):
        compare_models(TUNED, ["org/name", "org/name"])


def test_equal_files_at_two_places_are_compared_and_told(tmp_path: Path) -> None:
    shutil.copytree(BASE, tmp_path / "copy")
    report = compare_models(TUNED, [BASE, str(tmp_path / "copy")])
    for language, words in (("en", "The same files as Candidate 1"), ("zh-CN", "文件相同的模型 候选模型 1")):
        text = " ".join(terminal.render(report, phrases(language), width=100).split())
        assert text.count(words) == 1


@pytest.mark.parametrize(("given", "widest"), [("60", 60), (None, 80)])
def test_piped_text_is_as_wide_as_columns_says(given: str | None, widest: int) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    environment |= {"COLUMNS": given} if given else {}
    for command in (["compare", TUNED, BASE], ["inspect", BASE]):
        done = subprocess.run(
            [sys.executable, "-m", "filiation.cli", *command],
            capture_output=True,
            encoding="utf-8",
            env=environment,
            check=True,
        )
        lines = [line for line in done.stdout.splitlines() if "filiation compare" not in line]
        assert widest - 8 < max(len(line) for line in lines) <= widest
