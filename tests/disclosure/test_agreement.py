"""What a repository says of one thing in several places: licences in tag, name, prose and metadata; parents."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation.disclosure import RuleResult, RuleStatus, check, claims, fix
from filiation.disclosure.licenceprose import licence_statements
from filiation.disclosure.own import lookup
from filiation.disclosure.spelled import meant
from filiation.repository import Repository
from tests.disclosure.made import HOUSE_TEXT, card, repository

CONTRADICTED, CANNOT_TELL = RuleStatus.CONTRADICTED, RuleStatus.CANNOT_TELL

SAID = [
    ("This model is released under the Apache 2.0 licence.", "Apache 2.0 licence", ["apache-2.0"]),
    ("Licensed under Apache 2.0.", "Apache 2.0", ["apache-2.0"]),
    ("Licensed under the [Apache License, Version 2.0](https://x.example/l).", "Apache License, Version 2.0",
     ["apache-2.0"]),
    ("**License**: MIT", "MIT", ["mit"]),
    ("## License\n\nApache 2.0 License", "Apache 2.0 License", ["apache-2.0"]),
    ("Available under the terms of the GNU General Public License v3.", "GNU General Public License v3", ["gpl-3.0"]),
    ("Released under the GPL.", "GPL", ["gpl-2.0", "gpl-3.0"]),
    ("made available under the BSD license.", "BSD license", ["bsd-2-clause", "bsd-3-clause"]),
    ("use is subject to the Gemma Terms of Use", "Gemma Terms of Use", ["gemma-2024-04-01", "gemma-2025-03-24"]),
    ("Governed by the Llama 3 Community License.", "Llama 3 Community License", ["llama3"]),
    ("All weights are released under the\nMIT license (see [`../LICENSE.md`](../LICENSE.md)).", "MIT license", ["mit"]),
    ("The code and the published model weights are released under the [MIT license](LICENSE).", "MIT license", ["mit"]),
    ("Our model is licensed under the **OpenMDW License Agreement, version 1.1**,\nthe same license as the base model.",
     "OpenMDW License Agreement, version 1.1", ["openmdw-1.1"]),
    ("The model is licensed under the BigCode OpenRAIL-M v1 license agreement.",
     "BigCode OpenRAIL-M v1 license agreement", ["bigcode-openrail-m-1.0"]),
    ("It is licensed under the 2-Clause BSD License - see the [LICENSE](LICENSE) file for details.",
     "2-Clause BSD License", ["bsd-2-clause"]),
    ("- **License:** apache-2.0", "apache-2.0", ["apache-2.0"]),
    ("licensed under CC-BY-NC-SA-4.0", "CC-BY-NC-SA-4.0", ["cc-by-nc-sa-4.0"]),
    ("本模型采用 Apache 2.0 许可证发布。", "Apache 2.0", ["apache-2.0"]),
]  # fmt: skip
UNSAID = [
    "Meta Llama 3 is licensed under the Meta Llama 3 Community License, Copyright (c) Meta.",
    "The dataset is released under CC BY-NC 4.0.",
    "The base model is licensed under the MIT License.",
    "Released under the name Llama 3.",
    "It is available with Llama 3.",
    "It is not licensed under MIT.",
    "If your model is licensed under a permissive license (MIT, Apache-2.0), it can be shared.",
    "We use the VAE released by Stability AI under the MIT License.",
    "DINOv2 code and model weights are released under the Apache License 2.0.",
    "Whisper's code and model weights are released under the MIT License.",
    "The original model is licensed under the **Apache-2.0** license.",
    "It is available with Apache Spark, and subject to change.",
    "The model is released under the [LICENSE](LICENSE) terms.",
    "| released under | MIT | yes |",
]


@pytest.mark.parametrize(("text", "written", "ids"), SAID)
def test_a_sentence_names_the_licence(text: str, written: str, ids: list[str]) -> None:
    (found,) = licence_statements(text, own=("Zeta",))
    assert (found.named.written, [x.id for x in found.named.licences], found.code) == (written, ids, False)


@pytest.mark.parametrize("text", UNSAID)
def test_a_sentence_that_names_no_licence_of_this_model(text: str) -> None:
    assert licence_statements(text, own=("Zeta",)) == ()


def test_what_is_said_of_code_alone_is_kept_apart() -> None:
    text = "The code is licensed under the MIT License. Our weights are released under the Qwen License Agreement."
    assert [(x.named.licences[0].id, x.code) for x in licence_statements(text)] == [
        ("mit", True),
        ("qwen-2024", False),
    ]


def test_every_licence_of_the_registry_is_known_by_its_title() -> None:
    from filiation.disclosure import licences

    for licence in licences().values():
        named = meant(licence.name)
        assert named is not None
        assert licence in named.licences


@pytest.mark.parametrize(
    "name", ["gpl", "lgpl", "bsd", "openrail", "Llama License", "yi-license", "gemma", "CC-BY"]
)
def test_a_name_without_a_version_means_no_one_version(name: str) -> None:
    assert len(lookup(name)) > 1


def l1(made: Repository) -> list[RuleResult]:
    return [r for r in check(made) if r.id == "L1"]


def test_tag_and_prose_differ() -> None:
    (found,) = l1(repository({"README.md": card("Licensed under Apache 2.0.", license="mit")}))
    assert (found.status, found.reason) == (CONTRADICTED, "tag_and_prose_differ")
    assert found.said() | {"where": "README.md:2"} == found.said()
    assert found.place is not None
    assert found.place.line == 4


@pytest.mark.parametrize(
    "text", ["Licensed under MIT.", "The code is licensed under Apache 2.0.", "Licensed under X11."]
)
def test_tag_and_prose_agree_or_speak_of_two_things(text: str) -> None:
    assert [r.reason for r in l1(repository({"README.md": card(text, license="mit")}))] == ["own_work_tag"]


def test_a_version_left_open_contradicts_nothing() -> None:
    made = repository({"README.md": card("Released under the GPL.", license="gpl-3.0")})
    assert [r.reason for r in l1(made)] == ["own_work_tag"]


def test_tag_and_name_differ() -> None:
    (found,) = l1(repository({"README.md": card(license="mit", license_name="llama3")}))
    assert (found.status, found.reason) == (CONTRADICTED, "tag_and_name_differ")


def test_prose_alone_is_a_claim() -> None:
    made = repository({"README.md": card("Released under the Apache 2.0 licence.")})
    assert [c.text for c in claims(made) if c.subject == "prose_license"] == ["Apache 2.0 licence"]
    assert [(r.reason, r.said()["written"]) for r in l1(made)] == [("own_work_tag", "Apache 2.0 licence")]


def test_prose_and_text_differ(house: str) -> None:
    made = repository({"README.md": card("Licensed under MIT."), "LICENSE": HOUSE_TEXT})
    found = l1(made)
    assert [r.reason for r in found] == ["tag_missing", "prose_and_text_differ"]
    assert found[1].values["shown"] == house


def test_two_sentences_differ() -> None:
    made = repository({"README.md": card("Licensed under MIT.\n\nReleased under Apache 2.0.")})
    assert [(r.status, r.reason) for r in l1(made)] == [(CANNOT_TELL, "prose_says_two")]


@pytest.mark.parametrize(
    ("key", "rule"), [("license", "L1"), ("base_model", "D1"), ("base_model_relation", "D2")]
)
def test_a_key_given_twice(key: str, rule: str) -> None:
    text = f"---\n{key}: a/b-1\nbase_model_x: 1\n{key}: c/d-2\n---\n"
    found = [r for r in check(repository({"README.md": text})) if r.id == rule and r.reason == "key_twice"]
    assert [(r.status, r.place.line if r.place else None) for r in found] == [(CONTRADICTED, 4)]
    same = text.replace("c/d-2", "a/b-1")
    assert not [r for r in check(repository({"README.md": same})) if r.reason == "key_twice"]


def test_the_base_model_and_a_sentence_differ() -> None:
    made = repository({"README.md": card("It is fine-tuned from Llama 3.", base_model="Qwen/Qwen2-7B")})
    (first,) = [r for r in check(made) if r.id == "D1" and r.owed]
    assert (first.status, first.reason, first.values["where"]) == (
        CONTRADICTED,
        "base_model_disagrees",
        "README.md:4",
    )
    patch = fix(made)
    assert "base_model:" not in patch.diff.replace(
        " base_model: Qwen/Qwen2-7B", ""
    )  # which is meant nobody knows
    assert [x.reason for x in patch.left if x.rule == "D1"] == ["disclosure.reason.base_model_disagrees"]


def test_one_sentence_says_so_and_another_denies_it() -> None:
    made = repository({"README.md": card("It is based on Qwen2-7B.\n\nIt is not derived from Qwen2-7B.")})
    (found,) = [r for r in check(made) if r.id == "D3"]
    assert (found.status, found.reason, found.values["where"]) == (
        CONTRADICTED,
        "prose_disagrees",
        "README.md:5",
    )


def test_a_declared_parent_is_denied() -> None:
    made = repository({"README.md": card("It is not derived from Qwen2-7B.", base_model="Qwen/Qwen2-7B")})
    (found,) = [r for r in check(made) if r.id == "D3"]
    assert (found.status, found.reason) == (CONTRADICTED, "prose_denies_declared")


@given(st.text(alphabet="licensedunrthMITGPLv3 .,\n#*[]()：许可证采用-", max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_text_is_read(text: str) -> None:
    for said in licence_statements(text, own=("Zeta",)):
        assert said.named.licences
        assert said.line >= 1
