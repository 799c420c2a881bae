"""Weights hidden or planted under other names: which tower is judged must not depend on the alphabet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import filiation
from filiation.api import Comparison
from filiation.evidence import Relation, Status
from filiation.lab.save import load_model, save_model
from filiation.origin.towers import TowerPair, over_towers
from filiation.origin.verdict import Finding
from filiation.report.answers import scope_text
from filiation.report.wording import phrases

MODELS = Path(__file__).parents[2] / "examples" / "models"
Tensors = Mapping[str, Any]

PREFIXES = ["ema.", "extra.", "zzz.", "module.", "model.", "visual.", "adapter.", "a: language."]


def shipped(name: str) -> tuple[Tensors, Mapping[str, Any]]:
    return load_model(MODELS / name)


def beside(main: str, other: str, prefix: str, folder: Path) -> str:
    """Save one model with another's tensors added under a prefix that no loader reads."""
    tensors, config = shipped(main)
    extra, _ = shipped(other)
    both = {**tensors, **{prefix + name: values for name, values in extra.items()}}
    tokenizer = (MODELS / "base" / "tokenizer.json").read_bytes()
    save_model(folder, {n: np.asarray(v, np.float32) for n, v in both.items()}, config, tokenizer)
    return str(folder)


def scopes(found: Comparison) -> set[str]:
    return {part.partition(": ")[0] for part in found.verdict.scope}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_relative_under_a_prefix_is_a_part_and_not_the_language_model(prefix: str, tmp_path: Path) -> None:
    found = filiation.compare(beside("twin", "base", prefix, tmp_path), str(MODELS / "base"))
    assert found.verdict.relation is Relation.SHARED_PARTS
    (scope,) = scopes(found)
    assert scope.startswith("language:")
    assert scope != "language:"
    assert found.verdict.inherited_share == 0.0
    assert found.verdict.reason == "tower_not_loaded"
    assert "tower_not_loaded" in found.report.limits
    for language in ("en", "zh-CN"):
        said = phrases(language)
        assert said.name("component", "language") not in scope_text(said, found.verdict.scope)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_stranger_under_a_prefix_hides_nothing(prefix: str, tmp_path: Path) -> None:
    found = filiation.compare(beside("continued", "twin", prefix, tmp_path), str(MODELS / "base"))
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert found.verdict.scope == ("language",)
    assert found.verdict.inherited_share == 1.0
    assert "continued_pretraining" in {step.kind for step in found.verdict.derivation}


def test_the_same_holds_where_the_candidate_has_the_further_tower(tmp_path: Path) -> None:
    planted = beside("twin", "base", "ema.", tmp_path)
    found = filiation.compare(str(MODELS / "continued"), planted)
    assert found.verdict.relation is Relation.SHARED_PARTS
    assert scopes(found) == {"language:ema"}
    assert found.verdict.inherited_share == 0.0
    assert filiation.compare(str(MODELS / "same-init"), planted).verdict.inherited_share in (0.0, None)


def test_a_model_beside_its_own_average_is_a_relative_as_a_whole(tmp_path: Path) -> None:
    found = filiation.compare(beside("continued", "continued", "ema.", tmp_path), str(MODELS / "base"))
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert found.verdict.inherited_share == 1.0
    assert "grafted" not in {step.kind for step in found.verdict.derivation}


def test_two_strangers_with_further_towers_show_nothing_and_pay_for_every_pair(tmp_path: Path) -> None:
    suspect = beside("twin", "twin", "ema.", tmp_path / "s")
    candidate = beside("base", "continued", "ema.", tmp_path / "c")
    verdict = filiation.compare(suspect, candidate).verdict
    assert verdict.relation is Relation.NONE_FOUND
    assert verdict.log10_e is not None
    assert verdict.log10_e < 1


def test_equal_models_with_further_towers_are_identical(tmp_path: Path) -> None:
    one = beside("base", "twin", "ema.", tmp_path / "one")
    other = beside("base", "twin", "ema.", tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text((tmp_path / "one" / "config.json").read_text() + "\n")
    assert filiation.compare(one, other).verdict.relation is Relation.IDENTICAL


def with_layers_of(main: str, other: str, container: str, folder: Path, **config: Any) -> str:
    """Save one model with another's layers added under another word: ``model.blocks`` beside ``model.layers``."""
    tensors, usual = shipped(main)
    extra, _ = shipped(other)
    more = {n.replace("model.layers", container): v for n, v in extra.items() if n.startswith("model.layers")}
    save_model(
        folder, {n: np.asarray(v, np.float32) for n, v in {**tensors, **more}.items()}, {**usual, **config}
    )
    return str(folder)


@pytest.mark.parametrize("container", ["model.blocks", "model.Layers"])
def test_layers_under_another_word_neither_accuse_nor_hide(container: str, tmp_path: Path) -> None:
    base = str(MODELS / "base")
    planted = with_layers_of("twin", "base", container, tmp_path / "planted")
    for suspect, candidate in ((planted, base), (base, planted)):
        verdict = filiation.compare(suspect, candidate).verdict
        assert (verdict.relation, verdict.reason) == (Relation.SHARED_PARTS, "tower_not_loaded")
        assert verdict.scope == (f"language:{container}",)
        assert verdict.inherited_share == 0.0
    hiding = with_layers_of("continued", "twin", container, tmp_path / "hiding")
    for suspect, candidate in ((hiding, base), (base, hiding)):
        assert filiation.compare(suspect, candidate).verdict.relation is Relation.COMMON_ORIGIN


UNKNOWN = {"model_type": "some_type", "architectures": ["SomeModel"]}


def test_where_nothing_says_which_is_loaded_it_takes_all_to_share_an_origin(tmp_path: Path) -> None:
    base = str(MODELS / "base")
    mixed = with_layers_of("twin", "base", "core.layers", tmp_path / "mixed", **UNKNOWN)
    for suspect, candidate in ((mixed, base), (base, mixed)):
        verdict = filiation.compare(suspect, candidate).verdict
        assert (verdict.relation, verdict.reason) == (Relation.SHARED_PARTS, "tower_contested")
        assert not verdict.inherited_share
        assert "continued_pretraining" not in {step.kind for step in verdict.derivation}
    alike = with_layers_of("continued", "base", "core.layers", tmp_path / "alike", **UNKNOWN)
    assert filiation.compare(base, alike).verdict.relation is Relation.COMMON_ORIGIN
    for language in ("en", "zh-CN"):
        assert phrases(language).name("reason", "tower_contested")


def test_two_models_that_hold_the_same_towers_are_loaded_alike(tmp_path: Path) -> None:
    parent = with_layers_of("base", "twin", "core.layers", tmp_path / "parent", **UNKNOWN)
    child = with_layers_of("continued", "twin", "core.layers", tmp_path / "child", **UNKNOWN)
    verdict = filiation.compare(child, parent).verdict
    assert verdict.relation is Relation.COMMON_ORIGIN


def test_a_tower_that_the_model_has_no_room_for_hides_nothing(tmp_path: Path) -> None:
    copied = with_layers_of("continued", "twin", "visual.blocks", tmp_path)
    for suspect, candidate in ((copied, str(MODELS / "base")), (str(MODELS / "base"), copied)):
        assert filiation.compare(suspect, candidate).verdict.relation is Relation.COMMON_ORIGIN


def test_what_was_compared_with_nothing_is_listed_and_limits_the_report(tmp_path: Path) -> None:
    """Tensors that form no layers cannot be examined: the report says so beside "none found"."""
    tensors, config = shipped("twin")
    hidden, _ = shipped("base")
    odd = {f"part{i}.of.something": values for i, values in enumerate(hidden.values())}
    save_model(tmp_path, {**tensors, **odd}, config)
    found = filiation.compare(str(tmp_path), str(MODELS / "base"))
    assert found.verdict.relation is Relation.NONE_FOUND
    assert "towers_not_examined" in found.report.limits
    (record,) = (e for e in found.report.evidence if e.test == "towers")
    assert record.status is Status.NOT_MEASURED
    assert record.n is not None
    assert record.n > 40
    assert record.places[0].tensor in odd
    plain = filiation.compare(str(MODELS / "twin"), str(MODELS / "base"))
    assert "towers_not_examined" not in plain.report.limits


def test_layers_that_predict_further_tokens_are_parts_that_the_main_stack_does_not_load() -> None:
    pair = TowerPair("draft", "draft", "draft", is_loaded=False)
    found = Finding(Relation.COMMON_ORIGIN, 100.0, ("draft",), (), 1, 1)
    told = over_towers([pair], {"draft": found})["draft"]
    assert told.relation is Relation.SHARED_PARTS
    assert told.reasons[0] == "draft_not_loaded"
    assert (told.inherited, told.tested) == (0, 0)
    for language in ("en", "zh-CN"):
        assert phrases(language).name("reason", "draft_not_loaded")
