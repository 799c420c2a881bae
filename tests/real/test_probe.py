"""``filiation probe`` on real models behind llama.cpp's server: what it can do, whose tokens, whose weights."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("xllamacpp", reason="the extra 'serve' is not installed: make test-real")

from filiation import checkpoint
from filiation.behaviour import output_layer, same_model
from filiation.behaviour.heads import Head, of_checkpoint
from filiation.cli import main
from filiation.endpoint.budget import Budget
from filiation.endpoint.client import Endpoint
from filiation.endpoint.model import Allowance, Answer, Call, Capabilities, EndpointRecord, Failure, Support
from filiation.endpoint.recorded import capabilities_of
from filiation.endpoint.session import Session, agreed
from filiation.evidence import Outcome
from tests.real import fetch, siblings
from tests.real.servers import Served, real_model

pytestmark = pytest.mark.real

SUSPECT, REFERENCE, STRANGER = "suspect", "reference", "stranger"


@pytest.fixture(scope="module")
def served() -> Iterator[Mapping[str, Served]]:
    """SmolLM2-135M-Instruct in two processes, and a model of its shape and tokenizer with other weights."""
    files = {SUSPECT: siblings.gguf(), REFERENCE: siblings.gguf(), STRANGER: siblings.stranger(1)}
    with ExitStack() as stack:
        yield {role: stack.enter_context(real_model(file, role, slots=1)) for role, file in files.items()}


@dataclass(frozen=True)
class Probed:
    """A run of the command: the log and the report that it wrote."""

    log: Path
    written: Path

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.written.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def probed(served: Mapping[str, Served], tmp_path_factory: pytest.TempPathFactory) -> Probed:
    """The command on a server of which it knows nothing, as a person runs it; most tests read its report."""
    folder = tmp_path_factory.mktemp("probed")
    log, written = folder / "probe.jsonl", folder / "probe.json"
    one = served[SUSPECT]
    named = [one.url, "--model", one.model, "--candidate", str(siblings.gguf()), "--seed", "5"]
    tests = ["--test", "tokenizer", "--test", "output-layer"]
    assert main(["probe", *named, *tests, "--yes", "--log", str(log), "--json", str(written)]) == 0
    return Probed(log, written)


@pytest.fixture(scope="module")
def live(served: Mapping[str, Served], probed: Probed) -> Iterator[Session]:
    """All three servers, by what the command found out about one of them."""
    endpoints = [Endpoint(role, one.url, one.model, "llama-server") for role, one in served.items()]
    budget = Budget(requests=2000, concurrency=2)
    known = dict.fromkeys(served, capabilities_of(probed.report["models"]["suspect"]))
    with Session(endpoints, budget=budget, seed=1, consent=agreed, capabilities=known) as session:
        yield session


@pytest.fixture(scope="module")
def raw(served: Mapping[str, Served]) -> Iterator[Session]:
    """The same servers, asked by raw completions: half the tokens of a conversation, so half the time."""
    endpoints = [Endpoint(role, one.url, one.model, "llama-server") for role, one in served.items()]
    known = dict.fromkeys(served, Capabilities(chat=False, completions=True, usage=True))
    budget = Budget(requests=1000, concurrency=2)
    with Session(endpoints, budget=budget, seed=1, consent=agreed, capabilities=known) as session:
        yield session


class Seeded:
    """Sends a sampling seed of its own with every request, so that a run can be repeated: every answer stays a draw."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._sent = 0

    @property
    def records(self) -> Mapping[str, EndpointRecord]:
        return self._session.records

    def ask(self, calls: Sequence[Call]) -> tuple[Answer | Failure, ...]:
        return self._session.ask([self._seeded(call) for call in calls])

    def allowance(self) -> Allowance:
        return self._session.allowance()

    def _seeded(self, call: Call) -> Call:
        self._sent += 1
        seed = int.from_bytes(hashlib.sha256(f"{call.role}/{self._sent}".encode()).digest()[:4], "big") >> 1
        return replace(call, ask=replace(call.ask, seed=seed))


class Remembering:
    """Asks what was not asked before, and after :meth:`rewind` gives the same answers once more."""

    def __init__(self, inner: Seeded) -> None:
        self._inner = inner
        self._told: defaultdict[tuple[str, str], list[Answer | Failure]] = defaultdict(list)
        self._turns: Counter[tuple[str, str]] = Counter()
        self.sent = 0

    @property
    def records(self) -> Mapping[str, EndpointRecord]:
        return self._inner.records

    def ask(self, calls: Sequence[Call]) -> tuple[Answer | Failure, ...]:
        slots: list[tuple[tuple[str, str], int]] = []
        for call in calls:
            key = (call.role, call.ask.key())
            slots.append((key, self._turns[key]))
            self._turns[key] += 1
        new = [n for n, (key, turn) in enumerate(slots) if turn >= len(self._told[key])]
        for n, answer in zip(new, self._inner.ask([calls[n] for n in new]), strict=True):
            self._told[slots[n][0]].append(answer)
        self.sent += len(new)
        return tuple(self._told[key][turn] for key, turn in slots)

    def allowance(self) -> Allowance:
        return self._inner.allowance()

    def rewind(self) -> None:
        self._turns.clear()


@pytest.fixture(scope="module")
def remembering(raw: Session) -> Remembering:
    return Remembering(Seeded(raw))


ENGLISH = same_model.Setting(3, pairs=80, most=80, batch=40, languages=("en",), permutations=999)


@pytest.fixture(scope="module")
def head() -> Head:
    return of_checkpoint(checkpoint.open(str(siblings.gguf())), "SmolLM2")


def test_the_servers_capabilities_are_found(probed: Probed) -> None:
    able = capabilities_of(probed.report["models"]["suspect"])
    assert (able.chat, able.completions, able.usage, able.top_logprobs) == (True, True, True, -1)
    assert (able.seed, able.include_usage, able.prompt_ids) == (Support.SUPPORTED,) * 3
    # Nobody told the command what kind of server it is: what llama.cpp does not know it drops without a word.
    assert (able.token_logprob_ids, able.prompt_logprobs) == (Support.IGNORED,) * 2


def test_its_tokenizer_is_found_among_the_shipped_ones(probed: Probed) -> None:
    (found,) = (t for t in probed.report["tests"] if t["name"] == "tokenizer")
    assert found["outcome"] == "supported"
    # The candidate's own file and the shipped copy of it.
    assert set(found["figures"]["identified"]) == {"candidate", "SmolLM2"}
    assert len(found["figures"]["candidates"]) >= 5


def test_its_output_layer_is_a_million_times_nearer_than_any_control(live: Session, head: Head) -> None:
    other = of_checkpoint(checkpoint.open(str(fetch.folder("minilm"))), "MiniLM embedding")
    found = output_layer.run(live, output_layer.Setting(head, (other,)))
    assert found.test.outcome is Outcome.SUPPORTED
    assert {row["kind"] for row in found.test.figures["residuals"]} == {
        "candidate",
        "other_head",
        "row_permuted",
    }
    assert _effects(found.test.effect)["log10_below_best_control"] >= 6.0


def test_other_weights_of_the_same_shape_have_another_output_layer(live: Session, head: Head) -> None:
    found = output_layer.run(live, output_layer.Setting(head, role=STRANGER))
    assert found.test.outcome is Outcome.CONTRADICTED


def test_the_same_file_in_another_process_agrees_as_the_reference_does_with_itself(
    remembering: Remembering,
) -> None:
    remembering.rewind()
    found = same_model.run(remembering, replace(ENGLISH, controls=(STRANGER,)))
    assert found.test.outcome in (Outcome.SUPPORTED, Outcome.UNDECIDED)
    # So few pairs could miss a large exchanged share; that is all that may keep it from being supported.
    assert found.test.reason in (None, "too_few_pairs")
    assert found.test.figures["alike_log10_e"] >= 2.0
    assert found.test.requests == 4 * 80


def test_other_weights_agree_less_than_the_reference_does_with_itself(remembering: Remembering) -> None:
    # The control of the test before in the suspect's place: on the same prompts, nobody is asked again.
    remembering.rewind()
    found = same_model.run(remembering, replace(ENGLISH, suspect=STRANGER))
    assert found.test.outcome is Outcome.CONTRADICTED or found.test.reason == "agrees_less"
    assert remembering.sent <= 4 * 80


def test_the_command_concludes_and_its_log_gives_the_same_report_again(
    probed: Probed, tmp_path: Path
) -> None:
    again = tmp_path / "again.json"
    assert main(["probe", "--replay", str(probed.log), "--json", str(again)]) == 0
    assert again.read_bytes() == probed.written.read_bytes()
    report = probed.report
    assert {t["name"]: t["outcome"] for t in report["tests"]} == {
        "tokenizer": "supported",
        "output_layer": "supported",
    }
    assert report["verdict"]["relation"] == "associated"
    assert report["verdict"]["reasons"] == ["output_layer_alone"]


def _effects(found: Sequence[object]) -> dict[str, float]:
    return {e.name: e.value for e in found}  # type: ignore[attr-defined]
