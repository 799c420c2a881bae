"""A model of numpy behind the serving code; as a script, the child process that serves it."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np

from filiation.endpoint.serving.generate import Floats
from filiation.endpoint.serving.http import run
from tests.endpoint.laws import drawn, words


class NumpyModel:
    """Logits drawn from the ids before them; ids are places in a vocabulary of 300 syllables."""

    name = "numbers"
    ends = frozenset({299})

    def __init__(self) -> None:
        self.words = words(300)

    def encode(self, text: str) -> list[int]:
        return [b % 250 for b in text.encode()]

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        return [1, *self.encode("".join(m["role"] + m["content"] for m in messages)), 2]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.words[i] for i in ids)

    def logits(self, ids: Sequence[int], *, every: bool = False) -> Floats:
        rows = [
            drawn("numbers", *ids[:k]).standard_normal(300)
            for k in range(1 if every else len(ids), len(ids) + 1)
        ]
        return np.array(rows)


if __name__ == "__main__":
    if sys.argv[1:] == ["fails"]:
        sys.exit("no such tensor: lm_head")
    if sys.argv[1:] == ["hangs"]:
        time.sleep(600)
    run(NumpyModel())
