"""A byte-level BPE tokenizer trained on the corpus, and token streams made with it (extra `lab`)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation.lab.text import Corpus, Pair

END_OF_TEXT = "<|endoftext|>"
Tokens = npt.NDArray[np.int64]


def train_tokenizer(corpus: Corpus, vocab_size: int = 1024) -> Any:
    """Train a byte-level BPE on the training split of both domains, the end-of-text token being id 0.

    Training is deterministic: the same corpus gives the same tokenizer.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [*corpus.texts("prose", "train"), *corpus.texts("code", "train")]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Any, path: Path) -> None:
    """Write `tokenizer.json`."""
    tokenizer.save(str(path), pretty=False)


def encode_stream(tokenizer: Any, texts: Iterable[str]) -> Tokens:
    """Encode texts into one stream, each text followed by the end-of-text token. Shape: (tokens,)."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    ids: list[int] = []
    for encoding in tokenizer.encode_batch(list(texts)):
        ids.extend(encoding.ids)
        ids.append(end)
    return np.asarray(ids, dtype=np.int64)


def encode_pairs(tokenizer: Any, pairs: Sequence[Pair], length: int) -> tuple[Tokens, Tokens]:
    """Encode (prompt, answer) pairs as rows of `length` tokens and their targets.

    Returns:
        inputs and targets, both of shape (pairs that fit, length). Targets are -100 over the prompt and the
        padding, so that only the answer is learned.
    """
    end = tokenizer.token_to_id(END_OF_TEXT)
    inputs: list[list[int]] = []
    targets: list[list[int]] = []
    for pair in pairs:
        prompt, answer = tokenizer.encode(pair.prompt).ids, tokenizer.encode(pair.answer).ids
        row = [*prompt, *answer, end]
        if len(row) > length + 1:
            continue
        padding = length + 1 - len(row)
        inputs.append((row + [end] * padding)[:length])
        targets.append(([-100] * (len(prompt) - 1) + row[len(prompt) :] + [-100] * padding)[:length])
    return np.asarray(inputs, dtype=np.int64), np.asarray(targets, dtype=np.int64)


def unigram_entropy(train: Tokens, held_out: Tokens, vocab_size: int) -> float:
    """Return the cross-entropy, in nats a token, of held-out tokens under the training unigram (add-one)."""
    counts = np.bincount(train, minlength=vocab_size).astype(np.float64) + 1.0
    logs = np.log(counts / counts.sum())
    return float(-logs[held_out].mean())
