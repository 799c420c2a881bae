"""``filiation audit`` and ``filiation corpus`` as a shell calls them: outputs, exit codes, policy, and bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from filiation.cli.audit import TAKE_A_WORD, command, with_every_reference
from filiation.cli.audit_policy import CONDITIONS, RULES, TOKENIZER, TRACES
from tests.auditing import made
from tests.cli.conftest import Ran

Run = Callable[..., Ran]


def call(*words: object, cwd: Path | None = None, timeout: int = 120) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own, without the ten seconds that indexing the shipped corpus takes."""
    known = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "80", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "filiation.cli", "audit", *map(str, words), "--no-corpus"],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=known,
        timeout=timeout,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """The report on standard output; nothing may have gone wrong."""
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def reasons(document: dict[str, object]) -> dict[str, str]:
    left = document["not_examined"]
    assert isinstance(left, list)
    return {each["path"]: each["why"] for each in left}


# What the command offers


def test_every_output_is_written_with_custody_beside_the_json(run: Run, tmp_path: Path) -> None:
    suspect, reference = made.suspect(tmp_path), made.reference(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    names = {
        "json": "a.json",
        "html": "a.html",
        "markdown": "a.md",
        "sarif": "a.sarif",
        "cyclonedx": "a.cdx.json",
    }
    words = [
        word for flag, name in (names | {"spdx": "a.spdx.json"}).items() for word in (f"--{flag}", out / name)
    ]
    done = run(
        "audit", suspect, "--against", reference, made.corpus(tmp_path), *words, "--no-corpus", "--quiet"
    )
    assert done.code == 0, done.err
    assert done.out == "owed\n"
    assert done.err == ""
    assert {p.name for p in out.iterdir()} == {*names.values(), "a.spdx.json", "a.custody.json"}
    custody = json.loads((out / "a.custody.json").read_text())
    assert [i["name"] for i in custody["inputs"]] == ["Example-1B", "Yours-1B"]
    assert 'class="equal"' in (out / "a.html").read_text(encoding="utf-8")


def test_json_on_standard_output_is_the_canonical_report(tmp_path: Path) -> None:
    suspect = made.suspect(tmp_path)
    first, second = call(suspect, "--json"), call(suspect, "--json")
    assert first.stdout == second.stdout
    assert told(first)["schema"] == "https://filiation.org/schema/audit/1"


def test_a_stored_audit_is_drawn_again(run: Run, tmp_path: Path) -> None:
    stored = tmp_path / "a.json"
    assert run("audit", made.suspect(tmp_path), "--no-corpus", "--json", stored, "-q").code == 0
    before = stored.read_bytes()
    done = run("render", stored, "--html", tmp_path / "a.html", "--lang", "zh-CN")
    assert done.code == 0, done.err
    assert "声明与义务" in done.out
    assert (tmp_path / "a.html").is_file()
    assert stored.read_bytes() == before


def test_the_schema_of_an_audit_is_printed(run: Run) -> None:
    from filiation.auditing import audit_schema

    assert json.loads(run("schema", "--of", "audit").out) == audit_schema()
    assert json.loads(run("schema").out)["$id"].endswith("report/1")


def test_the_patch_alone_is_on_standard_output_and_applies(tmp_path: Path) -> None:
    suspect = made.suspect(tmp_path)
    done = call(suspect, "--parent", "meta-llama/Meta-Llama-3-8B", "--fix")
    assert done.returncode == 0
    assert done.stdout.startswith("--- ")
    assert "Llama 3" in done.stderr
    subprocess.run(["git", "init", "-q"], cwd=suspect, check=True)
    subprocess.run(["git", "apply", "-"], cwd=suspect, input=done.stdout, text=True, check=True)
    again = json.loads(call(suspect, "--parent", "meta-llama/Meta-Llama-3-8B", "--json").stdout)
    first = json.loads(
        call(made.suspect(tmp_path / "2"), "--parent", "meta-llama/Meta-Llama-3-8B", "--json").stdout
    )
    owed = [sum(r["status"] in ("missing", "contradicted") for r in d["rules"]) for d in (again, first)]
    assert owed[0] < owed[1]


def test_nothing_is_written_into_the_repository_that_is_audited(run: Run, tmp_path: Path) -> None:
    suspect = made.suspect(tmp_path)
    before = sorted(p.name for p in suspect.iterdir())
    done = run("audit", suspect, "--html", suspect / "a.html", "--no-corpus")
    assert done.code == 2
    assert run("audit", suspect, "--no-corpus", "-q").code == 0
    assert sorted(p.name for p in suspect.iterdir()) == before


# How the call is read


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("R --against A B", "R --against=A --against=B"),
        ("--against A B R", "--against=A --against=B R"),
        ("--against A --html h R", "--against=A --html h R"),
        ("--html h --against A R", "--html h --against=A R"),
        ("--json o.json --against A R", "--json o.json --against=A R"),
        ("R --against A --against B -q", "R --against=A --against=B -q"),
        ("R --against=A B", "R --against=A B"),
        ("R --against", "R --against"),
        ("R", "R"),
    ],
)
def test_against_takes_several_words_and_leaves_one_for_the_repository(words: str, wanted: str) -> None:
    assert with_every_reference(words.split()) == wanted.split()


def test_the_lists_of_the_command_are_those_of_the_wings() -> None:
    from filiation.disclosure.rules import RULES as REGISTERED
    from filiation.source import Level
    from filiation.tokenizer import TokenizerRelation
    from filiation.traces import KINDS

    taking = {o for p in command.params if isinstance(p, click.Option) and not p.is_flag for o in p.opts}
    assert {o for o in taking if o.startswith("--")} - {"--against", "--json"} == TAKE_A_WORD
    assert tuple(REGISTERED) == RULES
    assert {t.replace("-", "_") for t in TRACES} <= set(KINDS)
    assert {level.replace("_", "-") for level in Level} - {"no-finding"} <= set(CONDITIONS)
    assert {t.removeprefix("tokenizer-") for t in TOKENIZER} < set(TokenizerRelation)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "Missing argument"),
        (("R", "--fail-if", "nonsense"), 2, "no condition 'nonsense'"),
        (("R", "--fix", "--json"), 2, "standard output"),
        (("R", "--lang", "xx"), 2, "xx"),
        (("nothing-here",), 4, "nothing-here"),
        (("R", "--against", "no/such/place"), 4, "no/such/place"),
        (("R", "--policy", "nowhere.toml"), 4, "policy"),
        (("R", "--evidence", "nowhere.json"), 4, "could not be read"),
        (("R", "--html", "R/x.html"), 2, "folder of an input"),
        (("R", "--html", "same", "--sarif", "same"), 2, "same file name"),
    ],
)
def test_wrong_calls_are_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, said: str
) -> None:
    made.suspect(tmp_path).rename(tmp_path / "R")
    monkeypatch.chdir(tmp_path)
    done = run("audit", *words, "--no-corpus")
    assert (done.code, said in done.err) == (code, True), done.err


# Policy


@pytest.fixture
def judged(run: Run, tmp_path: Path) -> Callable[..., Ran]:
    suspect, reference = made.suspect(tmp_path), made.reference(tmp_path)
    corpus = made.corpus(tmp_path)

    def judge(policy: str, *words: object) -> Ran:
        file = tmp_path / "policy.toml"
        file.write_text(policy, encoding="utf-8")
        return run(
            "audit", suspect, "--against", reference, corpus, "--policy", file, "--no-corpus", "-q", *words
        )

    return judge


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ("[audit]", 0),
        ('[audit]\nfail_if = ["identical", "L8", "notices-removed", "contradicted", "compiled-leftover"]', 0),
        ('[audit]\nfail_if = ["same-after-renaming"]', 1),
        ('[audit]\nfail_if = ["same_file"]', 1),
        ('[audit]\nfail_if = ["tokenizer-same"]', 1),
        ('[audit]\nfail_if = ["owed"]', 1),
        ('[audit]\nfail_if = ["owed"]\nignore = ["D3", "L1", "L6", "D4", "L7"]', 0),
        ('[audit]\nfail_if = ["inconclusive"]', 3),
        ('[audit]\nfail_if = ["inconclusive", "owed"]', 1),
        ("[audit]\nmax_owed = 0", 1),
        ("[audit]\nmax_owed = 50", 0),
        ('[policy]\nfail_if = ["common-origin"]', 2),
        ('[audit]\nfail_if = ["nonsense"]', 2),
        ("[audit]\nmax_owed = -1", 2),
        ("[audit]\nmax_owed = true", 2),
        ("[audit]\nmost = 3", 2),
        ('[audit]\nignore = "L1"', 2),
        ("[audit", 2),
    ],
)
def test_the_policy_is_an_exit_code(judged: Callable[..., Ran], policy: str, code: int) -> None:
    done = judged(policy)
    assert done.code == code, done.err


def test_a_violation_is_told_with_its_rule_and_reason(run: Run, tmp_path: Path) -> None:
    done = run("audit", made.suspect(tmp_path), "--no-corpus", "--fail-if", "L1")
    assert done.code == 1
    assert "Policy not met: L1 (missing)" in done.err


def test_lost_copyright_lines_can_fail_a_build(run: Run, tmp_path: Path) -> None:
    from tests.source.examples import HEAD, YOURS

    suspect = made.suspect(tmp_path, modeling_yours__py=YOURS.removeprefix(HEAD))
    words = ("--against", made.reference(tmp_path), made.corpus(tmp_path), "--no-corpus", "-q")
    assert run("audit", suspect, *words, "--fail-if", "notices-removed").code == 1


# Bad input: a clear message or a note, nothing executed, nothing lost


MINE = "import pathlib\npathlib.Path(__file__).with_name('RAN').write_text('')\n"


def test_what_cannot_be_read_is_left_out_and_said_and_the_rest_is_examined(tmp_path: Path) -> None:
    from tests.source.examples import YOURS

    suspect = made.suspect(
        tmp_path,
        latin__py=b"# caf\xe9 \xff\n" + YOURS.encode(),
        zeros__py=b"\0" * 4000,
        broken__py="class A(:\n    def f(self)\n        return [1, 2\n" * 30,
        generated__py="x = [" + "1," * 200_000 + "]\n",
        deep__py="x = " + "(" * 3000 + ")" * 3000 + "\n",
        notes__ipynb=json.dumps({"cells": []}),
        setup__py=MINE * 40,
        config__json=b"\xff\xfe{",
        tokenizer__json="{" * 50_000,
        card__bin=b"\x80\x04c",
    )
    os.symlink(suspect, suspect / "loop")
    os.symlink("itself", suspect / "itself")
    os.symlink("/etc/passwd", suspect / "away.txt")
    os.mkfifo(suspect / "pipe.py")
    document = told(call(suspect, "--json"))
    why = reasons(document)
    assert why["loop"] == "note.folder_link"
    assert {"itself", "away.txt", "pipe.py"} <= set(why)
    assert "notes.ipynb" in why
    assert {"zeros.py", "broken.py", "deep.py"} <= set(why)
    source = document["source"]
    assert isinstance(source, dict)
    assert {f["file"] for f in source["files"]} >= {"latin.py", "modeling_yours.py"}
    assert not (suspect / "RAN").exists()
    assert "root:" not in json.dumps(document)


def test_an_archive_that_would_burst_is_bounded(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.md", made.CARD)
        archive.writestr("../out.py", MINE)
        for n in range(3):
            archive.writestr(f"zeros{n}.json", b"0" * (90 << 20))
    assert bomb.stat().st_size < 1 << 20
    why = reasons(told(call(bomb, "--json")))
    assert [why[f"zeros{n}.json"] for n in range(3)] == ["not_read.too_large"] * 3
    assert "note.unsafe_name" in why.values()


YAML_BOMB = "---\na: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("card", "outcome"),
    [
        ("# No front matter\n\nBased on nothing.\n", None),
        ("---\nlicense: mit\nnever closed\n", "front_matter_not_closed"),
        (f"{YAML_BOMB}license: mit\nbase_model: *i\n---\n", "yaml_alias"),
        ("---\nlicense: !!python/object/apply:os.system ['touch RAN']\n---\n", None),
        ("---\nlicense: [unclosed\nbase_model: a/b\n---\n", "yaml_broken"),
        ("---\n" + "a:\n" * 0 + "k: " + "[" * 5000 + "\n---\n", "yaml"),
        (b"---\nlicense: mit\nbase_model: caf\xe9/x\n---\n", None),
        ("", None),
    ],
)
def test_a_card_is_read_as_far_as_it_can_be(
    card: str | bytes, outcome: str | None, run: Run, tmp_path: Path
) -> None:
    suspect = made.suspect(tmp_path, README__md=card)
    done = run("audit", suspect, "--no-corpus", "--json")
    assert done.code == 0, done.err
    problems = [c["text"] for c in json.loads(done.out)["claims"] if c["subject"] == "card_problem"]
    assert bool(problems) == (outcome is not None)
    assert all(outcome in problem for problem in problems)  # type: ignore[operator]
    assert not list(tmp_path.rglob("RAN"))
    assert not Path("RAN").exists()


def test_contradictory_claims_stand_beside_one_another(run: Run, tmp_path: Path) -> None:
    suspect = made.suspect(
        tmp_path,
        README__md="---\nlicense: mit\nbase_model: mistralai/Mistral-7B-v0.1\n---\n# X\n\nBuilt from Qwen2.5-7B.\n",
        LICENSE="Apache License, Version 2.0",
        adapter_config__json=json.dumps({"base_model_name_or_path": "google/gemma-2b", "peft_type": "LORA"}),
    )
    document = json.loads(run("audit", suspect, "--no-corpus", "--json").out)
    said = {c["text"] for c in document["claims"]}
    assert {"mistralai/Mistral-7B-v0.1", "google/gemma-2b", "mit"} <= said
    assert {"mistralai/Mistral-7B-v0.1", "google/gemma-2b"} <= {p["name"] for p in document["parents"]}


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("empty", None, 4),
        ("cut.zip", b"PK\x03\x04cut", 4),
        ("cut.tar.gz", b"\x1f\x8b\x08\0cut", 4),
        ("facts.json", b'{"filiation_facts": 1, "files": 3}', 4),
        ("one.gguf", b"GGUF" + b"\xff" * 60, 0),
    ],
)
def test_odd_places_are_opened_or_refused_with_a_message(
    run: Run, tmp_path: Path, name: str, data: bytes | None, code: int
) -> None:
    place = tmp_path / name
    if data is None:
        place.mkdir()
    else:
        place.write_bytes(data)
    done = run("audit", place, "--no-corpus", "--json")
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    if code:
        assert json.loads(done.out)["error"]["next_step"]


# The corpus


def wheel(folder: Path) -> Path:
    path = folder / "transformers-0.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        from tests.source.examples import HEAD, MODEL, variant

        archive.writestr("transformers/models/example/modeling_example.py", HEAD + MODEL)
        for n in range(12):
            archive.writestr(f"transformers/models/v{n}/modeling_v{n}.py", variant(n))
        archive.writestr("transformers/__init__.py", MINE)
    return path


def test_a_corpus_is_built_and_used(run: Run, tmp_path: Path) -> None:
    packed = wheel(tmp_path)
    built = run("corpus", "build", packed, "--out", tmp_path / "corpus")
    assert built.code == 0, built.err
    file = Path(built.out.strip())
    assert file == tmp_path / "corpus" / "transformers-0.1.npz.xz"
    assert b"ExampleNorm(nn" not in file.read_bytes()
    again = run("corpus", "build", packed, "--out", tmp_path / "twice")
    assert Path(again.out.strip()).read_bytes() == file.read_bytes()
    done = run("audit", made.suspect(tmp_path), "--against", file, "--no-corpus", "--json")
    document = json.loads(done.out)
    assert document["source"]["level"] == "same_after_renaming"
    assert document["source"]["files"][0]["reference"] == "transformers 0.1"
    assert document["models"]["references"] == []
    assert not list(tmp_path.rglob("RAN"))


def test_a_wheel_that_is_not_the_pinned_one_or_none_is_refused(run: Run, tmp_path: Path) -> None:
    file = wheel(tmp_path)
    assert run("corpus", "build", file, "--sha256", "0" * 64, "--out", tmp_path).code == 4
    assert run("corpus", "build", file, "--sha256", "a", "--sha256", "b").code == 2
    other = tmp_path / "x.whl"
    other.write_bytes(b"no wheel")
    assert run("corpus", "build", other, "--out", tmp_path).code == 4
    assert run("corpus", "build", tmp_path / "missing.whl", "--out", tmp_path).code == 4
    assert not list(tmp_path.glob("*.npz.xz"))


def test_a_mistyped_path_beside_a_folder_asks_no_hub(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad").mkdir()
    done = run("audit", "bad/missing-path", "--no-corpus")
    assert done.code == 4
    assert "There is no folder or file bad/missing-path" in " ".join(done.err.split())


def test_a_folder_of_nothing_of_a_model_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"x")
    done = run("audit", tmp_path / "photos", "--no-corpus")
    assert done.code == 4
    assert "Nothing here is a model repository" in " ".join(done.err.split())


def test_the_name_is_known_where_it_is_given(run: Run, tmp_path: Path) -> None:
    suspect = made.suspect(tmp_path)

    def l4(*more: str) -> str:
        done = run("audit", suspect, "--no-corpus", "--parent", "meta-llama/Meta-Llama-3-8B", *more, "--json")
        return next(
            r["status"] for r in json.loads(done.out)["rules"] if r["id"] == "L4" and "Llama" in r["parent"]
        )

    assert [l4(), l4("--name", "Llama-3-Ours"), l4("--name", "Ours")] == [
        "cannot_tell",
        "satisfied",
        "missing",
    ]
