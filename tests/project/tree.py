"""What the tests about the project itself share: where it is and which files belong to it."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "filiation"
BINARY = {
    ".safetensors",
    ".gguf",
    ".bin",
    ".pt",
    ".pth",
    ".onnx",
    ".png",
    ".parquet",
    ".npy",
    ".npz",
    ".model",
    ".xz",
}
SKIPPED = {".venv", ".venv-lab", ".git", "__pycache__", "build", "dist", "site", ".cache"}


@cache
def project_files() -> tuple[Path, ...]:
    """The files git tracks or would track; in a tree without git, all but the ignored folders."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        found = [p for p in ROOT.rglob("*") if not SKIPPED & set(p.relative_to(ROOT).parts)]
    return tuple(sorted(p for p in found if p.is_file()))


def text_files() -> list[Path]:
    """The project's files that are text."""
    return [p for p in project_files() if p.suffix not in BINARY]


def source_files() -> list[Path]:
    """The Python files of the package."""
    return [p for p in project_files() if p.suffix == ".py" and p.is_relative_to(SOURCE)]


def name(path: Path) -> str:
    """The path as it is written in messages."""
    return path.relative_to(ROOT).as_posix()
