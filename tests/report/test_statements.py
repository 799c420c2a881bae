"""A report says one thing: no bound on what is no finding, no inheritance where contents differ, commands that run."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.evidence import Derivation, FileRecord, Relation, Report, plain
from filiation.report import html, markdown, terminal
from filiation.report.command import command_line, quoted
from filiation.report.story import tell
from filiation.report.wording import LANGUAGES, phrases
from tests.report.samples import full_report, model, verdict_report

EN = phrases("en")
BASH = shutil.which("bash")


def suggestive(language: str = "en") -> str:
    report = verdict_report(
        Relation.SUGGESTIVE, log10_e=2013.0, reason="gains_only", scope=("language: layers 0-3, 7",)
    )
    return " ".join(terminal.render(report, phrases(language)).split())


def test_why_a_hint_is_no_finding_is_said_before_the_hint() -> None:
    text = suggestive()
    assert text.startswith(
        "Suggestive, not decisive Only the norm gains agree; they can be copied in seconds. The evidence for"
    )
    assert text.count("Only the norm gains agree") == 1
    assert "Labels agree in layers 0–3, 7" in text
    assert "Speaks of" not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_bound_is_named_for_a_hint(language: str) -> None:
    assert "10^-" not in suggestive(language).partition(phrases(language).say("ui", "suspect"))[0]
    assert "2,013" in suggestive(language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_traces_of_which_some_agree_are_not_said_to_differ(language: str) -> None:
    def sentence(reason: str) -> str:
        report = verdict_report(Relation.SHARED_INITIALISATION, reason=reason)
        return tell(report, phrases(language)).answers[0].sentence

    sentences = [sentence(r) for r in ("history_absent", "history_divided", "history_computes_apart")]
    assert len(set(sentences)) == 3
    difference = {"en": "what training leaves on constants does not", "zh-CN": "痕迹并不一致"}[language]
    assert [difference in s for s in sentences] == [True, False, False]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_hint_without_labels_is_not_said_to_rest_on_labels(language: str) -> None:
    said = phrases(language)
    meant = {
        bans: tell(verdict_report(Relation.SUGGESTIVE, log10_e=bans), said).answers[0].bound_meaning
        for bans in (-0.6, 3.1)
    }
    assert meant == {-0.6: said.say("bound", "suggestive_without"), 3.1: said.say("bound", "suggestive")}


@pytest.mark.parametrize("relation", [Relation.COMMON_ORIGIN, Relation.SHARED_PARTS])
@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "not rearranged or added to afterwards with probability at most"),
        ("zh-CN", "事后未经重新排列或添加的模型之间，出现"),
    ],
)
def test_the_opening_sentence_names_the_condition(relation: Relation, language: str, words: str) -> None:
    (answer,) = tell(verdict_report(relation), phrases(language)).answers
    assert words in answer.sentence


def test_what_can_be_copied_carries_no_verdict_by_itself() -> None:
    assert EN.say("limit", "copies_are_easy").endswith("None of them carries a verdict by itself.")


def grafted(share: float = 0.0) -> Report:
    """Labels agree in half of the layers, and the derivation names all as not from the candidate."""
    report = full_report(6, 0)
    step = Derivation("grafted", {"share": share, "foreign": [0, 1, 2, 4], "foreign_ffn": [3, 5]})
    return replace(report, verdict=replace(report.verdict, inherited_share=0.5, derivation=(step,)))


def test_layers_that_are_not_from_the_candidate_are_not_called_inherited() -> None:
    report = grafted()
    cells = tell(report, EN).inheritance
    assert {c.state for c in cells if c.layer is not None} == {"labels_agree", "not_found", "not_tested"}
    assert "inherited" in {c.state for c in tell(full_report(6, 0), EN).inheritance}
    for text in (terminal.render(report, EN), html.render(report, EN), markdown.render(report, EN)):
        flat = " ".join(text.replace("\u00a0", " ").split())
        assert "50 %" not in flat.partition("Suspect (")[0]
        assert "in 1 of them what the units hold was seen to agree too" in flat
    facts = dict(tell(report, EN).answers[0].facts)
    assert facts[EN.say("ui", "inherited_share")] == "0\u00a0%"


def with_cosine(cosine: float | None) -> Report:
    report = full_report(6, 0)
    rows: list[dict[str, Any]] = [
        {**row, "cosine": cosine} for row in report.extra["inheritance"] if row["state"] == "inherited"
    ]
    return replace(report, extra={**report.extra, "inheritance": rows})


@pytest.mark.parametrize(
    ("cosine", "state"), [(0.93, "inherited"), (0.1, "labels_agree"), (None, "labels_agree")]
)
def test_a_part_is_inherited_only_where_its_contents_agree_too(cosine: float | None, state: str) -> None:
    report = with_cosine(cosine)
    assert {c.state for c in tell(report, EN).inheritance} == {state}
    page = html.render(report, EN)
    assert f'class="state {state}"' in page
    assert EN.name("state", state) in page


def test_a_step_says_of_how_many_tensors_it_speaks() -> None:
    report = full_report(6, 0)
    step = Derivation(
        "fine_tuned", {"median_relative_delta": 0.01, "tensors_changed": 20, "tensors_equal": 3}
    )
    changed = replace(report, verdict=replace(report.verdict, derivation=(step,)))
    assert "This speaks of 23 of the suspect's 57 tensors." in " ".join(terminal.render(changed, EN).split())
    many = replace(step, numbers={"tensors_changed": 400})
    changed = replace(report, verdict=replace(report.verdict, derivation=(many,)))
    assert "This speaks of 400 tensors." in " ".join(terminal.render(changed, EN).split())


def named(suspect: str, *candidates: str, **options: object) -> Report:
    command = {"name": "compare", "suspect": suspect, "candidates": list(candidates), **options}
    return replace(full_report(6, 0), command=command)


def test_names_that_look_like_options_stand_behind_two_dashes() -> None:
    assert command_line(named("--odd", "base")) == "filiation compare -- --odd base"
    assert (
        command_line(named("S", "-b", full=True, base="-x")) == "filiation compare --full --base=-x -- S -b"
    )
    assert command_line(named("S", "C", budget=9)) == "filiation compare S C --budget 9"


@pytest.mark.skipif(BASH is None, reason="needs bash")
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_a_shell_reads_every_name_as_it_was_given(name: str) -> None:
    assert BASH is not None
    written = quoted(name)
    assert "\n" not in written
    assert "`" not in written
    command = f"printf %s {written}".encode()
    assert subprocess.run([BASH, "-c", command], capture_output=True, check=True).stdout == name.encode()


def test_copies_of_a_candidate_are_counted_once_in_words_too() -> None:
    whole = (FileRecord("model.safetensors", 9, sha256="5d" * 32),)
    report = verdict_report(Relation.COMMON_ORIGIN)
    candidates = [model("a", 8, "3f", files=whole), model("b", 8, "3f", files=whole), model("c", 8, "4f")]
    other = replace(report.verdict, candidate=1)
    several = replace(
        report,
        models={"suspect": model("child", 8, "a7"), "candidates": candidates},
        extra={"verdicts": [plain(report.verdict), plain(other)]},
    )
    text = " ".join(terminal.render(several, EN).split())
    assert "The strongest of 3 candidates; those with the same files count once, which leaves 2." in text
    assert "The same files as Candidate 1" in text
