"""A slice of the lab that every run of the tests measures again: the demo models, and children made of them by numpy.

The shipped models (7 MB, bfloat16) are the small zoo; every child is derived, laundered, stored or framed anew from
fixed seeds, without torch, and compared as the standard recipe's are. What is expected stands in ``slice.json``::

    python -m tests.lab.slice    # measure and write slice.json anew; say in the commit why it changed
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from filiation.lab import calibrated, recode, storage
from filiation.lab.kin import Case, Category, Zoo
from filiation.lab.makers import LAUNDERINGS, OF_MANY, OF_ONE
from filiation.lab.measure import judged, measured
from filiation.lab.save import load_model, save_model
from filiation.lab.summary import summarise

MODELS = Path(__file__).resolve().parents[2] / "examples" / "models"
EXPECTED = Path(__file__).with_name("slice.json")
#: Rates where less is worse, and where more is.
GOOD = ("true_pairs_right", "mechanism_right")
BAD = (
    "independent_called_common_origin",
    "independent_called_anything",
    "fixtures_called_anything",
    "quiet_called_common_origin",
    "initialisation_called_common_origin",
)
#: One child in so many is compared with a stranger too.
STRANGERS = 4

SHAPE = {"family": "llama", "width": 64}
GIVEN: Mapping[str, dict[str, Any]] = {
    "base": {"kind": "pretrained", "settings": {"shape": SHAPE, "seed": 1}},
    "twin": {"kind": "pretrained", "settings": {"shape": SHAPE, "seed": 2}},
    "same-init": {"kind": "same_initialisation", "settings": {"shape": SHAPE, "seed": 1}},
    "continued": {"kind": "continued_as_long", "parents": ["base"]},
    "fine-tuned": {"kind": "fine_tuned", "parents": ["base"]},
}
#: name: kind, change, arguments, parents.
Made = tuple[str, str, dict[str, Any], tuple[str, ...]]


def _of(parent: str, *entries: tuple[str, str, str, dict[str, Any]]) -> dict[str, Made]:
    return {name: (kind, how, options, (parent,)) for name, kind, how, options in entries}


CHILDREN: dict[str, Made] = {
    **_of(
        "base",
        ("noise-5", "noise", "add_noise", {"level": 0.05, "seed": 1}),
        ("noise-50", "noise", "add_noise", {"level": 0.5, "seed": 2}),
        ("sparse", "sparse", "sparsify", {"fraction": 0.5}),
        ("two-of-four", "sparse", "two_of_four", {}),
        ("dropped", "layers_dropped", "take_layers", {"layers": [0, 1, 4, 5]}),
        ("reordered", "layers_reordered", "take_layers", {"layers": [0, 2, 1, 3, 4, 5]}),
        ("up-scaled", "up_scaled", "take_layers", {"layers": [0, 1, 2, 3, 2, 3, 4, 5]}),
        ("expanded", "blocks_inserted", "insert_blocks", {"after": [1, 3, 5]}),
        ("ffn-pruned", "ffn_pruned", "prune_ffn_by_norm", {"units": 144}),
        ("heads-pruned", "heads_pruned", "prune_heads", {"groups": 1}),
        ("residual-pruned", "residual_pruned", "prune_residual_by_norm", {"channels": 48}),
        ("pooled", "heads_pooled", "pool_kv_heads", {"kv_heads": 1}),
        ("repeated", "heads_repeated", "repeat_kv_heads", {"kv_heads": 4}),
        ("upcycled", "upcycled", "upcycle", {"experts": 4, "active": 2, "noise": 0.05, "seed": 3}),
        ("split", "upcycled", "split_experts", {"experts": 4, "active": 2, "seed": 4}),
        ("extended", "vocabulary", "extend_vocabulary", {"tokens": 96, "seed": 5}),
        ("fewer-tokens", "vocabulary", "take_first_tokens", {"tokens": 800}),
        ("redrawn", "embeddings_replaced", "replace_embeddings", {"seed": 6, "vocab": 1024}),
        ("tower", "grafted_tower", "graft_tower", {"seed": 7}),
        ("untied", "untied", "untie", {}),
        ("own-head", "head_replaced", "replace_head", {"seed": 8}),
        ("edited", "rank_one_edit", "remove_direction", {"seed": 9}),
    ),
    **_of(
        "fine-tuned",
        ("permuted-ffn", "permuted", "permute_ffn", {"seed": 11}),
        ("flipped-ffn", "flipped", "flip_ffn_signs", {"seed": 12}),
        ("permuted-values", "permuted", "permute_value_channels", {"seed": 13}),
        ("flipped-values", "flipped", "flip_value_signs", {"seed": 14}),
        ("permuted-heads", "permuted", "permute_heads", {"seed": 15}),
        ("permuted-residual", "permuted", "permute_residual", {"seed": 16}),
        ("flipped-residual", "flipped", "flip_residual_signs", {"seed": 17}),
        ("signed", "signed_permuted", "signed_permutation", {"seed": 18}),
        ("folded", "gains_changed", "fold_gains", {}),
        ("gains", "gains_changed", "rescale_gains", {"seed": 19}),
        ("rotated", "rotated", "rotate_residual", {"seed": 20}),
        ("values-turned", "value_rotated", "rotate_values", {"seed": 21}),
        ("units-scaled", "rescaled", "rescale_ffn_units", {"seed": 22}),
        ("values-scaled", "rescaled", "rescale_value_channels", {"seed": 23}),
        ("queries-scaled", "rescaled", "rescale_queries_and_keys", {"seed": 24}),
        ("pairs-turned", "rotary_rotated", "rotate_rotary_pairs", {"seed": 25}),
        ("orders", "all_together", "launder_orders", {"seed": 26}),
        ("all", "all_together", "launder_all", {"seed": 27}),
        ("rope", "rope_changed", "set_config", {"rope_theta": 5e5}),
        ("renamed", "renamed", "rename", {}),
        ("sharded", "re_sharded", "shard", {}),
        ("fused", "fused", "fuse", {}),
        ("float16", "other_type", "float16", {}),
        ("q8", "quantised", "Q8_0", {}),
        ("q4", "quantised", "Q4_0", {}),
        ("int8", "quantised", "int8", {}),
        ("nf4", "quantised", "nf4", {}),
        ("gptq", "quantised", "gptq", {}),
        ("awq", "quantised", "awq", {}),
        ("fp8", "quantised_fp8", "fp8", {}),
    ),
    "merged": ("merged_siblings", "merge", {"weights": [0.6, 0.4]}, ("fine-tuned", "continued")),
    "slerp": ("merged_siblings", "slerp", {"along": 0.4}, ("fine-tuned", "continued")),
    "tasks": (
        "merged_siblings",
        "task_arithmetic",
        {"weights": [0.8, 0.5]},
        ("base", "fine-tuned", "continued"),
    ),
    "dare": ("merged_siblings", "dare", {"density": 0.5, "seed": 31}, ("base", "fine-tuned", "continued")),
    "stranger": ("merged_with_stranger", "merge", {"weights": [0.7, 0.3]}, ("fine-tuned", "twin")),
    "dressed-sigmas": ("framed", "copy_sigmas", {}, ("twin", "base")),
    "dressed-spectra": ("framed", "copy_spectra", {}, ("twin", "base")),
    "dressed-gains": ("gains_copied", "copy_gains", {}, ("twin", "base")),
    "dressed-layers": ("layers_grafted", "graft", {"layers": [2, 3]}, ("twin", "base")),
    **{
        f"{name}-{of}": ("fixture", how, options, (of,))
        for of in ("base", "twin")
        for name, how, options in (
            ("alike-sorted", "sort_units", {}),
            ("alike-channels", "sort_channels", {}),
            ("alike-padded", "pad_units", {"units": 208}),
            ("alike-silenced", "silence_units", {"fraction": 0.5}),
            ("alike-units", "make_units_alike", {}),
            ("alike-solar", "take_layers", {"layers": [0, 1, 2, 3, 2, 3, 4, 5]}),
        )
    },
}


def build(folder: Path) -> Zoo:
    """Make the zoo in an empty folder and return it."""
    tokenizer = (MODELS / "base" / "tokenizer.json").read_bytes()
    for name in GIVEN:
        shutil.copytree(MODELS / name, folder / name)
    for name, (_, how, options, parents) in CHILDREN.items():
        _make(folder, name, how, options, parents, tokenizer)
    entries = {name: _entry(folder, name, **given) for name, given in GIVEN.items()}
    entries |= {
        name: _entry(folder, name, kind, list(parents)) for name, (kind, _, _, parents) in CHILDREN.items()
    }
    pairs: list[dict[str, Any]] = [
        {"suspect": "same-init", "candidate": "base", "kind": "other_data", "steps": 1}
    ]
    alike = sorted({name.rpartition("-")[0] for name, made in CHILDREN.items() if made[0] == "fixture"})
    pairs += [
        {"suspect": f"{name}-twin", "candidate": f"{name}-base", "kind": name, "quiet": True}
        for name in alike
    ]
    record = {"recipe": "slice", "made_with": {}, "models": entries, "pairs": pairs}
    (folder / "zoo.json").write_text(json.dumps(record), encoding="utf-8")
    return Zoo(folder)


def _entry(
    folder: Path,
    name: str,
    kind: str,
    parents: list[str] | None = None,
    settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    digest = hashlib.sha256()
    for file in sorted((folder / name).iterdir()):
        digest.update(file.read_bytes())
    return {
        "kind": kind,
        "parents": parents or [],
        "settings": settings or {},
        "digest": digest.hexdigest(),
    }


def _make(
    folder: Path, name: str, how: str, options: dict[str, Any], parents: tuple[str, ...], tokenizer: bytes
) -> None:
    models = [load_model(folder / parent) for parent in parents]
    tensors, config = models[0]
    place = folder / name
    if how in OF_MANY:
        save_model(place, *OF_MANY[how]([t for t, _ in models], config, **options), tokenizer)
    elif how in OF_ONE or how in LAUNDERINGS:
        change = OF_ONE.get(how) or LAUNDERINGS[how]
        save_model(place, *change(tensors, config, **options), tokenizer)
    elif how in ("gptq", "awq"):
        quantise = calibrated.quantise_gptq if how == "gptq" else calibrated.quantise_awq
        tokens = np.random.default_rng(41).integers(0, config["vocab_size"], (8, 64))
        storage.write_arrays(place, *quantise(tensors, config, tokens), tokenizer)
    else:
        _store(place, how, tensors, config, tokenizer)


def _store(place: Path, how: str, tensors: Any, config: Any, tokenizer: bytes) -> None:
    if how == "float16":
        storage.write_typed(place, tensors, config, tokenizer, dtype="float16")
    elif how in ("Q8_0", "Q4_0"):
        storage.write_gguf(place, tensors, config, tokenizer, how)
    elif how in ("int8", "fp8"):
        {"int8": storage.write_int8, "fp8": storage.write_fp8}[how](place, tensors, config, tokenizer)
    elif how == "shard":
        save_model(place, tensors, config, tokenizer, shards=3)
    else:
        change = {"rename": recode.rename, "fuse": recode.fuse_projections, "nf4": recode.quantise_nf4}[how]
        save_model(place, *change(tensors, config), tokenizer)


def cases(zoo: Zoo) -> list[Case]:
    """Return every comparison of the slice: all of the zoo's, but a stranger for every fourth child alone."""
    found = zoo.cases()
    apart = [case for case in found if case.category is Category.STRANGER]
    return [case for case in found if case.category is not Category.STRANGER] + apart[::STRANGERS]


def measure(folder: Path) -> dict[str, Any]:
    """Build and measure; return the rates and every comparison's outcome."""
    zoo = build(folder)
    rows = [judged(measured(zoo.folder, case), case) for case in cases(zoo)]
    found = summarise(zoo, rows)
    return {
        "roots": {name: zoo.models[name]["digest"] for name in GIVEN},
        "rates": {name: [found[name]["count"], found[name]["trials"]] for name in (*GOOD, *BAD)},
        "outcomes": {
            f"{row['suspect']} / {', '.join(row['candidates'])}": [
                row["relation"],
                "right" if row["right"] else "wrong",
                {None: "-", True: "named", False: "not named"}[row["mechanism"]],
            ]
            for row in rows
        },
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        EXPECTED.write_text(json.dumps(measure(Path(temporary)), indent=1) + "\n", encoding="utf-8")
