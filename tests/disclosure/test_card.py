"""Front matter is read with bounds and lines, expressions and edits are exact."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation.disclosure import cardyaml, expression
from filiation.disclosure.cardyaml import Value
from filiation.disclosure.frontedit import set_key

KEYS = frozenset({"license", "base_model", "datasets"})
BOMB = "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\nbase_model: [*c,*c]\n"


def test_values_and_lines() -> None:
    front = cardyaml.read("---\nlicense: mit\nbase_model:\n  - a/b\n  - c/d\ntags: [x]\n---\nprose\n", KEYS)
    assert front.values == {
        "license": [Value("mit", 2, "license")],
        "base_model": [Value("a/b", 4, "base_model"), Value("c/d", 5, "base_model")],
    }
    assert front.body_line == 8
    assert front.problem is None


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        (BOMB, "yaml_alias"),
        ("license: mit\nx: {{{", "yaml_broken"),
        ("license: mit\nx: " + "[" * 200 + "]" * 200, "yaml_too_deep"),
        ("license: mit\nx: *nothing\n", "yaml_alias"),
        ("license: mit\nx: !!python/object/apply:os.system ['true']\n", None),
        ("license: mit\n\tx: y\n", "yaml_broken"),
    ],
)
def test_what_is_hostile_ends_the_reading(block: str, problem: str | None) -> None:
    front = cardyaml.read(f"---\n{block}\n---\nprose", KEYS)
    assert front.problem == problem
    if block.startswith("license: mit\nx"):
        assert front.values["license"][0].text == "mit"


def test_a_long_card_is_read_in_parts() -> None:
    filler = "".join(f"- name: task {n}\n  value: {n}\n" for n in range(8000))
    front = cardyaml.read(f"---\nmodel-index:\n{filler}license: mit\nbase_model: a/b\n---\n", KEYS)
    assert [v.text for v in front.values["license"]] == ["mit"]
    assert front.values["base_model"][0].line == 16004


def test_a_front_matter_that_never_closes() -> None:
    assert cardyaml.read("---\nlicense: mit\n", KEYS).problem == "front_matter_not_closed"
    assert cardyaml.read("no front matter", KEYS) == cardyaml.Front()
    assert cardyaml.read("", KEYS) == cardyaml.Front()


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_without_an_error(text: str) -> None:
    cardyaml.read(f"---\n{text}\n---\n", KEYS)
    cardyaml.read_plain(text, KEYS)


names = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x4FFF, exclude_categories=("Cs", "Cc")), min_size=1
)


@given(
    st.lists(names, min_size=1, max_size=4),
    st.sampled_from(["", "---\nlicense: mit\nbase_model: x\n---\nhi\n"]),
)
@settings(max_examples=100, deadline=None)
def test_what_is_set_is_read(values: list[str], card: str) -> None:
    edited = set_key(card, "base_model", values)
    loaded = yaml.safe_load(edited.split("---\n")[1])
    assert loaded["base_model"] == (values if len(values) > 1 else values[0])
    if card:
        assert loaded["license"] == "mit"
        assert edited.endswith("---\nhi\n")


@pytest.mark.parametrize("word", ["no", "1.0", "true", "on", "3", "a: b", "- x", "#x", "null", "1e3", "0x1"])
def test_words_that_yaml_reads_otherwise_are_quoted(word: str) -> None:
    assert yaml.safe_load(set_key("", "base_model", [word]).split("---\n")[1])["base_model"] == word


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        ("MIT", (("MIT",),)),
        ("Apache-2.0 AND MIT", (("Apache-2.0", "MIT"),)),
        ("Apache-2.0 or MIT", (("Apache-2.0",), ("MIT",))),
        ("A AND (B OR C)", (("A", "B"), ("A", "C"))),
        ("A AND B OR C", (("A", "B"), ("C",))),
        ("GPL-2.0 WITH Classpath-exception-2.0", (("GPL-2.0",),)),
    ],
)
def test_expressions(text: str, ways: tuple[tuple[str, ...], ...]) -> None:
    read = expression.parse(text)
    assert read is not None
    assert read.alternatives == ways


@pytest.mark.parametrize(
    "text", ["", "AND", "A AND", "A (B", "(A", "A)", "A B", "A WITH", "(" * 50 + "A" + ")" * 50]
)
def test_what_is_no_expression(text: str) -> None:
    assert expression.parse(text) is None


def test_an_expression_cannot_explode() -> None:
    assert expression.parse(" AND ".join(["(A OR B)"] * 40)) is None


@given(st.text("AB()andorwith ", max_size=60))
def test_any_expression_ends(text: str) -> None:
    expression.parse(text)
