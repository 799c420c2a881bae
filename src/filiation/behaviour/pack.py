"""Writes the shipped tokenizers: ``python -m filiation.behaviour.pack LIST FOLDER``.

LIST is a JSON array of ``{"name", "vendor", "licence", "source", "file", "locator"}``; a locator is a tokenizer file.
``extends`` names a table written before, of which only the differences are stored; ``as_tokens`` says that the order
of ids is the order of merges (true of tables that were tiktoken's before they were converted).
A table is stored as the pairs that merge, three bytes a side in planes, compressed.
"""

from __future__ import annotations

import base64
import json
import lzma
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from filiation.behaviour.candidates import open_file
from filiation.behaviour.encoders import ByteEncoder, PieceEncoder
from filiation.behaviour.shipped import elements_of
from filiation.errors import UnsupportedFormatError

_FILTER = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 0, "pb": 0}


def packed(encoder: object, extends: str | None = None, parent: Sequence[bytes] = ()) -> bytes:
    """Return a table as bytes; ``parent`` are the elements of the table ``extends``, which it mostly holds.

    Raises:
        UnsupportedFormatError: not one of the encoders that are tables, or merges that a table cannot hold.
    """
    if isinstance(encoder, PieceEncoder):
        return _write(*_pieces(encoder))
    if not isinstance(encoder, ByteEncoder):
        raise UnsupportedFormatError("Only tables of merges can be packed.", reason=type(encoder).__name__)
    kept = [token for token in parent if token in encoder.ids]
    head, symbols, pairs = _bytes_table(encoder, kept)
    if extends is not None:
        without = [n for n, token in enumerate(parent) if token not in encoder.ids]
        head |= {
            "extends": extends,
            "without": _runs(without),
            "kept_runs": _runs([encoder.ids[t] for t in kept]),
        }
    return _write(head, symbols, pairs)


Table = tuple[dict[str, Any], list[tuple[bytes, int]], list[tuple[tuple[int, int], int]]]


def _bytes_table(encoder: ByteEncoder, kept: Sequence[bytes]) -> Table:
    head: dict[str, Any] = {
        "kind": "tokens" if encoder.merges is None else "merges",
        "pattern": encoder.pattern,
        "normal_form": encoder.normal_form,
        "whole": encoder.whole,
    }
    if encoder.merges is None:
        held = set(kept)
        new = sorted(((t, n) for t, n in encoder.ids.items() if t not in held), key=lambda e: e[1])
        return head, *_split(new, list(kept))
    symbols = [(t, n) for t, n in encoder.ids.items() if len(t) == 1]
    return head, symbols, _as_merges(encoder, [t for t, _ in symbols])


def _as_merges(encoder: ByteEncoder, elements: list[bytes]) -> list[tuple[tuple[int, int], int]]:
    where = {token: n for n, token in enumerate(elements)}
    pairs: list[tuple[tuple[int, int], int]] = []
    for left, right in encoder.merges or {}:
        token = left + right
        if token in where or left not in where or right not in where:
            raise UnsupportedFormatError("A merge does not fit a table.", reason=f"{left!r} with {right!r}")
        pairs.append(((where[left], where[right]), encoder.ids[token]))
        where[token] = len(where)
    return pairs


def _pieces(encoder: PieceEncoder) -> Table:
    ordered = sorted((t for t in encoder.order if t in encoder.ids), key=lambda t: encoder.order[t])
    single = [(t, n) for t, n in encoder.ids.items() if t not in encoder.order]
    symbols, pairs = _split([(t, encoder.ids[t]) for t in ordered], [t for t, _ in single])
    head = {
        "kind": "pieces",
        "byte_ids": encoder.byte_ids,
        "prefix": encoder.prefix,
        "unknown": encoder.unknown,
    }
    if symbols:
        raise UnsupportedFormatError("A piece does not fit a table.", reason=repr(symbols[0][0]))
    return head | {"base": len(single)}, single, pairs


def _split(
    tokens: Iterable[tuple[bytes, int]], before: list[bytes]
) -> tuple[list[tuple[bytes, int]], list[tuple[tuple[int, int], int]]]:
    """Write each token as two earlier ones; those that cannot be (single bytes) come first, as they are."""
    listed = list(tokens)
    known = set(before)
    symbols = [(t, n) for t, n in listed if len(t) == 1 and t not in known]
    where = {t: n for n, t in enumerate([*before, *(t for t, _ in symbols)])}
    pairs: list[tuple[tuple[int, int], int]] = []
    for token, number in listed:
        if token in where:
            continue
        cuts = [k for k in range(1, len(token)) if token[:k] in where and token[k:] in where]
        if not cuts:
            return [(token, number)], []
        best = min(cuts, key=lambda k: max(where[token[:k]], where[token[k:]]))
        pairs.append(((where[token[:best]], where[token[best:]]), number))
        where[token] = len(where)
    return symbols, pairs


def _write(
    head: dict[str, Any], symbols: list[tuple[bytes, int]], pairs: list[tuple[tuple[int, int], int]]
) -> bytes:
    head = head | {
        "symbols": [base64.b64encode(token).decode() for token, _ in symbols],
        "symbol_ids": [number for _, number in symbols],
        "runs": _runs([number for _, number in pairs]),
    }
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    columns = np.array([pair for pair, _ in pairs], np.int64).reshape(-1, 2).T
    planes = np.stack([columns & 255, columns >> 8 & 255, columns >> 16], axis=1).astype(np.uint8)
    data = len(text).to_bytes(4, "little") + text + planes.tobytes()
    return lzma.compress(data, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=[_FILTER])


def _runs(ids: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in ids:
        if runs and runs[-1][0] + runs[-1][1] == number:
            runs[-1][1] += 1
        else:
            runs.append([number, 1])
    return runs


def main(arguments: list[str]) -> None:
    """Write the tables and ``sources.json``."""
    folder = Path(arguments[1])
    listed: list[dict[str, str]] = []
    for entry in json.loads(Path(arguments[0]).read_text(encoding="utf-8")):
        encoder = open_file(entry["locator"]).encoder
        if entry.get("as_tokens") and isinstance(encoder, ByteEncoder):
            encoder = replace(encoder, merges=None, whole=True)
        extends = entry.get("extends")
        parent = elements_of(extends) if extends else ()
        (folder / entry["file"]).write_bytes(packed(encoder, extends, parent))
        listed.append({k: v for k, v in entry.items() if k not in ("locator", "extends", "as_tokens")})
    text = json.dumps(listed, indent=1, ensure_ascii=False) + "\n"
    (folder / "sources.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
