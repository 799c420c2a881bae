"""Breed the demo models: ``python -m filiation.lab.demo_models --out examples/models`` (extra `lab`).

Trains a small Llama on text that every CPython brings, and its relatives whose kinship is known: see
``examples/models/README.md``. A run that was cut off goes on where it stopped, given the same ``--state``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from filiation.errors import FiliationError, MissingExtraError
from filiation.lab.bpe import (
    Tokens,
    encode_pairs,
    encode_stream,
    save_tokenizer,
    train_tokenizer,
    unigram_entropy,
)
from filiation.lab.derive import extract_dense, upcycle
from filiation.lab.forward import logits
from filiation.lab.history import shared
from filiation.lab.launder import launder
from filiation.lab.layout import Config, Tensors
from filiation.lab.llama import Shape, initial_weights
from filiation.lab.recode import rename
from filiation.lab.save import as_stored, save_model
from filiation.lab.text import Corpus, Domain, Split, load_corpus
from filiation.lab.train import Batch, Data, Recipe, Rows, Stream, Trained, train, windows

SHAPE = Shape()

# Pretraining: twins and the base see the same windows in the same order and differ in the initial draw alone.
# 1,600 steps of 2,048 tokens bring the base 2.7 nats below the unigram entropy in about three minutes.
PRETRAINING = Recipe(steps=1600, rate=3e-3, order_seed=11, batch=16)
CONTINUATION = Recipe(steps=1600, rate=3e-3, order_seed=12, batch=16)
OTHER_DATA = Recipe(steps=1600, rate=3e-3, order_seed=13, batch=16)
TUNING = Recipe(steps=300, rate=3e-4, order_seed=14, batch=16, warmup=20, weight_decay=0.0)
UPCYCLING = Recipe(steps=600, rate=1.5e-3, order_seed=15, batch=16, warmup=50, balance=0.02)

# What is drawn at random beside the order of the data: initial weights, router and expert noise, rotation.
SEEDS = {"base": 1, "same-init": 1, "twin": 2, "moe-upcycled": 21, "laundered": 31}
ZOO_SEEDS = {"twin2": 3, "twin3": 4}


@dataclass(frozen=True)
class Text:
    """The corpus as token streams."""

    corpus: Corpus
    tokenizer: Any
    streams: dict[tuple[Domain, Split], Tokens]
    pairs: Rows
    held_out_pairs: Batch

    def stream(self, domain: Domain) -> Stream:
        """Return the training stream of one domain."""
        return Stream(self.streams[domain, "train"])

    def held_out(self, domain: Domain) -> Batch:
        """Return held-out windows of one domain."""
        return windows(self.streams[domain, "held_out"], SHAPE.context)

    def unigram(self, domain: Domain) -> float:
        """Return the unigram entropy of one domain, in nats a token, measured on its held-out split."""
        return unigram_entropy(self.streams[domain, "train"], self.streams[domain, "held_out"], SHAPE.vocab)


def prepare_text() -> Text:
    """Read the corpus, train the tokenizer on it, encode everything. One in eight pairs is held out."""
    corpus = load_corpus()
    tokenizer = train_tokenizer(corpus, SHAPE.vocab)
    streams: dict[tuple[Domain, Split], Tokens] = {}
    for domain in ("prose", "code"):
        for split in ("train", "held_out"):
            streams[domain, split] = encode_stream(tokenizer, corpus.texts(domain, split))
    inputs, targets = encode_pairs(tokenizer, corpus.pairs, SHAPE.context)
    aside = np.arange(len(inputs)) % 8 == 0
    rows = Rows(inputs[~aside], targets[~aside])
    return Text(corpus, tokenizer, streams, rows, (inputs[aside], targets[aside]))


class Breeder:
    """Trains and saves models and keeps what was measured."""

    def __init__(self, out: Path, state: Path, text: Text) -> None:
        self.out, self.state, self.text = out, state, text
        self.models: dict[str, Tensors] = {}
        self.record: dict[str, dict[str, Any]] = {}
        partial = state / "tokenizer.json"
        state.mkdir(parents=True, exist_ok=True)
        save_tokenizer(text.tokenizer, partial)
        self.tokenizer_json = partial.read_bytes()

    def train(
        self, name: str, start: Tensors, config: Config, data: Data, held_out: Batch, recipe: Recipe
    ) -> Tensors:
        """Train one model, note its losses, and return its weights as they will be stored."""
        done = train(name, start, config, data, recipe, held_out, self.state)
        self.record[name] = {"recipe": asdict(recipe), **_losses(done)}
        say(f"{name}: {done.start_loss:.3f} -> {done.end_loss:.3f} nats/token, {done.tokens:,} tokens seen")
        self.models[name] = as_stored(done.weights)
        return self.models[name]

    def save(
        self, name: str, tensors: Tensors, config: Config, *, out: Path | None = None, shards: int = 1
    ) -> None:
        """Write a model's folder and note the digests of its weights."""
        folder = (out or self.out) / name
        save_model(folder, tensors, config, self.tokenizer_json, shards=shards)
        files = sorted(folder.glob("*.safetensors"))
        digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        self.record.setdefault(name, {})["sha256"] = digests


def _losses(done: Trained) -> dict[str, Any]:
    return {
        "start_loss": round(done.start_loss, 3),
        "end_loss": round(done.end_loss, 3),
        "tokens": done.tokens,
    }


def breed_pretrained(breeder: Breeder) -> None:
    """Breed base, twin, continued and same-init."""
    text, config = breeder.text, SHAPE.config()
    prose, code = text.stream("prose"), text.stream("code")
    held_prose, held_code = text.held_out("prose"), text.held_out("code")
    first = initial_weights(SHAPE, SEEDS["base"])
    base = breeder.train("base", first, config, prose, held_prose, PRETRAINING)
    other = initial_weights(SHAPE, SEEDS["twin"])
    breeder.train("twin", other, config, prose, held_prose, PRETRAINING)
    breeder.train("continued", base, config, code, held_code, CONTINUATION)
    same = initial_weights(SHAPE, SEEDS["same-init"])
    breeder.train("same-init", same, config, code, held_code, OTHER_DATA)
    for name in ("base", "twin", "continued", "same-init"):
        breeder.save(name, breeder.models[name], config)


def breed_tuned(breeder: Breeder) -> None:
    """Breed fine-tuned, its renamed copy and its laundered child."""
    text, config = breeder.text, SHAPE.config()
    start = breeder.models["base"]
    tuned = breeder.train("fine-tuned", start, config, text.pairs, text.held_out_pairs, TUNING)
    breeder.save("fine-tuned", tuned, config)
    breeder.save("renamed", *rename(tuned, config), shards=2)
    breeder.record["renamed"] |= {"made_from": "fine-tuned"}
    laundered, settings, change = launder_checked(tuned, config, text.held_out("prose")[0][:8])
    breeder.save("laundered", laundered, settings)
    breeder.record["laundered"] |= {"made_from": "fine-tuned", **change}


def launder_checked(
    tensors: Tensors, config: Config, tokens: Tokens
) -> tuple[Tensors, Config, dict[str, float]]:
    """Permute the feed-forward units, fold the gains, rotate the residual stream; measure the change in logits.

    Raises:
        FiliationError: the float32 logits moved by more than 0.001, so that the function was not preserved.
    """
    out, settings = launder(tensors, config, seed=SEEDS["laundered"])
    before = logits(tensors, config, tokens)
    in_float32 = float(np.abs(logits(out, settings, tokens) - before).max())
    stored = as_stored(out)
    in_bfloat16 = float(np.abs(logits(stored, settings, tokens) - before).max())
    say(
        f"laundered: logits moved by {in_float32:.1e} in float32, by {in_bfloat16:.1e} after rounding to bfloat16"
    )
    if in_float32 > 1e-3:
        raise FiliationError("laundering changed the function", reason=f"logits moved by {in_float32:.1e}")
    return out, settings, {"largest_logit_change_after_rounding": round(in_bfloat16, 3)}


def breed_experts(breeder: Breeder) -> None:
    """Breed moe-upcycled: base's feed-forward blocks copied four times, then trained on both domains."""
    text = breeder.text
    start, config = upcycle(
        breeder.models["base"], SHAPE.config(), experts=4, active=2, noise=0.05, seed=SEEDS["moe-upcycled"]
    )
    both = Stream(np.concatenate([text.stream("prose").tokens, text.stream("code").tokens]))
    prose, code = text.held_out("prose"), text.held_out("code")
    held_out = (np.concatenate([prose[0], code[0]]), np.concatenate([prose[1], code[1]]))
    experts = breeder.train("moe-upcycled", start, config, both, held_out, UPCYCLING)
    breeder.save("moe-upcycled", experts, config)
    # Measured one expert at a time: only a dense model has base's shape.
    del breeder.models["moe-upcycled"]
    for expert in range(4):
        breeder.models[f"moe-upcycled expert {expert}"], _ = extract_dense(experts, config, expert=expert)


def breed_zoo(breeder: Breeder, zoo: Path) -> None:
    """Breed further twins, which are not shipped: independent pairs for null statistics."""
    config = SHAPE.config()
    prose, held_out = breeder.text.stream("prose"), breeder.text.held_out("prose")
    for name, seed in ZOO_SEEDS.items():
        weights = breeder.train(name, initial_weights(SHAPE, seed), config, prose, held_out, PRETRAINING)
        breeder.save(name, weights, config, out=zoo)


def measure(breeder: Breeder) -> list[dict[str, Any]]:
    """Measure what the pairs share at equal places, to show that each is what it is meant to be."""
    measured: list[dict[str, Any]] = []
    pairs = [(name, "base") for name in breeder.models if name != "base"]
    for one, other in [*pairs, ("same-init", "continued")]:
        result = shared(breeder.models[one], breeder.models[other], SHAPE.config())
        say(f"{one} / {other}: {result.line()}; per layer {list(result.layers)}")
        figures = {
            key: round(value, 2) if isinstance(value, float) else value
            for key, value in asdict(result).items()
        }
        measured.append({"pair": [one, other], "history": result.is_history, **figures})
    return measured


def breed(out: Path, state: Path, zoo: Path | None) -> None:
    """Breed every model into `out` and write `breeding.json` beside them."""
    text = prepare_text()
    say(f"text sha256 {text.corpus.digest()}, Python {platform.python_version()}")
    for domain in ("prose", "code"):
        say(f"unigram entropy of {domain}: {text.unigram(domain):.3f} nats/token")
    breeder = Breeder(out, state, text)
    steps: list[Callable[[Breeder], None]] = [breed_pretrained, breed_tuned, breed_experts]
    for step in steps:
        step(breeder)
    if zoo is not None:
        breed_zoo(breeder, zoo)
    record = {
        "made_with": _versions(),
        "text_sha256": text.corpus.digest(),
        "tokenizer_sha256": hashlib.sha256(breeder.tokenizer_json).hexdigest(),
        "unigram_entropy": {d: round(text.unigram(d), 3) for d in ("prose", "code")},
        "seeds": SEEDS,
        "models": {name: breeder.record[name] for name in breeder.record if name not in ZOO_SEEDS},
        "shared": [entry for entry in measure(breeder) if entry["pair"][0] not in ZOO_SEEDS],
    }
    (out / "breeding.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _versions() -> dict[str, str]:
    import tokenizers
    import torch

    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": str(torch.__version__).partition("+")[0],
        "tokenizers": tokenizers.__version__,
    }


def say(line: str) -> None:
    """Write a progress line to stderr."""
    sys.stderr.write(line + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, breed, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m filiation.lab.demo_models", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the models")
    parser.add_argument("--state", type=Path, help="folder for unfinished runs (default: a temporary one)")
    parser.add_argument(
        "--zoo", type=Path, help="also breed the twins that are not shipped, into this folder"
    )
    chosen = parser.parse_args(arguments)
    try:
        for package in ("torch", "tokenizers"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError("Breeding the demo models", "lab", package)
        with tempfile.TemporaryDirectory() as temporary:
            breed(chosen.out, chosen.state or Path(temporary), chosen.zoo)
    except FiliationError as error:
        say(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
