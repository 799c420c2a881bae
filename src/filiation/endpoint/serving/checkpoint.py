"""The child process that serves a checkpoint with torch: ``python -m filiation.endpoint.serving.checkpoint SETTINGS``.

Weights are read from safetensors alone, and no code of the model's folder is run.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from filiation.endpoint.serving.generate import Floats
from filiation.endpoint.serving.http import run


class TorchModel:
    """A causal language model of transformers, in float32 on the CPU; see :class:`~.generate.Model`."""

    def __init__(self, path: str, name: str, threads: int) -> None:
        # By name: both packages are optional, and absent where the types are checked.
        self._torch: Any = importlib.import_module("torch")
        transformers: Any = importlib.import_module("transformers")
        self._torch.set_num_threads(threads)
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path, **local)
        self._model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            path, dtype=self._torch.float32, use_safetensors=True, **local
        ).eval()
        self.name = name
        ends = self._model.generation_config.eos_token_id
        self.ends = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
        self._seen: list[int] = []
        self._past: Any = None

    def encode(self, text: str) -> list[int]:
        """Return the ids of a raw prompt, with what the tokenizer puts before it."""
        return [int(i) for i in self._tokenizer(text)["input_ids"]]

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Return the ids of a conversation; without a template, speakers are written out."""
        if not self._tokenizer.chat_template:
            talk = "".join(f"{m['role']}: {m['content']}\n" for m in messages)
            return self.encode(f"{talk}assistant:")
        text = self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return [int(i) for i in self._tokenizer(text, add_special_tokens=False)["input_ids"]]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids."""
        return str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def logits(self, ids: Sequence[int], *, every: bool = False) -> Floats:
        """Return the logits after ``ids``, or after each of them.

        A prompt that goes on by one token from the call before is continued; every other is computed from its start, so
        that equal requests get equal numbers whatever came between.
        """
        follows = not every and self._past is not None and list(ids[:-1]) == self._seen
        new = list(ids[-1:]) if follows else list(ids)
        with self._torch.inference_mode():
            found = self._model(
                self._torch.tensor([new]),
                past_key_values=self._past if follows else None,
                use_cache=not every,
            )
        self._seen, self._past = ([], None) if every else (list(ids), found.past_key_values)
        rows = found.logits[0] if every else found.logits[0, -1:]
        return np.asarray(rows.double().numpy(), dtype=np.float64)


def main(settings: dict[str, Any]) -> None:
    """Serve until standard input ends."""
    run(TorchModel(settings["path"], settings["name"], settings["threads"]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
