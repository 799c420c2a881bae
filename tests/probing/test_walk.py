"""The walk over real HTTP on loopback: live and from the log, finished, interrupted, refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from filiation.endpoint.budget import Budget
from filiation.endpoint.session import commitment
from filiation.errors import ConsentError, LogError, UsageError
from filiation.evidence import Outcome, ProbeRelation, to_json
from filiation.probing import Means, Request, examine, probe, replay
from filiation.probing.records import ProbeReport
from tests.endpoint.adversary import Adversary
from tests.endpoint.asking import patience
from tests.endpoint.behaviour import Behaviour
from tests.endpoint.laws import CategoricalLaw

SMALL = {"pairs": 20, "most": 20, "prompts": 30}


def server(seed: int, of: CategoricalLaw | None = None, closeness: float = 0.0) -> Adversary:
    return Adversary(
        Behaviour(CategoricalLaw(seed, parent=of, closeness=closeness), ids=True, whole=True), seed=seed
    )


def request(suspect: Adversary, **asked: object) -> Request:
    return Request(url=suspect.url, model="nova", seed=7, **{**SMALL, **asked})  # type: ignore[arg-type]


def means(folder: Path, **options: object) -> Means:
    return replace(
        Means(folder / "log.jsonl", Budget(requests=2000, concurrency=4), patience=patience()), **options
    )  # type: ignore[arg-type]


def outcomes(report: ProbeReport) -> dict[str, Outcome]:
    return {test.name: test.outcome for test in report.tests}


def test_a_replay_gives_the_same_bytes(tmp_path: Path) -> None:
    with server(1) as suspect, server(1) as reference, server(2) as control:
        asked = request(suspect, reference=f"{reference.url}#lion", controls=(f"{control.url}#bear",))
        report = examine(asked, means(tmp_path))
    again = replay(tmp_path / "log.jsonl")
    assert to_json(again) == to_json(report)
    assert report.spent.requests == sum(report.spent.by_role.values()) > 60
    assert {r.role for r in report.models.others} == {"reference", "control-1"}
    assert report.commitment.sha256 == commitment(7)
    head = json.loads((tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert commitment(7) in json.dumps(head)


def test_without_anything_to_hold_it_against_nothing_is_concluded(tmp_path: Path) -> None:
    with server(1) as suspect:
        report = examine(request(suspect, tests=("same_model", "output_layer", "derived")), means(tmp_path))
    assert report.verdict.relation is ProbeRelation.CANNOT_TEST
    assert set(outcomes(report).values()) == {Outcome.NOT_MEASURED}
    assert all(test.reason for test in report.tests)


@pytest.mark.parametrize("seed", range(3))
def test_strangers_get_no_relation_of_weights(seed: int, tmp_path: Path) -> None:
    with server(10 + seed) as suspect, server(20 + seed) as parent, server(30 + seed) as control:
        asked = request(
            suspect,
            parents=(f"{parent.url}#p",),
            reference=f"{parent.url}#p",
            controls=(f"{control.url}#c",),
            tests=("same_model", "derived"),
            prompts=60,
        )
        report = examine(asked, means(tmp_path))
    assert report.verdict.relation in (ProbeRelation.NONE_FOUND, ProbeRelation.DIFFERENT)
    assert outcomes(report)["derived"] is not Outcome.SUPPORTED


def test_an_interrupted_log_is_not_replayed_but_resumed(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with server(1) as suspect, server(1) as reference:
        asked = request(suspect, reference=f"{reference.url}#lion", tests=("same_model",))
        whole = examine(asked, means(tmp_path))
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
        log.write_text("".join(lines[: len(lines) // 2]), encoding="utf-8")
        with pytest.raises(LogError, match="ends before"):
            replay(log)
        before = len(suspect.seen)
        resumed = examine(asked, means(tmp_path, resume=True))
        assert len(suspect.seen) - before < before
    assert outcomes(resumed) == outcomes(whole)
    assert to_json(replay(log)) == to_json(resumed)


def test_nothing_is_sent_without_consent(tmp_path: Path) -> None:
    with server(1) as suspect:
        with pytest.raises(ConsentError):
            examine(request(suspect), means(tmp_path, consent=lambda _: False))
        assert suspect.seen == []


def test_a_budget_ends_the_asking_and_the_report_says_so(tmp_path: Path) -> None:
    with server(1) as suspect, server(1) as reference:
        asked = request(suspect, reference=f"{reference.url}#lion", tests=("same_model", "identity"))
        report = examine(asked, means(tmp_path, budget=Budget(requests=70)))
        assert len(suspect.seen) + len(reference.seen) <= 70
    assert outcomes(report)["identity"] is Outcome.NOT_MEASURED


@pytest.mark.parametrize(
    "asked",
    [
        {"tests": ("telepathy",)},
        {"teacher_controls": ("a.gguf",)},
        {"controls": ("a.gguf",)},
        {"reference": "http://127.0.0.1:1/v1"},
        {"key_env": ("stranger=PATH",)},
        {"key_env": ("FILIATION_NO_SUCH_VARIABLE",)},
    ],
)
def test_a_request_that_makes_no_sense_is_refused_before_anything_is_sent(
    asked: dict[str, object], tmp_path: Path
) -> None:
    with server(1) as suspect:
        with pytest.raises(UsageError):
            examine(request(suspect, **asked), means(tmp_path))
        assert suspect.seen == []


def test_the_function_does_what_the_walk_does(tmp_path: Path) -> None:
    with server(1) as suspect:
        made = probe(
            suspect.url,
            "nova",
            log=tmp_path / "log.jsonl",
            consent=lambda _: True,
            seed=3,
            tests=("identity",),
        )
    assert made.verdict.relation is ProbeRelation.CANNOT_TEST
    assert made.tests[0].name == "identity"
    assert json.loads(made.to_json())["schema"] == made.report.schema


def test_a_key_is_in_no_artefact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOVA_KEY", "sk-very-secret-0123456789")
    with server(1) as suspect:
        asked = request(suspect, tests=("identity",), key_env=("NOVA_KEY",))
        report = examine(asked, means(tmp_path))
        assert suspect.seen[0].headers["authorization"] == "Bearer sk-very-secret-0123456789"
    written = (tmp_path / "log.jsonl").read_text(encoding="utf-8") + to_json(report)
    assert "very-secret" not in written
