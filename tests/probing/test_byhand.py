"""A chat site asked by hand, held against models that are asked over HTTP: what can be said, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filiation.behaviour.prompts import cell_of
from filiation.errors import InputError, LogError, UsageError
from filiation.evidence import Outcome, ProbeRelation, to_json
from filiation.probing import Request, byhand, replay
from filiation.probing.battery import BY_HAND
from filiation.probing.records import ProbeReport
from filiation.report import renderer
from filiation.report.custody import custody, now
from filiation.report.wording import LANGUAGES, phrases
from tests.endpoint.adversary import Adversary, context_of
from tests.endpoint.behaviour import Behaviour
from tests.endpoint.laws import Floats, FunctionLaw, drawn
from tests.probing.test_walk import means, outcomes

MARK = re.compile(r"^\[\[(question|answer) \d+ [0-9a-f]{8}\]\]$")


def server(seed: int, temperature: float = 0.4) -> Adversary:
    """An endpoint whose law depends on the kind of prompt, as a model's does, or else on its words."""

    def logits(context: str) -> Floats:
        asked = context.removeprefix("user: ").partition("\nassistant:")[0]
        few = drawn("by hand", seed, cell_of(asked) or asked).dirichlet([0.15] * 12)
        return np.pad(np.log(few + 1e-9) / temperature, (0, 244), constant_values=-700.0)

    return Adversary(Behaviour(FunctionLaw(logits)), seed=seed)


def request(**asked: Any) -> Request:
    return Request(**{"url": "by hand", "model": "Nova Chat", "seed": 7, "pairs": 100, "prompts": 60} | asked)


def fill(path: Path, site: Adversary, most: int = 10_000) -> None:
    """Do what a person does: put each question to the site, and paste the answer, of some ten words, under its mark."""
    filled: list[str] = []
    question: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        filled.append(line)
        mark = MARK.match(line)
        if mark is None:
            question.append(line)
        elif mark[1] == "question":
            question = []
        elif most > 0:
            body = {"messages": [{"role": "user", "content": "\n".join(question).strip()}], "max_tokens": 10}
            made = site.generator.run(body, context_of(site.behaviour, body))
            filled.append(made.choices[0].text.strip().capitalize() + ".")
            most -= 1
    path.write_text("\n".join(filled), encoding="utf-8")


def judged(folder: Path, site: Adversary, asked: Request, *, most: int = 10_000) -> ProbeReport:
    sheet = folder / "sheet.txt"
    byhand.write_questions(asked, sheet, 5000)
    fill(sheet, site, most)
    return byhand.read_answers(asked, sheet, means(folder))


def test_a_site_that_answers_as_the_reference_does_is_associated_and_replayed(tmp_path: Path) -> None:
    with server(1) as site, server(1) as reference, server(2) as control:
        asked = request(reference=f"{reference.url}#lion", controls=(f"{control.url}#bear",), pairs=240)
        report = judged(tmp_path, site, asked)
        assert not site.seen  # nobody but the person asked it
        assert len(reference.seen) > 480
    found = outcomes(report)
    assert found["same_model"] is Outcome.SUPPORTED
    assert {name for name in found if name not in BY_HAND} == {"tokenizer", "output_layer", "distilled"}
    assert {t.reason for t in report.tests if t.name not in BY_HAND} == {"by_hand"}
    assert report.verdict.relation is ProbeRelation.ASSOCIATED  # texts alone: never more
    assert report.verdict.reasons == ("one_signal",)
    (tmp_path / "sheet.txt").unlink()  # the log holds it
    again = replay(tmp_path / "log.jsonl")
    assert to_json(again) == to_json(report)
    assert report.spent.by_role["suspect"] == 240 + 7 * 6


@pytest.mark.parametrize(("seed", "temperature"), [(3, 0.4), (1, 5.0)])
def test_a_difference_from_a_site_is_said_and_held_against_nobody(
    seed: int, temperature: float, tmp_path: Path
) -> None:
    # Another model, and the same one at another temperature: a person who typed cannot tell them apart.
    with server(seed, temperature) as site, server(1) as reference:
        asked = request(reference=f"{reference.url}#lion", tests=("same_model",))
        report = judged(tmp_path, site, asked)
    (test,) = report.tests
    assert (test.outcome, test.reason) == (Outcome.UNDECIDED, "settings_unknown")
    assert report.verdict.relation is ProbeRelation.NONE_FOUND
    for language in LANGUAGES:
        said = phrases(language)
        text = renderer("terminal", report.schema).render(report, said)
        assert said.say("behaviour", "settings_unknown")[:12] in text
        assert "--replay" in text


def test_a_parent_is_asked_what_the_site_was_asked(tmp_path: Path) -> None:
    with server(1) as site, server(1) as parent, server(2) as control:
        asked = request(parents=(f"{parent.url}#p",), controls=(f"{control.url}#c",), tests=("derived",))
        report = judged(tmp_path, site, asked)
        texts = [{json.dumps(s.body["messages"]) for s in each.seen[-60:]} for each in (parent, control)]
    assert outcomes(report)["derived"] is Outcome.SUPPORTED
    assert report.tests[0].figures["prompts"] == 60
    assert texts[0] == texts[1]
    assert report.verdict.relation is ProbeRelation.ASSOCIATED


def test_nobody_is_asked_what_the_sheet_leaves_open(tmp_path: Path) -> None:
    with server(1) as site, server(1) as reference:
        asked = request(reference=f"{reference.url}#lion", tests=("same_model",), pairs=60)
        report = judged(tmp_path, site, asked, most=30)
        test = report.tests[0]
        about_it = [s for s in reference.seen if s.body.get("max_tokens") == 12]
    assert test.figures["pairs"] == 30
    assert len(about_it) == 60
    assert test.requests == 90 + 30  # what was left open on the sheet was a request to the person
    assert report.spent.by_role["suspect"] == 30
    assert to_json(replay(tmp_path / "log.jsonl")) == to_json(report)


def test_private_items_are_put_to_the_site_and_the_controls(tmp_path: Path) -> None:
    items = tmp_path / "items.jsonl"
    rows = [{"question": f"Who lit lamp {n}?", "right": [f"keeper {n}"]} for n in range(12)]
    items.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    with server(1) as site, server(2) as control:
        asked = request(controls=(f"{control.url}#c",), items=str(items), tests=("exclusive_data",))
        report = judged(tmp_path, site, asked)
    assert report.tests[0].figures["items"] == 12
    assert report.tests[0].outcome is Outcome.UNDECIDED
    inputs = {entry.role for entry in custody(to_json(report), now(), now()).inputs}
    assert {"suspect", "control-1", "items", "log"} <= inputs
    items.write_text(items.read_text(encoding="utf-8").replace("lamp", "fire"), encoding="utf-8")
    with pytest.raises(InputError, match="not written from this file"):
        byhand.read_answers(asked, tmp_path / "sheet.txt", means(tmp_path / "x"))


def written(folder: Path, **asked: Any) -> Path:
    sheet = folder / "written.txt"
    byhand.write_questions(request(**asked), sheet, 5000)
    return sheet


HERE = "http://127.0.0.1:9/v1#m"


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ({"reference": HERE}, {}, "needs --reference"),
        ({"parents": (HERE,), "controls": (HERE,)}, {"parents": (HERE,)}, "needs --control"),
        ({}, {"reference": HERE}, "no questions for 'same_model'"),
        ({"reference": HERE, "tests": ("identity",)}, {"reference": HERE}, "no questions for 'same_model'"),
        ({}, {"tests": ("tokenizer",)}, "cannot be asked by hand"),
    ],
)
def test_a_sheet_and_options_that_do_not_fit_are_refused_before_anything_is_sent(
    first: dict[str, Any], then: dict[str, Any], said: str, tmp_path: Path
) -> None:
    sheet = written(tmp_path, **first)
    with pytest.raises(UsageError) as raised:
        byhand.read_answers(request(**then), sheet, means(tmp_path))
    assert said in f"{raised.value.message} {raised.value.reason}"
    assert not (tmp_path / "log.jsonl").exists()


def test_a_sheet_without_questions_is_not_written(tmp_path: Path) -> None:
    for asked, most in (({"tests": ("same_model",)}, 5000), ({"tests": ("identity",)}, 3)):
        with pytest.raises(UsageError, match="No question"):
            byhand.write_questions(request(**asked), tmp_path / "sheet.txt", most)
    assert not (tmp_path / "sheet.txt").exists()


@pytest.mark.parametrize("line", ["", "[[sheet {}]]", '[[sheet {"seed": 7,]]'])
def test_a_sheet_that_no_longer_says_what_it_was_written_for_is_refused(line: str, tmp_path: Path) -> None:
    sheet = written(tmp_path)
    text = re.sub(r"^\[\[sheet .*$", lambda _: line, sheet.read_text(encoding="utf-8"), flags=re.MULTILINE)
    sheet.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="sheet"):
        byhand.read_answers(request(), sheet)


def test_a_log_whose_sheet_was_cut_out_is_no_log(tmp_path: Path) -> None:
    with server(1) as site, server(1) as reference:
        judged(tmp_path, site, request(reference=f"{reference.url}#m", tests=("same_model",), pairs=20))
    log = tmp_path / "log.jsonl"
    first, _, rest = log.read_text(encoding="utf-8").partition("\n")
    head = json.loads(first)
    for kept in ({"name": "sheet.txt"}, "gone", {**head["about"]["sheet"], "text": "no sheet"}):
        head["about"]["sheet"] = kept
        log.write_text(json.dumps(head) + "\n" + rest, encoding="utf-8")
        with pytest.raises((LogError, InputError)):
            replay(log)
