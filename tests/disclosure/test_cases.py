"""The public cases, rebuilt from their facts in our own words: what the audit says of each.

Facts are those of the project's research notes: dates of commits, which duties stood in which licence when, what the
heads of files held. The cards are short reconstructions, not copies.
"""

from __future__ import annotations

import json

import pytest

from filiation.disclosure import Basis, CodeFinding, Parent, RuleResult, RuleStatus, check, from_code
from filiation.repository import Commit, Repository
from tests.disclosure.made import card, repository

HF_HEAD = """# coding=utf-8
# Copyright 2022 EleutherAI and the HuggingFace Inc. team. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
"""
QWEN_HEAD = """# coding=utf-8
# Copyright 2024 The Qwen team, Alibaba Group and the HuggingFace Inc. team. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
"""


def by_rule(found: tuple[RuleResult, ...], rule: str) -> list[tuple[RuleStatus, str]]:
    return [(r.status, r.reason) for r in found if r.id == rule]


# Yi ---------------------------------------------------------------------------------------------------------------

YI_LAUNCH = """# Yi

Large language models trained from scratch.

| Model | MMLU | CMMLU |
| --- | --- | --- |
| LLaMA2-34B | 62.6 | - |
| LLaMA2-70B | 68.9 | 53.3 |
| Yi-34B | 76.3 | 83.7 |

Our evaluation follows the method of the Llama 2 paper.
"""
YI_LATER = (
    YI_LAUNCH
    + """
## Is Yi related to Llama?

The Yi models adopt the same model architecture as Llama, but they are NOT derivatives of Llama.
"""
)
YI_CODE = "import torch\n\nclass YiDecoderLayer(torch.nn.Module):\n    ln1 = ln2 = None\n"


def yi(text: str) -> tuple[Repository, Parent]:
    made = repository(
        {
            "README.md": card(text, license="other", license_name="yi-license"),
            "config.json": json.dumps({"model_type": "Yi"}),
            "modeling_yi.py": YI_CODE,
        },
        name="Yi-34B",
    )
    source = repository(
        {"modeling_llama.py": HF_HEAD + "class LlamaDecoderLayer: ...\n"}, name="transformers"
    )
    finding = CodeFinding("same_after_renaming", "modeling_yi.py", "modeling_llama.py")
    parent = from_code("meta-llama/Llama-2-7b", [finding], "apache-2.0", source)
    return made, parent


def test_yi_on_the_day_of_its_release() -> None:
    """Only table rows and a reference to a method name Llama: that discloses nothing. The head is gone."""
    made, parent = yi(YI_LAUNCH)
    found = check(made, findings=[parent])
    assert by_rule(found, "D3") == [(RuleStatus.MISSING, "prose_only_mentions")]
    assert by_rule(found, "L8") == [(RuleStatus.MISSING, "holders_removed")]
    assert by_rule(found, "L7") == [(RuleStatus.MISSING, "change_not_stated")]


def test_yi_after_the_section_of_2023_12_15() -> None:
    made, parent = yi(YI_LATER)
    assert by_rule(check(made, findings=[parent]), "D3") == [(RuleStatus.SATISFIED, "prose_says_so")]


@pytest.mark.parametrize("text", [YI_LAUNCH, YI_LATER])
def test_the_llama_licence_does_not_attach_to_a_design(text: str) -> None:
    """No weights of Llama are there: its name, notice and display duties do not reach the model."""
    made, parent = yi(text)
    found = check(made, findings=[parent])
    assert {r.reason for r in found if r.licence == "llama2"} == {"architecture_only"}
    assert (RuleStatus.NOT_APPLICABLE, "architecture_only") in by_rule(found, "L3")
    assert all(s is RuleStatus.NOT_APPLICABLE for rule in ("L4", "L5", "L9") for s, _ in by_rule(found, rule))
    assert not [r for r in found if r.owed and r.licence and r.licence.startswith("llama")]


def test_yi_replayed_from_its_history() -> None:
    """The verdict on disclosure changes with the commit of 2023-12-15."""
    states = {
        "2023-11-04": YI_LAUNCH,
        "2023-11-23": YI_LAUNCH,
        "2023-12-15": YI_LATER,
        "2024-05-30": YI_LATER,
    }
    verdicts = {}
    for day, text in states.items():
        made, parent = yi(text)
        verdicts[day] = by_rule(check(made, findings=[parent]), "D3")[0][0]
    assert list(verdicts.values()) == [RuleStatus.MISSING] * 2 + [RuleStatus.SATISFIED] * 2


# Pangu ------------------------------------------------------------------------------------------------------------


def test_pangu_keeps_the_notices_and_states_no_change() -> None:
    head = QWEN_HEAD.replace(
        "# coding=utf-8\n",
        "# coding=utf-8\n# Copyright (c) 2025 Huawei Technologies Co., Ltd. All rights reserved.\n",
    )
    code = head + "import torch\n\n# Modified from transformers.models.mistral\nclass PanguProMoEMLP: ...\n"
    made = repository(
        {
            "README.md": card("# Pangu Pro MoE", license="other", license_name="openpangu"),
            "modeling_pangu_moe.py": code,
        },
        name="openPangu-Pro-MoE-72B",
    )
    source = repository(
        {"modeling_qwen2_moe.py": QWEN_HEAD + "class Qwen2MoeMLP: ...\n"}, name="transformers"
    )
    finding = CodeFinding(
        "same_after_renaming", "modeling_pangu_moe.py", "modeling_qwen2_moe.py", "apache-2.0"
    )
    found = check(made, findings=[from_code("Qwen/Qwen1.5-MoE-A2.7B", [finding], repository=source)])
    assert by_rule(found, "L8") == [(RuleStatus.SATISFIED, "holders_kept")]
    assert [x for x in by_rule(found, "L7") if x[0] is not RuleStatus.NOT_APPLICABLE] == [
        (RuleStatus.MISSING, "change_not_stated")
    ]
    (stated,) = [r for r in found if r.id == "L7" and r.owed]
    assert stated.clause == "apache-2.0 4(b)"
    assert by_rule(found, "L4")[0][0] is RuleStatus.NOT_APPLICABLE


# Llama3-V ---------------------------------------------------------------------------------------------------------

LLAMA3V = """# Llama 3-V

Built on top of Llama 3 8B, with a SigLIP vision encoder.
"""


def llama3v(day: str) -> Repository:
    commit = Commit("1" * 40, f"{day}T17:30:00-07:00", f"{day}T17:30:00-07:00", "upload", ("README.md",))
    config = {"auto_map": {"AutoModel": "modeling_minicpmv.MiniCPMV"}}
    files = {"README.md": LLAMA3V, "config.json": json.dumps(config, indent=2)}
    return repository(files, name="llama3v", commits=[commit])


MINICPM = Parent("openbmb/MiniCPM-Llama3-V-2_5", frozenset({Basis.WEIGHTS}))


def test_the_naming_clause_of_minicpm_came_after_llama3v() -> None:
    found = [r for r in check(llama3v("2024-05-27"), findings=[MINICPM]) if r.parent == MINICPM.name]
    (name,) = [r for r in found if r.id == "L4"]
    assert (name.status, name.reason) == (RuleStatus.NOT_APPLICABLE, "name_rule_came_later")
    assert name.said()["since"] == "2024-06-05"
    assert {r.reason for r in found if r.id == "L5"} == {"not_asked"}
    assert {r.status for r in found if r.id == "D1"} == {RuleStatus.MISSING}
    assert {r.status for r in found if r.id == "D3"} == {RuleStatus.MISSING}


def test_the_naming_clause_holds_from_its_day_on() -> None:
    found = [r for r in check(llama3v("2024-06-10"), findings=[MINICPM]) if r.parent == MINICPM.name]
    (name,) = [r for r in found if r.id == "L4"]
    assert (name.status, name.clause) == (RuleStatus.MISSING, "minicpm-1.0 2, first item")
    after = [
        r
        for r in check(llama3v("2025-07-01"), findings=[MINICPM])
        if r.id == "L4" and r.parent == MINICPM.name
    ]
    assert {r.status for r in after} == {RuleStatus.NOT_APPLICABLE}


def test_llama3v_follows_the_name_of_llama_3_and_leaves_a_dangling_reference() -> None:
    found = check(llama3v("2024-05-27"), findings=[MINICPM])
    (dangling,) = [r for r in found if r.id == "D4"]
    assert (dangling.status, dangling.reason) == (RuleStatus.CONTRADICTED, "reference_dangling")
    assert dangling.place is not None
    assert (dangling.place.file, dangling.place.line) == ("config.json", 3)
    llama = [r for r in found if r.id == "L4" and r.licence == "llama3"]
    assert [r.status for r in llama] == [RuleStatus.SATISFIED]


def test_a_changed_tag_is_told_with_its_days() -> None:
    """MiniCPM: its own licence of 2024-06-05 was replaced by Apache-2.0 on 2025-06-06; nothing is owed for that."""
    days = ("2024-06-05", "2025-06-06")
    texts = [card(license="other", license_name="minicpm-model-license"), card(license="apache-2.0")]
    commits = [
        Commit(str(n) * 40, f"{day}T08:00:00+08:00", f"{day}T08:00:00+08:00", "licence", ("README.md",))
        for n, day in enumerate(days)
    ]
    history = {(commit.id, "README.md"): text for commit, text in zip(commits, texts, strict=True)}
    made = repository({"README.md": texts[-1]}, name="MiniCPM-2B", commits=commits[::-1], history=history)
    (drift,) = [r for r in check(made) if r.id == "T1"]
    assert (drift.status, drift.reason, drift.owed) == (RuleStatus.CANNOT_TELL, "licence_changed", False)
    assert drift.said()["changes"] == "2024-06-05: other minicpm-model-license; 2025-06-06: apache-2.0"
