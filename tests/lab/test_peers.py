"""Reading what other tools answer: related, apart, abstaining, and unable to test are four things."""

from __future__ import annotations

import json

import pytest

from benchmarks import peers


def modeldna(word: str, *notes: str) -> str:
    return "loading\n" + json.dumps({"verdict": {"verdict": word, "probability": 0.5, "notes": list(notes)}})


def cisco(decision: str) -> str:
    return "ready\n" + json.dumps({"scores": {"provenance_decision": decision, "pipeline_score": 0.5}})


def weightscope(verdict: str) -> str:
    return f"talk\n| 1 | `twin` | 2.50% | 1 / 2 (97%) | `{verdict}` |\n"


@pytest.mark.parametrize(
    ("read", "text", "answer"),
    [
        ("_modeldna", modeldna("FINE_TUNE"), peers.RELATED),
        ("_modeldna", modeldna("SAME_FAMILY_UNRESOLVED"), peers.ABSTAINS),
        ("_modeldna", modeldna("NO_MATCH"), peers.APART),
        ("_modeldna", modeldna("NO_MATCH", "no candidate had compatible structure"), peers.CANNOT),
        ("_modeldna", modeldna("INSUFFICIENT"), peers.CANNOT),
        ("_modeldna", "Traceback", peers.CANNOT),
        ("_cisco", cisco("Confirmed Match"), peers.RELATED),
        ("_cisco", cisco("Weak Match"), peers.ABSTAINS),
        ("_cisco", cisco("Not Matched"), peers.APART),
        ("_weightscope", weightscope("likely_descendant"), peers.RELATED),
        ("_weightscope", weightscope("independent"), peers.APART),
        ("_weightscope", weightscope("architecture_mismatch"), peers.CANNOT),
        ("_weightscope", "nothing", peers.CANNOT),
    ],
)
def test_an_answer_is_one_of_four(read: str, text: str, answer: str) -> None:
    assert getattr(peers, read)(text, 0)[0] == answer
    assert getattr(peers, read)(text, 1)[0] == peers.CANNOT


def test_a_line_counts_wrong_answers_apart_from_none() -> None:
    def row(category: str, answer: str, score: float) -> dict:
        return {"category": category, "answer": answer, "score": score, "parts": False, "seconds": 1.0}

    rows = [
        row("derived", peers.RELATED, 0.9),
        row("derived", peers.APART, 0.8),
        row("derived", peers.CANNOT, 0.7),
        row("independent", peers.ABSTAINS, 0.1),
    ]
    cells = peers.line("tool", rows)
    assert cells[1].startswith("1 of 2 ")
    assert cells[1].endswith("0 abstain, 1 cannot test")
    assert cells[2].startswith("0 of 1 ")
    assert cells[5] == "1.0000"


def test_a_sample_is_spread_over_what_there_is() -> None:
    assert peers.sampled(list(range(100)), 3) == [0, 50, 99]
    assert peers.sampled([1, 2], 3) == [1, 2]
