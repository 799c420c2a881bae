"""Encoding with the ``tokenizers`` package, in a process of its own with a time limit.

The pattern by which a tokenizer.json cuts text comes from whoever wrote it; one that never ends must not stop a probe.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from filiation.behaviour.encoders import Ids
from filiation.errors import CorruptCheckpointError, MissingExtraError

_CHILD = ("-m", "filiation.behaviour.encoding_child")
SECONDS = 120.0


def is_available() -> bool:
    """Return whether the extra ``tokenizers`` is installed."""
    return importlib.util.find_spec("tokenizers") is not None


@dataclass(frozen=True, eq=False)
class JsonEncoder:
    """A tokenizer.json as the ``tokenizers`` package runs it.

    Attributes:
        document: the file's text.
        file: its name, for errors.
        seconds: how long one call may take.
    """

    document: str
    file: str
    seconds: float = SECONDS

    def encode(self, texts: Sequence[str]) -> tuple[Ids, ...]:
        """Return the ids of each text.

        Raises:
            MissingExtraError: the extra ``tokenizers`` is not installed.
            CorruptCheckpointError: the file cannot be loaded, or did not come to an end in time.
        """
        if not is_available():
            raise MissingExtraError("Encoding with this tokenizer.json", "tokenizers", "tokenizers")
        request = json.dumps({"tokenizer": self.document, "texts": list(texts)}).encode()
        try:
            done = subprocess.run(
                [sys.executable, *_CHILD],
                input=request,
                capture_output=True,
                timeout=self.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._failed(f"It took longer than {self.seconds:g} s.") from None
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["It ended without a word."]
            raise self._failed(said[-1][:300])
        return tuple(tuple(ids) for ids in cast("list[list[int]]", json.loads(done.stdout)))

    def _failed(self, reason: str) -> CorruptCheckpointError:
        return CorruptCheckpointError(
            "A tokenizer could not encode the probes.",
            file=self.file,
            reason=reason,
            next_step="Check the file against its publisher's, or leave this candidate out.",
        )
