"""Encodes texts with a tokenizer.json, as a process of its own: JSON on standard input, JSON on standard output."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def encode(tokenizer: str, texts: list[str]) -> list[list[int]]:
    """Return the ids of each text, without special tokens."""
    made: Any = importlib.import_module("tokenizers").Tokenizer.from_str(tokenizer)
    made.no_truncation()  # a file may ask for both, for the model it was made with
    made.no_padding()
    return [list(made.encode(text, add_special_tokens=False).ids) for text in texts]


def main() -> None:
    """Answer the request on standard input."""
    request = json.loads(sys.stdin.buffer.read())
    sys.stdout.write(json.dumps(encode(request["tokenizer"], request["texts"])))


if __name__ == "__main__":
    main()
