"""Running the command line inside the test, with a comparison that is made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from filiation.evidence import Report
from tests.report.samples import full_report


@dataclass
class FakeWalk:
    """Stands for ``compare_models``: remembers how it was called and returns one report."""

    report: Report = field(default_factory=lambda: full_report(6, 2))
    calls: list[dict[str, Any]] = field(default_factory=list)
    failure: BaseException | None = None

    def __call__(self, suspect: str, candidates: Sequence[str], **options: Any) -> Report:
        self.calls.append({"suspect": suspect, "candidates": list(candidates), **options})
        if self.failure is not None:
            raise self.failure
        return self.report


@pytest.fixture
def walk(monkeypatch: pytest.MonkeyPatch) -> FakeWalk:
    """The walk replaced by hand-made reports."""
    import filiation.comparison

    fake = FakeWalk()
    monkeypatch.setattr(filiation.comparison, "compare_models", fake)
    return fake


@dataclass
class Ran:
    """What one call printed, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Ran]:
    """Call the command line as the shell would."""

    def call(*arguments: object) -> Ran:
        from filiation.cli import main

        code = main([str(a) for a in arguments])
        out, err = capfdbinary.readouterr()
        return Ran(code, out.decode(), err.decode())

    return call
