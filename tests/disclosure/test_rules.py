"""Each rule on a repository where it is satisfied, missing, contradicted, not applicable and where it cannot tell."""

from __future__ import annotations

import dataclasses
import json

import pytest

from filiation.disclosure import (
    Basis,
    CodeFinding,
    Parent,
    RuleResult,
    RuleStatus,
    check,
    claims,
    duties,
    evidence,
    fix,
    from_code,
    from_report,
    given,
    patched,
)
from filiation.disclosure.context import make
from filiation.disclosure.rules import RULES
from filiation.errors import ReportError
from filiation.evidence import Status, Wing, plain
from filiation.repository import Commit, Repository
from tests.disclosure.made import HOUSE_LINE, HOUSE_TEXT, card, repository

CONFIG = json.dumps({"model_type": "llama", "hidden_size": 64})
SATISFIED, MISSING = RuleStatus.SATISFIED, RuleStatus.MISSING
CONTRADICTED, CANNOT_TELL, NOT_APPLICABLE = (
    RuleStatus.CONTRADICTED,
    RuleStatus.CANNOT_TELL,
    RuleStatus.NOT_APPLICABLE,
)


def results(made: Repository, rule: str, *parents: Parent) -> list[RuleResult]:
    return [r for r in check(made, parents=parents) if r.id == rule]


def one(made: Repository, rule: str, *parents: Parent) -> RuleResult:
    found = results(made, rule, *parents)
    assert len(found) == 1, found
    return found[0]


def weights(name: str, **more: object) -> Parent:
    return dataclasses.replace(Parent(name, frozenset({Basis.WEIGHTS})), **more)  # type: ignore[arg-type]


HOUSE = weights("builders/house-7b")


def test_every_rule_answers_even_on_nothing() -> None:
    found = check(repository({}))
    assert list(dict.fromkeys(r.id for r in found)) == list(RULES)
    assert all(r.status in {NOT_APPLICABLE, CANNOT_TELL, MISSING} for r in found)


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        (["builders/house-7b"], SATISFIED, "base_model_declared"),
        (["mirror/House_7B"], SATISFIED, "base_model_declared"),
        (["builders/house-7b-instruct"], CANNOT_TELL, "base_model_sibling"),
        (["else/barn-7b"], CONTRADICTED, "base_model_differs"),
    ],
)
def test_d1(said: list[str], status: RuleStatus, reason: str) -> None:
    made = repository({"README.md": card(base_model=said)})
    found = [r for r in results(made, "D1", HOUSE) if r.parent and "house" in r.parent.lower()]
    assert (found[0].status, found[0].reason) == (status, reason)
    assert found[0].place is not None
    assert found[0].place.line == 3


def test_d1_partial_elsewhere_and_missing() -> None:
    adapter = json.dumps({"base_model_name_or_path": "builders/house-7b"})
    assert one(repository({"adapter_config.json": adapter}), "D1").reason == "base_model_elsewhere"
    assert one(repository({"README.md": "hi"}), "D1", HOUSE).reason == "base_model_missing"
    two = repository({"README.md": card(base_model=["else/barn-7b"])})
    parents = [HOUSE, weights("else/barn-7b")]
    assert {r.reason for r in results(two, "D1", *parents)} == {"base_model_declared", "base_model_partial"}


@pytest.mark.parametrize(
    ("relation", "files", "status"),
    [
        ("adapter", {"config.json": CONFIG}, CONTRADICTED),
        ("adapter", {"adapter_config.json": '{"base_model_name_or_path": "builders/house-7b"}'}, SATISFIED),
        (
            "finetune",
            {"adapter_config.json": '{"base_model_name_or_path": "builders/house-7b"}'},
            CONTRADICTED,
        ),
        ("merge", {"config.json": CONFIG}, CONTRADICTED),
        ("finetune", {"config.json": CONFIG}, CANNOT_TELL),
        ("quantized", {"config.json": CONFIG}, CANNOT_TELL),
        ("quantized", {"config.json": '{"quantization_config": {"quant_method": "gptq"}}'}, SATISFIED),
        ("child", {"config.json": CONFIG}, CANNOT_TELL),
    ],
)
def test_d2(relation: str, files: dict[str, str], status: RuleStatus) -> None:
    text = card(base_model="builders/house-7b", base_model_relation=relation)
    assert one(repository({"README.md": text, **files}), "D2").status is status


def test_d2_quantized_with_another_width() -> None:
    source = repository({"config.json": json.dumps({"hidden_size": 128})}, name="house-7b")
    text = card(base_model="builders/house-7b", base_model_relation="quantized")
    found = one(
        repository({"README.md": text, "config.json": CONFIG}), "D2", weights("house-7b", repository=source)
    )
    assert (found.status, found.said()["changed"]) == (CONTRADICTED, "hidden_size")


def test_d3() -> None:
    barn = weights("meta-llama/Llama-2-7b-hf")

    def said(body: str) -> RuleStatus:
        return one(repository({"README.md": body}), "D3", barn).status

    assert said("It is fine-tuned from Llama 2.") is SATISFIED
    assert said("| Llama 2 | 12.3 |\n| ours | 13.1 |") is MISSING
    assert said("It is not based on Llama 2.") is CONTRADICTED
    assert said("Hello.") is MISSING
    assert one(repository({}), "D3", barn).reason == "no_card"


@pytest.mark.parametrize(
    ("config", "files", "status", "reason"),
    [
        ({"auto_map": {"A": "modeling_x.X"}}, {}, CONTRADICTED, "reference_dangling"),
        ({"auto_map": {"A": "modeling_x.X"}}, {"modeling_x.py": "x = 1"}, SATISFIED, "references_lead"),
        ({"auto_map": {"A": "else/barn--modeling_x.X"}}, {}, MISSING, "reference_undeclared"),
        ({"_name_or_path": "else/barn-7b"}, {}, MISSING, "reference_undeclared"),
        ({"_name_or_path": "./out/run3"}, {}, CANNOT_TELL, "reference_local_path"),
        ({"_name_or_path": "publisher/Tuned-7B"}, {}, SATISFIED, "references_lead"),
        ({"_name_or_path": "builders/house-7b"}, {}, SATISFIED, "references_lead"),
        ({}, {}, NOT_APPLICABLE, "no_references"),
    ],
)
def test_d4(config: dict[str, object], files: dict[str, str], status: RuleStatus, reason: str) -> None:
    made = {"README.md": card(base_model="builders/house-7b"), "config.json": json.dumps(config), **files}
    found = one(repository(made), "D4")
    assert (found.status, found.reason) == (status, reason)


@pytest.mark.parametrize(
    ("front", "text", "status", "reason"),
    [
        ({}, None, NOT_APPLICABLE, "own_work_silent"),
        ({}, HOUSE_TEXT, MISSING, "tag_missing"),
        ({"license": "!!python/object/apply:os.system ['x']"}, None, CANNOT_TELL, "licence_unreadable"),
        ({"license": "mit"}, None, NOT_APPLICABLE, "own_work_tag"),
        ({"license": "mit"}, HOUSE_TEXT, CONTRADICTED, "tag_and_text_differ"),
        ({"license": "house-1.0"}, HOUSE_TEXT, SATISFIED, "licence_agrees"),
        ({"license": "other", "license_name": "house-licence"}, HOUSE_TEXT, SATISFIED, "licence_agrees"),
        ({"license": "other"}, HOUSE_TEXT, MISSING, "licence_unnamed"),
        ({"license": "other", "license_name": "shed-licence"}, HOUSE_TEXT, CANNOT_TELL, "licence_unknown"),
        ({"license": "mit OR house-1.0"}, HOUSE_TEXT, SATISFIED, "licence_agrees"),
        ({"license": "mit AND house-1.0"}, HOUSE_TEXT, CONTRADICTED, "tag_and_text_differ"),
        ({"license": "house-1.0"}, "You may do as you like " * 30, CANNOT_TELL, "text_unknown"),
        ({"license": "house-1.0"}, HOUSE_TEXT + "And no use on Sundays or in the garden after dark, ever. " * 3,
         CANNOT_TELL, "text_modified"),
    ],
)  # fmt: skip
def test_l1(house: str, front: dict[str, str], text: str | None, status: RuleStatus, reason: str) -> None:
    made = {"README.md": card(**front), **({"LICENSE": text} if text else {})}
    found = one(repository(made), "L1")
    assert (found.status, found.reason) == (status, reason)


@pytest.mark.parametrize(
    ("front", "status"),
    [
        ({"license": "apache-2.0"}, CONTRADICTED),
        ({"license": "house-1.0"}, SATISFIED),
        ({"license": "house-1.0 AND mit"}, SATISFIED),
        ({"license": "other", "license_name": "shed-licence"}, CANNOT_TELL),
        ({"license": "cc-by-nc-4.0"}, CANNOT_TELL),
        ({}, MISSING),
    ],
)
def test_l2(house: str, front: dict[str, str], status: RuleStatus) -> None:
    assert one(repository({"README.md": card(**front)}), "L2", HOUSE).status is status


def test_an_unknown_parent_licence_is_never_permissive() -> None:
    made = repository({"README.md": card(license="mit"), "config.json": CONFIG})
    for result in check(made, parents=[weights("nobody/nothing-7b")]):
        if result.id in {"L2", "L3", "L4", "L5", "L6", "L7", "L9", "L10"}:
            assert (result.status, result.reason) == (CANNOT_TELL, "terms_unknown")


def test_l3_l5_l6_l9_when_all_is_there(house: str) -> None:
    made = repository(
        {
            "README.md": card("Built with House.\nFine-tuned from house-7b.", license="house-1.0"),
            "Notice.txt": HOUSE_LINE.replace("(c)", "©").replace("House Builders", "2024\nHouse Builders"),
            "LICENSE": HOUSE_TEXT,
            "config.json": CONFIG,
        },
        name="House-Tuned",
    )
    for rule in ("L3", "L4", "L5", "L6", "L9"):
        found = one(made, rule, HOUSE)
        assert found.status is SATISFIED, found
        assert found.clause
        assert found.clause.startswith("house-1.0 ")


def test_l3_a_line_in_the_licence_text_or_the_card_is_no_notice(house: str) -> None:
    text = repository({"LICENSE": f"{HOUSE_TEXT}\n{HOUSE_LINE}"})
    assert one(text, "L3", HOUSE).reason == "notice_missing"
    assert one(repository({"README.md": HOUSE_LINE}), "L3", HOUSE).reason == "notice_elsewhere"


def test_l3_what_stands_in_the_parents_notice() -> None:
    source = repository({"NOTICE": "House Builders 2020\nIncludes bricks by A. Mason.\n"}, name="base")
    parent = weights("x/base", licence="apache-2.0", repository=source)
    kept = repository({"NOTICE": "House Builders\nIncludes bricks\nby A. Mason."})
    assert {r.reason for r in results(kept, "L3", parent)} == {"notice_kept"}
    lost = results(repository({"NOTICE": "Ours."}), "L3", parent)
    assert [r.reason for r in lost] == ["notice_missing"]
    assert "bricks" in lost[0].said()["line"]


def test_l4(house: str) -> None:
    made = {"config.json": CONFIG}
    assert one(repository(made, name="House-Tuned"), "L4", HOUSE).status is SATISFIED
    assert one(repository(made, name="Tuned-House"), "L4", HOUSE).status is MISSING
    both = {**made, "README.md": card(model_name="Garden")}
    assert one(repository(both, name="House-Tuned"), "L4", HOUSE).status is CONTRADICTED
    assert one(repository({"app.py": "x = 1"}), "L4", HOUSE).reason == "no_model_name"
    copy = weights("builders/house-7b", relation="identical")
    assert one(repository(made), "L4", copy).reason == "unchanged_copy"


def test_outputs_reach_only_what_the_licence_says(house: str) -> None:
    outputs = Parent("builders/house-7b", frozenset({Basis.OUTPUTS}))
    made = repository({"README.md": card(license="mit"), "config.json": CONFIG})
    found = {r.id: r for r in check(made, parents=[outputs])}
    assert found["L5"].status is MISSING
    assert (found["L4"].status, found["L4"].reason) == (NOT_APPLICABLE, "outputs_not_reached")
    assert found["L2"].status is CONTRADICTED


def test_l6_a_link_is_no_copy(house: str) -> None:
    linked = repository({"LICENSE": "This model is under the House Model Licence."})
    assert one(linked, "L6", HOUSE).reason == "copy_only_linked"
    assert one(repository({}), "L6", HOUSE).reason == "copy_missing"


HEAD = "# Copyright 2023 The House Builders. All rights reserved.\n# Licensed under the Apache License, Version 2.0\n"


def code_parent(level: str = "same_after_renaming") -> Parent:
    source = repository({"modeling_house.py": HEAD + "class House:\n    pass\n"}, name="house")
    return from_code(
        "house", [CodeFinding(level, "modeling_x.py", "modeling_house.py")], "apache-2.0", source
    )


@pytest.mark.parametrize(
    ("head", "kept", "stated"),
    [
        (HEAD, SATISFIED, MISSING),
        ("", MISSING, MISSING),
        (HEAD + "# This file has been modified by the laboratory.\n", SATISFIED, SATISFIED),
        ("# Copyright 2024 Somebody Else\n# Adapted from modeling_house.py\n", MISSING, SATISFIED),
        ('"""Copyright (c) 2023, 2024 the house builders"""\n', SATISFIED, MISSING),
    ],
)
def test_l7_and_l8(head: str, kept: RuleStatus, stated: RuleStatus) -> None:
    made = repository({"modeling_x.py": head + "class X:\n    pass\n"})
    assert one(made, "L8", code_parent()).status is kept
    assert one(made, "L7", code_parent()).status is stated


def test_l8_needs_a_close_match() -> None:
    made = repository({"modeling_x.py": "class X:\n    pass\n"})
    assert one(made, "L8", code_parent("shares_ancestor")).status is NOT_APPLICABLE
    assert one(made, "L7", code_parent("shares_ancestor")).reason == "no_changed_file"


def test_code_alone_does_not_invoke_the_models_licence(house: str) -> None:
    parent = Parent("builders/house-7b", frozenset({Basis.CODE}), code_licence="apache-2.0")
    made = repository({"README.md": card(license="apache-2.0"), "config.json": CONFIG})
    found = check(made, parents=[parent])
    for rule in ("L3", "L4", "L5", "L9"):
        assert {r.reason for r in found if r.id == rule and r.licence == house} == {"architecture_only"}
    assert {r.status for r in found if r.id == "L2"} == {SATISFIED}
    both = dataclasses.replace(parent, basis=parent.basis | {Basis.WEIGHTS})
    assert one(made, "L4", both).status is MISSING


def test_l10_asks_in_both_languages(house: str) -> None:
    found = one(repository({}), "L10", HOUSE)
    assert found.status is CANNOT_TELL
    assert (found.said("en")["asks"], found.said("zh-CN")["asks"]) == ("Is it below?", "是否低于？")


@pytest.mark.parametrize(
    ("dataset", "licence", "expected"),
    [
        ("tatsu-lab/alpaca", "mit", {CONTRADICTED, CANNOT_TELL}),
        ("tatsu-lab/alpaca", "cc-by-nc-4.0", {CANNOT_TELL}),
        ("OpenAssistant/oasst1", "mit", {SATISFIED}),
        ("Magpie-Align/Magpie-Pro-300K-Filtered", "mit", {SATISFIED, CONTRADICTED}),
        ("nobody/knows", "mit", {CANNOT_TELL}),
    ],
)
def test_l11(dataset: str, licence: str, expected: set[RuleStatus]) -> None:
    made = repository({"README.md": card(license=licence, datasets=[dataset])})
    assert {r.status for r in results(made, "L11")} == expected


def test_outputs_of_a_known_dataset_invoke_the_makers_licence() -> None:
    """Llama 3.1 asks for a name even where only outputs were used; Llama 3 asks that of weights only."""
    text = card(license="mit", datasets=["Magpie-Align/Magpie-Llama-3.1-Pro-300K"])
    found = one(repository({"README.md": text, "config.json": CONFIG}), "L4")
    assert (found.status, found.clause) == (MISSING, "llama3.1 1.b.i")
    text = card(license="mit", datasets=["Magpie-Align/Magpie-Pro-300K-Filtered"])
    assert one(repository({"README.md": text, "config.json": CONFIG}), "L4").reason == "outputs_not_reached"


def commit(number: int, day: str, *paths: str) -> Commit:
    return Commit(f"{number:040x}", f"{day}T10:00:00+00:00", f"{day}T10:00:00+00:00", "change", paths)


def test_t1(house: str) -> None:
    first, second = commit(1, "2024-01-01", "LICENSE"), commit(2, "2024-05-01", "LICENSE")
    assert one(repository({"LICENSE": HOUSE_TEXT}), "T1").reason == "no_history"
    assert one(repository({"LICENSE": HOUSE_TEXT}, commits=[first]), "T1").status is SATISFIED
    late = repository({"LICENSE": HOUSE_TEXT}, commits=[second, commit(0, "2023-12-01", "a")])
    assert one(late, "T1").reason == "licence_came_later"
    blind = repository({"LICENSE": HOUSE_TEXT}, commits=[second, first])
    assert one(blind, "T1").reason == "licence_touched"
    for earlier, status in ((HOUSE_TEXT, SATISFIED), ("Nothing.", CANNOT_TELL)):
        history = {(first.id, "LICENSE"): earlier, (second.id, "LICENSE"): HOUSE_TEXT}
        made = repository({"LICENSE": HOUSE_TEXT}, commits=[second, first], history=history)
        assert one(made, "T1").status is status


def test_the_day_of_derivation_decides_and_may_be_missing() -> None:
    made = repository({"README.md": card(base_model="01-ai/Yi-34B"), "config.json": CONFIG})
    undated = results(made, "L6")
    assert [(r.status, r.reason) for r in undated] == [(CANNOT_TELL, "terms_open")]
    dated = repository({"config.json": CONFIG}, commits=[commit(1, "2023-11-10", "config.json")])
    found = results(dated, "L6", weights("01-ai/Yi-34B"))
    assert [r.licence for r in found] == ["yi-2.0"]
    late = results(made, "L5", given("01-ai/Yi-34B", when="2024-07-01"))
    assert "yi-notice-2024" in {r.licence for r in late if r.status is MISSING}


def test_a_report_of_compare_invokes_the_models_licence(house: str) -> None:
    report = {
        "models": {
            "suspect": {},
            "candidates": [{"name": "house-7b", "locator": "builders/house-7b", "revision": "a1"}],
        },
        "verdicts": [{"candidate": 0, "relation": "common_origin", "derivation": [{"kind": "fine_tuned"}]}],
    }
    (parent,) = from_report(report)
    assert (parent.name, parent.basis, parent.relation) == ("builders/house-7b", {Basis.WEIGHTS}, "finetune")
    assert one(repository({"config.json": CONFIG}), "L4", parent).status is MISSING
    report["verdicts"][0]["relation"] = "none_found"  # type: ignore[index]
    assert from_report(report) == ()


@pytest.mark.parametrize("report", [{}, {"models": 3}, {"models": {"candidates": []}, "verdicts": [3]}])
def test_what_is_no_report(report: dict[str, object]) -> None:
    with pytest.raises(ReportError):
        from_report(report)


def test_results_are_evidence_and_duties(house: str) -> None:
    found = check(repository({"README.md": card(license="mit"), "config.json": CONFIG}), parents=[HOUSE])
    records = evidence(found)
    assert len({e.id for e in records}) == len(records) == len(found)
    assert all(e.wing is Wing.DISCLOSURE for e in records)
    assert all((e.reason is None) == (e.status is Status.APPLIED) for e in records)
    assert plain(records) == plain(evidence(found))
    assert {"house-1.0"} == {d.licence for d in duties(found)}


def test_creative_commons_asks_for_credit_and_a_link() -> None:
    parent = weights("CohereForAI/c4ai-command-r-v01")
    bare = repository({"README.md": card(license="cc-by-nc-4.0"), "config.json": CONFIG})
    assert one(bare, "L3", parent).reason == "credit_missing"
    assert one(bare, "L6", parent).reason == "licence_linked"
    other = repository({"README.md": card(license="mit"), "config.json": CONFIG})
    assert one(other, "L6", parent).reason == "licence_not_linked"
    patch = fix(other, parents=[parent])
    left = {r.id for r in check(patched(other, patch), parents=[parent]) if r.owed}
    assert left == {"L1"}, "the text of the licence itself is not at hand"


def test_versions_that_ask_the_same_need_no_day() -> None:
    """Both versions of the Gemma terms ask for one notice; Yi's licences differ, so there the day must be known."""
    made = repository(
        {"README.md": card(license="gemma", base_model="google/gemma-2-9b"), "config.json": CONFIG}
    )
    (notice,) = results(made, "L3")
    assert (notice.status, notice.clause) == (
        MISSING,
        "gemma-2024-04-01 3.1(4) OR gemma-2025-03-24 3.1(4)",
    )  # no version is cited alone where nobody knows which one holds
    assert one(made, "L2").status is SATISFIED
    assert one(repository({"config.json": CONFIG}), "L3", weights("01-ai/Yi-34B")).reason == "terms_open"


@pytest.mark.parametrize(
    ("body", "terms"),
    [
        ("It was fine-tuned on GPT-4 outputs.", {"openai-terms-2023", "openai-terms-2024"}),
        ("It was fine-tuned on Claude 3 outputs.", {"anthropic-terms"}),
        ("It was fine-tuned on Gemini 1.5 outputs.", {"google-gemini-terms"}),
    ],
)
def test_outputs_that_the_prose_names_are_under_their_services_terms(body: str, terms: set[str]) -> None:
    made = make(repository({"README.md": card(body)}), claims(repository({"README.md": card(body)})))
    (parent,) = made.parents
    found = made.model_terms(parent)
    assert {x.id for x in (*found.licences, *found.options)} == terms
    assert parent.by_outputs


def test_l1_with_a_parent_asks_for_the_text(house: str) -> None:
    assert one(repository({"README.md": card()}), "L1", HOUSE).reason == "licence_nowhere"
    assert one(repository({"README.md": card(license="mit")}), "L1", HOUSE).reason == "licence_text_missing"


def test_code_whose_notices_are_kept_owes_no_sentence() -> None:
    attributed = HEAD + "# Copied from transformers.models.house\n"
    made = repository(
        {"README.md": card(license="apache-2.0"), "modeling_x.py": attributed + "class X:\n    pass\n"}
    )
    found = check(made, findings=[code_parent()])
    assert not [r for r in found if r.owed], found
    assert {(r.status, r.reason) for r in found if r.id == "D3"} == {(SATISFIED, "code_notices_kept")}
    assert {r.reason for r in found if r.id == "L6"} == {"copy_named_in_heads"}
    stripped = repository({"README.md": card(license="apache-2.0"), "modeling_x.py": "class X:\n    pass\n"})
    assert one(stripped, "D3", code_parent()).status is MISSING


@pytest.mark.parametrize(
    "body",
    [
        "The model code is modified from modeling_house.py of Hugging Face transformers.",
        "Its code is that of House under other names.",
        "The code is copied from House.",
        "We reuse the modelling code of House.",
        "模型代码基于 House。",
    ],
)
def test_a_sentence_on_code_discloses_code_and_no_parent(body: str) -> None:
    made = repository({"README.md": body, "modeling_x.py": "class X:\n    pass\n"})
    assert not [c for c in claims(made) if c.subject == "prose_parent"]
    assert one(made, "D3", code_parent()).status is SATISFIED


def test_l4_takes_no_folders_name(house: str) -> None:
    made = repository({"config.json": CONFIG, "README.md": "# Introduction\n"}, name="clone")

    def named(made: Repository) -> RuleResult:
        said = [c for c in claims(made) if c.subject != "repository_name"]
        return next(r for r in check(made, said, [HOUSE]) if r.id == "L4")

    assert (named(made).status, named(made).reason) == (CANNOT_TELL, "name_not_known")
    titled = repository({"config.json": CONFIG, "README.md": "# House Tuned 7B\n"}, name="clone")
    assert named(titled).status is SATISFIED


def test_a_tagged_value_hides_no_other_key() -> None:
    made = repository({"README.md": "---\nlicense: !x [mit]\nbase_model: a/b-1\ntags: !!str plain\n---\n"})
    said = {c.subject: c.text for c in claims(made)}
    assert "license" not in said
    assert (said["card_unreadable"], said["base_model"], said["tags"]) == ("license", "a/b-1", "plain")
