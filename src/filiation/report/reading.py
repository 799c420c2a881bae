"""Reading a stored report back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

from filiation.errors import NotFoundError, ReportError
from filiation.evidence import SCHEMA, Report

_MAX_BYTES = 256 * 2**20
_FIELDS = frozenset(f.name for f in dataclasses.fields(Report)) - {"extra"}


def read_document(path: Path) -> dict[str, Any]:
    """Return the JSON object of a stored report.

    Raises:
        NotFoundError: there is no such file, or it may not be read.
        ReportError: it is not the JSON of a report of this schema.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _no_report(path, f"It is larger than {_MAX_BYTES:,d} bytes.")
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFoundError(
            "The report could not be read.",
            file=str(path),
            reason=error.strerror,
            next_step="Check the path.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise _no_report(path, f"It is no JSON: {error}.") from error
    if not isinstance(document, dict):
        raise _no_report(path, "It is no JSON object.")
    found = cast("dict[str, Any]", document)
    if "error" in found and "schema" not in found:
        raise _no_report(path, "It holds the error of a comparison that failed.")
    if found.get("schema") != SCHEMA:
        raise _no_report(path, f"Its schema is '{found.get('schema')}', this version reads '{SCHEMA}'.")
    return found


def read_report(path: Path) -> Report:
    """Return a stored report as records; the walk's own keys go to ``extra``.

    Raises:
        NotFoundError: there is no such file.
        ReportError: it is not a report of this schema.
    """
    return as_report(read_document(path), path)


def as_report(document: dict[str, Any], path: Path) -> Report:
    """Return the records of a report's JSON object."""
    from pydantic import TypeAdapter, ValidationError

    fields = {key: value for key, value in document.items() if key in _FIELDS}
    fields["extra"] = {key: value for key, value in document.items() if key not in _FIELDS}
    try:
        return TypeAdapter(Report).validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise _no_report(path, f"{where}: {first['msg']} ({error.error_count()} faults in all).") from error


def _no_report(path: Path, reason: str) -> ReportError:
    return ReportError(
        "The file is not a report that this version reads.",
        file=str(path),
        reason=reason,
        next_step="Give the JSON file that 'filiation compare --json' wrote.",
    )
