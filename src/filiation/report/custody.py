"""Custody: when, where and with what a report was made. Kept beside the canonical JSON, never inside it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

CUSTODY_SCHEMA = "https://filiation.org/schema/custody/1"
_VERSIONS = ("filiation", "numpy", "scipy", "safetensors", "gguf", "huggingface-hub", "ml_dtypes")


@dataclass(frozen=True)
class Custody:
    """The circumstances of one report.

    Attributes:
        report_sha256: of the canonical JSON, so that custody and report cannot be exchanged.
        started, finished: UTC, to the second.
        host_class: the kind of machine, nothing that identifies it.
        versions: of the packages whose numbers enter the report.
        lock_sha256: of the sorted ``name==version`` lines of everything installed beside it.
    """

    report_sha256: str
    started: str
    finished: str
    seconds: float
    host_class: Mapping[str, str | int | None]
    versions: Mapping[str, str]
    lock_sha256: str
    schema: str = field(default=CUSTODY_SCHEMA)

    def to_json(self) -> str:
        """Return the custody file's content."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, indent=2) + "\n"


def now() -> datetime:
    """Return the time, for :func:`custody`."""
    return datetime.now(UTC)


def custody(canonical: str, started: datetime, finished: datetime) -> Custody:
    """Record the circumstances under which the report ``canonical`` (its JSON) was made."""
    return Custody(
        report_sha256=hashlib.sha256(canonical.encode()).hexdigest(),
        started=started.isoformat(timespec="seconds"),
        finished=finished.isoformat(timespec="seconds"),
        seconds=round((finished - started).total_seconds(), 3),
        host_class={
            "system": platform.system(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            "implementation": sys.implementation.name,
            "cpus": os.cpu_count(),
        },
        versions=_versions(),
        lock_sha256=_lock(),
    )


def custody_path(report: Path) -> Path:
    """Return where the custody of ``report.json`` stands: ``report.custody.json``."""
    return report.with_name(report.name.removesuffix(".json") + ".custody.json")


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _lock() -> str:
    lines = sorted({f"{d.metadata['Name']}=={d.version}".lower() for d in metadata.distributions()})
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
