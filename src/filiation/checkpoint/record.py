"""The record of an opened checkpoint that goes into a report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from filiation.checkpoint.hashing import pinned
from filiation.checkpoint.model import Checkpoint
from filiation.evidence import ModelRecord


def model_record(
    checkpoint: Checkpoint, family: str | None, geometry: Mapping[str, Any], inferred: tuple[str, ...]
) -> ModelRecord:
    """Return what was opened: files with digests, dtypes, parameters, sizes and bytes read so far."""
    tensors = checkpoint.tensors.values()
    return ModelRecord(
        locator=checkpoint.locator,
        name=checkpoint.name,
        format=checkpoint.format,
        digest=checkpoint.digest,
        digest_covers="contents" if pinned(checkpoint.files) else "names_sizes_headers",
        files=checkpoint.files,
        revision=checkpoint.revision,
        family=family,
        geometry=geometry,
        inferred=(*checkpoint.notes, *_rows_left_out(checkpoint), *inferred),
        dtypes=dict(sorted(Counter(t.dtype for t in tensors).items())),
        parameters=sum(math.prod(t.shape) for t in tensors),
        total_bytes=checkpoint.total_bytes,
        bytes_read=checkpoint.bytes_read,
    )


def _rows_left_out(checkpoint: Checkpoint) -> tuple[str, ...]:
    return tuple(
        f"{name}: {len(rows)} of the rows that were read hold values that are not numbers; they were left out"
        for name, rows in sorted(checkpoint.rows_left_out.items())
    )
