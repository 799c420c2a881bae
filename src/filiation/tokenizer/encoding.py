"""Encodings of a probe text by both tokenizers, made in a process of their own with a time limit.

The pattern by which a tokenizer cuts text comes from the repository; one that never ends must not stop the audit.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, cast

from filiation.repository.model import Repository
from filiation.tokenizer.model import Tokenizer

_SECONDS = 120
_CHILD = ("-m", "filiation.tokenizer.encode")

PROBE = (
    "The river was higher than anyone in the village could remember.",
    "  Two leading spaces,\ttabs\tand   gaps of    several lengths.\n\n\nThen three line ends.",
    "Numbers: 7, 42, 1999, 123456789, 3.14159, 1e-9, 0x1F, 50%, $12.50.",
    "def total(values):\n    return sum(v ** 2 for v in values if v is not None)",
    "ANTIDISESTABLISHMENTARIANISM; isn't, won't, they'll, o'clock, mother-in-law's",
    "今天的天气比昨天好得多，我们去河边散步吧。",
    "昨日の会議は三時間も続いたので、みんな疲れていた。",
    "어제보다 오늘이 훨씬 따뜻하다.",
    "Зимой солнце садится рано, и улицы быстро пустеют.",
    "في الصباح الباكر كان السوق هادئا.",
    "Größere Straßen, señales, façades, naïveté, Ελληνικά, हिन्दी",
    "emoji \U0001f600\U0001f44d\U0001f3fd, flags \U0001f1e9\U0001f1ea, maths \u2211\u221e\u2260\u2264, \u2192\u21d2",
    "SELECT name FROM people WHERE age >= 21 ORDER BY name; -- a comment",
    "<div class=\"box\"><a href='https://example.org/a?b=c&d=e'>link</a></div>",
)
"""The probe: written for this purpose, a line for each thing in which tokenizers differ."""


def compare(
    suspect: Repository, mine: Tokenizer, reference: Repository, theirs: Tokenizer, seconds: int = _SECONDS
) -> dict[str, Any]:
    """Return how the two tokenizers cut the probe text, or why that was not measured."""
    if mine.source != "tokenizer_json" or theirs.source != "tokenizer_json":
        return {"not_measured": "no_tokenizer_json"}
    if importlib.util.find_spec("tokenizers") is None:
        return {"not_measured": "extra_tokenizers_missing"}
    first = encoded(suspect.data(mine.file), seconds)
    second = encoded(reference.data(theirs.file), seconds)
    if first is None or second is None:
        return {"not_measured": "encoding_failed"}
    return counted(first, second)


def encoded(tokenizer: bytes, seconds: int = _SECONDS) -> list[dict[str, Any]] | None:
    """Return ``ids``, ``offsets`` and ``ids_with_special`` of each line; None if that fails or takes too long."""
    command = [sys.executable, *_CHILD]
    request = json.dumps({"tokenizer": tokenizer.decode("utf-8", "replace"), "lines": PROBE}).encode()
    try:
        done = subprocess.run(command, input=request, capture_output=True, timeout=seconds, check=False)
    except (subprocess.TimeoutExpired, OSError):
        return None
    if done.returncode != 0:
        return None
    try:
        return cast("list[dict[str, Any]]", json.loads(done.stdout))
    except ValueError:
        return None


def counted(first: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return on how many lines the ids agree, and which share of all cuts both make."""
    shared = union = 0
    for mine, theirs in zip(first, second, strict=True):
        a, b = ({offset[1] for offset in line["offsets"]} for line in (mine, theirs))
        shared, union = shared + len(a & b), union + len(a | b)
    both = list(zip(first, second, strict=True))
    return {
        "lines": len(both),
        "equal_ids": sum(a["ids"] == b["ids"] for a, b in both),
        "equal_with_special": sum(a["ids_with_special"] == b["ids_with_special"] for a, b in both),
        "cuts_shared": shared / union if union else 0.0,
        "suspect_tokens": sum(len(line["ids"]) for line in first),
        "reference_tokens": sum(len(line["ids"]) for line in second),
    }
