"""Room probing: the walk over an endpoint and the tests on it, and the Python interface to it.

(The walk is not called ``probe``, because ``filiation.probe`` is the function: decisions/0011.)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filiation.api import EvidenceTable
from filiation.behaviour.records import ProbeTest
from filiation.endpoint.budget import Budget
from filiation.endpoint.session import Announcement
from filiation.evidence import PROBE_SCHEMA, ProbeVerdict, to_json
from filiation.probing.records import ProbeReport, probe_schema
from filiation.probing.request import Request
from filiation.probing.walk import Means, Progress, examine, replay

__all__ = [
    "PROBE_SCHEMA",
    "Means",
    "Probe",
    "ProbeReport",
    "Request",
    "examine",
    "probe",
    "probe_schema",
    "replay",
]


@dataclass(frozen=True)
class Probe:
    """What a probe found. ``report`` holds everything; the properties are short cuts."""

    report: ProbeReport

    @property
    def verdict(self) -> ProbeVerdict:
        """What follows."""
        return self.report.verdict

    @property
    def tests(self) -> tuple[ProbeTest, ...]:
        """Every test, those that were not measured too."""
        return self.report.tests

    @property
    def evidence(self) -> EvidenceTable:
        """Every record of every test."""
        return EvidenceTable(self.report.evidence)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types."""
        return self.report.to_dict()

    def to_json(self) -> str:
        """Return the report's canonical JSON."""
        return to_json(self.report)


def probe(
    url: str,
    model: str,
    *,
    log: str | os.PathLike[str],
    consent: Callable[[Announcement], bool],
    seed: int,
    budget: Budget | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    **asked: Any,
) -> Probe:
    """Ask the model behind an endpoint and say what its answers have in common with those of others.

    Args:
        url: base address of the endpoint; ``model`` its name there.
        log: the file that every exchange is written to; :func:`replay` computes the report from it again.
        consent: called once with what will be sent, before anything is; ``lambda _: True`` agrees.
        seed: that every probe is drawn from; draw it afresh, for example with ``secrets.randbits(63)``.
        budget: the most that is used; without it 5,000 requests.
        resume: go on with an interrupted log.
        progress: called with ``(stage, done, total)``.
        asked: further fields of :class:`filiation.probing.Request`, such as ``reference="model.gguf"``.

    Raises:
        UsageError: what is asked for contradicts itself, or a key is missing. ConsentError: consent was refused.
        InputError: a model or file cannot be read, or an endpoint not be reached.
    """
    request = Request(url=url, model=model, seed=seed, **asked)
    means = Means(Path(os.fspath(log)), budget or Budget(requests=5000), consent, resume)
    return Probe(examine(request, means, progress))
