"""Which comments name a source, which deny one, and which only use the words."""

from __future__ import annotations

import pytest

from filiation.source import headers
from filiation.source.statements import Said, read

SOURCES = [
    "Copied from transformers.models.llama.modeling_llama.LlamaRMSNorm with Llama->Yi",
    "Adapted from Megatron-LM",
    "adapted from fairseq",
    "Based on https://example.org/models/llama.py",
    "This code is based on EleutherAI's GPT-NeoX library and the GPT-NeoX and OPT implementations in this library.",
    "Modified from the original implementation",
    "This file was automatically generated from src/transformers/models/x/modular_x.py.",
    "Ported from lucidrains/x-transformers",
    "Taken from modeling_bart.py",
    "The attention layer is derived from Llama, not from scratch",
    "Not only is this code based on Llama, it keeps its names",
    "改编自 Llama 的代码",
    "本代码基于 https://example.org/x",
]
DENIALS = [
    "The code is not based on Llama",
    "This file is NOT copied from Llama; it was written from scratch.",
    "This implementation isn't derived from Qwen.",
    "No part of this file was taken from MiniCPM",
    "None of the code here has been adapted from https://example.org/repo",
    "written anew rather than copied from Mistral",
    "本文件并非改编自 Llama",
]
NEITHER = [
    "create input_ids based on the attention mask",
    "input_ids based on inputs_embeds if given",
    "compute the length, based on config.max_position_embeddings",
    "the mask is derived from attention_mask",
    "hidden states taken from the last layer",
    "values taken from Table 3 of the paper",
    "tokens generated from the prompt",
    "select experts based on TopK scores",
    "modified from outside by the caller",
    "this is based on the shape of the input",
    "not based on length",
    "position ids are computed based on RoPE scaling",
    "x = 1",
]


@pytest.mark.parametrize("line", SOURCES)
def test_a_statement_names_a_work_a_file_or_an_address(line: str) -> None:
    assert read(line) is Said.SOURCE


@pytest.mark.parametrize("line", DENIALS)
def test_a_negation_is_a_denial(line: str) -> None:
    assert read(line) is Said.DENIED


@pytest.mark.parametrize("line", NEITHER)
def test_words_without_a_work_say_nothing(line: str) -> None:
    assert read(line) is None


def test_a_denial_attributes_nothing() -> None:
    text = "# The code is not based on Llama.\nimport x\n# ids based on the mask\n"
    reference = headers.read("# Copyright 2020 Alpha\n")
    found = headers.compare("m.py", headers.read(text), reference, ("modeling_llama", "llama"), ("r", "l.py"))
    assert found.attributions == ()
    assert found.denied == ((1, "The code is not based on Llama."),)
    assert not found.source_attributed


def test_an_object_on_the_next_line() -> None:
    assert headers.read("# Adapted from\n# https://example.org/a.py\nx = 1\n").attributions[0][0] == 1
    assert headers.read("# ids are based on\n# the mask\nx = 1\n").attributions == ()
    denied = headers.read("# This is not derived from\n# https://example.org/a.py\nx = 1\n")
    assert (denied.attributions, denied.denied[0][0]) == ((), 1)
