"""Chat sites that have no API: the questions on a sheet, asked by hand, and the report from the sheet with answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from filiation.endpoint.model import Asker, Spent
from filiation.endpoint.sheets import AnswerSheet, QuestionSheet
from filiation.probing import battery
from filiation.probing.materials import Materials
from filiation.probing.records import ProbeReport
from filiation.probing.request import Request
from filiation.probing.walk import judged, sha256_of

_BY_HAND = ("identity",)
"""Tests that need nothing but texts of one site; the others hold them against endpoints that are asked beside it."""


def write_questions(request: Request, path: Path, most: int) -> int:
    """Write the sheet and return how many questions stand on it.

    Raises:
        StorageError: the file exists already, or cannot be written.
        UsageError: the request asks for a test that no person can be asked for.
    """
    request = _only(request)
    sheet = QuestionSheet("suspect", request.model, most=most, seed=request.seed)
    battery.run(sheet, request, Materials(), lambda _: None)
    sheet.write(path)
    return len(sheet.entries())


def read_answers(request: Request, path: Path) -> ProbeReport:
    """Judge a sheet with answers.

    Raises:
        InputError: the file is no sheet, or its questions were altered.
    """
    request = _only(request)
    sheet: Asker = AnswerSheet("suspect", path)
    draft = judged(sheet, request, Materials(), lambda _: None)
    answered = sum(test.requests for test in draft.tests)
    return replace(draft, spent=Spent(answered, 0, 0, {"suspect": answered}), log_sha256=sha256_of(path))


def _only(request: Request) -> Request:
    return replace(request, tests=tuple(name for name in request.tests if name in _BY_HAND) or _BY_HAND)
