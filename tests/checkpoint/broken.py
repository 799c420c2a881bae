"""Ways to break a model's folder, each as a function of a copy of a small model that works."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.checkpoint.makers import craft, save_torch, tensor

BASE = Path(__file__).parents[2] / "examples" / "models" / "base"
WEIGHTS, CONFIG, INDEX = "model.safetensors", "config.json", "model.safetensors.index.json"
Q = "model.layers.0.self_attn.q_proj.weight"

Break = Callable[[Path], object]


def copy_of_base(folder: Path) -> Path:
    return Path(shutil.copytree(BASE, folder))


def header_of(folder: Path) -> tuple[dict[str, Any], bytes]:
    """The header of the copy's weights, and their data."""
    raw = (folder / WEIGHTS).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def arrays_of(folder: Path) -> dict[str, Any]:
    """The copy's weights as uint16, which is how bf16 is written here."""
    header, data = header_of(folder)
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(data[e["data_offsets"][0] : e["data_offsets"][1]], "<u2").reshape(e["shape"])
        for name, e in header.items()
    }


def numbers_of(folder: Path) -> dict[str, Any]:
    """The copy's weights as float32."""
    return {n: (a.astype(np.uint32) << 16).view(np.float32) for n, a in arrays_of(folder).items()}


def with_header(change: Callable[[dict[str, Any]], object]) -> Break:
    def breaks(folder: Path) -> None:
        header, data = header_of(folder)
        change(header)
        craft(folder / WEIGHTS, header, data)

    return breaks


def with_config(**changes: Any) -> Break:
    def breaks(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(config | changes))

    return breaks


def config_bytes(data: bytes) -> Break:
    return lambda folder: (folder / CONFIG).write_bytes(data)


def weight_bytes(data: bytes) -> Break:
    return lambda folder: (folder / WEIGHTS).write_bytes(data)


def with_value(value: float) -> Break:
    def breaks(folder: Path) -> None:
        arrays = numbers_of(folder)
        arrays[Q][3, 5] = value
        save_file(arrays, folder / WEIGHTS)

    return breaks


def in_shards(folder: Path) -> list[Path]:
    """The copy's weights in two shards with an index."""
    arrays = numbers_of(folder)
    names = list(arrays)
    half = len(names) // 2
    files = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    parts = (names[:half], names[half:])
    for file, part in zip(files, parts, strict=True):
        save_file({name: arrays[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in zip(files, parts, strict=True) for name in part}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / WEIGHTS).unlink()
    return [folder / file for file in files]


def with_index(change: Callable[[dict[str, str]], object]) -> Break:
    def breaks(folder: Path) -> None:
        in_shards(folder)
        index = json.loads((folder / INDEX).read_text())
        change(index["weight_map"])
        (folder / INDEX).write_text(json.dumps(index))

    return breaks


def cut(path: Path, share: float = 0.6) -> None:
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share))


def twice_in_two_shards(folder: Path) -> None:
    in_shards(folder)
    second = folder / "model-00002-of-00002.safetensors"
    save_file({Q: np.ones((64, 64), np.float32)}, second)
    (folder / INDEX).unlink()


def twice_in_one_header(folder: Path) -> None:
    header, data = header_of(folder)
    text = json.dumps(header)
    entry = json.dumps({Q: header[Q]})[1:-1]
    craft(folder / WEIGHTS, f"{text[:-1]}, {entry}}}".encode(), data)


def overlapping(header: dict[str, Any]) -> None:
    names = sorted((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"])
    first, second = (header[n]["data_offsets"] for n in names[:2])
    size = second[1] - second[0]
    header[names[1]]["data_offsets"] = [first[1] - 2, first[1] - 2 + size]


def out_of_range(header: dict[str, Any]) -> None:
    name = max((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"])
    start, stop = header[name]["data_offsets"]
    header[name]["data_offsets"] = [start + (1 << 40), stop + (1 << 40)]


def link_out(folder: Path) -> None:
    outside = folder.parent / "outside.safetensors"
    shutil.move(folder / WEIGHTS, outside)
    (folder / WEIGHTS).symlink_to(outside)


class Hostile:
    """Pickles into a call that would start a program."""

    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.call, (["true"],)


def hostile_pickle(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    save_torch(folder / "pytorch_model.bin", {"w": tensor(np.ones(4, np.float32), "0"), "x": Hostile()})


def only_an_adapter(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    prefix = "base_model.model." + Q.removesuffix(".weight")
    factors = {f"{prefix}.lora_A.weight": np.ones((2, 64)), f"{prefix}.lora_B.weight": np.ones((64, 2))}
    save_file({n: a.astype(np.float32) for n, a in factors.items()}, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "org/base"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def large_config(folder: Path) -> None:
    with (folder / CONFIG).open("r+b") as file:
        file.truncate(200 << 20)  # sparse: nothing is written


def missing_without_index(folder: Path) -> None:
    in_shards(folder)[1].unlink()
    (folder / INDEX).unlink()


def config_is_a_folder(folder: Path) -> None:
    (folder / CONFIG).unlink()
    (folder / CONFIG).mkdir()


def config_with_a_mark(folder: Path) -> None:
    """A byte order mark before the text, as some editors leave it."""
    (folder / CONFIG).write_bytes(b"\xef\xbb\xbf" + (folder / CONFIG).read_bytes())
