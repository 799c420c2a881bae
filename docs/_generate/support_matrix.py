"""What is read, for `docs/formats.md`: taken from the format lists and from what the tests really go through."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from docs._generate.pages import ROOT, code, table
from filiation.checkpoint import formats, packing
from filiation.checkpoint.adapter import _REFUSED_FLAGS, _REFUSED_STARTS  # pyright: ignore[reportPrivateUsage]
from filiation.checkpoint.encodings import ENCODINGS
from filiation.checkpoint.formats import safetensors
from filiation.checkpoint.model import StoredTensor
from filiation.checkpoint.onnxfile.constants import _KINDS  # pyright: ignore[reportPrivateUsage]
from filiation.checkpoint.sources.fsspec import DRIVERS, EXTRAS
from filiation.checkpoint.sources.local import LocalSource
from filiation.checkpoint.torchfile.standins import NAMES, Kind

PAGE = "docs/formats.md"

#: What the name of a golden ONNX file means; a file that is not named here stops the generator.
ONNX_GRAPHS = {
    "torchscript": "float, torch's TorchScript exporter",
    "dynamo": "float, torch's dynamo exporter",
    "dynamic": "8 bit, ONNX Runtime's dynamic quantisation",
    "static_qdq": "8 bit, static, with DequantizeLinear",
    "static_qoperator": "8 bit, static, with quantised operators",
    "nbits4": "4 bit in blocks (MatMulNBits)",
    "nbits8": "8 bit in blocks (MatMulNBits)",
}


def parts() -> dict[str, str]:
    """Return every generated part of the page."""
    return {
        "kinds": kinds(),
        "gguf": gguf(),
        "packed": packed(),
        "onnx": onnx(),
        "not-read": not_read(),
        "stores": stores(),
    }


def parameters(module: object, name: str) -> set[str]:
    """Return the text values that the tests of a module are run with for the parameter ``name``."""
    found: set[str] = set()
    for test in vars(module).values():
        for mark in getattr(test, "pytestmark", ()):
            if mark.name != "parametrize":
                continue
            given = mark.args[0]
            names = [n.strip() for n in given.split(",")] if isinstance(given, str) else list(given)
            if name in names:
                at = names.index(name)
                found |= {str(v if len(names) == 1 else v[at]) for v in mark.args[1]}
    return found


def kinds() -> str:
    """Return the stored kinds by format.

    Raises:
        LookupError: a kind is decoded and no test goes through it.
    """
    from tests.checkpoint import test_encodings

    spelled = {"BOOL", "F4"} if hasattr(test_encodings, "test_f4_has_the_low_half_first") else set()
    tested = parameters(test_encodings, "kind") | spelled
    in_torch = {n.value.encoding for n in NAMES.values() if isinstance(n.value, Kind)}
    in_onnx = {e.name for e in _KINDS.values()}
    rows: list[list[str]] = []
    for name, encoding in ENCODINGS.items():
        if encoding.decode is None:
            rows.append(
                [f"`{name}`", "listed, not read", "listed, not read" if name in in_torch else "-", "-"]
            )
            continue
        if name not in tested:
            raise LookupError(f"{name} is decoded, and no test of test_encodings.py goes through it")
        rows.append([f"`{name}`", "yes", _yes(name in in_torch), _yes(name in in_onnx)])
    rows += [[f"`{k}`", "-", "-", "yes"] for k in sorted(in_onnx - set(ENCODINGS))]
    return table(["stored as", formats.safetensors.NAME, "PyTorch file", "ONNX"], rows)


def _yes(there: bool) -> str:
    return "yes" if there else "-"


def gguf() -> str:
    """Return GGUF's kinds, decoded and not."""
    from tests.checkpoint import test_gguf

    plain = [k.name for k in (*sorted(test_gguf.PLAIN), *test_gguf.QUANTISED)]
    return "\n".join(
        [
            f"Decoded, each against the `gguf` package: {code(sorted(plain))}.",
            "",
            f"Listed and not decoded: {code(sorted(k.name for k in test_gguf.UNREADABLE))}.",
        ]
    )


def packed() -> str:
    """Return the packings: their kinds, the library each was checked against, and what a small read brings."""
    from tests.packing.test_unpack import TOLD_BY_CONFIG

    rows: list[list[str]] = []
    for (packing_name, kind), group in groupby(sorted(_golden()), key=lambda g: g[:2]):
        files = list(group)
        oracles = sorted({g[2] for g in files})
        told = "in part" if any(g[3] in TOLD_BY_CONFIG for g in files) else "no"
        small = " or ".join(sorted({g[4] for g in files}))
        rows.append([packing_name, f"`{kind}`", ", ".join(oracles), str(len(files)), small, told])
    head = ["packing", "kind in reports", "checked against", "files", "small read", "needs config.json"]
    return table(head, rows)


def _golden() -> Iterator[tuple[str, str, str, str, str]]:
    """Yield packing, kind, oracle, file name and small read of every golden file."""
    from tests.packing.support import GOLDEN, NAMES, golden

    for name in NAMES:
        header = safetensors.load(LocalSource(GOLDEN / f"{name}.safetensors"))
        made_by = json.loads(header.metadata["golden"])["made_by"].removesuffix("+cpu")
        file = golden(name)
        found = packing.unpack(file.packed, file.config)
        scheme = re.search(r"\(([^:]+): ", found.notes[0])
        if scheme is None:
            raise LookupError(f"{name}: no packing named in {found.notes[0]!r}")
        for tensor in (found.tensors[key] for key in file.oracle):
            yield scheme[1], tensor.info.dtype, made_by, name, _small_read(file.source, tensor)


def _small_read(source: LocalSource, tensor: StoredTensor) -> str:
    """Measure which windows cost little: those along the outputs, or those along the inputs."""
    tensor.read((slice(0, 1),))  # tables that the packing needs are read once
    before = source.bytes_read
    tensor.read((slice(1, 2),))
    rows = source.bytes_read - before
    tensor.read((slice(None), slice(2, 3)))
    columns = source.bytes_read - before - rows
    return "some outputs" if rows <= columns else "some inputs"


def onnx() -> str:
    """Return the golden ONNX graphs by what wrote them."""
    from tests.packing.test_onnx import NAMES

    described: dict[str, int] = {}
    for name in NAMES:
        label = max((k for k in ONNX_GRAPHS if name.startswith(k)), key=len, default=None)
        if label is None:
            raise LookupError(f"no description of the golden graph {name}")
        described[label] = described.get(label, 0) + 1
    source = (ROOT / "tests/packing/make_golden_onnx.py").read_text(encoding="utf-8")
    versions = re.search(r"pip install (torch==.*)", source)
    rows = [[ONNX_GRAPHS[k], str(n)] for k, n in described.items()]
    made = versions[1].replace("==", " ").replace(" onnx", ", onnx") if versions else ""
    return table(["graph", "files"], rows) + f"\n\nWritten by {made}."


def not_read() -> str:
    """Return what is refused with a clear error."""
    refused: Mapping[str, None] = dict.fromkeys(what for _, what in packing._UNREAD)  # pyright: ignore[reportPrivateUsage]
    flags: list[Any] = sorted({*_REFUSED_FLAGS})
    return "\n".join(
        [
            f"- packings: {', '.join(refused)};",
            f"- adapters other than LoRA, and LoRA with any of {code(flags)};",
            f"- LoRA that was begun with {code(_REFUSED_STARTS)}, because that changes the base model too;",
            "- an adapter on a GGUF base.",
        ]
    )


def stores() -> str:
    """Return the object stores and what drives each."""
    rows = [
        [f"`{k}://`", "extra `s3`" if k in EXTRAS else f"`pip install {v}`"]
        for k, v in (EXTRAS | DRIVERS).items()
    ]
    return table(["address", "needs"], [r for r in rows if r[0] not in ("`file://`", "`memory://`")])
