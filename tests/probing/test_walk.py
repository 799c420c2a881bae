"""The walk over real HTTP on loopback: live and from the log, finished, interrupted, refused."""

from __future__ import annotations

import hashlib
import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest

from filiation.endpoint.budget import Budget
from filiation.endpoint.session import commitment
from filiation.errors import ConsentError, LogError, UsageError
from filiation.evidence import Outcome, ProbeRelation, to_json
from filiation.probing import Means, Request, examine, probe, replay
from filiation.probing.records import ProbeReport
from filiation.report.custody import custody, now
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


def test_a_parent_that_was_chosen_is_the_one_that_is_named(tmp_path: Path) -> None:
    own = CategoricalLaw(1)
    with server(5) as stranger, server(1) as true, server(9, own, 0.8) as suspect, server(30) as control:
        asked = request(
            suspect,
            parents=(f"{stranger.url}#stranger", f"{true.url}#true"),
            controls=(f"{control.url}#c",),
            tests=("derived",),
            prompts=120,
        )
        report = examine(asked, means(tmp_path))
    assert report.tests[0].figures["parent"] == "parent-2"
    assert report.tests[0].against == "parent-2"


def test_public_models_are_named_as_controls_where_the_parent_is_known(tmp_path: Path) -> None:
    with server(1) as suspect, server(2) as parent:
        asked = request(suspect, parents=(f"{parent.url}#SmolLM2-360M.Q8_0.gguf",), tests=("derived",))
        report = examine(asked, means(tmp_path))
    suggested = report.tests[0].figures["suggested"]
    assert report.tests[0].reason == "no_control"
    assert suggested[0]["same_tokenizer"]
    assert "HuggingFaceTB/SmolLM2-360M" not in {each["name"] for each in suggested}


def test_the_width_is_read_off_without_a_candidate(tmp_path: Path) -> None:
    with server(1) as suspect:
        report = examine(request(suspect, tests=("output_layer",), vectors=12), means(tmp_path))
    test = report.tests[0]
    assert (test.outcome, test.reason) == (Outcome.NOT_MEASURED, "no_candidate_head")
    assert test.figures["hidden_size"]["vectors"] == 12
    assert test.requests == 12
    assert [e.test for e in report.evidence] == ["behaviour_output_layer", "behaviour_hidden_size"]
    assert to_json(replay(tmp_path / "log.jsonl")) == to_json(report)


def test_a_reference_with_an_address_alone_takes_part_in_the_tokenizer_test(tmp_path: Path) -> None:
    with server(1) as suspect, server(1) as reference:
        asked = request(suspect, reference=f"{reference.url}#lion", tests=("tokenizer",))
        report = examine(asked, means(tmp_path))
    # Both count four characters to a token, which is no count of tokens: nothing is concluded from it.
    assert report.tests[0].against in (None, "reference")
    assert report.tests[0].outcome is not Outcome.SUPPORTED


def test_custody_lists_whom_and_what_with_digests(tmp_path: Path) -> None:
    items = tmp_path / "items.jsonl"
    rows = [{"question": f"Who lit lamp {n}?", "right": [f"keeper {n}"]} for n in range(12)]
    items.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    with server(1) as suspect, server(3) as control:
        asked = request(
            suspect, controls=(f"{control.url}#c",), items=str(items), tests=("exclusive_data", "tokenizer")
        )
        report = examine(asked, means(tmp_path))
    kept = custody(to_json(report), now(), now())
    by_role = {entry.role: entry for entry in kept.inputs}
    assert by_role["suspect"].name == "nova"
    assert by_role["control-1"].locator == control.url
    assert by_role["items"].digest == hashlib.sha256(items.read_bytes()).hexdigest()
    assert by_role["items"].locator == str(items)
    assert by_role["log"].digest == report.log_sha256


def test_a_key_may_come_from_the_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = types.ModuleType("keyring")
    errors = types.ModuleType("keyring.errors")
    errors.KeyringError = type("KeyringError", (Exception,), {})  # type: ignore[attr-defined]
    secrets = {("nova", "me"): "sk-out-of-the-keyring-42"}
    store.get_password = lambda service, user: secrets.get((service, user))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", store)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    with server(1) as suspect:
        asked = request(suspect, tests=("identity",), key_env=("keyring:nova/me",))
        report = examine(asked, means(tmp_path))
        assert suspect.seen[0].headers["authorization"] == "Bearer sk-out-of-the-keyring-42"
        for wrong in ("keyring:nova", "keyring:nova/you"):
            with pytest.raises(UsageError):
                examine(replace(asked, key_env=(wrong,)), means(tmp_path))
    assert "sk-out-of" not in to_json(report) + (tmp_path / "log.jsonl").read_text(encoding="utf-8")
