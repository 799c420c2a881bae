"""The shipped tokenizers: public ones whose licence allows to pass them on, each as a table of merges.

``shipped_tokenizers/sources.json`` names every one with its licence, its owner and where it was taken from; the tables
are written by ``python -m filiation.behaviour.pack``. A tokenizer whose licence puts conditions on passing it on
(Llama, Gemma) is not among them: it comes from the user's own files.
"""

from __future__ import annotations

import base64
import json
import lzma
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from filiation.behaviour.encoders import ByteEncoder, Encoder, PieceEncoder
from filiation.vocabulary import Vocabulary

_FOLDER = "shipped_tokenizers"


@cache
def sources() -> tuple[Mapping[str, str], ...]:
    """Return what is shipped: ``name``, ``vendor``, ``licence``, ``source`` and ``file`` of each tokenizer."""
    return tuple(json.loads(_bytes("sources.json")))


def encoder_of(file: str) -> Encoder:
    """Return the encoder of a shipped table."""
    head, elements, ids = _unpacked(file)
    table = dict(zip(elements, ids, strict=True))
    if head["kind"] == "pieces":
        order = {token: n for n, token in enumerate(elements[head["base"] :])}
        return PieceEncoder(table, order, tuple(head["byte_ids"]), head["prefix"], head["unknown"])
    merges = None if head["kind"] == "tokens" else _merges(file)
    return ByteEncoder(table, head["pattern"], merges, head["normal_form"], head["whole"])


def vocabulary_of(file: str) -> Vocabulary:
    """Return the tokens of a shipped table by id; special tokens are not in it."""
    head, elements, ids = _unpacked(file)
    tokens: list[bytes | None] = [None] * (max(ids) + 1)
    for token, number in zip(elements, ids, strict=True):
        tokens[number] = token
    fallback = tuple(head.get("byte_ids", ()))
    for byte, number in enumerate(fallback):
        tokens[number] = bytes([byte])
    kind = "sentencepiece" if head["kind"] == "pieces" else "byte_bpe"
    return Vocabulary(tuple(tokens), kind, file, frozenset(fallback))


def elements_of(file: str) -> tuple[bytes, ...]:
    """Return the tokens of a shipped table in the order of the table."""
    return tuple(_unpacked(file)[1])


def _bytes(name: str) -> bytes:
    return (files("filiation.behaviour") / _FOLDER / name).read_bytes()


@cache
def _read(file: str) -> tuple[dict[str, Any], Any]:
    data = lzma.decompress(_bytes(file))
    length = int.from_bytes(data[:4], "little")
    head = json.loads(data[4 : 4 + length])
    planes = np.frombuffer(data[4 + length :], np.uint8).reshape(2, 3, -1).astype(np.int64)
    return head, planes[:, 0] + (planes[:, 1] << 8) + (planes[:, 2] << 16)


@cache
def _unpacked(file: str) -> tuple[dict[str, Any], list[bytes], list[int]]:
    head, pairs = _read(file)
    elements: list[bytes] = [base64.b64decode(symbol) for symbol in head["symbols"]]
    ids: list[int] = list(head["symbol_ids"])
    if "extends" in head:
        _, before, _ = _unpacked(head["extends"])
        left_out = set(_numbers(head["without"]))
        kept = [token for n, token in enumerate(before) if n not in left_out]
        elements, ids = [*kept, *elements], [*_numbers(head["kept_runs"]), *ids]
    for left, right in pairs.T.tolist():
        elements.append(elements[left] + elements[right])
    return head, elements, [*ids, *_numbers(head["runs"])]


def _numbers(runs: list[list[int]]) -> list[int]:
    return [number for start, count in runs for number in range(start, start + count)]


def _merges(file: str) -> dict[tuple[bytes, bytes], int]:
    _, elements, _ = _unpacked(file)
    return {(elements[a], elements[b]): n for n, (a, b) in enumerate(_read(file)[1].T.tolist())}
