"""The measured promises, each as a ratio inside one run: `make bench`.

Every section prints its own table. Models are made in a temporary folder (about 6 GB); the peer, modelDNA 0.1.0, is
installed into an environment of its own when it is not there yet. Nothing here runs in CI.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import hubcost, nulls  # noqa: E402 - the folder must be on the path first

FILIATION = [str(Path(sys.executable).parent / "filiation")]


@dataclass(frozen=True)
class Timed:
    """One process: wall and processor seconds, peak resident memory and bytes from storage in MB, what it printed."""

    seconds: float
    cpu: float
    peak_mb: float
    stored_mb: float
    output: str


def _environment() -> dict[str, str]:
    """Return this process's environment with compiled modules kept, as they are where pip installed the program."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def timed(command: list[str], **env: str) -> Timed:
    """Run a command as a user would and measure it from process start."""
    before = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.PIPE, text=True, env=_environment() | env
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - before
        error = process.stderr.read() if process.stderr else ""
        out.seek(0)
        if os.waitstatus_to_exitcode(status) not in (0, 3, 4):
            raise SystemExit(f"{' '.join(command)} failed:\n{error}")
        cpu = usage.ru_utime + usage.ru_stime
        return Timed(seconds, cpu, usage.ru_maxrss / 1024, usage.ru_inblock * 512 / 1e6, out.read())


def evict(*folders: Path) -> None:
    """Ask the system to forget what it holds of the files in memory, so that the next read goes to storage."""
    for path in (file for folder in folders for file in folder.iterdir()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def compare(suspect: Path, candidate: Path, *options: str) -> tuple[Timed, dict[str, object]]:
    """Run `filiation compare --json`."""
    run = timed([*FILIATION, "compare", str(suspect), str(candidate), "--json", *options])
    return run, json.loads(run.output)


def made(size: str, folder: Path) -> list[Path]:
    """Make the checkpoints in a process of its own: a child's peak memory counts its parent's at the fork."""
    code = (
        f"import pathlib; from benchmarks.pairs import {size}\n"
        f"print(*{size}(pathlib.Path({str(folder)!r})), sep=chr(10))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    return [Path(line) for line in done.stdout.splitlines()]


def peer(folder: Path) -> list[str] | None:
    """Return modelDNA's command, installing it where the index can be reached."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        done = subprocess.run([str(python), "-m", "pip", "install", "-q", "modeldna==0.1.0"], check=False)
        if done.returncode:
            return None
    return [str(folder / "bin" / "modeldna")]


def sampled(folder: Path, other: list[str] | None) -> None:
    """Two 1.9-GB bf16 checkpoints of one shape: bytes, peak memory, wall time against the peer, warm and cold."""
    base, child, stranger = made("large", folder)
    print("\n## Sampled compare of two 1.9-GB bf16 checkpoints of one shape\n")
    print("| pair | relation | log10 e | bytes read | of all bytes | wall s | CPU s | peak MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, suspect in (("derived", child), ("independent", stranger)):
        run, report = compare(suspect, base)
        share = report["bytes_read"] / sum(m["total_bytes"] for m in _models(report))
        print(
            f"| {name} | {report['verdict']['relation']} | {report['verdict']['log10_e']:.1f} | "
            f"{report['bytes_read']:,} | {share:.2%} | {run.seconds:.2f} | {run.cpu:.2f} | {run.peak_mb:.0f} |"
        )
    if other is None:
        print("\nmodelDNA 0.1.0 could not be installed: no ratio.")
        return
    print("\nThe derived pair against modelDNA 0.1.0, best of three\n")
    print("| files | filiation s | from storage MB | modelDNA s | from storage MB | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for state, cold in (("in the page cache", False), ("evicted before each run", True)):
        ours, theirs = (
            _best_of_three([*program, "compare", str(child), str(base), "--json"], (child, base), cold=cold)
            for program in (FILIATION, other)
        )
        print(
            f"| {state} | {ours.seconds:.2f} | {ours.stored_mb:.0f} | {theirs.seconds:.2f} | "
            f"{theirs.stored_mb:.0f} | {theirs.seconds / ours.seconds:.1f} |"
        )


def _best_of_three(command: list[str], folders: tuple[Path, Path], *, cold: bool) -> Timed:
    runs: list[Timed] = []
    for _ in range(3):
        if cold:
            evict(*folders)
        runs.append(timed(command))
    return min(runs, key=lambda run: run.seconds)


def _models(report: dict[str, object]) -> list[dict[str, object]]:
    models = report["models"]
    return [models["suspect"], *models["candidates"]]


def small(folder: Path, other: list[str] | None) -> None:
    """Two 5-MB checkpoints, from process start; the best of five."""
    base, child = made("small", folder)
    compare(child, base)  # a first run writes Python's own caches
    ours = min(compare(child, base)[0].seconds for _ in range(5))
    print(f"\n## Two 5-MB checkpoints, from process start, best of five\n\nfiliation {ours:.2f} s", end="")
    if other is not None:
        theirs = min(timed([*other, "compare", str(child), str(base), "--json"]).seconds for _ in range(5))
        print(f", modelDNA 0.1.0 {theirs:.2f} s, ratio {theirs / ours:.1f}", end="")
    print()


def full(folder: Path) -> None:
    """`--full` against hashing both files."""
    base, child, _ = made("large", folder)
    code = "import hashlib,sys\nfor p in sys.argv[1:]:\n hashlib.file_digest(open(p,'rb'),'sha256')"
    files = [str(p / "model.safetensors") for p in (base, child)]
    timed([sys.executable, "-c", code, *files])  # both files into the page cache
    hashing = timed([sys.executable, "-c", code, *files])
    run, report = min((compare(child, base, "--full") for _ in range(2)), key=lambda x: x[0].seconds)
    print("\n## Full compare against hashlib.sha256 of both files\n")
    print(
        f"sha256 {hashing.seconds:.1f} s ({hashing.cpu:.1f} s CPU), --full {run.seconds:.1f} s ({run.cpu:.1f} s "
        f"CPU), ratio {run.seconds / hashing.seconds:.2f} ({run.cpu / hashing.cpu:.2f} of CPU), "
        f"peak {run.peak_mb:.0f} MB, {report['verdict']['relation']}, bytes {report['bytes_read']:,}"
    )


def main() -> None:
    """Run the sections named on the command line, or all."""
    sections = {"sampled": sampled, "small": small, "full": full, "nulls": nulls.table, "hub": hubcost.table}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*sections, []], default=list(sections))
    parser.add_argument("--models", type=Path, help="keep the large models here, and use them where they are")
    parser.add_argument("--peer", type=Path, default=ROOT / ".cache" / "peer", help="environment of modelDNA")
    parser.add_argument(
        "--zoo", type=Path, help="further twins for the null: filiation lab demo-models --zoo"
    )
    options = parser.parse_args()
    other = peer(options.peer) if {"sampled", "small"} & set(options.sections) else None
    with tempfile.TemporaryDirectory(prefix="filiation-bench-") as name:
        folder = options.models or Path(name)
        for section in options.sections:
            if section in ("sampled", "small"):
                sections[section](folder, other)  # type: ignore[operator]
            elif section == "full":
                full(folder)
            elif section == "nulls":
                nulls.table(options.zoo)
            else:
                hubcost.table()
    print(f"\npeak of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
