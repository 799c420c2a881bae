"""The public case of Llama3-V and MiniCPM-Llama3-V 2.5, from facts read in both repositories (May 2024).

What is known of the two is in ``facts/``: tensor names, config values, one git object id, commit times. No file of
theirs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from filiation import repository, traces
from filiation.evidence import Status, Wing, plain
from filiation.traces import Trace, TracesFound

FACTS = Path(__file__).parent / "facts"


@pytest.fixture(scope="module")
def found() -> TracesFound:
    suspect = repository.open(str(FACTS / "llama3v.json"))
    return traces.find(suspect, [repository.open(str(FACTS / "minicpm_llama3_v25.json"))])


def one(found: TracesFound, kind: str) -> Trace:
    (trace,) = (t for t in found.traces if t.kind == kind)
    return trace


def test_the_tokenizer_is_the_same_git_object(found: TracesFound) -> None:
    trace = one(found, "same_file")
    assert trace.place.file == "tokenizer.json"
    assert trace.numbers["git_id"] == "288bd3afd90fea91887c711ea0a6554f9145aae5"


def test_741_names_by_two_renames_in_order(found: TracesFound) -> None:
    numbers = one(found, "tensor_names").numbers
    assert (numbers["names"], numbers["explained"], numbers["reference_names"]) == (741, 741, 741)
    assert numbers["renames"] == {"vison": "vpm", "projection": "resampler"}
    assert numbers["order_equal"] is True
    assert numbers["left"] == numbers["right"] == []
    assert "ln_kv" in numbers["rare_segments"]
    assert numbers["log10_surprise"] > 2


def test_the_total_of_bytes_is_equal_and_the_shards_are_not(found: TracesFound) -> None:
    numbers = one(found, "total_bytes").numbers
    assert numbers == {"total_bytes": 34_148_369_344, "shards": 3, "reference_shards": 7}


def test_the_auto_map_leads_to_a_module_that_only_the_reference_names(found: TracesFound) -> None:
    dangling = [t.numbers for t in found.traces if t.kind == "dangling_reference"]
    assert {(n["key"], n["target"], n["missing"]) for n in dangling} == {
        ("auto_map.AutoTokenizer", "modeling_minicpmv.PreTrainedTokenizerFastWrapper", "module"),
        ("tokenizer_class", "PreTrainedTokenizerFastWrapper", "class"),
    }
    assert all(n["reference_has"] == "name" for n in dangling)


def test_the_tokenizer_config_is_equal_as_parsed(found: TracesFound) -> None:
    trace = one(found, "equal_json")
    assert (trace.place.file, trace.numbers["entries"]) == ("tokenizer_config.json", 11)


def test_25_equal_config_values_of_which_three_are_rare(found: TracesFound) -> None:
    numbers = one(found, "config_values").numbers
    assert numbers["equal"] == 25
    assert {entry["key"] for entry in numbers["rare"]} == {"query_num", "slice_mode", "mm_use_im_start_end"}


def test_the_suspects_history_begins_later(found: TracesFound) -> None:
    trace = one(found, "commit_order")
    assert trace.shows == "shows.suspect_later"
    assert trace.numbers["after_the_reference_ended"] is True


def test_every_trace_is_evidence_with_a_place(found: TracesFound) -> None:
    assert len(found.evidence) == len(found.traces) == len({e.id for e in found.evidence})
    for evidence in found.evidence:
        assert evidence.wing is Wing.TRACES
        assert evidence.status is Status.APPLIED
        assert evidence.log10_e is None
        assert evidence.places[0].file
    plain(found)  # JSON types only


def test_the_other_way_round_nothing_dangles(found: TracesFound) -> None:
    suspect = repository.open(str(FACTS / "minicpm_llama3_v25.json"))
    back = traces.find(suspect, [repository.open(str(FACTS / "llama3v.json"))])
    kinds = {t.kind for t in back.traces}
    assert {"same_file", "tensor_names", "total_bytes"} <= kinds
    assert one(back, "tensor_names").numbers["renames"] == {"vpm": "vison", "resampler": "projection"}
    assert one(back, "commit_order").shows == "shows.suspect_earlier"
