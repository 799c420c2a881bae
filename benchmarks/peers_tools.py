"""The tools that are asked: how each is installed, started and read. Documented settings, nothing tuned."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RELATED, APART, ABSTAINS, CANNOT = "related", "apart", "abstains", "cannot test"
#: The answer of a method whose paper documents no threshold: a score, and no verdict of its own.
UNJUDGED = "no threshold"


@dataclass(frozen=True)
class Answer:
    """What a tool said of a pair.

    Attributes:
        answer: one of the five words of this module.
        score: what the tool ranks by; larger is closer.
        reason: why it could not test, where it says so.
        beside: a second number of the same output, None where there is none.
    """

    answer: str
    score: float | None = None
    reason: str = ""
    beside: float | None = None


Reader = Callable[[str, int], Answer]


@dataclass(frozen=True)
class Peer:
    """A tool: what installs it, its program, how its output is read (text and exit status), its threshold in words.

    Attributes:
        before: the arguments before suspect and candidate.
        after: those after them.
        beside: what the second number of its answers is, and from which value on it would read "related".
    """

    name: str
    package: str
    program: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    read: Reader
    threshold: str
    python: tuple[int, int] | None = None
    beside: tuple[str, float] | None = None


def json_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object of an output that may begin with talk."""
    start = text.find("{")
    try:
        return json.loads(text[start:]) if start >= 0 else None
    except json.JSONDecodeError:
        return None


def read_modeldna(text: str, code: int) -> Answer:
    """Read `modeldna compare --json`."""
    found = json_object(text)
    if found is None or code:
        return Answer(CANNOT, reason="no answer")
    verdict = found["verdict"]
    word, score = str(verdict["verdict"]), verdict["probability"]
    if word == "INSUFFICIENT":
        return Answer(CANNOT, score, "says it has too little to go by")
    if word == "SAME_FAMILY_UNRESOLVED":
        return Answer(ABSTAINS, score)
    if word == "NO_MATCH":
        # Its note says when no candidate had a compatible structure: nothing was tested then.
        structure = any("compatible structure" in str(note) for note in verdict.get("notes", []))
        return Answer(CANNOT, score, "no compatible structure") if structure else Answer(APART, score)
    return Answer(RELATED, score)


def read_cisco(text: str, code: int) -> Answer:
    """Read `provenancekit compare --json`."""
    found = json_object(text)
    if found is None or code:
        return Answer(CANNOT, reason="no answer")
    scores = found["scores"]
    # Its decision is made at its own thresholds: over 0.75, and over 0.65 for "Weak Match".
    answers = {"Confirmed Match": RELATED, "High-Confidence Match": RELATED, "Weak Match": ABSTAINS}
    identity = scores.get("identity_score")
    return Answer(
        answers.get(str(scores["provenance_decision"]), APART),
        float(scores["pipeline_score"]),
        beside=None if identity is None else float(identity),
    )


def read_weightscope(text: str, code: int) -> Answer:
    """Read the table of `weightscope lineage`."""
    verdict = re.search(r"^\| 1 \|.*?\| ([\d.]+)% \|.*`(\w+)` \|$", text, re.M)
    if verdict is None or code:
        return Answer(CANNOT, reason="no answer")
    score, word = float(verdict[1]), verdict[2]
    if word in ("architecture_mismatch", "failed"):
        return Answer(CANNOT, reason=word)
    return Answer(APART if word == "independent" else RELATED, score)


def read_filiation(text: str, code: int) -> Answer:
    """Read `filiation compare --json`: one origin of all or of named parts is "related", a hint is not."""
    found = json_object(text)
    if found is None or code or "verdict" not in found:
        error = (found or {}).get("error", {})
        return Answer(CANNOT, reason=str(error.get("code", "no answer")))
    verdict = found["verdict"]
    relation = str(verdict["relation"])
    if relation == "cannot_test":
        return Answer(CANNOT, reason=str(verdict.get("reason") or ""))
    related = ("common_origin", "identical", "shared_parts")
    partly = ("suggestive", "shared_initialisation")
    word = RELATED if relation in related else ABSTAINS if relation in partly else APART
    # A verdict without a bound on chance ranks below every one that has one.
    return Answer(word, float(verdict.get("log10_e") or 0.0), reason=relation)


PEERS = (
    Peer(
        "modelDNA 0.1.0",
        "modeldna==0.1.0",
        "modeldna",
        ("compare",),
        ("--json",),
        read_modeldna,
        "probability from 0.9; 0.5 to 0.9 abstains",
    ),
    Peer(
        "cisco-ai-provenance-kit 1.0.0",
        "cisco-ai-provenance-kit==1.0.0",
        "provenancekit",
        ("compare",),
        ("--json", "--no-cache"),
        read_cisco,
        "score over 0.75; 0.65 to 0.75 abstains",
        python=(3, 12),
        beside=("its identity score without the gate", 0.75),
    ),
    Peer(
        "weightscope 0.4.3",
        "weightscope==0.4.3",
        "weightscope",
        ("lineage",),
        (),
        read_weightscope,
        "its word for the pair",
    ),
)


def pythons(version: tuple[int, int]) -> Iterator[str]:
    """Yield interpreters that may have a version: on the path, under pyenv, known to uv."""
    number = f"{version[0]}.{version[1]}"
    if found := shutil.which(f"python{number}"):
        yield found
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(map(str, root.glob(f"versions/{number}*/bin/python{number}")), reverse=True)
    if uv := shutil.which("uv"):
        told = subprocess.run([uv, "python", "find", number], check=False, capture_output=True, text=True)
        if told.returncode == 0:
            yield told.stdout.strip()


def python_for(version: tuple[int, int] | None) -> str | None:
    """Return an interpreter that runs and has the version, this one for None; None where there is none."""
    if version is None or sys.version_info[:2] == version:
        return sys.executable
    ask = f"import sys; sys.exit(sys.version_info[:2] != {version})"
    for python in pythons(version):
        # pyenv puts programs on the path that only say that the version is not chosen.
        if subprocess.run([python, "-c", ask], check=False, capture_output=True).returncode == 0:
            return python
    return None


def installed(peer: Peer, folder: Path) -> Path | str:
    """Return the tool's program, installing it where that is possible, or why it is not run."""
    home = folder / re.sub(r"\W+", "-", peer.package)
    program = home / "bin" / peer.program
    if program.exists():
        return program
    python = python_for(peer.python)
    if python is None:
        return "it needs Python {}.{}, and none was found".format(*peer.python or (3, 0))
    if subprocess.run([python, "-m", "venv", str(home)], check=False, capture_output=True).returncode:
        return "no environment could be made for it"
    pip = [str(home / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", peer.package]
    done = subprocess.run(pip, check=False, capture_output=True)
    return program if done.returncode == 0 and program.exists() else "it could not be installed"
