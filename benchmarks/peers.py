"""Other tools on the same pairs of a measured zoo, at their documented settings.

    PYTHONPATH=. .venv/bin/python benchmarks/peers.py ZOO MEASURED --out FOLDER

ZOO was made by `filiation lab breed`, MEASURED by `filiation lab measure`. modelDNA 0.1.0, cisco-ai-provenance-kit
1.0.0 (needs a Python 3.12) and weightscope 0.4.3 are installed from the package index into environments of their own.
What cannot be installed or found is "not run". A tool that says it cannot compare two models is counted apart from a
wrong answer; so is one that abstains.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filiation.lab.kin import Case, Category, Zoo
from filiation.lab.laws import Rate, auroc
from filiation.lab.measure import measure
from filiation.lab.tables import table

Answer = tuple[str, float | None]
RELATED, APART, ABSTAINS, CANNOT = "related", "apart", "abstains", "cannot test"
TIMEOUT = 120


@dataclass(frozen=True)
class Peer:
    """A tool: what installs it, its program, the arguments for a pair, and how its output is read."""

    name: str
    package: str
    program: str
    arguments: Callable[[str, str], list[str]]
    read: Callable[[str, int], Answer]
    python: str = "python3"


def _object(text: str) -> dict[str, Any] | None:
    """Return the JSON object of an output that may begin with talk."""
    start = text.find("{")
    try:
        return json.loads(text[start:]) if start >= 0 else None
    except json.JSONDecodeError:
        return None


def _modeldna(text: str, code: int) -> Answer:
    found = _object(text)
    if found is None or code:
        return CANNOT, None
    verdict = found["verdict"]
    word, score = str(verdict["verdict"]), verdict["probability"]
    if word in ("SAME_FAMILY_UNRESOLVED", "INSUFFICIENT"):
        return (ABSTAINS if word == "SAME_FAMILY_UNRESOLVED" else CANNOT), score
    if word == "NO_MATCH":
        # Its note says when no candidate had a compatible structure: nothing was tested then.
        structure = any("compatible structure" in str(note) for note in verdict.get("notes", []))
        return (CANNOT if structure else APART), score
    return RELATED, score


def _cisco(text: str, code: int) -> Answer:
    found = _object(text)
    if found is None or code:
        return CANNOT, None
    scores = found["scores"]
    # Its decision is made at its own thresholds: over 0.75, and over 0.65 for "Weak Match".
    decision = str(scores["provenance_decision"])
    answers = {"Confirmed Match": RELATED, "High-Confidence Match": RELATED, "Weak Match": ABSTAINS}
    return answers.get(decision, APART), float(scores["pipeline_score"])


def _weightscope(text: str, code: int) -> Answer:
    verdict = re.search(r"^\| 1 \|.*?\| ([\d.]+)% \|.*`(\w+)` \|$", text, re.M)
    if verdict is None or code:
        return CANNOT, None
    score, word = float(verdict[1]), verdict[2]
    if word in ("architecture_mismatch", "failed"):
        return CANNOT, None
    return (APART if word == "independent" else RELATED), score


PEERS = (
    Peer(
        "modelDNA 0.1.0", "modeldna==0.1.0", "modeldna", lambda s, c: ["compare", s, c, "--json"], _modeldna
    ),
    Peer(
        "cisco-ai-provenance-kit 1.0.0",
        "cisco-ai-provenance-kit==1.0.0",
        "provenancekit",
        lambda s, c: ["compare", s, c, "--json", "--no-cache"],
        _cisco,
        python="python3.12",
    ),
    Peer(
        "weightscope 0.4.3", "weightscope==0.4.3", "weightscope", lambda s, c: ["lineage", s, c], _weightscope
    ),
)


def installed(peer: Peer, folder: Path) -> Path | None:
    """Return the tool's program, installing it where that is possible."""
    home = folder / re.sub(r"\W+", "-", peer.package)
    program = home / "bin" / peer.program
    if program.exists():
        return program
    python = shutil.which(peer.python)
    if python is None or subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode:
        return None
    if subprocess.run([python, "-m", "venv", str(home)], check=False).returncode:
        return None
    done = subprocess.run([str(home / "bin" / "pip"), "install", "-q", peer.package], check=False)
    return program if done.returncode == 0 and program.exists() else None


def chosen(zoo: Zoo, each: int) -> list[Case]:
    """Return every child with what it was made from, everything quiet, and `each` independent pairs of one shape."""
    cases = zoo.cases()
    kept = [c for c in cases if c.category in (Category.DERIVED, Category.QUIET, Category.INITIALISATION)]
    apart = [c for c in cases if c.category is Category.INDEPENDENT and c.same_shape]
    drawn = sorted(apart, key=lambda c: hashlib.sha256(f"{c.suspect}/{c.candidates}".encode()).hexdigest())
    return [*kept, *drawn[:each]]


def sampled(cases: Sequence[Case], most: int) -> list[Case]:
    """Return at most `most` pairs, spread over the categories as they are."""
    if len(cases) <= most:
        return list(cases)
    return [cases[round(place * (len(cases) - 1) / (most - 1))] for place in range(most)]


def asked(peer: Peer, program: Path, zoo: Path, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Ask one tool about every pair."""
    rows: list[dict[str, Any]] = []
    for case in cases:
        command = [str(program), *peer.arguments(str(zoo / case.suspect), str(zoo / case.candidates[0]))]
        began = time.monotonic()
        try:
            with tempfile.TemporaryFile("w+") as errors:
                done = subprocess.run(
                    command, check=False, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=TIMEOUT
                )
            answer, score = peer.read(done.stdout, done.returncode)
        except subprocess.TimeoutExpired:
            answer, score = CANNOT, None
        rows.append(_row(case, answer, score, time.monotonic() - began))
    return rows


def _row(case: Case, answer: str, score: float | None, seconds: float) -> dict[str, Any]:
    return {
        "suspect": case.suspect,
        "candidate": case.candidates[0],
        "category": str(case.category),
        "kinds": list(case.kinds),
        "parts": case.expected.relations == ("shared_parts",),
        "answer": answer,
        "score": score,
        "seconds": round(seconds, 2),
    }


def ours(zoo: Zoo, measured: Path, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return what filiation found on the same pairs, as measured before."""
    rows = measure(zoo, measured, only=sorted({case.category for case in cases}), say=lambda line: None)
    by = {(row["suspect"], tuple(row["candidates"])): row for row in rows}
    words = {"common_origin": RELATED, "identical": RELATED, "cannot_test": CANNOT, "error": CANNOT}
    found: list[dict[str, Any]] = []
    for case in cases:
        row = by[case.suspect, case.candidates]
        partly = row["relation"] in ("shared_parts", "suggestive", "shared_initialisation")
        answer = ABSTAINS if partly else words.get(row["relation"], APART)
        found.append(_row(case, answer, row.get("log10_e"), row.get("seconds", 0.0)))
    return found


def line(name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line of the table."""
    groups = {
        "true": [r for r in rows if r["category"] == Category.DERIVED and not r["parts"]],
        "apart": [r for r in rows if r["category"] == Category.INDEPENDENT],
        "quiet": [r for r in rows if r["category"] == Category.QUIET],
        "initialisation": [r for r in rows if r["category"] == Category.INITIALISATION],
    }
    cells = [name]
    for group in groups.values():
        counts = Counter(str(row["answer"]) for row in group)
        tested = len(group) - counts[CANNOT]
        aside = f"; {counts[ABSTAINS]} abstain, {counts[CANNOT]} cannot test"
        cells.append(str(Rate(counts[RELATED], tested)) + aside)
    scores = [[r["score"] for r in groups[which] if r["score"] is not None] for which in ("true", "apart")]
    area = auroc(*scores)
    seconds = sorted(row["seconds"] for row in rows)
    return [
        *cells,
        "-" if area is None else f"{area:.4f}",
        f"{seconds[len(seconds) // 2]:.2f}" if seconds else "-",
    ]


HEADS = [
    "tool",
    "true pairs called related",
    "independent pairs called related",
    "distilled and framed pairs called related",
    "pairs of one initialisation called related",
    "AUROC",
    "median s",
]


def main() -> None:
    """Ask every tool and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("measured", type=Path, help="folder of `filiation lab measure`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--environments", type=Path, default=Path(".cache/peers"))
    parser.add_argument("--each", type=int, default=80, help="independent pairs of one shape")
    parser.add_argument(
        "--slow", type=int, default=60, help="most pairs for a tool that takes over 3 s a pair"
    )
    parser.add_argument("--most", type=int, default=10_000, help="most pairs for any tool, spread over all")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    zoo = Zoo(options.zoo)
    cases = sampled(chosen(zoo, options.each), options.most)
    lines, found = [], {"filiation": ours(zoo, options.measured, cases)}
    lines.append(line("filiation", found["filiation"]))
    for peer in PEERS:
        program = installed(peer, options.environments)
        if program is None:
            lines.append([peer.name, "not run: it could not be installed", *["-"] * 5])
            continue
        first = asked(peer, program, options.zoo, cases[:1])[0]["seconds"]
        some = sampled(cases, options.slow) if first > 3 else cases
        found[peer.name] = asked(peer, program, options.zoo, some)
        note = "" if len(some) == len(cases) else f" (on {len(some)} of the {len(cases)} pairs)"
        lines.append(line(peer.name + note, found[peer.name]))
        print(f"{peer.name}: {len(some)} pairs", file=sys.stderr)
        write(options.out, len(cases), lines, found)
    print(write(options.out, len(cases), lines, found))


def write(out: Path, pairs: int, lines: Sequence[Sequence[str]], found: Mapping[str, Any]) -> str:
    """Write what there is so far and return the table."""
    text = f"{pairs} pairs of one zoo.\n\n" + table(HEADS, lines) + "\n"
    (out / "peers.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / "peers.md").write_text(text, encoding="utf-8")
    return text


if __name__ == "__main__":
    main()
