"""Breeding: parents first, nothing twice, a failed model stops its children alone, what cannot learn is refused.

Needs the extra ``lab``; runs where torch is installed (``make test-real``).
"""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra 'lab'")
pytest.importorskip("transformers", reason="needs the extra 'lab'")

from filiation.errors import UsageError
from filiation.lab import lessons
from filiation.lab.breed import breed
from filiation.lab.material import prepare
from filiation.lab.recipe import parse_recipe
from filiation.lab.save import load_model
from filiation.lab.train import Recipe, Rows

RECIPE = """
name = "tiny"
[text]
vocab = 300
context = 96
[shapes.llama]
vocab = 300
width = 16
layers = 2
heads = 2
kv_heads = 1
head_dim = 8
ffn = 24
context = 96
[shapes.gpt2]
family = "gpt2"
vocab_size = 300
n_positions = 96
n_embd = 16
n_layer = 2
n_head = 2
bos_token_id = 0
eos_token_id = 0
[schedules.short]
steps = 12
rate = 1e-2
warmup = 2
batch = 4
context = 96
[[model]]
name = "base"
kind = "pretrained"
maker = "train"
shape = "llama"
schedule = "short"
seed = 1
at_least = -9.0
[[model]]
name = "unlearned"
kind = "pretrained"
maker = "train"
shape = "llama"
schedule = "short"
seed = 2
at_least = 3.0
[[model]]
name = "child-of-unlearned"
kind = "noise"
maker = "derive"
how = "add_noise"
parents = ["unlearned"]
with = { level = 0.1, seed = 1 }
[[model]]
name = "gpt2"
kind = "pretrained"
maker = "train"
shape = "gpt2"
schedule = "short"
seed = 1
at_least = -9.0
[[model]]
name = "adapted"
kind = "lora_merged"
maker = "train"
parents = ["base"]
schedule = "short"
data = "pairs"
rank = 1
[[model]]
name = "averaged"
kind = "averaged_over_time"
maker = "train"
parents = ["base"]
schedule = "short"
but = { ema = 0.9 }
[[model]]
each = { name = ["tuned", "preferred", "dirty"], data = ["pairs", "preferences", "dirty"] }
kind = "fine_tuned"
maker = "train"
parents = ["base"]
schedule = "short"
[[model]]
name = "gpt2-tuned"
kind = "fine_tuned"
maker = "train"
parents = ["gpt2"]
schedule = "short"
data = "pairs"
[[model]]
each = { name = ["by-text", "by-logits"], data = ["teacher_text", "teacher_logits"] }
kind = "distilled_text"
maker = "train"
parents = ["base"]
shape = "llama"
seed = 3
schedule = "short"
at_least = -9.0
[[model]]
name = "around"
kind = "shared_table"
maker = "train"
parents = ["base"]
shape = "llama"
seed = 5
schedule = "short"
frozen = ["model.embed_tokens.weight"]
at_least = -9.0
[[model]]
name = "rotated"
kind = "rotated"
maker = "launder"
how = "rotate_residual"
parents = ["tuned"]
with = { seed = 4 }
[[model]]
name = "stored"
kind = "other_type"
maker = "recode"
how = "typed"
parents = ["tuned"]
with = { dtype = "float16" }
"""


def recipe():
    return parse_recipe(tomllib.loads(RECIPE))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture(scope="module")
def said(zoo: Path) -> list[str]:
    lines: list[str] = []
    breed(recipe(), zoo, processes=2, niceness=0, say=lines.append)
    return lines


def test_every_model_is_a_folder_as_a_repository_holds_it(zoo: Path, said: list[str]) -> None:
    record = json.loads((zoo / "zoo.json").read_text())
    assert set(record["failed"]) == {"unlearned", "child-of-unlearned"}
    assert "below the unigram level, and 3.00 were asked for" in record["failed"]["unlearned"]
    assert record["failed"]["child-of-unlearned"] == "a parent failed"
    assert set(record["models"]) == {node.name for node in recipe().nodes} - set(record["failed"])
    for name in record["models"]:
        assert {p.name for p in (zoo / name).iterdir()} >= {
            "config.json",
            "tokenizer.json",
            "model.safetensors",
        }
    base = record["models"]["base"]
    assert base["end_loss"] < base["start_loss"]
    assert base["unigram"] == record["unigram"]["prose"]
    assert record["models"]["rotated"]["ancestors"] == ["tuned", "base"]
    assert record["models"]["rotated"]["logits_moved"] < 1e-3
    assert any("base" in line and "unigram" in line for line in said)


def test_nothing_is_made_twice_and_a_lost_model_is_made_again_alike(zoo: Path, said: list[str]) -> None:
    before = json.loads((zoo / "zoo.json").read_text())["models"]
    shutil.rmtree(zoo / "tuned")
    outcome = breed(recipe(), zoo, processes=1, niceness=0, say=said.append)
    assert outcome.made == ("tuned",)
    assert set(outcome.ready) == set(before) - {"tuned"}
    after = json.loads((zoo / "zoo.json").read_text())["models"]
    assert {n: m["digest"] for n, m in after.items()} == {n: m["digest"] for n, m in before.items()}


def test_a_damaged_model_or_record_is_made_again_alike(zoo: Path, said: list[str]) -> None:
    before = json.loads((zoo / "zoo.json").read_text())["models"]
    weights = zoo / "tuned" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    record = zoo / ".state" / "records" / "stored.json"
    record.write_text(record.read_text()[:20])
    outcome = breed(recipe(), zoo, processes=1, niceness=0, say=said.append)
    assert set(outcome.made) == {"tuned", "stored"}
    after = json.loads((zoo / "zoo.json").read_text())["models"]
    assert {n: m["digest"] for n, m in after.items()} == {n: m["digest"] for n, m in before.items()}


def test_a_recipe_that_cannot_be_made_makes_nothing(tmp_path: Path) -> None:
    broken = parse_recipe(tomllib.loads(RECIPE.replace('how = "add_noise"', 'how = "add_noize"')))
    with pytest.raises(UsageError, match="child-of-unlearned"):
        breed(broken, tmp_path / "zoo", say=print)
    assert not (tmp_path / "zoo").exists()


def test_children_by_training_differ_from_their_parent_in_the_way_they_should(
    zoo: Path, said: list[str]
) -> None:
    base = load_model(zoo / "base")[0]
    for name in ("tuned", "dirty", "preferred", "averaged"):
        child = load_model(zoo / name)[0]
        assert child.keys() == base.keys()
        assert any(not np.array_equal(child[n], base[n]) for n in base)
    adapted, rank_one = load_model(zoo / "adapted")[0], "model.layers.0.self_attn.q_proj.weight"
    change = (adapted[rank_one] - base[rank_one]).astype(np.float64)
    values = np.linalg.svd(change, compute_uv=False)
    # One direction, and what rounding to bfloat16 leaves.
    assert values[0] > 5 * values[1]
    assert np.array_equal(adapted["model.norm.weight"], base["model.norm.weight"])
    around = load_model(zoo / "around")[0]
    assert around.keys() == base.keys()
    assert np.array_equal(around["model.embed_tokens.weight"], base["model.embed_tokens.weight"])
    student = load_model(zoo / "by-logits")[0]
    up = "model.layers.0.mlp.up_proj.weight"
    for independent in (student, around):
        assert abs(np.corrcoef(independent[up].ravel(), base[up].ravel())[0, 1]) < 0.3
    assert load_model(zoo / "gpt2-tuned")[0].keys() == load_model(zoo / "gpt2")[0].keys()


def test_pairs_that_do_not_fit_are_said_to_be_missing(zoo: Path, said: list[str]) -> None:
    material = prepare(zoo / ".state", 300, 96)
    short = replace(material, arrays={**material.arrays, "pairs.inputs": np.zeros((0, 9), dtype=np.int64)})
    with pytest.raises(UsageError, match="no pairs"):
        short.pairs()


def test_masked_and_preferred_batches(zoo: Path, said: list[str]) -> None:
    material = prepare(zoo / ".state", 300, 96)
    run = Recipe(steps=1, rate=1.0, order_seed=5, batch=4, context=96)
    inputs, targets = lessons.Masked(material.stream("prose")).batch(run, 0)
    hidden = targets != -100
    assert 0.1 < hidden.mean() < 0.5
    assert (inputs[hidden] == lessons.MASK_TOKEN).all()
    rows = Rows(
        np.arange(40).reshape(4, 10), np.where(np.arange(10) < 4, -100, np.arange(40).reshape(4, 10) + 1)
    )
    inputs, targets = lessons.Preferences(rows).batch(Recipe(steps=1, rate=1.0, order_seed=5, batch=4), 0)
    assert np.array_equal(inputs[:4, :5], inputs[4:, :5])
    assert not np.array_equal(targets[:4], targets[4:])
