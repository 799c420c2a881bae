"""The width of a model from whole vectors of log-probabilities, with no candidate at hand."""

from __future__ import annotations

from filiation.behaviour.hidden_width import Setting, beside, collect
from filiation.behaviour.recording import not_measured
from filiation.evidence import Outcome
from tests.behaviour.asker import Scripted
from tests.behaviour.scripted import FULL, TOP_20, Layered
from tests.behaviour.test_output_layer import WIDTH, made


def test_more_vectors_than_the_model_is_wide_tell_its_width() -> None:
    asker = Scripted({"suspect": Layered(made(1))}, FULL)
    found = beside(asker, not_measured("output_layer", "id", "no_candidate_head"), Setting(1, WIDTH + 12))
    assert found.test.outcome is Outcome.NOT_MEASURED
    assert found.test.figures["hidden_size"]["size"] == WIDTH
    assert found.evidence[1].shows == "hidden_size_alone"
    assert found.evidence[1].statistic == WIDTH
    assert len(asker.asked) == found.test.requests == WIDTH + 12
    assert len({call.ask for call in asker.asked}) == WIDTH + 12


def test_fewer_vectors_name_no_width() -> None:
    found = collect(Scripted({"suspect": Layered(made(1))}, FULL), Setting(1, WIDTH - 8), None)
    assert found is not None
    assert found.size is None


def test_nothing_is_asked_unless_it_was_wanted_and_can_be_had() -> None:
    whole = Scripted({"suspect": Layered(made(1))}, FULL)
    assert collect(whole, Setting(1, 0), None) is None
    assert collect(whole, Setting(1, 60, role="reference"), None) is None
    cut = Scripted({"suspect": Layered(made(1), top=20)}, TOP_20)
    assert collect(cut, Setting(1, 60), None) is None
    assert whole.asked == cut.asked == []


def test_a_budget_that_ends_leaves_what_was_collected() -> None:
    found = collect(Scripted({"suspect": Layered(made(1))}, FULL, requests=24), Setting(1, 60), None)
    assert found is not None
    assert (found.vectors, found.size) == (24, None)
