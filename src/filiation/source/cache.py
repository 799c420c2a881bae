"""Fingerprints kept on disk by the digest of their file and the version of what makes them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from filiation.source.model import Disclosed
from filiation.source.prints import Definition, Gathered, Print, Statements

VERSION = 3  # of the fingerprint: raise it with every change of what is hashed
_ARRAYS = ("digests", "sizes", "lines", "first", "names")


def _place(folder: Path, data: bytes) -> Path:
    return folder / f"v{VERSION}" / f"{hashlib.sha256(data).hexdigest()}.npz"


def cached(folder: Path | None, path: str, data: bytes) -> tuple[Print, tuple[Disclosed, ...]] | None:
    """Return what is kept for a file, or None. A record that cannot be read is as if it were not there."""
    if folder is None:
        return None
    try:
        with np.load(_place(folder, data), allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        record: dict[str, Any] = json.loads(arrays["record"].tobytes())
        found = _print(path, record, arrays)
        disclosed = [
            Disclosed(path, d["line"], d["kind"], d["source"], tuple(d["names"])) for d in record["disclosed"]
        ]
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return found, tuple(disclosed)


def kept(folder: Path | None, data: bytes, source: Print, disclosed: Sequence[Disclosed]) -> None:
    """Keep a fingerprint. Where the folder cannot be written nothing is kept: a cache is a convenience."""
    if folder is None:
        return
    target = _place(folder, data)
    record = {
        "digest": source.digest,
        "plain": str(source.plain),
        "definitions": [asdict(d) for d in source.definitions],
        "spelling": {str(k): v for k, v in source.spelling.items()},
        "gathered": [asdict(g) for g in source.gathered],
        "lines": source.lines,
        "repaired": source.repaired,
        "disclosed": [asdict(d) for d in disclosed],
    }
    arrays = {name: getattr(source.statements, name) for name in _ARRAYS}
    arrays |= {"features": source.features, "weights": source.weights}
    arrays["record"] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=target.parent)
        with os.fdopen(handle, "wb") as sink:
            sink.write(out.getvalue())
        os.replace(part, target)  # complete, or not there
    except OSError:
        return


def _print(path: str, record: dict[str, Any], arrays: dict[str, Any]) -> Print:
    return Print(
        path,
        record["digest"],
        int(record["plain"]),
        tuple(Definition(**d) for d in record["definitions"]),
        Statements(*(arrays[name] for name in _ARRAYS)),
        arrays["features"],
        arrays["weights"],
        {int(k): v for k, v in record["spelling"].items()},
        tuple(Gathered(**{k: tuple(v) for k, v in g.items()}) for g in record["gathered"]),
        record["lines"],
        tuple(record["repaired"]),
    )
