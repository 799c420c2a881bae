"""Custody: when, where and with what a report was made. Kept beside the canonical JSON, never inside it.

What a forensic reader asks for: the program and everything installed beside it, the command with its defaults, the
seeds, every input with size and digests, the kind of machine, what was warned of. Nothing names a person or a machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

CUSTODY_SCHEMA = "https://filiation.org/schema/custody/1"
_MAX_BYTES = 64 << 20
_PINNED = re.compile(r"^(Name|Version): *(.+?)\s*$", re.MULTILINE)
_VERSIONS = ("filiation", "numpy", "scipy", "safetensors", "gguf", "huggingface-hub", "ml_dtypes")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True)
class Input:
    """One model or repository that was read: as what, where it was, and its files with sizes and digests."""

    role: str
    locator: str
    name: str
    revision: str | None
    digest: str | None
    files: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Custody:
    """The circumstances of one report.

    Attributes:
        report_sha256: of the canonical JSON, so that custody and report cannot be exchanged.
        started, finished: UTC, to the second; the inputs were read between the two.
        host_class: the kind of machine, nothing that identifies it.
        versions: of the packages whose numbers enter the report.
        lock_sha256: of the sorted ``name==version`` lines of everything installed beside it.
        tool: name, version, and the SHA-256 of the program's own source files.
        settings: how the command was called, defaults expanded.
        seeds: by candidate; empty where nothing is drawn at random.
        threads: what the linear algebra was told; null where it was not told.
        corpus: releases of the reference corpus with their dates and digests.
        inputs: what was read.
        warnings: phrase keys of what limits this run.
    """

    report_sha256: str
    started: str
    finished: str
    seconds: float
    host_class: Mapping[str, str | int | None]
    versions: Mapping[str, str]
    lock_sha256: str
    tool: Mapping[str, str]
    settings: Mapping[str, Any]
    seeds: Mapping[str, Any]
    threads: Mapping[str, str | None]
    corpus: Mapping[str, str]
    inputs: tuple[Input, ...]
    warnings: tuple[str, ...]
    schema: str = field(default=CUSTODY_SCHEMA)

    def to_json(self) -> str:
        """Return the custody file's content."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, indent=2) + "\n"


def now() -> datetime:
    """Return the time, for :func:`custody`."""
    return datetime.now(UTC)


def custody(canonical: str, started: datetime, finished: datetime) -> Custody:
    """Record the circumstances under which the report ``canonical`` (its JSON) was made."""
    report = cast("dict[str, Any]", json.loads(canonical))
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
        tool={**_mapping(report.get("tool")), "source_sha256": _source()},
        settings=_mapping(report.get("command")),
        seeds=_mapping(report.get("seed")),
        threads={name: os.environ.get(name) for name in _THREADS},
        corpus=_mapping(_mapping(report.get("source")).get("corpus")),
        inputs=tuple(_of_probe(report) if _is_probe(report) else _inputs(_mapping(report.get("models")))),
        warnings=tuple(_warnings(report)),
    )


def custody_path(report: Path) -> Path:
    """Return where the custody of ``report.json`` stands: ``report.custody.json``."""
    return report.with_name(report.name.removesuffix(".json") + ".custody.json")


def beside(report: Path, canonical: str) -> Custody | None:
    """Return the custody that stands beside a stored report; None where there is none, or it is another report's.

    Args:
        report: the stored report.
        canonical: its canonical JSON, whose digest the custody has to name.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        path = custody_path(report)
        if path.stat().st_size > _MAX_BYTES:
            return None
        found = TypeAdapter(Custody).validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    same = found.report_sha256 == hashlib.sha256(canonical.encode()).hexdigest()
    return found if same and found.schema == CUSTODY_SCHEMA else None


def _mapping(value: Any) -> dict[str, Any]:
    return dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _inputs(models: Mapping[str, Any]) -> Iterator[Input]:
    """Yield every model or repository of a report, whichever command wrote it."""
    for role, value in models.items():
        for entry in _list(value) or [value]:
            model = _mapping(entry)
            if not model:
                continue
            listed = tuple(_file(_mapping(file)) for file in _list(model.get("files")))
            locator, name = str(model.get("locator") or ""), str(model.get("name") or "")
            yield Input(
                role.removesuffix("s"), locator, name, model.get("revision"), model.get("digest"), listed
            )


def _is_probe(report: Mapping[str, Any]) -> bool:
    return "log_sha256" in report


def _of_probe(report: Mapping[str, Any]) -> Iterator[Input]:
    """Yield whom a probe asked and every local file that it read; a model of one's own with its digest and files."""
    models = _mapping(report.get("models"))
    local = {role: _mapping(record) for role, record in _mapping(models.get("checkpoints")).items()}
    for entry in (_mapping(models.get("suspect")), *map(_mapping, _list(models.get("others")))):
        role = str(entry.get("role"))
        yield _model(role, local.pop(role, {}), str(entry.get("locator")), str(entry.get("model")))
    for role, record in local.items():
        yield _model(role, record, str(record.get("locator") or ""), str(record.get("name") or ""))
    for file in map(_mapping, _list(models.get("tokenizers"))):
        yield Input("tokenizer", str(file.get("source")), str(file.get("name")), None, file.get("sha256"), ())
    for role, sha256 in _mapping(models.get("files")).items():
        locator = str(_mapping(report.get("command")).get(role) or "")
        yield Input(role, locator, Path(locator).name, None, sha256, ())
    by_hand = _mapping(models.get("suspect")).get("dialect") == "sheet" and not _list(models.get("others"))
    yield Input("sheet" if by_hand else "log", "", "", None, report.get("log_sha256"), ())


def _model(role: str, record: Mapping[str, Any], locator: str, name: str) -> Input:
    listed = tuple(_file(_mapping(file)) for file in _list(record.get("files")))
    return Input(role, locator, name, record.get("revision"), record.get("digest"), listed)


def _file(file: Mapping[str, Any]) -> Mapping[str, Any]:
    """One input file: name, size, SHA-256 (of what large-file storage holds, where it lies there), git object id."""
    known = {key: file.get(key) for key in ("size", "sha256", "git_id")}
    why = file.get("not_hashed") or (file.get("not_read") if not known["sha256"] else None)
    return {"name": file.get("name") or file.get("path"), **known, **({"not_hashed": why} if why else {})}


def _warnings(report: Mapping[str, Any]) -> Iterator[str]:
    yield from (str(limit) for limit in _list(report.get("limits")))
    verdict = _mapping(report.get("verdict"))
    yield from (str(note) for key in ("notes", "reasons") for note in _list(verdict.get(key)))
    yield from sorted({str(_mapping(left).get("why")) for left in _list(report.get("not_examined"))})


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def _lock() -> str:
    """SHA-256 over the names and versions of all that is installed beside the program."""
    lines = sorted({_pinned(installed).lower() for installed in metadata.distributions()})
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _pinned(installed: metadata.Distribution) -> str:
    """Return ``name==version``, from two lines: parsing every description takes longer than comparing small models."""
    text = installed.read_text("METADATA") or installed.read_text("PKG-INFO") or ""
    fields = dict(_PINNED.findall(text.partition("\n\n")[0]))
    return f"{fields.get('Name')}=={fields.get('Version')}"


@cache
def _source() -> str:
    """SHA-256 over the paths and bytes of the program's own Python files: which code made the report."""
    root = Path(str(files("filiation")))
    whole = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        data = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{path.relative_to(root).as_posix()} {data}\n".encode())
    return whole.hexdigest()
