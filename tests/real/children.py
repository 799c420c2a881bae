"""The models that the comparisons need, made once from the pinned ones and kept beside them.

A change of what is made needs a new :data:`VERSION`: models of an older one are then removed. Each is built in a
folder of its own that is renamed when complete, so an interrupted run leaves nothing that looks finished.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

from gguf import GGMLQuantizationType

from tests.real import e5s1, fetch, smollm2
from tests.real.smollm2 import Config, Tensors

VERSION = 1


@functools.cache
def _home() -> Path:
    """Return the folder of this version's models; those of other versions are removed."""
    every = fetch.cache() / "children"
    home = every / f"v{VERSION}"
    home.mkdir(parents=True, exist_ok=True)
    for other in every.iterdir():
        if other != home:
            shutil.rmtree(other)
    return home


def _once(name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder ``name``, made by ``make`` where it is not there yet."""
    target = _home() / name
    if target.exists():
        return target
    work = _home() / f".{name}.part"
    shutil.rmtree(work, ignore_errors=True)
    make(work)
    return work.rename(target)


def gguf() -> Path:
    """SmolLM2-135M-Instruct as it was published: GGUF, Q4_1."""
    return fetch.path("smollm2")


def base() -> Path:
    """The same weights as float32 safetensors."""
    original = gguf()
    return _once("base", lambda folder: smollm2.converted(original, folder))


def _child(name: str, change: Callable[[Tensors, Config], tuple[Tensors, Config]]) -> Path:
    parent = base()
    return _once(name, lambda folder: smollm2.child(parent, folder, change))


def depth_pruned() -> Path:
    """Every fifth layer dropped."""
    return _child("depth-pruned", smollm2.depth_pruned)


def width_pruned() -> Path:
    """A quarter of the neurons of every layer dropped."""
    return _child("width-pruned", smollm2.width_pruned)


def laundered() -> Path:
    """Neurons permuted, gains folded, residual stream rotated."""
    return _child("laundered", smollm2.laundered)


def upcycled() -> Path:
    """The first layers, as a mixture of two noisy copies."""
    return _child("upcycled", smollm2.upcycled)


def scrambled() -> Path:
    """The first layers with order, sign and basis of everything made anew: no label is left."""
    return _child("scrambled", smollm2.scrambled)


def fine_tuned() -> Path:
    """A few AdamW steps, by torch."""
    parent = base()
    return _once("fine-tuned", lambda folder: smollm2.fine_tuned(parent, folder))


def quantised(kind: GGMLQuantizationType) -> Path:
    """A GGUF in another quantisation."""
    parent, file = base(), f"{kind.name.lower()}.gguf"

    def make(folder: Path) -> None:
        folder.mkdir()
        smollm2.quantised(parent, folder / file, kind)

    return _once(kind.name.lower(), make) / file


def e5(name: str) -> Path:
    """multilingual-e5-small (``e5-small-q4``), or with a pruned vocabulary (``e5-small-enpt-q4``)."""
    source = fetch.path("e5", f"{name}.bin")
    return _once(name, lambda folder: e5s1.write(source, folder))


def e5_every_other_layer() -> Path:
    """The vocabulary-pruned e5 with every other layer: six layers, as all-MiniLM-L6-v2 has."""
    whole = e5("e5-small-enpt-q4")
    return _once("e5-six-layers", lambda folder: e5s1.take_layers(whole, folder, range(0, 12, 2)))
