"""A recipe that cannot be made is refused before anything is made, by file, model and field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from filiation.errors import UsageError
from filiation.lab import lessons
from filiation.lab.checks import check
from filiation.lab.recipe import SHIPPED, load_recipe
from filiation.lab.train import Rows, Stream

RECIPE = """
name = "two"
[text]
vocab = 300
context = 96
[shapes.llama]
family = "llama"
vocab = 300
width = 16
layers = 2
heads = 2
kv_heads = 1
head_dim = 8
ffn = 24
[schedules.short]
steps = 3
rate = 1e-2
[[model]]
name = "base"
kind = "pretrained"
maker = "train"
shape = "llama"
schedule = "short"
seed = 1
[[model]]
name = "noisy"
kind = "noise"
maker = "derive"
how = "add_noise"
parents = ["base"]
with = { level = 0.1, seed = 1 }
[[model]]
name = "stored"
kind = "quantised"
maker = "recode"
how = "gguf"
parents = ["base"]
with = { kind = "Q8_0" }
[[pair]]
suspect = "noisy"
candidate = "base"
kind = "noise"
"""


def checked(folder: Path, text: str) -> UsageError:
    place = folder / "recipe.toml"
    place.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        check(load_recipe(str(place)))
    assert caught.value.file == str(place)
    assert caught.value.next_step
    return caught.value


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_can_be_made(name: str) -> None:
    check(load_recipe(name))


def test_the_recipe_of_this_file_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    check(load_recipe(str(tmp_path / "recipe.toml")))


@pytest.mark.parametrize(
    ("old", "new", "model", "reason"),
    [
        ('how = "add_noise"', 'how = "add_noize"', "noisy", "nearest are add_noise"),
        ("level = 0.1", "levle = 0.1", "noisy", "missing a required argument: 'level'"),
        ("level = 0.1", 'level = "high"', "noisy", "level is 'high', no float"),
        ("level = 0.1", "level = true", "noisy", "level is True, no float"),
        ("level = 0.1, seed", "level = 0.1, deep = 2, seed", "noisy", "unexpected keyword argument 'deep'"),
        ('with = { kind = "Q8_0" }', "", "stored", "missing a required argument: 'kind'"),
        ('how = "gguf"', 'how = "ggml"', "stored", "nearest are gguf"),
        ("steps = 3", "stepz = 3", "base", "unknown field stepz"),
        ("steps = 3", 'steps = "many"', "base", "steps = 'many'"),
        ("steps = 3", "steps = 0", "base", "steps = 0"),
        ("steps = 3", "", "base", "says nothing of steps"),
        ("rate = 1e-2", "rate = -1", "base", "rate = -1"),
        ("width = 16", "widht = 16", "base", "unknown field widht"),
        ("kv_heads = 1", "kv_heads = 3", "base", "multiple of kv_heads"),
        ("head_dim = 8", "head_dim = 7", "base", "even head_dim"),
        ('family = "llama"', 'family = "rwkv"', "base", "not 'rwkv'"),
        ("vocab = 300\nwidth", "vocab = 299\nwidth", "base", "299 tokens, and [text] vocab is 300"),
        ("seed = 1\n[[model]]", 'seed = "a"\n[[model]]', "base", "`seed` is 'a'"),
        ("seed = 1\n[[model]]", "[[model]]", "base", "a shape and a seed"),
        ('schedule = "short"', "", "base", "no schedule"),
        ('schedule = "short"', 'schedule = "short"\ndata = "gossip"', "base", "`data` must be one of text"),
        (
            'schedule = "short"',
            'schedule = "short"\ndomain = "verse"',
            "base",
            "`domain` must be one of prose",
        ),
        ('schedule = "short"', 'schedule = "short"\ndata = "teacher_text"', "base", "a parent to learn from"),
        ('schedule = "short"', 'schedule = "short"\nbut = { steps = -2 }', "base", "steps = -2"),
        ('parents = ["base"]\nwith = { level', "with = { level", "noisy", "no parents"),
        ('parents = ["base"]\nwith = { level', 'parents = "base"\nwith = { level', "noisy", "list of names"),
        ('name = "noisy"', 'name = "../../outside"', "../../outside", "must begin with a letter or digit"),
        ('name = "noisy"', 'name = ".state"', ".state", "must begin with a letter or digit"),
        ('name = "noisy"', 'name = "noisy-{x}"', "noisy-{x}", "must begin with a letter or digit"),
        ('name = "noisy"', 'name = "zoo.json"', "zoo.json", "a name that no other has"),
        ('name = "noisy"', 'each = { x = 3 }\nname = "noisy"', "noisy", "must give a list for each field"),
        ('name = "noisy"', 'each = { x = [3] }\nname = "{y}"', "{y}", "no field of `each`"),
        ("vocab = 300\ncontext", "vocab = 200\ncontext", "[text]", "a vocab of 257 at least"),
        ("vocab = 300\ncontext", 'vocab = "x"\ncontext', "[text]", "vocab is 'x'"),
        ('candidate = "base"', 'candidate = "nobody"', "pair noisy / nobody", "there is no model nobody"),
        ('candidate = "base"', 'kandidate = "base"', "pair noisy / None", "unknown fields: kandidate"),
        ("[[pair]]", "[pairs]", "keys", "unknown ones: pairs"),
        ("[[pair]]", "[pair]", "[[pair]]", "two pairs of brackets"),
    ],
)
def test_what_cannot_be_made_is_named(tmp_path: Path, old: str, new: str, model: str, reason: str) -> None:
    assert old in RECIPE
    error = checked(tmp_path, RECIPE.replace(old, new, 1))
    assert model in error.message
    assert reason in (error.reason or "")


def test_what_was_stored_otherwise_is_no_parent(tmp_path: Path) -> None:
    child = '[[model]]\nname = "of-stored"\nmaker = "derive"\nhow = "untie"\nparents = ["stored"]\n'
    error = checked(tmp_path, RECIPE + child)
    assert "stored in a way that the lab does not read back" in (error.reason or "")
    merge = '[[model]]\nname = "merged"\nmaker = "derive"\nhow = "slerp"\nparents = ["base"]\n'
    assert "of several models" in (checked(tmp_path, RECIPE + merge).reason or "")


def test_every_word_for_data_is_something_to_learn_from() -> None:
    tokens = np.arange(20)
    for word in lessons.WORDS:
        plain = "text" if word.startswith("teacher") else word
        assert lessons.data_of(plain, Stream(tokens), Rows(tokens[None], tokens[None]), 20)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    place = tmp_path / "recipe.toml"
    place.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not TOML"):
        load_recipe(str(place))
