"""What happened, in words: which way it is told, what fits where it cannot be told, whose tensors, which layer."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import filiation.anatomy
from filiation.evidence import Derivation, Evidence, Location, Place, Relation, Status, Wing
from filiation.report import html, markdown, terminal
from filiation.report.answers import Step
from filiation.report.figures import figures
from filiation.report.groups import untested
from filiation.report.models import model_view
from filiation.report.sentences import inference_text, role_name, worked_out
from filiation.report.story import tell
from filiation.report.wording import LANGUAGES, phrases
from tests.report.samples import verdict_report

EN, ZH = phrases("en"), phrases("zh-CN")


def told(kind: str, language: str = "en", /, **numbers: Any) -> Step:
    report = verdict_report(Relation.COMMON_ORIGIN, derivation=(Derivation(kind, numbers),))
    (answer,) = tell(report, phrases(language)).answers
    (step,) = answer.steps
    return step


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_step_that_cannot_be_told_names_what_fits(language: str) -> None:
    said = phrases(language)
    step = told("cannot_tell", language, candidates=["fine_tuned", "continued_pretraining"])
    assert said.name("derivation", "fine_tuned") in step.name
    assert said.name("derivation", "continued_pretraining") in step.name


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "kind", ["width_pruned", "requantised", "layers_changed", "grafted", "moe_extracted", "blocks_inserted"]
)
def test_what_is_told_the_other_way_says_so_and_speaks_of_the_other_model(kind: str, language: str) -> None:
    usual, turned = told(kind, language), told(kind, language, reversed=True)
    assert turned.text != usual.text
    mark = phrases(language).say("ui", "step_reversed")
    assert mark in turned.name
    assert mark not in usual.name
    assert not turned.figures


def test_the_candidates_tensors_are_not_counted_as_the_suspects() -> None:
    usual = told("fine_tuned", tensors_changed=3, tensors_equal=1)
    turned = told("fine_tuned", tensors_changed=3, tensors_equal=1, reversed=True)
    assert "of the suspect's" in usual.text
    assert "of the suspect's" not in turned.text


def test_equal_weights_are_said_of_what_was_compared() -> None:
    whole, part = told("identical", tensors=10**6), told("identical", tensors=1)
    assert whole.name == "Identical"
    assert part.name.startswith("Identical (1 of ")
    assert "This speaks of 1 of the suspect's" in part.text


def test_only_a_rotation_of_the_residual_stream_is_called_that() -> None:
    assert "residual stream" in told("rotated", what="residual").text
    assert "residual stream" not in told("rotated", what="rotary_pairs").text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("renderer", [terminal, markdown, html])
def test_telling_from_the_candidate_is_no_finding_of_who_came_first(renderer: Any, language: str) -> None:
    words = phrases(language).say("ui", "happened_text")
    report = verdict_report(Relation.COMMON_ORIGIN, derivation=(Derivation("renamed", {}),))
    assert "".join(words.split()) in "".join(renderer.render(report, phrases(language)).split())


def test_roles_components_and_layers_have_their_names() -> None:
    shown = dict(
        figures(EN, {"roles": ["q", "v"], "components": ["vision"], "order": {"0": [1, 0], "1": [0]}})
    )
    assert shown["parts"] == "query, value"
    assert shown["components"] == "vision tower"
    assert shown["recovered order"] == "layer 0: 1, 0; layer 1: 0"
    assert dict(figures(ZH, {"what": "values"}))["对象"] == "值通道"


def test_an_entry_says_where_it_is_before_what_it_holds() -> None:
    ((_, text),) = figures(EN, {"layers": [{"weights": [0.6, 0.4], "part": "attention", "layer": 3}]})
    assert text == "layer 3, part attention, weights 0.6, 0.4"


def test_a_number_has_the_label_of_its_step() -> None:
    assert figures(EN, {"by": "digest"}, "identical") == (("shown by", "equal digests of the files"),)
    assert figures(EN, {"by": "magnitude"}, "sparsified") == (("chosen by", "size of the values"),)
    assert figures(EN, {"foreign": [2], "reversed": True}, "grafted") == (("not from the suspect", "2"),)


@pytest.mark.parametrize("language", LANGUAGES)
def test_shared_experts_and_biases_are_named(language: str) -> None:
    said = phrases(language)
    assert role_name(said, "shared.up") == said.say(
        "ui", "with_detail", text=said.name("role", "up"), detail=said.name("role", "shared")
    )
    assert role_name(said, "up.bias") == f"{said.name('role', 'up')} ({said.name('role', 'bias')})"


def left_out(component: str, names: tuple[str, ...], count: int) -> Evidence:
    return Evidence(
        id=f"origin.towers/{component}/of=suspect",
        wing=Wing.ORIGIN,
        test="towers",
        question="",
        part=Location(component=component),
        status=Status.NOT_MEASURED,
        reason="component_missing",
        n=count,
        places=tuple(Place(tensor=name) for name in names),
    )


def test_what_was_compared_with_nothing_is_named() -> None:
    rows = [left_out("vision", ("tower.a", "tower.b"), 35), left_out("projector", ("joint",), 1)]
    first, second = untested(EN, rows)
    assert first.where == "vision tower: tensors of the suspect (35): tower.a, and 34 more"
    assert second.where == "projector: tensors of the suspect (1): joint"


def test_a_part_without_layers_has_no_geometry_of_layers() -> None:
    flat = {"d_model": 96, "n_layers": 0, "norm": "rms", "positions": "rope"}
    geometry = {"language": {"d_model": 96, "n_layers": 2, "norm": "rms"}, "projector": flat}
    view = model_view(EN, {"geometry": geometry}, "", "m")
    assert dict(view.facts)["Geometry"] == "language model: width 96, layers 2, norm rms; projector: width 96"


def inferences() -> set[str]:
    """What the anatomy can say that it worked out, and from what; formatted values replaced by a word."""
    found: set[str] = set()
    for source in sorted(Path(filiation.anatomy.__file__).parent.glob("*.py")):
        tree = ast.parse(source.read_text(encoding="utf-8"))
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
        for call in (c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "Inference"):
            for node in call.args:
                if isinstance(node, ast.JoinedStr):
                    parts = [p.value if isinstance(p, ast.Constant) else "word" for p in node.values]
                    found.add("".join(map(str, parts)))
                elif isinstance(node, ast.Constant):
                    found.add(str(node.value))
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_that_is_worked_out_has_words(language: str) -> None:
    found = inferences()
    assert len(found) > 25
    said = phrases(language)
    unknown = {text for text in found if worked_out(said, text) is None}
    # What is put together of pieces is not found by pieces that are words here.
    partly = {"word layersword", "wordword stored and not loaded", "word stored and not loaded", "word: word"}
    assert unknown <= partly, "add them to phrases/*/anatomy.toml"


def test_a_chinese_report_says_in_chinese_what_was_worked_out() -> None:
    text = inference_text(ZH, "ff.act is gate", "shape and resemblance of names")
    assert text == "ff.act 认作 gate（形状与名称的相似）"
    basis = "a layer of llama holds no such part, as the config of language has it"
    record = f"a.b and 17 more are stored and not loaded ({basis})"
    view = model_view(ZH, {"inferred": [record, "no experts"]}, "", "m")
    assert "17 个张量已存储而未载入（按 language 部分的配置" in dict(view.facts)[ZH.say("ui", "inferred")]
    assert dict(view.facts)[ZH.say("ui", "inferred")].endswith("；没有专家")
