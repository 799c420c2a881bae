"""Choosing controls: nearest first, relatives left out, what none of them shares said."""

from __future__ import annotations

import pytest

from filiation.behaviour.controls import Standing, find, known, standing, suggest, wanting


def test_the_table_is_sound() -> None:
    names = [m.name for m in known()]
    assert len(set(names)) == len(names) > 40
    for model in known():
        year, month = model.released.split("-")
        assert 2019 <= int(year) <= 2026
        assert 1 <= int(month) <= 12
        assert model.parameters > 0


def test_models_are_found_by_short_name_in_any_case() -> None:
    assert find("smollm2-135m") == find("HuggingFaceTB/SmolLM2-135M")
    assert find("no-such-model") is None


def test_the_same_tokenizer_comes_first_and_relatives_are_left_out() -> None:
    rows = suggest("HuggingFaceTB/SmolLM2-135M", count=8)
    assert len(rows) == 8
    same = [row.standing.same_tokenizer for row in rows]
    assert same == sorted(same, reverse=True)
    assert rows[0].standing == Standing(True, True)
    assert "HuggingFaceTB/SmolLM2-135M-Instruct" not in [row.model.name for row in rows]
    assert suggest("a model nobody knows") == ()


def test_what_is_not_known_is_not_claimed() -> None:
    assert standing(find("gpt2"), None) == Standing(None, None)
    assert standing(find("gpt2"), find("opt-125m")) == Standing(True, False)


def test_what_no_control_shares_is_listed() -> None:
    assert wanting({}, ("control-1",)) == ("no_control_tokenizer", "no_control_generation")
    assert wanting({"control-1": Standing(True, None)}, ("control-1",)) == ("no_control_generation",)
    shared = {"control-1": Standing(True, False), "control-2": Standing(False, True)}
    assert wanting(shared, ("control-1", "control-2")) == ()


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("qwen2-7b-instruct-q8_0.gguf", "Qwen/Qwen2-7B"),
        ("models/SmolLM2-360M.F16.gguf", "HuggingFaceTB/SmolLM2-360M"),
        ("SmolLM2-360M-extra", None),
    ],
)
def test_a_model_is_found_by_its_files_name(name: str, listed: str | None) -> None:
    found = find(name)
    assert (None if found is None else found.name) == listed
