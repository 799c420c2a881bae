"""Makes the records of the tests of statistics: evidence whose id holds every parameter, and rows not measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filiation.behaviour.records import Found, ProbeTest
from filiation.evidence import Effect, Evidence, Outcome, Status, Wing


def identifier(name: str, **parameters: object) -> str:
    """Return ``behaviour.<name>/key=value/...``, the keys in the order given."""
    parts = [f"behaviour.{name}"]
    parts += [
        f"{key}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for key, v in parameters.items()
    ]
    return "/".join(parts)


def applied(id: str, test: str, **fields: Any) -> Evidence:
    """Return the record of a test that ran; ``fields`` are fields of :class:`Evidence`."""
    return Evidence(
        id=id, wing=Wing.BEHAVIOUR, question=f"behaviour.question.{test}", test=f"behaviour_{test}", **fields
    )


def not_measured(
    name: str, id: str, reason: str, *, requests: int = 0, controls: tuple[str, ...] = (), **figures: Any
) -> Found:
    """Return what is said of a test that could not run: the reason's phrase key, never a missing row."""
    record = Evidence(
        id=id,
        wing=Wing.BEHAVIOUR,
        question=f"behaviour.question.{name}",
        test=f"behaviour_{name}",
        status=Status.NOT_MEASURED,
        reason=reason,
    )
    test = ProbeTest(
        name=name,
        evidence=id,
        outcome=Outcome.NOT_MEASURED,
        reason=reason,
        requests=requests,
        controls=controls,
        figures=_figures(figures),
    )
    return Found(test, (record,))


def share_row(effect: Effect, name: str, *, control: bool) -> dict[str, Any]:
    """Return a share with its interval as the report draws it."""
    return {"name": name, "share": effect.value, "low": effect.low, "high": effect.high, "control": control}


def _figures(figures: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in figures.items() if value is not None}
