"""Under a byte budget a few layers are weighed: what does nothing makes no relative, and children stay children."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import filiation
from benchmarks.hubserver import HubServer, add_7b
from filiation.evidence import Relation
from filiation.origin import weighing
from filiation.origin.history import Shared
from filiation.origin.pairing import Pairing, Plan
from filiation.origin.unweighed import LEAST, spoken_for, with_weighed
from filiation.report.wording import LANGUAGES, phrases
from tests.comparison.test_arranged import examined, traced
from tests.comparison.test_without_effect import (
    MODELS,
    accused,
    child,
    idle_layers,
    idle_neurons,
    shuffled_neurons_beside,
    unheard_neurons,
)
from tests.derivation.models import Model, anatomy

#: Every read is a request: one block of neurons of few layers.
REMOTE = Plan("0" * 64, whole=False, budget=10**9, blocks=1)
#: A budget for files of this machine.
LOCAL = replace(REMOTE, blocks=4)
PLANS = pytest.mark.parametrize("plan", [REMOTE, LOCAL], ids=["remote", "local"])


@PLANS
@pytest.mark.parametrize("turned", [False, True], ids=["framer against accused", "accused against framer"])
@pytest.mark.parametrize(
    "framer",
    [idle_layers, idle_neurons, shuffled_neurons_beside, unheard_neurons],
    ids=["layers", "neurons", "split neurons", "neurons that never fire"],
)
def test_what_does_nothing_makes_no_common_origin(
    framer: Callable[[], Model], turned: bool, plan: Plan
) -> None:
    pair = (accused(), framer()) if turned else (framer(), accused())
    history, finding = traced(*pair, plan)
    assert finding.relation in (Relation.SUGGESTIVE, Relation.NONE_FOUND)
    assert finding.relation is Relation.NONE_FOUND or finding.reasons[0] in (
        "labels_without_contents",
        "labels_without_effect",
        "gains_only",
    )
    assert history.shared is not Shared.TRAINING


@PLANS
def test_a_child_stays_a_child(plan: Plan) -> None:
    history, finding = traced(child(), accused(), plan)
    assert finding.relation is Relation.COMMON_ORIGIN
    assert history.shared is Shared.TRAINING
    assert finding.inherited == finding.tested == (4 if plan is REMOTE else 5)


def test_the_same_from_the_command_line() -> None:
    """Too little for both models, enough to weigh."""
    found = filiation.compare(str(MODELS / "continued"), str(MODELS / "base"), budget=300_000)
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert found.verdict.inherited_share == 1.0


@PLANS
def test_what_cannot_be_weighed_is_suggestive_and_says_what_to_do(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unread(*_: object) -> None:
        return None

    monkeypatch.setattr(weighing, "_written", unread)
    history, finding = traced(child(), accused(), plan)
    assert history.shared is Shared.NOT_WEIGHED
    assert finding.relation is Relation.SUGGESTIVE
    assert finding.reasons[0] == "effects_not_weighed"
    for language in LANGUAGES:
        said = phrases(language)
        assert "--budget" in said.name("reason", "effects_not_weighed")
        assert said.name("shows", "history_not_weighed")


def test_few_layers_are_weighed_where_every_read_is_a_request() -> None:
    pairing = direct(REMOTE)
    assert len(pairing.layers) == 4
    assert sum(weighing.chosen(pairing, p, REMOTE) for p in pairing.layers) == LEAST == 2
    assert sum(weighing.weighed(pairing, p, REMOTE) for p in pairing.layers) == 2
    cheap = direct(LOCAL)
    assert len(cheap.layers) == 5
    assert all(weighing.weighed(cheap, p, LOCAL) for p in cheap.layers)
    free = replace(REMOTE, budget=None)
    assert all(weighing.chosen(pairing, p, free) for p in pairing.layers)


def test_layers_that_carry_labels_are_weighed_instead_of_others() -> None:
    pairing = direct(REMOTE)
    layers = [i for i, _ in pairing.layers]
    light = [i for i, j in pairing.layers if not weighing.chosen(pairing, (i, j), REMOTE)]
    more = with_weighed(pairing, light, REMOTE)
    assert more.weighed == set(layers)
    assert with_weighed(pairing, layers, REMOTE) is pairing
    assert with_weighed(pairing, light, replace(REMOTE, budget=None)) is pairing


@pytest.mark.parametrize(
    ("heavy", "light", "idle", "kept"),
    [(0.9, 0.9, False, 4), (0.1, 0.9, False, 2), (0.9, 0.2, False, 4), (0.9, 0.9, True, 2)],
    ids=["all weighed agree", "those weighed do not", "others do not", "one that was weighed does nothing"],
)
def test_layers_that_were_not_weighed_do_not_speak_for_themselves(
    heavy: float, light: float, idle: bool, kept: int
) -> None:
    pairing = direct(REMOTE)
    contents = {i: heavy if weighing.chosen(pairing, (i, i), REMOTE) else light for i, _ in pairing.layers}
    found, is_weighed = spoken_for(pairing, contents, {9} if idle else set(), REMOTE)
    assert is_weighed
    assert len(found) == kept
    assert set(found) >= {i for i, value in contents.items() if value == heavy and heavy != light}
    everything: Mapping[int, float] = spoken_for(pairing, contents, (), replace(REMOTE, budget=None))[0]
    assert everything == contents


def direct(plan: Plan) -> Pairing:
    stage = examined(anatomy(child()), anatomy(accused()), plan).best
    assert stage is not None
    assert stage.name == "direct"
    return stage.pairing


@pytest.mark.parametrize("word", [(), ("--seed", "7 19 23")], ids=["no word", "a word"])
def test_a_derived_pair_of_7b_shape_is_told_within_fifty_requests(
    word: tuple[str, ...], tmp_path: Path
) -> None:
    """Over the network, where every read is a request: two models of 13.5 GB whose bytes are made on demand."""
    command = [
        sys.executable,
        "-m",
        "filiation.cli",
        "compare",
        "bench/derived",
        "bench/base",
        "--json",
        *word,
    ]
    with HubServer() as server:
        add_7b(server)
        # In a process of its own: where the hub is found is settled once for each.
        env = {**os.environ, "HF_ENDPOINT": server.endpoint, "HF_HOME": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
        assert len(server.log) < 50
        assert server.bytes_sent < 40_000_000
    verdict = json.loads(done.stdout)["verdict"]
    assert verdict["relation"] == "common_origin"
    assert verdict["inherited_share"] == 1.0
