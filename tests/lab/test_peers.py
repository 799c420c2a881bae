"""Reading what other tools answer: related, apart, abstaining, and unable to test are four things."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import peers, peers_pairs, peers_tables, peers_tools
from benchmarks.fingerprints import methods
from benchmarks.peers_run import Row, Store, Warm
from benchmarks.peers_tools import ABSTAINS, APART, CANNOT, RELATED, UNJUDGED, Answer
from filiation.errors import UsageError
from filiation.lab.kin import Zoo
from tests.lab import zoos


def modeldna(word: str, *notes: str) -> str:
    return "loading\n" + json.dumps({"verdict": {"verdict": word, "probability": 0.5, "notes": list(notes)}})


def cisco(decision: str) -> str:
    scores = {"provenance_decision": decision, "pipeline_score": 1.0, "identity_score": 0.5}
    return "ready\n" + json.dumps({"scores": scores})


def weightscope(verdict: str) -> str:
    return f"talk\n| 1 | `twin` | 2.50% | 1 / 2 (97%) | `{verdict}` |\n"


def filiation(relation: str) -> str:
    return json.dumps({"verdict": {"relation": relation, "log10_e": None, "reason": "no_test_rejected"}})


@pytest.mark.parametrize(
    ("read", "text", "answer"),
    [
        ("read_modeldna", modeldna("FINE_TUNE"), RELATED),
        ("read_modeldna", modeldna("SAME_FAMILY_UNRESOLVED"), ABSTAINS),
        ("read_modeldna", modeldna("NO_MATCH"), APART),
        ("read_modeldna", modeldna("NO_MATCH", "no candidate had compatible structure"), CANNOT),
        ("read_modeldna", modeldna("INSUFFICIENT"), CANNOT),
        ("read_modeldna", "Traceback", CANNOT),
        ("read_cisco", cisco("Confirmed Match"), RELATED),
        ("read_cisco", cisco("Weak Match"), ABSTAINS),
        ("read_cisco", cisco("Not Matched"), APART),
        ("read_weightscope", weightscope("likely_descendant"), RELATED),
        ("read_weightscope", weightscope("independent"), APART),
        ("read_weightscope", weightscope("architecture_mismatch"), CANNOT),
        ("read_weightscope", "nothing", CANNOT),
        ("read_filiation", filiation("common_origin"), RELATED),
        ("read_filiation", filiation("shared_parts"), RELATED),
        ("read_filiation", filiation("suggestive"), ABSTAINS),
        ("read_filiation", filiation("none_found"), APART),
        ("read_filiation", filiation("cannot_test"), CANNOT),
        ("read_filiation", json.dumps({"error": {"code": "internal"}}), CANNOT),
    ],
)
def test_an_answer_is_one_of_four(read: str, text: str, answer: str) -> None:
    assert getattr(peers_tools, read)(text, 0).answer == answer
    assert getattr(peers_tools, read)(text, 1).answer == CANNOT


def test_a_verdict_without_a_bound_on_chance_still_has_a_rank() -> None:
    assert peers_tools.read_filiation(filiation("suggestive"), 0).score == 0.0


def test_a_method_without_a_line_gives_a_score_and_no_verdict() -> None:
    by = {method.name: method for method in methods.METHODS}
    assert methods.read(by["REEF"], '{"score": 0.9}', 0).answer == UNJUDGED
    assert methods.read(by["sigma curve"], '{"score": 0.9}', 0).answer == RELATED
    assert methods.read(by["sigma curve"], '{"score": 0.6}', 0).answer == APART
    assert methods.read(by["CSW"], '{"cannot": "the models differ in depth"}', 0) == Answer(
        CANNOT, reason="the models differ in depth"
    )
    assert methods.read(by["CSW"], '{"score": 9}', 1).answer == CANNOT


def row(
    group: str, answer: str, score: float | None, what: str = "noise (add_noise)", tool: str = "t"
) -> Row:
    return Row(tool, f"{what}-{score}", "base", what, group, answer, score, None, "", 1.0, 0.5, 70.0, "")


ROWS = [
    row("true", RELATED, 0.9),
    row("true", APART, 0.8),
    row("true", CANNOT, None),
    row("apart", ABSTAINS, 0.85),
]


def test_wrong_answers_are_counted_apart_from_none() -> None:
    line = peers_tables.verdicts({"tool": ROWS}).splitlines()[2].split(" | ")
    assert line[2].startswith("1 of 2 ")
    assert line[2].endswith("0 abstain, 1 cannot test")
    assert line[3].startswith("0 of 1 ")
    assert "1 abstain" in line[3]


def test_ranking_counts_what_lies_over_every_independent_pair() -> None:
    line = peers_tables.ranking({"tool": ROWS}).splitlines()[2].split(" | ")
    assert line[1] == "0.5000"
    assert line[2] == "2 and 1"
    assert line[3].startswith("1 of 2 ")


def test_a_tool_without_a_line_is_read_over_every_independent_pair() -> None:
    rows = [row("true", UNJUDGED, 0.9), row("true", UNJUDGED, 0.5), row("apart", UNJUDGED, 0.6)]
    assert "no line; 0 cannot test" in peers_tables.verdicts({"tool": rows})
    assert "| trained on | 1 of 2* |" in peers_tables.by_section({"tool": rows})
    table = peers_tables.by_pair({"tool": rows, "other": ROWS})
    assert "| (yes) | yes |" in table
    assert "| (no) | - |" in table


def test_a_second_number_is_a_reading_of_its_own() -> None:
    name = "cisco-ai-provenance-kit 1.0.0"
    read = peers_tools.read_cisco(cisco("Confirmed Match"), 0)
    rows = [Row(name, "a", "b", "noise", "apart", read.answer, read.score, read.beside, "", 1, 1, 1, "")]
    both = peers_tables.with_second_readings({name: rows})
    assert [(r.answer, r.score) for (r,) in both.values()] == [(RELATED, 1.0), (APART, 0.5)]


@pytest.mark.parametrize(
    ("what", "section"),
    [
        ("fine_tuned", "trained on"),
        ("fine_tuned + all_together (launder_all) + continued_light", "laundered in all ways"),
        ("quantised (gptq)", "stored otherwise"),
        ("framed (body) (copy_sigmas)", "made to look like another"),
        ("unheard_of", "other"),
    ],
)
def test_every_pair_has_a_section(what: str, section: str) -> None:
    assert peers_tables.section(what) == section


def test_the_pairs_are_chosen_by_a_rule(tmp_path: Path) -> None:
    zoo = Zoo(zoos.write_record(tmp_path, zoos.models()))
    pairs = peers_pairs.chosen(zoo, 2)
    groups = [pair.group for pair in pairs]
    assert groups.count("apart") == 2
    assert len(peers_pairs.chosen(zoo, 100)) > len(pairs)
    assert set(groups) == {"true", "parts", "quiet", "initialisation", "apart"}
    kinds = [pair.what for pair in pairs if pair.group == "true"]
    assert {"noise", "permuted", "renamed", "merged_siblings"} <= set(kinds)
    assert len(kinds) == len(set(kinds))
    assert peers_pairs.chosen(zoo, 2) == pairs


SCRIPT = """
import sys
def main():
    print("out", *sys.argv[1:])
    held = b"x" * 50_000_000
    if sys.argv[1] == "sleep":
        import time
        time.sleep(60)
    if sys.argv[1] == "break":
        raise ValueError
    return 3 if sys.argv[1] == "three" else None
"""


@pytest.fixture
def warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warm:
    (tmp_path / "a_tool.py").write_text(SCRIPT, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Warm(Path(sys.executable), "a_tool:main", isolated=False)


def test_a_loaded_program_runs_again_and_again(warm: Warm) -> None:
    def read(text: str, code: int) -> Answer:
        return Answer(text.strip(), float(code))

    assert warm.run(["a", "b"], read)[0] == Answer("out a b", 0.0)
    assert warm.run(["three"], read)[0] == Answer("out three", 3.0)
    assert warm.run(["break"], read)[0].score == 70.0
    answer, took = warm.run(["sleep"], read, limit=0.2)
    assert answer.answer == CANNOT
    assert took["late"]
    answer, took = warm.run(["a"], read)
    assert took["peak_mib"] > 40
    assert took["seconds"] >= 0
    warm.close()


def test_a_program_that_cannot_be_loaded_is_an_error() -> None:
    with pytest.raises(UsageError, match="ended before it answered"):
        Warm(Path(sys.executable), "no_such_module:main", isolated=True)


def test_a_store_asks_again_only_where_something_changed(tmp_path: Path) -> None:
    chosen = zoos.models()
    zoo = Zoo(zoos.write_record(tmp_path / "zoo", chosen))
    pair = peers_pairs.Asked("noisy", "twin-1", "noise", "true")
    store = Store(tmp_path / "peers.jsonl", zoo)
    store.loaded("tool", 1.234)
    store.add("tool", pair, Answer(RELATED, 1.0), {"seconds": 1, "processor": 1, "peak_mib": 1}, "one")
    again = Store(tmp_path / "peers.jsonl", zoo)
    assert again.known("tool", pair, "one")
    assert not again.known("tool", pair, "two")
    assert again.loading == {"tool": 1.23}
    (row,) = again.rows("tool", [pair], "one")
    assert (row.answer, row.what) == (RELATED, "noise")
    again.add("tool", pair, Answer(APART, 0.0), {"seconds": 1, "processor": 1, "peak_mib": 1}, "two")
    (newest,) = Store(tmp_path / "peers.jsonl", zoo).newest("tool", [pair])
    assert (newest.answer, newest.code) == (APART, "two")
    assert again.newest("other", [pair]) == []
    chosen["noisy"] = {**chosen["noisy"], "digest": "another"}
    other = Store(tmp_path / "peers.jsonl", Zoo(zoos.write_record(tmp_path / "zoo", chosen)))
    assert not other.known("tool", pair, "one")
    assert other.newest("tool", [pair]) == []


def test_a_tool_without_its_python_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_tools, "pythons", lambda version: iter(["/nowhere/python"]))
    monkeypatch.setattr(peers_tools.subprocess, "run", lambda *a, **k: type("Done", (), {"returncode": 1}))
    needs = next(peer for peer in peers_tools.PEERS if peer.python)
    assert peers_tools.installed(needs, tmp_path) == "it needs Python 3.12, and none was found"
    assert "not run, it needs" in peers_tables.page({"tool": ROWS}, {}, {needs.name: "it needs Python 3.12"})


def test_what_was_measured_before_is_held_against_this_run(tmp_path: Path) -> None:
    rows = [
        {"suspect": "a", "candidates": ["b"], "relation": "common_origin"},
        {"suspect": "c", "candidates": ["b"], "relation": "none_found"},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    now = [
        Row("filiation", suspect, "b", "", "true", RELATED, 1.0, None, "common_origin", 1, 1, 1, "")
        for suspect in ("a", "c", "d")
    ]
    text = peers.agreement(now, tmp_path)
    assert text.startswith("1 of 2 pairs")
    assert "c / b: common_origin, was none_found" in text
