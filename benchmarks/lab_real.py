"""The lab's derivations of a real model: SmolLM2-135M-Instruct, as a wheel on the package index brings it.

    PYTHONPATH=. .venv-lab/bin/python -m benchmarks.lab_real --out FOLDER [--only NAME ...]

Every child is made, compared with what it was made from, and removed (bfloat16, 270 MB each). What counts as right
is the lab's `expected.toml`. The fine-tuned child is four AdamW steps of 64 tokens, by torch; everything else is made
with numpy. Models that share nothing are drawn anew in the same shape, with the same tokenizer: nobody can train them
on two cores. A run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from filiation.lab import recode, storage
from filiation.lab.derive import low_rank_update
from filiation.lab.kin import QUIET, Case, Category, Expected, expectations
from filiation.lab.layout import Config, Tensors
from filiation.lab.makers import LAUNDERINGS, OF_MANY, OF_ONE
from filiation.lab.measure import judged, measured
from filiation.lab.save import load_model, save_model
from filiation.lab.tables import table
from tests.real import children, smollm2

Result = tuple[Tensors, Config]


@dataclass(frozen=True)
class Child:
    """One derivation.

    Attributes:
        kind: as `expected.toml` calls it; `None` for a model that shares nothing.
        how: the lab's change, or a way of storing.
        parents: of `base`, `bfloat16` (the base as every child is stored), `fine-tuned` and `stranger`; the first gives
            the body.
        against: the model it is compared with; the first parent by default.
    """

    kind: str | None
    how: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    parents: tuple[str, ...] = ("base",)
    against: str | None = None


def _all(parent: str, hows: Mapping[str, str], seed: int) -> dict[str, Child]:
    return {
        f"{parent}, {how.replace('_', ' ')}": Child(kind, how, {"seed": seed}, (parent,))
        for how, kind in hows.items()
    }


LAUNDERED = {
    "permute_ffn": "permuted",
    "flip_ffn_signs": "flipped",
    "permute_residual": "permuted",
    "signed_permutation": "signed_permuted",
    "permute_heads": "permuted",
    "permute_value_channels": "permuted",
    "rotate_residual": "rotated",
    "rotate_values": "value_rotated",
    "fold_gains": "gains_changed",
    "rescale_ffn_units": "rescaled",
    "rescale_queries_and_keys": "rescaled",
    "rotate_rotary_pairs": "rotary_rotated",
    "launder_orders": "all_together",
    "launder_all": "all_together",
}
CHILDREN: dict[str, Child] = {
    "fine-tuned (4 steps)": Child("fine_tuned", "same", {}, ("fine-tuned",), "base"),
    "stranger of the same shape": Child(None, "same", {}, ("stranger",), "base"),
    "noise 5 %": Child("noise", "add_noise", {"level": 0.05, "seed": 1}),
    "noise 20 %": Child("noise", "add_noise", {"level": 0.2, "seed": 2}),
    "fine-tuned, rotated": Child("rotated", "rotate_residual", {"seed": 3}, ("fine-tuned",)),
    "fine-tuned, all orders": Child("all_together", "launder_orders", {"seed": 4}, ("fine-tuned",)),
    "fine-tuned, all together": Child("all_together", "launder_all", {"seed": 5}, ("fine-tuned",)),
    "Q8_0": Child("quantised", "gguf", {"kind": "Q8_0"}),
    "Q4_0": Child("quantised", "gguf", {"kind": "Q4_0"}),
    "Q4_K": Child("quantised", "gguf", {"kind": "Q4_K"}),
    "LoRA of rank 8 merged": Child("lora_merged", "low_rank_update", {"rank": 8, "level": 0.02, "seed": 6}),
    "half of the weights zero": Child("sparse", "sparsify", {"fraction": 0.5}),
    "six layers dropped": Child(
        "layers_dropped", "take_layers", {"layers": [i for i in range(30) if i % 5 != 3]}
    ),
    "up-scaled to 40 layers": Child("up_scaled", "take_layers", {"layers": [*range(20), *range(10, 30)]}),
    "feed-forward pruned": Child("ffn_pruned", "prune_ffn_by_norm", {"units": 1152}),
    "heads pruned": Child("heads_pruned", "prune_heads", {"groups": 2}),
    "residual pruned": Child("residual_pruned", "prune_residual_by_norm", {"channels": 448}),
    "kv heads pooled": Child("heads_pooled", "pool_kv_heads", {"kv_heads": 1}),
    "merged, 60 : 40": Child("merged_siblings", "merge", {"weights": [0.6, 0.4]}, ("fine-tuned", "base")),
    "merged with a stranger, 70 : 30": Child(
        "merged_with_stranger", "merge", {"weights": [0.7, 0.3]}, ("base", "stranger")
    ),
    "renamed": Child("renamed", "rename", {}, ("bfloat16",)),
    "in five shards": Child("re_sharded", "shard", {}, ("bfloat16",)),
    "fused": Child("fused", "fuse"),
    "FP8": Child("quantised_fp8", "fp8"),
    "int8": Child("quantised", "int8"),
    "16,384 tokens kept": Child("vocabulary", "take_first_tokens", {"tokens": 16384}),
    "embedding drawn anew": Child("embeddings_replaced", "replace_embeddings", {"seed": 7, "vocab": 49152}),
    "experts, two noisy copies": Child(
        "upcycled", "upcycle", {"experts": 2, "active": 1, "noise": 0.05, "seed": 8}
    ),
    "stranger with its sigma curve": Child("framed", "copy_sigmas", {}, ("stranger", "base"), "base"),
    "stranger with its gains": Child("gains_copied", "copy_gains", {}, ("stranger", "base"), "base"),
    "stranger with two of its layers": Child(
        "layers_grafted", "graft", {"layers": [10, 11]}, ("stranger", "base"), "base"
    ),
    **_all("base", LAUNDERED, 9),
}


class Nursery:
    """The models that children are made from, and a folder for the child at hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = {"base": children.base(), "fine-tuned": children.fine_tuned()}
        self.tokenizer = (self.places["base"] / "tokenizer.json").read_bytes()
        tensors, config = smollm2.loaded(self.places["base"])
        self._save("bfloat16", tensors, config)
        self._save("stranger", self._stranger(tensors), config)

    def _save(self, name: str, tensors: Tensors, config: Config) -> None:
        self.places[name] = self.folder / name
        save_model(self.places[name], tensors, config, self.tokenizer)

    @staticmethod
    def _stranger(tensors: Tensors) -> Tensors:
        """Draw a model of the same shape: each tensor with the mean and spread of the real one."""
        rng = np.random.default_rng(20261122)
        return {
            name: (value.mean() + value.std() * rng.standard_normal(value.shape, dtype=np.float32)).astype(
                np.float32
            )
            for name, value in tensors.items()
        }

    def loaded(self, name: str) -> Result:
        """Return a parent's tensors and config."""
        stored = name in ("bfloat16", "stranger")
        return load_model(self.places[name]) if stored else smollm2.loaded(self.places[name])

    def make(self, child: Child) -> Path:
        """Write a child and return its folder."""
        if child.how == "same":
            return self.places[child.parents[0]]
        place = self.folder / "child"
        tensors, config = self.loaded(child.parents[0])
        if child.how in OF_MANY:
            others = [self.loaded(name)[0] for name in child.parents[1:]]
            save_model(
                place, *OF_MANY[child.how]([tensors, *others], config, **child.options), self.tokenizer
            )
        elif change := self._change(child.how):
            save_model(place, *change(tensors, config, **child.options), self.tokenizer)
        elif child.how == "shard":
            save_model(place, tensors, config, self.tokenizer, shards=5)
        else:
            writers = {"gguf": storage.write_gguf, "fp8": storage.write_fp8, "int8": storage.write_int8}
            writers[child.how](place, tensors, config, self.tokenizer, **child.options)
        return place

    @staticmethod
    def _change(how: str) -> Callable[..., Result] | None:
        more = {"rename": recode.rename, "fuse": recode.fuse_projections, "low_rank_update": low_rank_update}
        return OF_ONE.get(how) or LAUNDERINGS.get(how) or more.get(how)


def _expected(child: Child) -> Expected:
    if child.kind is None:
        return QUIET
    entry = expectations()[child.kind]
    return Expected(tuple(entry["relations"]), tuple(tuple(group) for group in entry["right"]))


def _measured(nursery: Nursery, name: str, child: Child, *, full: bool) -> dict[str, Any]:
    began = time.monotonic()
    place = nursery.make(child)
    made = time.monotonic() - began
    against = child.against or child.parents[0]
    category = Category.INDEPENDENT if child.kind is None else Category.DERIVED
    case = Case(
        str(place), (str(nursery.places[against]),), category, (child.kind or "none",), _expected(child)
    )
    row = judged(measured(Path("/"), case, full=full), case)
    for file in (nursery.folder / "child").glob("*"):
        file.unlink()
    row |= {"suspect": name, "candidates": [against], "made_in": round(made, 1)}
    return {key: value for key, value in row.items() if key != "tests"}


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table of all rows."""
    heads = [
        "child",
        "compared with",
        "verdict",
        "relation right",
        "named",
        "mechanism right",
        "log10 e",
        "MB",
        "s",
    ]
    lines = [
        [
            row["suspect"],
            row["candidates"][0],
            f"{row['relation']}: {', '.join(row['scope'])}"
            if row.get("relation") == "shared_parts"
            else row["relation"],
            "yes" if row["right"] else "no",
            ", ".join(dict.fromkeys(row["derivation"])) or "-",
            {None: "-", True: "yes", False: "left open" if row["left_open"] else "no"}[row["mechanism"]],
            "-" if row.get("log10_e") is None else f"{row['log10_e']:,.1f}",
            f"{row.get('bytes', 0) / 1e6:,.0f}",
            f"{row.get('seconds', 0):.0f}",
        ]
        for row in rows
    ]
    return table(heads, lines)


def main() -> int:
    """Measure what is not there yet and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for rows.jsonl and real.md")
    parser.add_argument("--only", nargs="*", choices=list(CHILDREN), help="these children alone")
    parser.add_argument(
        "--full", action="store_true", help="read the models whole (real-full.jsonl, real-full.md)"
    )
    options = parser.parse_args()
    stem = "real-full" if options.full else "real"
    options.out.mkdir(parents=True, exist_ok=True)
    store = options.out / f"{stem}.jsonl"
    lines = store.read_text(encoding="utf-8").splitlines() if store.is_file() else []
    known = {row["suspect"]: row for row in map(json.loads, lines)}
    with tempfile.TemporaryDirectory(dir=options.out) as folder, store.open("a", encoding="utf-8") as file:
        nursery = Nursery(Path(folder))
        for name in options.only or CHILDREN:
            if name not in known:
                known[name] = _measured(nursery, name, CHILDREN[name], full=options.full)
                file.write(json.dumps(known[name]) + "\n")
                file.flush()
                sys.stderr.write(f"{name}: {known[name]['relation']}, made in {known[name]['made_in']} s\n")
    text = markdown([known[name] for name in CHILDREN if name in known])
    (options.out / f"{stem}.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
