"""Asking a tool about a pair: seconds, processor time, peak memory, and a store so that a run that ends goes on."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.peers_pairs import Asked
from benchmarks.peers_tools import CANNOT, Answer, Reader
from filiation.errors import UsageError
from filiation.lab.kin import Zoo
from filiation.lab.measure import source_digest

LIMIT = 180.0  # seconds a tool may take for one pair
WARM = Path(__file__).with_name("peers_warm.py")
#: One thread each: on small matrices threads wait for one another, and the machine may have other work. Everything
#: lies on the disk: a tool that would ask a hub for a folder's name must not wait for it.
SURROUNDINGS = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True)
class Row:
    """What one tool said of one pair, and what it took (`code`: which state of our source was measured)."""

    tool: str
    suspect: str
    candidate: str
    what: str
    group: str
    answer: str
    score: float | None
    beside: float | None
    reason: str
    seconds: float
    processor: float
    peak_mib: float
    code: str


Answers = Mapping[str, Sequence[Row]]


class Warm:
    """One program, loaded once in its own environment and run for pair after pair.

    Attributes:
        loading: seconds it took to load.
    """

    def __init__(self, python: Path, program: str, *, isolated: bool) -> None:
        command = [str(python), "-I" if isolated else "-P", str(WARM), program]
        self.command = " ".join(command)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **SURROUNDINGS},
        )
        self.loading = float(self._told()["loading"])

    def _told(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise UsageError(
                f"{self.command} ended before it answered.",
                next_step="Run that command by hand to see why.",
            )
        return json.loads(line)

    def run(
        self, arguments: Sequence[str], read: Reader, limit: float = LIMIT
    ) -> tuple[Answer, dict[str, Any]]:
        """Run the program once and return its answer and what it took."""
        assert self.process.stdin is not None
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            job = {"arguments": list(arguments), "out": str(out), "err": str(err), "limit": limit}
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
            took = self._told()
            if took["late"]:
                return Answer(CANNOT, reason=f"no answer in {limit:.0f} s"), took
            text = out.read_text(encoding="utf-8", errors="replace")
        return read(text, int(took["code"])), took

    def close(self) -> None:
        """Let the program go."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


class Store:
    """Rows by tool and pair, one JSON line each. A row counts while its models, and for ours the source, are the same.

    Attributes:
        loading: seconds that each tool took to load, as it was last seen.
    """

    def __init__(self, path: Path, zoo: Zoo) -> None:
        self.path, self.zoo = path, zoo
        self.loading: dict[str, float] = {}
        self._rows: dict[str, Row] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            entry = json.loads(line)
            self.loading |= entry.get("loading", {})
            if "row" in entry:
                self._rows[entry["key"]] = Row(**entry["row"])

    def key(self, tool: str, pair: Asked, code: str) -> str:
        """Return what a row depends on; `code`: the state of our source, empty for other tools."""
        digests = [self.zoo.models[name]["digest"] for name in (pair.suspect, pair.candidate)]
        fixed = [tool, pair.suspect, pair.candidate, digests, code]
        return hashlib.sha256(json.dumps(fixed).encode()).hexdigest()

    def known(self, tool: str, pair: Asked, code: str) -> bool:
        """Tell whether a tool has answered about a pair."""
        return self.key(tool, pair, code) in self._rows

    def rows(self, tool: str, pairs: Sequence[Asked], code: str) -> list[Row]:
        """Return a tool's rows of those pairs that it has answered about, named and grouped as the pairs are now."""
        keyed = ((pair, self._rows.get(self.key(tool, pair, code))) for pair in pairs)
        return [replace(row, what=pair.what, group=pair.group) for pair, row in keyed if row is not None]

    def newest(self, tool: str, pairs: Sequence[Asked]) -> list[Row]:
        """Return a tool's last rows of those pairs, whatever state of the source they are of."""
        states = dict.fromkeys(row.code for row in self._rows.values() if row.tool == tool)
        rows = {(row.suspect, row.candidate): row for code in states for row in self.rows(tool, pairs, code)}
        places = [(pair.suspect, pair.candidate) for pair in pairs]
        return [rows[place] for place in places if place in rows]

    def loaded(self, tool: str, seconds: float) -> None:
        """Keep how long a tool took to load."""
        self.loading[tool] = round(seconds, 2)
        self._write({"loading": {tool: self.loading[tool]}})

    def add(self, tool: str, pair: Asked, answer: Answer, took: Mapping[str, Any], code: str) -> None:
        """Keep one answer."""
        key, row = self.key(tool, pair, code), _row(tool, pair, answer, took, code)
        self._rows[key] = row
        self._write({"key": key, "row": asdict(row)})

    def _write(self, entry: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def _row(tool: str, pair: Asked, answer: Answer, took: Mapping[str, Any], code: str) -> Row:
    return Row(
        tool,
        pair.suspect,
        pair.candidate,
        pair.what,
        pair.group,
        answer.answer,
        answer.score,
        answer.beside,
        answer.reason,
        round(float(took["seconds"]), 3),
        round(float(took["processor"]), 3),
        round(float(took["peak_mib"]), 1),
        code,
    )


def own_code() -> str:
    """Return a digest of our package's source outside the lab."""
    return source_digest()


def methods_code() -> str:
    """Return a digest of the re-implementations and of the package that reads the models for them."""
    running = hashlib.sha256(source_digest().encode())
    for path in sorted(Path(__file__).with_name("fingerprints").glob("*.py")):
        running.update(path.name.encode() + path.read_bytes())
    return running.hexdigest()
