"""Pinned wheels of the package index, whole: the source wing reads them, nothing of them is installed or run."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.real.fetch import UnavailableError, cache, sha256

WHEELS = {
    ("transformers", "4.34.0"): "3f0187183a7f22c51ecbbc9eac5145df666c5b86bec6feed10e11f0363f3a1f9",
    ("transformers", "4.40.0"): "92797ec3368ed4476a053529a4039a12ad09167d9e371981dda4afb4bdf590ac",
    ("transformers", "4.44.2"): "1c02c65e7bfa5e52a634aff3da52138b583fc6f263c1f28d547dc144ba3d412d",
    ("transformers", "4.47.1"): "d2f5d19bb6283cd66c893ec7e6d931d6370bbf1cc93633326ff1f41a40046c9c",
    ("transformers", "4.51.3"): "fd3279633ceb2b777013234bbf0b4f5c2d23c4626b05497691f00cfda55e8a83",
    ("transformers", "5.23.0"): "018e82fd07490ad5bb58414f65e31576033dc7f36bed10c574843f69b90991bf",
    ("vllm", "0.2.4"): "9cb03c6600976a2a95a778388c458258e40bb73e425b69e3f34dd4e0ee1523b1",
}
_TIMEOUT = 600


@functools.cache
def wheel(package: str, version: str) -> Path:
    """Return a pinned wheel, downloaded once.

    Raises:
        UnavailableError: it cannot be had.
        ValueError: it is not the pinned file.
    """
    home = cache() / "wheels"
    home.mkdir(parents=True, exist_ok=True)
    there = next(home.glob(f"{package}-{version}-*.whl"), None) or _download(package, version, home)
    found = sha256(there)
    if found != WHEELS[package, version]:
        raise ValueError(f"{there.name} has the SHA-256 {found}, pinned is {WHEELS[package, version]}")
    return there


def or_skip(package: str, version: str) -> Path:
    """Return a pinned wheel, or skip the test where it cannot be had."""
    try:
        return wheel(package, version)
    except UnavailableError as error:
        pytest.skip(str(error))


def _download(package: str, version: str, home: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=home) as work:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        command += [
            "--only-binary",
            ":all:",
            "--platform",
            "manylinux_2_17_x86_64",
            "--platform",
            "manylinux1_x86_64",
        ]
        command += ["--python-version", "3.11", "--dest", work, f"{package}=={version}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"{package} {version} was not downloaded within {_TIMEOUT} s") from None
        wheels = list(Path(work).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise UnavailableError(f"{package} {version} cannot be had from the package index: {reason}")
        return wheels[0].rename(home / wheels[0].name)
