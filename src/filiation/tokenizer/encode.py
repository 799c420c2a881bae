"""Encodes lines with a tokenizer.json, as a process of its own: JSON on standard input, JSON on standard output."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def encode(tokenizer: str, lines: list[str]) -> list[dict[str, Any]]:
    """Return the ids and character offsets of each line, and its ids with special tokens."""
    made: Any = importlib.import_module("tokenizers").Tokenizer.from_str(tokenizer)
    found: list[dict[str, Any]] = []
    for line in lines:
        plain = made.encode(line, add_special_tokens=False)
        special = made.encode(line, add_special_tokens=True)
        offsets = [list(offset) for offset in plain.offsets]
        found.append({"ids": list(plain.ids), "offsets": offsets, "ids_with_special": list(special.ids)})
    return found


def main() -> None:
    """Answer the request on standard input."""
    request = json.loads(sys.stdin.buffer.read())
    sys.stdout.write(json.dumps(encode(request["tokenizer"], request["lines"])))


if __name__ == "__main__":
    main()
