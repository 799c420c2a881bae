"""Chat sites that have no API: the questions on a sheet, asked by hand, and the report from the sheet with answers.

Tests that hold the site against other models put the same questions to those when the answers are there: the sheet
keeps the seed and the sizes that its questions were drawn with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from filiation.endpoint.joined import Planned
from filiation.endpoint.model import Spent
from filiation.endpoint.sheets import AnswerSheet, QuestionSheet
from filiation.errors import InputError, UsageError
from filiation.probing import battery
from filiation.probing.battery import BY_HAND
from filiation.probing.materials import open_questions
from filiation.probing.records import ProbeReport
from filiation.probing.request import Request
from filiation.probing.walk import Means, Progress, examine, judged, sha256_of

PAIRS, PROMPTS = 100, 60
"""How many prompts a person is asked to put for the same model and for derivation, unless told otherwise."""

_NEEDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "same_model": (("reference", "--reference"),),
    "derived": (("parents", "--parent"), ("controls", "--control")),
    "exclusive_data": (("items", "--items"), ("controls", "--control")),
    "shared_mistakes": (("choices", "--choices"), ("controls", "--control")),
}
"""What a test needs beside the site, as fields of the request and the options that fill them."""
_SIZES = ("pairs", "prompts")


def write_questions(request: Request, path: Path, most: int) -> int:
    """Write the sheet and return how many questions stand on it.

    Raises:
        StorageError: the file exists already, or cannot be written.
        UsageError: the request asks for a test that no person can be asked for, or for more questions than ``most``.
        InputError: a file of questions cannot be read.
    """
    request = _possible(request)
    materials = open_questions(request)
    sheet = QuestionSheet("suspect", request.model, most=most, seed=request.seed)
    others = [party.role for party in request.parties()[1:]]
    battery.run(Planned(sheet, others), request, materials, lambda _: None)
    if not sheet.tests:
        raise UsageError(
            "No question would stand on the sheet.",
            reason="The tests that were asked for need another model, or more questions than are allowed.",
            next_step="Name --reference, or --parent and --control; or raise --max-requests.",
        )
    about = {name: getattr(request, name) for name in _SIZES} | {
        "seed": request.seed,
        "languages": list(request.languages),
        "tests": sorted(sheet.tests),
        "files": materials.files,
    }
    sheet.write(path, about)
    return len(sheet.entries())


def read_answers(
    request: Request, path: Path, means: Means | None = None, progress: Progress | None = None
) -> ProbeReport:
    """Judge a sheet with answers; other models that the request names are asked the same questions.

    Args:
        means: log, budget and consent for asking the others; not needed where there are none.

    Raises:
        InputError: the file is no sheet, or its questions were altered; so for a file of questions.
        UsageError: the request does not fit what the sheet was written for. Others as :func:`examine`.
    """
    sheet = AnswerSheet("suspect", path)
    request = _as_written(_possible(request), sheet)
    if len(request.parties()) > 1:
        if means is None:
            raise UsageError("Asking other models needs a log and a budget.", next_step="Give the means.")
        return examine(request, means, progress, sheet)
    alone = replace(request, tests=request.tests or ("identity",))
    draft = judged(sheet, alone, open_questions(request), lambda _: None)
    answered = sum(test.requests for test in draft.tests)
    return replace(draft, spent=Spent(answered, 0, 0, {"suspect": answered}), log_sha256=sha256_of(path))


def _possible(request: Request) -> Request:
    """Return the request with the tests that it comes to; refuse those that no person can be asked for."""
    request.check()
    for name in request.tests:
        if name not in BY_HAND:
            raise UsageError(
                f"The test '{name}' cannot be asked by hand.",
                reason="A chat site gives neither token counts nor log-probabilities, and short texts alone.",
                next_step=f"Use {', '.join(BY_HAND)}, or an endpoint.",
            )
    return request


def _as_written(request: Request, sheet: AnswerSheet) -> Request:
    """Return the request with the seed and the sizes of the sheet's questions, if it is for the same tests."""
    about = sheet.about
    written = _tests(about, sheet)
    for name, needs in _NEEDS.items():
        wanted = not request.tests or name in request.tests
        lacking = [option for field, option in needs if not getattr(request, field)]
        if wanted and name in written and lacking:
            raise _unfit(
                sheet, f"It holds questions for '{name}', which needs {lacking[0]}", "Name it again."
            )
        if wanted and name not in written and not lacking:
            raise _unfit(sheet, f"It holds no questions for '{name}'", "Write a sheet with the same options.")
    _same_files(request, about, sheet)
    sizes = {name: about[name] for name in _SIZES}
    return replace(
        request, seed=about["seed"], languages=tuple(about["languages"]), most=about["pairs"], **sizes
    )


def _tests(about: Mapping[str, Any], sheet: AnswerSheet) -> frozenset[str]:
    kinds = {**dict.fromkeys((*_SIZES, "seed"), int), "languages": list, "tests": list, "files": dict}
    if any(not isinstance(about.get(name), kind) for name, kind in kinds.items()):
        raise InputError(
            "The sheet does not say what it was written for.",
            file=str(sheet.path),
            reason="Its line [[sheet ...]] was altered, or another version wrote it.",
            next_step="Write the sheet again with --questions.",
        )
    return frozenset(map(str, about["tests"]))


def _same_files(request: Request, about: Mapping[str, Any], sheet: AnswerSheet) -> None:
    for option, digest in open_questions(request).files.items():
        if about["files"].get(option) != digest:
            raise InputError(
                f"The sheet was not written from this file of --{option}.",
                file=str(getattr(request, option)),
                reason=f"{sheet.path.name} was written from another.",
                next_step="Give the same file, or write the sheet again.",
            )


def _unfit(sheet: AnswerSheet, reason: str, next_step: str) -> UsageError:
    return UsageError(
        "The sheet does not fit the options.", file=str(sheet.path), reason=f"{reason}.", next_step=next_step
    )
