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
    """One process: wall seconds, peak resident memory in MB, and what it printed."""

    seconds: float
    peak_mb: float
    output: str


def timed(command: list[str], **env: str) -> Timed:
    """Run a command as a user would and measure it from process start."""
    before = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - before
        error = process.stderr.read() if process.stderr else ""
        out.seek(0)
        if os.waitstatus_to_exitcode(status) not in (0, 3, 4):
            raise SystemExit(f"{' '.join(command)} failed:\n{error}")
        return Timed(seconds, usage.ru_maxrss / 1024, out.read())


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
    """Two 1-GB bf16 checkpoints of one shape: bytes, wall time against the peer, peak memory."""
    base, child, stranger = made("large", folder)
    print("\n## Sampled compare of two 1.1-GB bf16 checkpoints of one shape\n")
    print("| pair | relation | log10 e | bytes read | of all bytes | wall s | peak MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    ours = 0.0
    for name, suspect in (("derived", child), ("independent", stranger)):
        run, report = compare(suspect, base)
        share = report["bytes_read"] / sum(m["total_bytes"] for m in _models(report))
        ours = run.seconds if name == "derived" else ours
        print(
            f"| {name} | {report['verdict']['relation']} | {report['verdict']['log10_e']:.1f} | "
            f"{report['bytes_read']:,} | {share:.2%} | {run.seconds:.2f} | {run.peak_mb:.0f} |"
        )
    if other is None:
        print("\nmodelDNA 0.1.0 could not be installed: no ratio.")
        return
    theirs = timed([*other, "compare", str(child), str(base), "--json"])
    print(f"\nmodelDNA 0.1.0 on the derived pair: {theirs.seconds:.2f} s, ratio {theirs.seconds / ours:.1f}")


def _models(report: dict[str, object]) -> list[dict[str, object]]:
    models = report["models"]
    return [models["suspect"], *models["candidates"]]


def small(folder: Path, other: list[str] | None) -> None:
    """Two 5-MB checkpoints, from process start; the best of five."""
    base, child = made("small", folder)
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
    run, report = compare(child, base, "--full")
    print("\n## Full compare against hashlib.sha256 of both files\n")
    print(
        f"sha256 {hashing.seconds:.1f} s, --full {run.seconds:.1f} s, ratio {run.seconds / hashing.seconds:.2f}, "
        f"peak {run.peak_mb:.0f} MB, {report['verdict']['relation']}, bytes {report['bytes_read']:,}"
    )


def main() -> None:
    """Run the sections named on the command line, or all."""
    sections = {"sampled": sampled, "small": small, "full": full, "nulls": nulls.table, "hub": hubcost.table}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*sections, []], default=list(sections))
    parser.add_argument("--peer", type=Path, default=ROOT / ".cache" / "peer", help="environment of modelDNA")
    parser.add_argument(
        "--zoo", type=Path, help="further twins for the null: filiation lab demo-models --zoo"
    )
    options = parser.parse_args()
    other = peer(options.peer) if {"sampled", "small"} & set(options.sections) else None
    with tempfile.TemporaryDirectory(prefix="filiation-bench-") as name:
        folder = Path(name)
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
