"""The commands and snippets of a page, run as they stand there, in a folder that holds `examples/` and nothing else.

A comment before a code block says what it is:

    <!-- run -->                  commands after `$ `, with what they print
    <!-- run: exit=4 head=20 -->  the exit code, and how many lines are shown; `start=` is the first line shown,
                                  and what follows a line that begins with `end=` is left out
    <!-- run: hide -->            run, but the page shows no output
    <!-- python -->               a snippet, run by Python
    <!-- output -->               what the snippet before it printed
    <!-- file: NAME -->           a file to write first
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from docs._generate.pages import ROOT

_BLOCK = re.compile(r"^<!-- (run|python|output|file)(?:: ([^>]*))? -->\n```\w*\n(.*?)^```$", re.M | re.S)
_KEPT = ("filiation", "cat", "echo", "ls")


@dataclass(frozen=True)
class Block:
    """One marked code block: its kind, its options, its text, and where the text stands in the page."""

    kind: str
    options: Mapping[str, str]
    body: str
    start: int
    stop: int


@dataclass
class Done:
    """What a command gave."""

    code: int
    output: str


@dataclass
class Run:
    """A page being run: the folder, and what the last command and snippet gave."""

    folder: Path
    code: int = 0
    printed: str = ""
    problems: list[str] = field(default_factory=list[str])


def blocks(text: str) -> Iterator[Block]:
    """Yield the marked blocks of a page."""
    for match in _BLOCK.finditer(text):
        words = shlex.split(match[2] or "")
        options = {w.partition("=")[0]: w.partition("=")[2] for w in words}
        yield Block(match[1], options, match[3], match.start(3), match.end(3))


def rerun(text: str, folder: Path) -> tuple[str, list[str]]:
    """Run a page and return it with what was printed now, and what went wrong."""
    (folder / "examples").symlink_to(ROOT / "examples", target_is_directory=True)
    run, out, last = Run(folder), "", 0
    for block in blocks(text):
        out += text[last : block.start] + _done(run, block)
        last = block.stop
    return out + text[last:], run.problems


def _done(run: Run, block: Block) -> str:
    if block.kind == "file":
        path = run.folder / next(iter(block.options))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.body, encoding="utf-8")
        return block.body
    if block.kind == "python":
        done = _execute([sys.executable, "-c", block.body], run.folder)
        run.printed = done.output
        if done.code:
            run.problems.append(f"a snippet ends with {done.code}:\n{block.body}\n{done.output}")
        return block.body
    return run.printed if block.kind == "output" else _commands(run, block)


def _commands(run: Run, block: Block) -> str:
    """Run the commands of a block; return the block with what they print."""
    shown: list[str] = []
    for line in re.findall(r"^\$ (?:.*\\\n)*.*\n", block.body, re.M):
        command = line.removeprefix("$ ").replace("\\\n", " ").strip()
        if command == "echo $?":
            shown += [line, f"{run.code}\n"]
            continue
        if command.split()[0] not in _KEPT:
            run.problems.append(f"not a command that is run: {command}")
            continue
        done = _filiation(command, run.folder)
        run.code = done.code
        wanted = int(block.options.get("exit", "0"))
        if done.code != wanted:
            run.problems.append(f"{command}: exit code {done.code}, not {wanted}\n{done.output}")
        try:
            shown += [line, "" if "hide" in block.options else _cut(done.output, block.options)]
        except LookupError as error:
            run.problems.append(f"{command}: {error}")
            shown += [line]
    return "".join(shown)


def _filiation(command: str, folder: Path) -> Done:
    words = shlex.split(command)
    own = {path.name for path in folder.iterdir()} - {"examples"}
    writes = re.search(r" --(json|html|markdown|out|policy)\b", command)
    if words[0] == "filiation" and not writes and not own & {w.partition("/")[0] for w in words}:
        return _anywhere(tuple(words))
    return _execute(_program(words), folder)


@cache
def _anywhere(words: tuple[str, ...]) -> Done:
    """Run a command that reads the examples only: its outcome is the same from every page."""
    return _execute(_program(words), ROOT)


def _program(words: list[str] | tuple[str, ...]) -> list[str]:
    if words[0] == "filiation":
        return [sys.executable, "-m", "filiation.cli", *words[1:]]
    return [shutil.which(words[0]) or words[0], *words[1:]]


def _execute(words: list[str], folder: Path) -> Done:
    env = os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    env["PYTHONPATH"] = str(folder)
    done = subprocess.run(
        words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    lines = [line.rstrip() for line in done.stdout.strip("\n").splitlines()]
    return Done(done.returncode, "\n".join(line for line in lines if not line.startswith("hint:")) + "\n")


def _cut(output: str, options: Mapping[str, str]) -> str:
    """Return the lines that the page wants.

    Raises:
        LookupError: a line that the page names is not there.
    """
    lines = output.splitlines()
    if "start" in options:
        lines = lines[_line(lines, options["start"]) :]
    if "end" in options:
        lines = lines[: 1 + _line(lines[1:], options["end"])]
    cut = lines[: int(options.get("head", len(lines)))]
    while cut and not cut[-1]:
        cut.pop()
    more = ["..."] if "head" in options and len(cut) < len(lines) else []
    return "\n".join([*cut, *more]) + "\n"


def _line(lines: list[str], wanted: str) -> int:
    """Return the number of the line that is this, or of the first that begins so."""
    found = [i for i, line in enumerate(lines) if line.strip() == wanted]
    found += [i for i, line in enumerate(lines) if line.strip().startswith(wanted)]
    if not found:
        raise LookupError(f"no line begins with {wanted!r} in what was printed")
    return found[0]
