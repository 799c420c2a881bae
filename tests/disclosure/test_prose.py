"""A sentence discloses a parent; a table row, a comparison and a negation do not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation.disclosure.prose import statements

DISCLOSING = [
    ("This model is a fine-tuned version of [Llama 3](https://huggingface.co/meta-llama/Meta-Llama-3-8B) on our data.",
     "meta-llama/Meta-Llama-3-8B"),
    ("Our model, fine-tuned from Llama 3.1 8B, outperforms Qwen2.5-7B.", "Llama 3.1 8B"),
    ("It is not based on Llama 2 but on Qwen2.5-7B.", "Qwen2.5-7B"),
    ("Our model outperforms Llama 2, and is fine-tuned from Mistral-7B.", "Mistral-7B"),
    ("Built with Meta Llama 3.", "Llama 3"),
    ("GGUF quantization of google/gemma-2-9b-it", "google/gemma-2-9b-it"),
    ("## Base model: Qwen/Qwen2-7B", "Qwen/Qwen2-7B"),
    ("This model\nis finetuned\nfrom LLaMA-2-7B-hf.", "LLaMA-2-7B-hf"),
    ("It is a Llama-3-based model.", "Llama-3"),
    ("This work is a derivative of Yi-34B by 01.AI, used under the Apache 2.0 License.", "Yi-34B"),
    ("Weights were initialized from openbmb/MiniCPM-V-2.", "openbmb/MiniCPM-V-2"),
    ("本模型基于 Qwen2.5-7B 微调。", "Qwen2.5-7B"),
    ("在 Llama 3 的基础上继续训练。", "Llama 3"),
    ("由 Llama 3 微调而来。", "Llama 3"),
]  # fmt: skip

SILENT = [
    "Based on the benchmark results, Llama 2 is worse than ours.",
    "| Llama 2 | 70B | based on Llama 2 | 3 |",
    "<table><tr><td>based on Llama 2</td></tr></table>",
    "```\nbased on Llama 2\n```",
    "Compared with models based on Llama 3, ours is better.",
    "We train from scratch, unlike models derived from Llama.",
    "It scores higher than Llama 2 70B on MMLU.",
    "The tokenizer is based on Llama 2's tokenizer.",
    "Evaluation follows the method of the Llama 2 paper.",
    "Released under the Llama 3 Community License.",
    "Dr. Yi Zhang built with care.",
    "性能优于 Llama 3。",
    "与 Llama 2 相比，本模型更小。",
    "基于评测结果，Llama 2 较弱。",
]


@pytest.mark.parametrize(("text", "name"), DISCLOSING)
def test_a_sentence_that_discloses(text: str, name: str) -> None:
    assert [s.name for s in statements(text) if s.kind == "parent"] == [name]


@pytest.mark.parametrize("text", SILENT)
def test_a_mention_discloses_nothing(text: str) -> None:
    assert not [s for s in statements(text) if s.kind == "parent"]


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("It is not based on Llama 2 but on Qwen2.5-7B.", "denial", "Llama 2"),
        ("并非基于 Llama 2 训练。", "denial", "Llama 2"),
        ("The models adopt the same architecture as Llama.", "architecture", "Llama"),
        ("采用与 Llama 2 相同的架构。", "architecture", "Llama 2"),
        ("It was fine-tuned on GPT-4 outputs.", "outputs", "GPT-4"),
    ],
)
def test_what_else_is_said(text: str, kind: str, name: str) -> None:
    assert (kind, name) in [(s.kind, s.name) for s in statements(text)]


def test_lines() -> None:
    text = "# Title\n\nFirst line.\nSecond: it is\nbased on Qwen2-7B. And\nmore.\n\n- bullet derived from Yi-6B\n"
    assert [(s.name, s.line) for s in statements(text, 10)] == [("Qwen2-7B", 13), ("Yi-6B", 17)]


def test_a_merge_names_every_parent() -> None:
    text = "A merge of mistralai/Mistral-7B-v0.1, teknium/OpenHermes-2.5-Mistral-7B and Qwen2-7B."
    assert len(statements(text)) == 3


@given(st.text(max_size=500))
@settings(max_examples=100, deadline=None)
def test_any_text_can_be_read(text: str) -> None:
    for said in statements(text):
        assert 1 <= said.line <= text.count("\n") + len(text.splitlines()) + 1


@pytest.mark.parametrize(
    "piece", ["[" * 3000, "llama-" * 3000, "a/" * 3000, "based on " * 3000, "<" * 3000, "-_ 1" * 3000]
)
def test_hostile_prose_ends_soon(piece: str) -> None:
    began = time.process_time()
    statements(piece)
    assert time.process_time() - began < 20
