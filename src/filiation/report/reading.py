"""Reading a stored report back."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from filiation.errors import NotFoundError, ReportError
from filiation.evidence import AUDIT_SCHEMA, PROBE_SCHEMA, SCHEMA, Report
from filiation.report.numbers import clean

if TYPE_CHECKING:
    from pydantic import ValidationError

    from filiation.auditing import AuditReport
    from filiation.probing.records import ProbeReport
    from filiation.report.shapes import Command

_MAX_BYTES = 256 * 2**20
#: Mappings and lists inside one another; a report has a dozen.
_MAX_DEPTH = 64
#: Digits of a whole number; a report counts bytes at most.
_MAX_DIGITS = 30
_FIELDS = frozenset(f.name for f in dataclasses.fields(Report)) - {"extra"}


def read_document(path: Path, schemas: Collection[str] = (SCHEMA,)) -> dict[str, Any]:
    """Return the JSON object of a stored report of one of these schemas.

    Raises:
        NotFoundError: there is no such file, or it may not be read.
        ReportError: it is not the JSON of a report of this schema.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _no_report(path, f"It is larger than {_MAX_BYTES:,d} bytes.")
        document = _parsed(path.read_text(encoding="utf-8"))
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
    if found.get("schema") not in schemas:
        known = " or ".join(f"'{schema}'" for schema in schemas)
        raise _no_report(path, f"Its schema is '{clean(found.get('schema'))}', read here is {known}.")
    return found


def _parsed(text: str) -> Any:
    """Return the JSON value of ``text``; what JSON leaves open to two readings is refused.

    Raises:
        ValueError: it is no JSON, names a key twice, holds NaN, infinity or no Unicode, or is nested too deeply.
    """
    document = json.loads(
        text, object_pairs_hook=_pairs, parse_float=_float, parse_int=_int, parse_constant=_float
    )
    json.dumps(document, ensure_ascii=False).encode()  # a lone surrogate cannot be written again
    level = [document]
    for _ in range(_MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return document
    raise ValueError(f"nested more than {_MAX_DEPTH} levels deep")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is no finite number")
    return value


def _int(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits")
    return int(text)


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from cast("dict[str, Any]", value).values()
    elif isinstance(value, list):
        yield from cast("list[Any]", value)


def read_report(path: Path) -> Report:
    """Return a stored report as records; the walk's own keys go to ``extra``.

    Raises:
        NotFoundError: there is no such file.
        ReportError: it is not a report of this schema.
    """
    return as_report(read_document(path), path)


def read_any(path: Path) -> Report | AuditReport | ProbeReport:
    """Return a stored report of a comparison, of an audit or of a probe as records.

    Raises:
        NotFoundError: there is no such file.
        ReportError: it is none of them.
    """
    document = read_document(path, (SCHEMA, AUDIT_SCHEMA, PROBE_SCHEMA))
    if document["schema"] == PROBE_SCHEMA:
        return as_probe(document, path)
    return as_report(document, path) if document["schema"] == SCHEMA else as_audit(document, path)


def as_probe(document: dict[str, Any], path: Path) -> ProbeReport:
    """Return the records of a probe's JSON object.

    Raises:
        ReportError: something in it is of another type than the schema says.
    """
    from pydantic import TypeAdapter, ValidationError

    from filiation.probing.records import ProbeReport

    try:
        return TypeAdapter(ProbeReport).validate_python(document)
    except ValidationError as error:
        raise _no_report(path, _first_fault(error)) from error


def as_audit(document: dict[str, Any], path: Path) -> AuditReport:
    """Return the records of an audit's JSON object.

    Raises:
        ReportError: something in it is of another type than the schema says.
    """
    from pydantic import TypeAdapter, ValidationError

    from filiation.auditing import AuditReport

    try:
        return TypeAdapter(AuditReport).validate_python(document)
    except ValidationError as error:
        raise _no_report(path, _first_fault(error)) from error


def as_report(document: dict[str, Any], path: Path) -> Report:
    """Return the records of a report's JSON object.

    Raises:
        ReportError: something in it is of another type than the schema says.
    """
    from pydantic import TypeAdapter, ValidationError

    from filiation.report.shapes import check_extra, check_models

    fields = {key: value for key, value in document.items() if key in _FIELDS}
    fields["extra"] = {key: value for key, value in document.items() if key not in _FIELDS}
    try:
        report = TypeAdapter(Report).validate_python(fields)
        check_extra(report.extra)
        check_models(report.models)
    except ValidationError as error:
        raise _no_report(path, _first_fault(error)) from error
    return report


def read_command(report: Report, path: Path) -> Command:
    """Return how the comparison was called that made a stored report.

    Raises:
        ReportError: it is the report of another command, or does not say so.
    """
    from pydantic import ValidationError

    from filiation.report.shapes import command_of

    reason = "It does not say how 'filiation compare' was called"
    try:
        if report.command.get("name") == "compare":
            return command_of(report.command)
    except ValidationError as error:
        reason = f"{reason}: {_first_fault(error)}"
    raise ReportError(
        "This report cannot be computed again.",
        file=str(path),
        reason=f"{reason.removesuffix('.')}.",
        next_step="Give a report that 'filiation compare --json' wrote.",
    )


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(clean(step) for step in first["loc"])
    return f"{where}: {first['msg']} ({error.error_count()} faults in all)."


def _no_report(path: Path, reason: str) -> ReportError:
    return ReportError(
        "The file is not a report that this version reads.",
        file=str(path),
        reason=reason,
        next_step="Give the JSON file that 'filiation compare --json' wrote.",
    )
