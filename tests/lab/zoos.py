"""A zoo for the tests of this room: untrained models under the names and kinds of a bred one, and rows as measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from filiation.lab import derive, fixtures, framing, launder
from filiation.lab.save import save_model
from tests.lab.models import llama

SHAPE = {"family": "llama", "width": 16}


def entry(kind: str, parents: list[str], **settings: Any) -> dict[str, Any]:
    return {
        "maker": "train" if not parents else "derive",
        "kind": kind,
        "parents": parents,
        "ancestors": [],
        "how": "",
        "settings": settings,
        "digest": f"{kind}/{parents}/{settings}",
    }


def models() -> dict[str, dict[str, Any]]:
    """Two twins and two more strangers, a line of two steps, a merge, a framed model, a graft."""
    roots = {f"twin-{seed}": entry("pretrained", [], shape=SHAPE, seed=seed) for seed in (1, 2, 3, 4, 5)}
    return {
        **roots,
        "same-init": entry("same_initialisation", [], shape=SHAPE, seed=1),
        "noisy": entry("noise", ["twin-1"]),
        "permuted": entry("permuted", ["noisy"]),
        "stored": entry("renamed", ["permuted"]),
        "merged": entry("merged_siblings", ["noisy", "twin-1"]),
        "framed": entry("framed", ["twin-2", "twin-1"]),
        "grafted": entry("layers_grafted", ["twin-2", "twin-1"]),
        "distilled": entry("distilled_text", ["twin-1"], shape=SHAPE, seed=9),
        "sorted-4": entry("fixture", ["twin-4"]),
        "sorted-5": entry("fixture", ["twin-5"]),
    }


def write_record(folder: Path, chosen: dict[str, dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pairs: list[dict[str, Any]] = [
        {"suspect": "same-init", "candidate": "twin-1", "kind": "other_data", "steps": 7},
        {"suspect": "sorted-5", "candidate": "sorted-4", "kind": "sorted", "steps": 0, "quiet": True},
    ]
    record = {"recipe": "tiny", "made_with": {}, "models": chosen, "pairs": pairs}
    (folder / "zoo.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def written(folder: Path) -> Path:
    """A zoo on disk: five strangers, a noisy child, its permuted child, a framed stranger."""
    chosen = {name: model for name, model in models().items() if name in WRITTEN}
    strangers = {seed: llama(seed) for seed in (1, 2, 3, 4, 5)}
    noisy = derive.add_noise(*strangers[1], level=0.05, seed=6)
    alike = {f"sorted-{seed}": fixtures.sort_units(*strangers[seed]) for seed in (4, 5)}
    framed = framing.copy_sigmas(strangers[2][0], strangers[1][0], strangers[2][1])
    made = {f"twin-{seed}": model for seed, model in strangers.items()}
    made |= {"noisy": noisy, "permuted": launder.permute_ffn(*noisy, seed=7), "framed": framed, **alike}
    for name, (tensors, config) in made.items():
        save_model(folder / name, tensors, config)
    return write_record(folder, chosen)


WRITTEN = (
    "twin-1",
    "twin-2",
    "twin-3",
    "twin-4",
    "twin-5",
    "noisy",
    "permuted",
    "framed",
    "sorted-4",
    "sorted-5",
)
