"""Recognition of licence texts: confusion matrix, strangers, edited copies. `python -m benchmarks.licences`.

Texts come from two places and stay there: the data of scancode-toolkit-mini 32.5.0 (a wheel of 126 MB, fetched once,
SHA-256 checked, read as a zip file and never installed) and a folder of licence texts as their owners publish them
(``--texts``). Which text means which licence stands in :data:`OWN` for the folder, in :data:`SCANCODE` for the wheel.

With ``--fingerprint FILE`` it prints the ``[[text]]`` block of a data file for a new licence instead.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import textwrap
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from filiation.disclosure import Recognised, fingerprint, licences, recognise
from filiation.disclosure.registry import pack

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "licences"
WHEEL = "scancode_toolkit_mini-32.5.0-cp311-none-any.whl"
SHA256 = "7ae5e7b46b8cdbab78afb50380ffc1239d296e81e154314a8c3382e678c664cf"
DATA = "licensedcode/data/licenses/"

OWN: Mapping[str, str] = {
    "llama2.txt": "llama2",
    "llama3.txt": "llama3",
    "llama3_1.txt": "llama3.1",
    "llama3_2.txt": "llama3.2",
    "llama3_3.txt": "llama3.3",
    "llama4.txt": "llama4",
    "minicpm-2024-06-05.md": "minicpm-1.0",
    "tongyi-qianwen-2023.txt": "tongyi-2023",
    "tongyi-qianwen-research-2023.txt": "tongyi-research-2023",
    "yi-2.0-2023-11-04.txt": "yi-2.0",
    "yi-notice-2024-06-26.txt": "yi-notice-2024",
}
"""Which licence each published text is."""

SCANCODE: Mapping[str, str] = {
    "llama-license-2023": "llama1",
    "llama-2-license-2023": "llama2",
    "llama-3.1-license-2024": "llama3.1",
    "llama-3.2-license-2024": "llama3.2",
    "llama-3.3-license-2024": "llama3.3",
    "llama-4-cla-2025": "llama4",
    "tongyi-qianwen-2023": "tongyi-2023",
    "qwen-2024": "qwen-2024",
    "gemma-tou-2024-04-01": "gemma-2024-04-01",
    "gemma-tou-2025-03-24": "gemma-2025-03-24",
    "deepseek-la-1.0": "deepseek-1.0",
    "bigscience-open-rail-m": "bigscience-openrail-m",
    "bigscience-rail-1.0": "bigscience-rail-1.0",
    "bigscience-open-rail-m2": "creativeml-openrail++-m",
    "stable-diffusion-2022-08-22": "creativeml-openrail-m",
    "bigcode-open-rail-m-v1": "bigcode-openrail-m-1.0",
    "exaone-ai-model-1.1-nc": "exaone-1.1-nc",
    "falcon-2-11b-1.0": "falcon-2-11b-1.0",
    "nvidia-open-model-2025-04-28": "nvidia-open-model",
    "stability-ai-community-2024": "stability-community-2024",
    "stability-ai-nc-2023-12-06": "stability-nc-2023",
    "moonshot-ai-modified-mit-2025": "kimi-k2-modified-mit",
    "openai-tou-20230314": "openai-terms-2023",
    "openai-tou-20241211": "openai-terms-2024",
    "openmdw-1.0": "openmdw-1.0",
    "bsd-new": "bsd-3-clause",
    "bsd-simplified": "bsd-2-clause",
    "apache-2.0": "apache-2.0",
    "mit": "mit",
    "isc": "isc",
    "unlicense": "unlicense",
    "mpl-2.0": "mpl-2.0",
    "cc0-1.0": "cc0-1.0",
    "odc-by-1.0": "odc-by-1.0",
    "odbl-1.0": "odbl-1.0",
    "cdla-permissive-2.0": "cdla-permissive-2.0",
    **{key: key for key in ("gpl-2.0", "gpl-3.0", "agpl-3.0", "lgpl-2.1", "lgpl-3.0")},
    **{
        f"cc-{kind}-{version}": f"cc-{kind}-{version}"
        for kind in ("by", "by-sa", "by-nc", "by-nc-sa", "by-nd", "by-nc-nd")
        for version in ("3.0", "4.0")
    },
}
"""Our id for each of ScanCode's keys whose text the registry knows."""

PROTOTYPE = """\
ScanCode 32.5.0 itself on four of these texts (the prototype's measurement):
  Llama 3            -> llama-3.1-license-2024 (95.6)
  Tongyi research    -> tongyi-qianwen-2023 AND proprietary (94.6)
  Yi 2.0             -> unknown-license-reference
  MiniCPM 1.0        -> (proprietary AND apache-2.0) AND unknown"""


def wheel() -> Path:
    """Return the wheel, downloaded when it is not there.

    Raises:
        SystemExit: it cannot be had, or it is not the pinned one.
    """
    path = CACHE / WHEEL
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
        command += ["--python-version", "3.11", "-d", str(CACHE), "scancode-toolkit-mini==32.5.0"]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit("scancode-toolkit-mini 32.5.0 cannot be downloaded")
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{path} is not the pinned file")
    return path


def scancode_texts(path: Path) -> Iterator[tuple[str, str]]:
    """Yield key and text of every licence in the wheel."""
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.startswith(DATA) and name.endswith(".LICENSE"):
                text = archive.read(name).decode("utf-8", "replace")
                yield name.removeprefix(DATA).removesuffix(".LICENSE"), text.split("---\n", 2)[-1]


def published_texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield name and text of the files of :data:`OWN`."""
    for name in OWN:
        if (folder / name).is_file():
            yield name, (folder / name).read_text(encoding="utf-8")


def confusion(pairs: Mapping[str, tuple[str, Recognised]]) -> tuple[int, list[str]]:
    """Return how many are right, and a line for each that is not."""
    wrong = [
        f"  {name}: {want} read as {found.licence} (candidates {', '.join(found.candidates) or '-'})"
        for name, (want, found) in pairs.items()
        if found.licence != want
    ]
    return len(pairs) - len(wrong), wrong


def matrix(pairs: Mapping[str, tuple[str, Recognised]], family: str) -> str:
    """Return the confusion matrix of one near-tie family as text: rows are the truth."""
    ids = sorted(x.id for x in licences().values() if x.family == family and x.fingerprints)
    counts = Counter((want, found.licence or "unknown") for want, found in pairs.values())
    columns = [*ids, "unknown"]
    head = " " * 24 + "".join(f"{c[:12]:>13}" for c in columns)
    rows = [f"{row:24}" + "".join(f"{counts[row, c]:>13}" for c in columns) for row in ids]
    return "\n".join([head, *rows])


def edited(text: str, seed: int) -> dict[str, str]:
    """Return copies as they are met in repositories."""
    rng = random.Random(seed)
    paragraphs = text.split("\n\n")
    kept = [p for p in paragraphs if rng.random() > 0.1] or paragraphs
    return {
        "wrapped at 60": "\n\n".join(textwrap.fill(p, 60) for p in paragraphs),
        "markdown": "# LICENSE\n\n"
        + "\n\n".join(f"**{p[:9]}**{p[9:]}" if len(p) > 20 else p for p in paragraphs),
        "own copyright line": f"Copyright (c) 2025 Some Laboratory. All rights reserved.\n\n{text}",
        "a tenth cut": "\n\n".join(kept),
    }


def report(texts: Path) -> None:
    """Measure and print."""
    began = time.perf_counter()
    every = dict(scancode_texts(wheel()))
    known = {f"scancode {k}": (SCANCODE[k], recognise(every[k])) for k in SCANCODE}
    published = {f"published {n}": (OWN[n], recognise(t)) for n, t in published_texts(texts)}
    pairs = {**known, **published}
    right, wrong = confusion(pairs)
    print(
        f"known texts: {right} of {len(pairs)} right ({len(known)} of ScanCode's data, {len(published)} published)"
    )
    print("\n".join(wrong))
    margins = [f.margin for _, f in pairs.values() if f.margin is not None]
    print(f"smallest margin over a competitor: {min(margins):.3f} (at least 0.1 is asked for)")
    for family in ("llama", "qwen", "cc", "mit", "rail", "gemma"):
        print(f"\n{family}\n{matrix(pairs, family)}")
    _strangers(every)
    _edits(every, texts)
    print(f"\n{PROTOTYPE}\n{time.perf_counter() - began:.1f} s")


def _strangers(every: Mapping[str, str]) -> None:
    """Texts of licences that the registry does not know: each should be unknown, or told apart as modified."""
    others = {k: recognise(t) for k, t in every.items() if k not in SCANCODE}
    taken = {k: f for k, f in others.items() if f.basis in {"text", "version_mark"} and f.licence}
    plain = {k: f for k, f in taken.items() if not f.modified}
    named = sum(f.basis == "mention" for f in others.values())
    print(f"\nother texts of ScanCode's data: {len(others)}; unknown {len(others) - len(taken) - named},")
    print(
        f"  only naming a known licence {named}, known but modified {len(taken) - len(plain)}, known {len(plain)}:"
    )
    for key, found in sorted(plain.items()):
        print(f"  {key} -> {found.licence} (coverage {found.coverage:.2f}, explained {found.explained:.2f})")


def _edits(every: Mapping[str, str], texts: Path) -> None:
    tried: Counter[str] = Counter()
    good: Counter[str] = Counter()
    flagged: Counter[str] = Counter()
    notes: list[str] = []
    sources = [(SCANCODE[k], every[k]) for k in SCANCODE] + [(OWN[n], t) for n, t in published_texts(texts)]
    for number, (want, text) in enumerate(sources):
        for kind, copy in edited(text, number).items():
            found = recognise(copy)
            tried[kind] += 1
            good[kind] += found.licence == want
            if found.licence not in {want, None}:
                flagged[kind] += 1
                notes.append(f"  {kind}: {want} read as {found.licence}")
    print("\nedited copies: right / read as another / tried")
    for kind in tried:
        print(f"  {kind:20} {good[kind]:3} / {flagged[kind]} / {tried[kind]}")
    print("\n".join(notes))


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, default=ROOT.parent / "shared" / "licences")
    parser.add_argument("--fingerprint", type=Path, metavar="FILE")
    chosen = parser.parse_args()
    if chosen.fingerprint:
        made = fingerprint(chosen.fingerprint.read_text(encoding="utf-8"))
        print(f"[[text]]\nmodulus = {made.modulus}\nhashes = '''\n{pack(made)}'''")
        return
    report(chosen.texts)


if __name__ == "__main__":
    main()
