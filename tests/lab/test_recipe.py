"""Recipes: what is shipped holds together, what does not is refused, and what fixes a model's content."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from filiation.derivation import KINDS
from filiation.errors import NotFoundError, UsageError
from filiation.evidence import Relation
from filiation.lab import makers
from filiation.lab.kin import expectations
from filiation.lab.recipe import SHIPPED, load_recipe, parse_recipe

DRAWN = {"pretrained", "pretrained_short", "same_initialisation"}


def recipe(text: str):
    return parse_recipe(tomllib.loads(text))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_holds_together(name: str) -> None:
    shipped = load_recipe(name)
    known = {
        *(name for table in (makers.OF_ONE, makers.OF_MANY, makers.LAUNDERINGS) for name in table),
        *(name for table in (makers.RENAMINGS, makers.WRITERS, makers.CALIBRATED) for name in table),
    }
    assert shipped.name == name
    for node in shipped.nodes:
        assert node.maker == "train" or node.how in known, node
        assert node.kind in expectations() or node.kind in DRAWN, node
        assert node.maker != "train" or "schedule" in node.settings, node
        drawn = {"seed", "shape"} <= node.settings.keys()
        assert drawn or node.parents, node
    assert len({node.name for node in shipped.nodes}) == len(shipped.nodes)
    names = {node.name for node in shipped.nodes}
    assert all({pair.suspect, pair.candidate} <= names for pair in shipped.pairs)


def test_the_standard_recipe_has_every_kind_of_child() -> None:
    kinds = {node.kind for node in load_recipe("standard").nodes}
    assert set(expectations()) <= kinds
    roots = [n for n in load_recipe("standard").nodes if n.kind == "pretrained"]
    twins = [n for n in roots if n.settings["shape"]["family"] == "llama" and n.settings["order"] == 11]
    assert len([n for n in twins if n.settings["domain"] == "prose"]) >= 8
    families = [n.settings["shape"]["family"] for n in roots]
    assert all(families.count(f) >= 2 for f in ("qwen2", "gemma", "gpt2", "gpt_neox", "bert", "deepseek_v3"))


def test_what_counts_as_right_names_only_relations_and_kinds_that_exist() -> None:
    for kind, entry in expectations().items():
        for part in (entry, entry.get("body", {})):
            assert {Relation(word) for word in part.get("relations", [])} or part is not entry, kind
            groups = [*part.get("right", []), *part.get("joint", [])]
            assert {word for group in groups for word in group} <= set(KINDS), kind


TWO = """
[shapes.s]
family = "llama"
[schedules.t]
steps = 3
[[model]]
each = { seed = [1, 2] }
name = "twin-{seed}"
maker = "train"
shape = "s"
schedule = "t"
[[model]]
each = { of = ["twin-1", "twin-2"], level = [0.1, 0.2] }
name = "noisy-{of}"
maker = "derive"
how = "add_noise"
parents = ["{of}"]
with = { level = "{level}", seed = 3 }
"""


def test_entries_are_repeated_side_by_side_and_numbers_stay_numbers() -> None:
    found = recipe(TWO)
    assert [node.name for node in found.nodes] == ["twin-1", "twin-2", "noisy-twin-1", "noisy-twin-2"]
    assert found.node("noisy-twin-2").settings == {"with": {"level": 0.2, "seed": 3}}
    assert found.node("twin-2").settings["seed"] == 2
    assert found.node("noisy-twin-1").kind == "add_noise"
    assert found.ancestors("noisy-twin-1") == ("twin-1",)


def test_the_key_follows_everything_that_fixes_the_content() -> None:
    node, other = (recipe(TWO).node(name) for name in ("twin-1", "twin-2"))
    assert node.key("text", []) == node.key("text", [])
    assert (
        len({node.key("text", []), other.key("text", []), node.key("words", []), node.key("text", ["a"])})
        == 4
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (('parents = ["{of}"]', 'parents = ["nobody"]'), "not listed before"),
        (('shape = "s"', 'shape = "q"'), "no shape 'q'"),
        (('maker = "derive"', 'maker = "invent"'), "its maker must be one of"),
        (('name = "noisy-{of}"', 'name = "twin-1"'), "a name that no other has"),
        (("level = [0.1, 0.2]", "level = [0.1]"), "differ in length"),
        (('how = "add_noise"', 'how = "add_noise"\nsteeps = 3'), "unknown fields: steeps"),
    ],
)
def test_what_does_not_hold_together_is_refused(change: tuple[str, str], reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe(TWO.replace(*change))
    assert reason in (caught.value.reason or "")


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load_recipe(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_text("[[model]\n", encoding="utf-8")
    with pytest.raises(UsageError, match="not TOML"):
        load_recipe(str(tmp_path / "bad.toml"))
    with pytest.raises(UsageError, match="no models"):
        recipe("name = 'x'")
