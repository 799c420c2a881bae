"""What is installed: the wheel's contents, what it asks for, and how large the core is."""

from __future__ import annotations

import importlib.metadata as metadata
import re
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.project.tree import ROOT, SOURCE, name, project_files

MAX_CORE_BYTES = 300_000_000
#: The code is under 1.5 MB; fingerprints of reference source code (hashes) take the rest.
MAX_WHEEL_BYTES = 5_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    packed = set(wheel.namelist())
    ours = {p.relative_to(SOURCE.parent).as_posix() for p in project_files() if p.is_relative_to(SOURCE)}
    assert "filiation/py.typed" in packed
    assert ours <= packed, f"not packed: {sorted(ours - packed)}"
    strangers = {n for n in packed - ours if not re.match(r"filiation-[^/]+\.dist-info/", n)}
    assert not strangers, f"packed, but not part of the source: {sorted(strangers)}"
    assert any(n.endswith("licenses/LICENSE") for n in packed)


def test_wheel_is_small_and_holds_no_models(wheel: zipfile.ZipFile) -> None:
    assert wheel.filename is not None
    assert Path(wheel.filename).stat().st_size < MAX_WHEEL_BYTES
    assert not [n for n in wheel.namelist() if n.endswith((".safetensors", ".gguf", ".bin", ".onnx"))]


def test_wheel_metadata(wheel: zipfile.ZipFile) -> None:
    (path,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
    (entry,) = [n for n in wheel.namelist() if n.endswith(".dist-info/entry_points.txt")]
    head = HeaderParser().parsestr(wheel.read(path).decode())
    assert head["Requires-Python"] == ">=3.11"
    assert head["License-Expression"] == "Apache-2.0"
    pinned = [
        r
        for r in head.get_all("Requires-Dist", [])
        if any(s.operator == "==" for s in Requirement(r).specifier)
    ]
    assert not pinned, f"a library asks for ranges: {pinned}"
    assert "filiation = filiation.cli:main" in wheel.read(entry).decode()


def test_version_is_the_same_everywhere() -> None:
    version = metadata.version("filiation")
    assert re.search(rf'^__version__ = "{re.escape(version)}"$', (SOURCE / "_version.py").read_text(), re.M)
    assert re.search(rf"^version: {re.escape(version)}$", (ROOT / "CITATION.cff").read_text(), re.M)


def core_closure() -> dict[str, metadata.Distribution]:
    """Distributions that a plain `pip install filiation` brings, by canonical name; not filiation itself."""
    found: dict[str, metadata.Distribution] = {}
    todo: list[tuple[str, frozenset[str]]] = [("filiation", frozenset())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        wanted = todo.pop()
        if wanted in seen:
            continue
        seen.add(wanted)
        distribution = metadata.distribution(wanted[0])
        found[canonicalize_name(wanted[0])] = distribution
        for line in distribution.requires or ():
            requirement = Requirement(line)
            extras = wanted[1] or {""}
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in extras):
                todo.append((requirement.name, frozenset(requirement.extras)))
    del found["filiation"]
    return found


def installed_bytes(distribution: metadata.Distribution) -> int:
    """What the files listed in RECORD take, the byte code that pip compiles included."""
    total = 0
    for file in distribution.files or ():
        path = Path(str(file.locate()))
        total += file.size or (path.stat().st_size if path.is_file() else 0)
    return total


def test_core_install_is_small_and_free_of_frameworks() -> None:
    closure = core_closure()
    assert {"numpy", "scipy", "click", "huggingface-hub", "gguf"} <= set(closure)
    assert not {"torch", "transformers", "pandas", "pyarrow", "onnx", "scikit-learn"} & set(closure)
    sizes = {n: installed_bytes(d) for n, d in closure.items()}
    assert sum(sizes.values()) <= MAX_CORE_BYTES, sorted(sizes.items(), key=lambda item: -item[1])[:8]


def test_generated_files_are_ignored() -> None:
    wrong = [name(p) for p in project_files() if p.suffix in {".pyc", ".whl"} or p.name == ".DS_Store"]
    assert not wrong
