"""The models that ship with the project are what their record says, measured from the files."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filiation.lab.derive import extract_dense
from filiation.lab.forward import logits
from filiation.lab.history import shared
from filiation.lab.layout import Config, Tensors, is_gain
from filiation.lab.recode import HOUSE_NAMES, rename
from filiation.lab.save import load_model

ROOT = Path(__file__).resolve().parents[2] / "examples" / "models"
NAMES = ("base", "fine-tuned", "continued", "moe-upcycled", "laundered", "renamed", "twin", "same-init")
RECORD: dict[str, Any] = json.loads((ROOT / "breeding.json").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


def load(name: str) -> tuple[Tensors, Config]:
    return load_model(ROOT / name)


def test_all_are_there_and_small() -> None:
    assert {path.name for path in ROOT.iterdir() if path.is_dir()} == set(NAMES) == set(RECORD["models"])
    assert sum(path.stat().st_size for path in ROOT.rglob("*") if path.is_file()) < 10_000_000


@pytest.mark.parametrize("name", NAMES)
def test_files_are_the_recorded_ones(name: str) -> None:
    for file, digest in RECORD["models"][name]["sha256"].items():
        assert hashlib.sha256((ROOT / name / file).read_bytes()).hexdigest() == digest
    tokenizer = (ROOT / name / "tokenizer.json").read_bytes()
    assert hashlib.sha256(tokenizer).hexdigest() == RECORD["tokenizer_sha256"]


@pytest.mark.parametrize("name", NAMES)
def test_shapes_are_the_promised_ones(name: str) -> None:
    tensors, config = load(name)
    assert (config["hidden_size"], config["num_hidden_layers"], config["intermediate_size"]) == (64, 6, 192)
    assert (config["num_attention_heads"], config["num_key_value_heads"], config["vocab_size"]) == (
        4,
        2,
        1024,
    )
    count = sum(value.size for value in tensors.values())
    assert count == {"moe-upcycled": 1026368, "laundered": 426816}.get(name, 361280)
    assert all(np.isfinite(value).all() for value in tensors.values())


def test_training_brought_them_far_below_the_unigram() -> None:
    floor = RECORD["unigram_entropy"]
    for name, domain in (("base", "prose"), ("twin", "prose"), ("same-init", "code"), ("continued", "code")):
        figures = RECORD["models"][name]
        assert figures["end_loss"] < floor[domain] - 1
        assert figures["end_loss"] < figures["start_loss"]
    for name in ("fine-tuned", "moe-upcycled"):
        assert RECORD["models"][name]["end_loss"] < RECORD["models"][name]["start_loss"]


@pytest.mark.parametrize("entry", RECORD["shared"], ids=lambda entry: "/".join(entry["pair"]))
def test_shared_labels_measure_as_recorded(entry: dict[str, Any]) -> None:
    models: list[Tensors] = []
    for name in entry["pair"]:
        folder, _, expert = name.partition(" expert ")
        tensors, config = load(folder)
        # The upcycled model is measured one expert at a time, the others' feed-forward blocks set aside.
        if folder == "moe-upcycled" and expert:
            tensors, config = extract_dense(tensors, config, expert=int(expert))
        models.append(tensors)
    found = shared(models[0], models[1], load("base")[1])
    assert found.is_history == entry["history"]
    assert (found.order, found.signs, found.gain_channels) == (
        entry["order"],
        entry["signs"],
        entry["gain_channels"],
    )
    assert found.gain_correlation == pytest.approx(entry["gain_correlation"], abs=0.006)


def test_descent_and_chance_fall_on_their_sides_of_the_lines() -> None:
    history = {tuple(entry["pair"]): entry["history"] for entry in RECORD["shared"]}
    assert history["continued", "base"]
    assert history["fine-tuned", "base"]
    assert not history["same-init", "base"]
    assert not history["twin", "base"]
    order = {tuple(entry["pair"]): entry["order"] / entry["units"] for entry in RECORD["shared"]}
    assert order["same-init", "base"] > 0.5
    assert order["twin", "base"] < 0.02


def test_laundered_computes_what_fine_tuned_does_and_hides_every_place() -> None:
    (one, config), (other, settings) = load("fine-tuned"), load("laundered")
    tokens = np.random.default_rng(0).integers(0, 1024, (2, 64))
    before, after = logits(one, config, tokens), logits(other, settings, tokens)
    # bfloat16 keeps three digits; the rotation itself moved logits by less than 0.001 before rounding.
    assert np.abs(before - after).max() < 0.02 * np.abs(before).max()
    assert (before.argmax(-1) == after.argmax(-1)).mean() > 0.95
    assert all((value == 1).all() for name, value in other.items() if is_gain(name))
    found = shared(other, one, config)
    assert found.order < 30
    assert abs(found.weight_cosine) < 0.05


def test_renamed_is_fine_tuned_under_other_names() -> None:
    (one, config), (other, settings) = load("fine-tuned"), load("renamed")
    expected, expected_settings = rename(one, config)
    assert settings == expected_settings
    assert settings["model_type"] != config["model_type"]
    assert other.keys() == expected.keys()
    assert all(np.array_equal(other[name], expected[name]) for name in expected)
    assert len(list((ROOT / "renamed").glob("*.safetensors"))) == 2
    assert not any(re.search(pattern, name) for name in other for pattern in HOUSE_NAMES)


def test_experts_differ_from_each_other_and_from_their_parent() -> None:
    tensors, config = load("moe-upcycled")
    parent, _ = load("base")
    rows = [
        extract_dense(tensors, config, expert=e)[0]["model.layers.2.mlp.gate_proj.weight"] for e in range(4)
    ]
    parent_rows = parent["model.layers.2.mlp.gate_proj.weight"]
    for i in range(4):
        assert 0.05 < np.linalg.norm(rows[i] - parent_rows) / np.linalg.norm(parent_rows) < 1
        for j in range(i):
            assert np.linalg.norm(rows[i] - rows[j]) / np.linalg.norm(parent_rows) > 0.05


def test_the_page_tells_the_recorded_figures() -> None:
    assert RECORD["text_sha256"] in README
    for name in NAMES:
        assert f"`{name}`" in README
        figures = RECORD["models"][name]
        if "end_loss" in figures:
            assert f"{figures['start_loss']:.2f}" in README
            assert f"{figures['end_loss']:.2f}" in README
    for entry in RECORD["shared"]:
        if entry["pair"][0] in ("continued", "same-init", "twin") and entry["pair"][1] == "base":
            assert f"{entry['order']:,} of {entry['units']:,}" in README


def test_help_works_without_the_extra() -> None:
    code = "import sys; sys.modules['torch'] = sys.modules['tokenizers'] = None\n"
    code += "from filiation.lab.demo_models import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--out" in done.stdout


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    from filiation.lab import demo_models

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert demo_models.main(["--out", str(tmp_path)]) == 2
    assert 'pip install "filiation[lab]"' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
