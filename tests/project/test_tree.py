"""Rules that hold for every file of the project."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.project.tree import ROOT, SOURCE, name, source_files, text_files

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60

# Written in pieces, so that this file does not break the rules it checks.
MACHINE_PATH = re.compile(r"(?<![\w.~\-/])/(" + "|".join(("tmp", "root", "home", "work", "Users")) + r")/\w")
INDEX_HOST = re.compile(
    "|".join(("py" + r"pi\.org", "pythonhosted" + r"\.org", "npmjs" + r"\.(org|com)", "/opt/" + "wheels"))
)
ACCUSATION = re.compile(
    r"\b(" + "|".join(("stol" + "en", "plagiari" + r"\w+", "thef" + "t", "guilt" + "y")) + r")\b", re.I
)


def matches(rule: re.Pattern[str], files: list[Path]) -> list[str]:
    return [
        f"{name(path)}:{number}: {line.strip()[:90]}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if rule.search(line)
    ]


def test_no_machine_paths() -> None:
    assert not matches(MACHINE_PATH, text_files())


def test_no_package_index_hosts() -> None:
    assert not matches(INDEX_HOST, text_files())


def test_the_package_never_accuses() -> None:
    shipped = [p for p in text_files() if p.is_relative_to(SOURCE)]
    assert not matches(ACCUSATION, shipped)


def test_files_and_functions_stay_small() -> None:
    too_long: list[str] = []
    for path in source_files():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MAX_FILE_LINES:
            too_long.append(f"{name(path)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    too_long.append(f"{name(path)}:{node.lineno} {node.name}: {length} lines")
    assert not too_long


def test_nothing_is_left_unfinished() -> None:
    marks = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b")
    assert not matches(marks, [p for p in text_files() if p.suffix in {".py", ".md", ".toml"}])


def test_every_room_has_tests() -> None:
    rooms = {p.parent.relative_to(SOURCE).parts[0] for p in source_files() if p.parent != SOURCE}
    untested = {room for room in rooms if not list((ROOT / "tests" / room).rglob("test_*.py"))}
    assert not untested
