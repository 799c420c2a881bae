"""Which names mean the same model, and which meet a naming rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.disclosure import names


@pytest.mark.parametrize(
    ("name", "part", "rule", "fits"),
    [
        ("someone/Llama-3-8B-Tuned", "Llama 3", "starts_with", True),
        ("llama3-v", "Llama 3", "starts_with", True),
        ("Llama-3.1-8B", "Llama 3", "starts_with", True),
        ("Llama-30B", "Llama 3", "starts_with", False),
        ("Tuned-Llama-3", "Llama 3", "starts_with", False),
        ("llama/Tuned", "Llama", "starts_with", False),
        ("LlamaGuard", "Llama", "starts_with", True),
        ("LLAMA_tuned", "Llama", "starts_with", True),
        ("Our-MiniCPM-2B", "MiniCPM", "includes", True),
        ("Our-Mini-2B", "MiniCPM", "includes", False),
        ("MiniCPM/Our-2B", "MiniCPM", "includes", False),
        ("GLM-4-tuned", "glm-4", "starts_with", True),
        ("glm-45-tuned", "glm-4", "starts_with", False),
        ("EXAONE-Deep", "EXAONE", "starts_with", True),
        ("house/model.gguf", "House", "starts_with", False),
    ],
)
def test_naming_rules(name: str, part: str, rule: str, fits: bool) -> None:
    assert names.meets(name, part, rule) is fits


PARTS = st.sampled_from(["Llama 3", "Llama", "MiniCPM", "glm-4", "EXAONE"])


@given(
    st.text("abcLlamaMiniCPM340-_. ", min_size=1, max_size=30),
    PARTS,
    st.sampled_from(["starts_with", "includes"]),
)
def test_what_is_suggested_fits_and_keeps_the_name(name: str, part: str, rule: str) -> None:
    made = names.suggestion(name, part, rule)
    assert names.meets(made, part, rule)
    assert made.endswith(names.own(name))


def test_an_unknown_rule_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="naming rule"):
        names.meets("x", "y", "ends_with")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("meta-llama/Llama-3.1-8B", "unsloth/Meta-Llama-3.1-8B", True),
        ("Qwen/Qwen2.5-7B", "qwen/qwen2.5_7b", True),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.2-8B", False),
        ("a/b-7b", "a/b-13b", False),
        ("/models/Qwen2-7B/", "Qwen/Qwen2-7B", True),
    ],
)
def test_the_same_model(one: str, other: str, same: bool) -> None:
    assert names.same(one, other) is same
    assert names.same(other, one) is same


@pytest.mark.parametrize(
    ("said", "model", "means"),
    [
        ("Llama", "meta-llama/Llama-2-7b-hf", True),
        ("Llama 2", "meta-llama/Llama-2-7b-hf", True),
        ("Llama 3", "meta-llama/Llama-2-7b-hf", False),
        ("Llama 3", "meta-llama/Llama-3.1-8B", True),
        ("Llama 3.1", "meta-llama/Meta-Llama-3-8B", False),
        ("Llama 3.1 8B Instruct", "meta-llama/Llama-3.1-8B", False),
        ("", "x", False),
    ],
)
def test_what_a_text_means(said: str, model: str, means: bool) -> None:
    assert names.means(said, model) is means
