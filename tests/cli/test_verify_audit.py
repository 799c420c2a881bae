"""``filiation verify`` and ``filiation render`` on the report of an audit."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filiation.cli import main
from tests.auditing import made
from tests.cli.conftest import Ran

Run = Callable[..., Ran]
Json = dict[str, Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two repositories and a corpus, and the report on them as a shell would have written it."""
    folder = tmp_path_factory.mktemp("home")
    suspect, reference = made.suspect(folder), made.reference(folder)
    against = ("--against", str(reference), str(made.corpus(folder)))
    words = ["audit", str(suspect), *against, "--no-corpus", "--json", str(folder / "audit.json"), "-q"]
    assert main(words) == 0
    return folder


@pytest.fixture
def stored(home: Path, tmp_path: Path) -> Path:
    """A copy of the report and its custody; the repositories stay where they are."""
    for name in ("audit.json", "audit.custody.json"):
        shutil.copy(home / name, tmp_path / name)
    return tmp_path / "audit.json"


def changed(file: Path, change: Callable[[Json], None]) -> Path:
    document = json.loads(file.read_text(encoding="utf-8"))
    change(document)
    file.write_text(json.dumps(document, sort_keys=True, ensure_ascii=False), encoding="utf-8")
    return file


def test_an_audit_that_comes_out_again_holds(run: Run, stored: Path) -> None:
    done = run("verify", stored)
    assert done.code == 0, done.err
    first, *rest = done.out.splitlines()
    assert first == "The report still holds: auditing again gives the same findings, rules and verdict."
    assert [line.split(":")[0] for line in rest] == ["Not checked"]
    assert "registry" in rest[0]


def test_it_is_said_in_chinese(run: Run, stored: Path) -> None:
    assert "报告仍然成立" in run("verify", stored, "--lang", "zh-CN").out


def test_repositories_may_have_moved(run: Run, home: Path, stored: Path, tmp_path: Path) -> None:
    suspect, reference = (tmp_path / f"moved-{n}" for n in ("Yours-1B", "Example-1B"))
    shutil.copytree(home / "Yours-1B", suspect)
    shutil.copytree(home / "Example-1B", reference)
    corpus = home / "transformers-0.1.npz.xz"
    done = run("verify", stored, "--suspect", suspect, "--against", reference, "--against", corpus, "--json")
    told = json.loads(done.out)
    assert (done.code, told["holds"], told["findings"]) == (0, True, []), told
    assert {c["record"] for c in told["circumstances"]} <= {"models.suspect", "models.references[0]"}


def test_a_repository_that_is_gone_is_named(run: Run, stored: Path, tmp_path: Path) -> None:
    changed(stored, lambda document: document["command"].update(repository=str(tmp_path / "gone")))
    done = run("verify", stored)
    assert done.code not in (0, 1)
    assert "gone" in done.err


def test_another_number_of_references_is_refused(run: Run, stored: Path) -> None:
    done = run("verify", stored, "--candidate", "elsewhere")
    assert done.code == 2
    assert "--candidate once for each" in done.err


@pytest.mark.parametrize("folder", ["Yours-1B", "Example-1B"])
def test_other_bytes_are_other_repositories(run: Run, home: Path, stored: Path, folder: str) -> None:
    path = home / folder / "README.md"
    before = path.read_bytes()
    path.write_bytes(before + b"\nMore.\n")
    done = run("verify", stored)
    path.write_bytes(before)
    assert done.code == 1
    assert done.out.startswith("The repositories are not the ones the report speaks of.")
    assert "README.md" in done.out


CHANGES: list[tuple[str, Callable[[Json], None]]] = [
    ("verdict", lambda d: d["verdict"].update(outcome="met")),
    ("rules", lambda d: d["rules"][0].update(status="missing")),
    ("a rule less", lambda d: d["rules"].pop()),
    ("claims", lambda d: d["claims"].pop()),
    ("traces", lambda d: d["traces"].pop()),
    ("tokenizer", lambda d: d["tokenizer"].update(relation="unrelated")),
    ("source", lambda d: d["source"].update(level="no_finding")),
    ("share", lambda d: d["source"]["files"][0].update(share=0.5)),
    ("evidence", lambda d: d["evidence"].pop()),
    ("parents", lambda d: d["parents"][0].update(licences=["mit"])),
    ("not examined", lambda d: d["not_examined"].append({"head": "x", "path": "y", "why": "z", "reference": None})),
    ("limits", lambda d: d["limits"].pop()),
    ("validation", lambda d: d.update(validation={"source": {}})),
    ("duties", lambda d: d["duties"].clear()),
    ("digest", lambda d: d["models"]["suspect"].update(digest="0" * 64)),
    ("hash", lambda d: d["models"]["suspect"]["files"][0].update(sha256="0" * 64)),
]  # fmt: skip


@pytest.mark.parametrize(("what", "change"), CHANGES, ids=[name for name, _ in CHANGES])
def test_whatever_is_changed_in_the_report_is_found(
    run: Run, stored: Path, what: str, change: Callable[[Json], None]
) -> None:
    before = stored.read_text(encoding="utf-8")
    changed(stored, change)
    if json.loads(before) == json.loads(stored.read_text(encoding="utf-8")):
        pytest.skip(f"nothing to change in {what}")
    done = run("verify", stored)
    assert done.code == 1, done.out + done.err


def test_evidence_is_looked_for_beside_the_report(run: Run, tmp_path: Path) -> None:
    suspect, report, file = made.suspect(tmp_path), tmp_path / "compare.json", tmp_path / "audit.json"
    models = {"suspect": {"files": []}, "candidates": [{"locator": "a/b", "name": "b"}]}
    verdicts = [{"candidate": 0, "relation": "common_origin", "derivation": []}]
    report.write_text(json.dumps({"models": models, "verdicts": verdicts}), encoding="utf-8")
    assert run("audit", suspect, "--evidence", report, "--no-corpus", "--json", file, "-q").code == 0
    done = run("verify", file)
    assert done.code == 0, done.out + done.err
    assert "the comparison given as evidence" in done.out
    moved = tmp_path / "other"
    moved.mkdir()
    shutil.move(report, moved / "compare.json")
    assert "--evidence" in run("verify", file).err
    assert run("verify", file, "--evidence", moved / "compare.json").code == 0
    (moved / "compare.json").write_text("{}", encoding="utf-8")
    assert "SHA-256" in run("verify", file, "--evidence", moved / "compare.json").err


def test_weights_that_were_only_listed_are_not_checked(run: Run, tmp_path: Path) -> None:
    suspect, file = made.suspect(tmp_path), tmp_path / "audit.json"
    with (suspect / "model.safetensors").open("wb") as weights:
        weights.truncate(200 << 20)
    assert run("audit", suspect, "--no-corpus", "--json", file, "-q").code == 0
    done = run("verify", file)
    assert done.code == 0, done.out + done.err
    assert "the bytes of 1 files that are known by their size only" in done.out


@pytest.mark.parametrize(
    "command", [{"name": "audit"}, {"name": "compare"}, {"name": "audit", "repository": "a\0b"}, {}]
)
def test_a_report_that_does_not_say_how_it_was_made(run: Run, stored: Path, command: Json) -> None:
    changed(stored, lambda document: document.update(command=command))
    done = run("verify", stored)
    assert done.code == 4
    assert "cannot be computed again" in done.err


def test_options_of_the_other_command_are_refused(run: Run, stored: Path) -> None:
    done = run("verify", stored, "--base", "x")
    assert done.code == 2
    assert "--base" in done.err


# Rendering a stored audit


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_custody_is_drawn_with_a_stored_audit(run: Run, stored: Path, tmp_path: Path, language: str) -> None:
    digest = json.loads((tmp_path / "audit.custody.json").read_text())["report_sha256"]
    page, text = tmp_path / "page.html", tmp_path / "page.md"
    assert run("render", stored, "--html", page, "--markdown", text, "--lang", language, "-q").code == 0
    assert digest in page.read_text(encoding="utf-8")
    assert digest in text.read_text(encoding="utf-8")


def test_the_custody_of_another_report_is_not_drawn(run: Run, stored: Path, tmp_path: Path) -> None:
    file = tmp_path / "audit.custody.json"
    record = json.loads(file.read_text())
    for text in (json.dumps(record | {"report_sha256": "0" * 64}), "{", "[]"):
        file.write_text(text)
        page = tmp_path / "page.html"
        assert run("render", stored, "--html", page, "-q").code == 0
        assert record["lock_sha256"] not in page.read_text(encoding="utf-8")


def test_counts_of_rules_are_those_of_the_json(run: Run, stored: Path, tmp_path: Path) -> None:
    """HTML, markdown and terminal may join rows; how many results there are, they all say alike."""
    counts = json.loads(stored.read_text(encoding="utf-8"))["verdict"]["rules"]
    page, text = tmp_path / "a.html", tmp_path / "a.md"
    done = run("render", stored, "--html", page, "--markdown", text)
    owed = counts.get("missing", 0) + counts.get("contradicted", 0)
    wanted = {"Missing or contradicted": owed, "Cannot be told": counts["cannot_tell"]}
    wanted |= {"Satisfied": counts["satisfied"], "Rules that do not apply here": counts["not_applicable"]}
    for output in (page.read_text(encoding="utf-8"), text.read_text(encoding="utf-8"), done.out):
        told = {label: re.search(rf"{label} \((\d+)\)", output) for label in wanted}
        assert {label: int(m.group(1)) for label, m in told.items() if m} == {
            k: v for k, v in wanted.items() if v
        }


BROKEN = "class Old(nn.Module:\n    def f(self, x):\n        print 'x'\n" + "\n".join(
    f"def g{n}(a, b):\n    return [a.x{n} * c + {n} for c in b if c > a]\n" for n in range(20)
)


def test_an_audit_made_with_an_extra_that_is_missing_here_is_not_called_wrong(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken syntax is read with the extra ``code``; without it other things come out, and that is no difference."""
    suspect = tmp_path / "old"
    suspect.mkdir()
    (suspect / "modeling_old.py").write_text(BROKEN, encoding="utf-8")
    report = tmp_path / "old.json"
    assert main(["audit", str(suspect), "--no-corpus", "--json", str(report), "-q"]) == 0
    assert run("verify", report).code == 0
    monkeypatch.delitem(sys.modules, "filiation.source.repair")
    monkeypatch.setitem(sys.modules, "tree_sitter_python", None)
    monkeypatch.setattr("filiation.cli.verify_audit.find_spec", lambda name: None)
    done = run("verify", report)
    assert done.code not in (0, 1)
    assert "tree-sitter-python" in done.err
    assert not done.out
