"""The text of a zoo as token streams, made once, kept in the zoo and read by every process (extra `lab`)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from filiation.errors import UsageError
from filiation.lab.bpe import (
    Tokens,
    encode_pairs,
    encode_stream,
    save_tokenizer,
    train_tokenizer,
    unigram_entropy,
)
from filiation.lab.text import Domain, load_corpus
from filiation.lab.train import Batch, Rows, Stream, windows
from filiation.lab.workers import write_whole

DOMAINS: tuple[Domain, ...] = ("prose", "code")


@dataclass(frozen=True)
class Material:
    """Token streams of both domains and supervised pairs.

    Attributes:
        digest: sha256 of text, vocabulary and context: what every trained model depends on.
        unigram: unigram entropy of each domain's held-out split, in nats a token.
    """

    digest: str
    vocab: int
    context: int
    unigram: dict[str, float]
    arrays: dict[str, Tokens]
    tokenizer_json: bytes

    def tokens(self, domain: str, split: str) -> Tokens:
        """Return a stream of tokens; the domain `both` is one after the other."""
        if domain == "both":
            return np.concatenate([self.tokens(each, split) for each in DOMAINS])
        return self.arrays[f"{domain}.{split}"]

    def stream(self, domain: str) -> Stream:
        """Return the training stream of a domain."""
        return Stream(self.tokens(domain, "train"))

    def held_out(self, domain: str, count: int = 64) -> Batch:
        """Return held-out windows of a domain."""
        return windows(self.tokens(domain, "held_out"), self.context, count)

    def level(self, domain: str) -> float:
        """Return the unigram level of a domain; of `both`, the mean weighted by held-out tokens."""
        if domain != "both":
            return self.unigram[domain]
        sizes = [self.tokens(each, "held_out").size for each in DOMAINS]
        return float(np.average([self.unigram[each] for each in DOMAINS], weights=sizes))

    def pairs(self, *, held_out: bool = False) -> Rows:
        """Return signature and docstring pairs as rows; one in eight is held out.

        Raises:
            UsageError: hardly any fit into the context.
        """
        inputs, targets = self.arrays["pairs.inputs"], self.arrays["pairs.targets"]
        if len(inputs) < 16:
            raise UsageError(
                "there are no pairs to tune on",
                reason=f"{len(inputs)} of the corpus fit into {self.context} tokens",
                next_step="give the recipe's [text] a longer context",
            )
        aside = np.arange(len(inputs)) % 8 == 0
        keep = aside if held_out else ~aside
        return Rows(inputs[keep], targets[keep])


def prepare(folder: Path, vocab: int, context: int) -> Material:
    """Return the material kept in a folder, made first where it is not there or of another text."""
    corpus = load_corpus()
    wanted = hashlib.sha256(f"{corpus.digest()} {vocab} {context}".encode()).hexdigest()
    if (folder / "material.json").is_file() and _load_record(folder)["digest"] == wanted:
        return load(folder)
    tokenizer = train_tokenizer(corpus, vocab)
    arrays: dict[str, Tokens] = {}
    for domain in DOMAINS:
        for split in ("train", "held_out"):
            arrays[f"{domain}.{split}"] = encode_stream(tokenizer, corpus.texts(domain, split))
    arrays["pairs.inputs"], arrays["pairs.targets"] = encode_pairs(tokenizer, corpus.pairs, context)
    unigram = {d: unigram_entropy(arrays[f"{d}.train"], arrays[f"{d}.held_out"], vocab) for d in DOMAINS}
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(tokenizer, folder / "tokenizer.json")
    with (folder / "material.npz").open("wb") as file:
        np.savez(file, **cast("dict[str, Any]", arrays))
    record = {"digest": wanted, "vocab": vocab, "context": context, "unigram": unigram}
    # Last, and whole or not at all: where it stands, everything else is there.
    write_whole(folder / "material.json", json.dumps(record))
    return load(folder)


def load(folder: Path) -> Material:
    """Read the material that :func:`prepare` wrote."""
    record = _load_record(folder)
    with np.load(folder / "material.npz", allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return Material(**record, arrays=arrays, tokenizer_json=(folder / "tokenizer.json").read_bytes())


def _load_record(folder: Path) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads((folder / "material.json").read_text(encoding="utf-8")))
