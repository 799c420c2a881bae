"""What a model can be taught and how that is scored: data and objectives beside plain text (extra `lab`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation.lab.bpe import Tokens
from filiation.lab.device import all_placed, placed
from filiation.lab.train import Batch, Data, Objective, Recipe, Rows, Stream

#: Share of the tokens of a masked batch that are hidden (arXiv 2202.08005 on rates above 15 %).
MASKED = 0.3
MASK_TOKEN = 0
#: Share of random tokens in deliberately dirty text.
DIRT = 0.3
#: What a recipe may say under ``data``.
WORDS = ("text", "masked", "dirty", "pairs", "preferences", "teacher_text", "teacher_logits")


@dataclass(frozen=True)
class Masked:
    """Windows of a stream with tokens hidden; only the hidden ones are learned (arXiv 1810.04805)."""

    stream: Stream

    def batch(self, recipe: Recipe, step: int) -> Batch:
        """Return windows with the end-of-text token where a token is hidden, and what was hidden."""
        rows, _ = self.stream.batch(recipe, step)
        return masked(rows, np.random.default_rng([recipe.order_seed, step, 1]))


def masked(rows: Tokens, rng: np.random.Generator) -> Batch:
    """Hide tokens of rows; targets are -100 where nothing was hidden."""
    hidden = rng.random(rows.shape) < MASKED
    return np.where(hidden, MASK_TOKEN, rows), np.where(hidden, rows, -100)


@dataclass(frozen=True)
class Dirty:
    """Windows in which a share of the tokens was replaced by random ones."""

    stream: Stream
    vocab: int

    def batch(self, recipe: Recipe, step: int) -> Batch:
        """Return dirty windows; the targets are dirty too."""
        inputs, targets = self.stream.batch(recipe, step)
        rows = np.concatenate([inputs, targets[:, -1:]], axis=1)
        rng = np.random.default_rng([recipe.order_seed, step, 2])
        rows = np.where(rng.random(rows.shape) < DIRT, rng.integers(0, self.vocab, rows.shape), rows)
        return rows[:, :-1], rows[:, 1:]


@dataclass(frozen=True)
class Preferences:
    """Each prompt with its own answer (first half of a batch) and with another prompt's (second half)."""

    chosen: Rows

    def batch(self, recipe: Recipe, step: int) -> Batch:
        """Return twice `batch` rows; row i + batch has the prompt of row i and a wrong answer."""
        inputs, targets = self.chosen.batch(recipe, step)
        wrong_inputs, wrong_targets = inputs.copy(), targets.copy()
        for row in range(len(inputs)):
            self._swap(inputs, targets, row, wrong_inputs, wrong_targets)
        return np.concatenate([inputs, wrong_inputs]), np.concatenate([targets, wrong_targets])

    def _swap(
        self, inputs: Tokens, targets: Tokens, row: int, wrong_inputs: Tokens, wrong_targets: Tokens
    ) -> None:
        other = (row + 1) % len(inputs)
        mine, answer = targets[row] != -100, targets[other][targets[other] != -100]
        places = np.flatnonzero(mine)[: len(answer)]
        wrong_targets[row] = -100
        wrong_targets[row, places] = answer[: len(places)]
        following = places[places + 1 < inputs.shape[1]] + 1
        wrong_inputs[row, following] = answer[: len(following)]


def preference_objective(logits: Any, start: Mapping[str, Any], beta: float = 0.1) -> Objective:
    """Return the direct-preference loss against frozen initial weights (arXiv 2305.18290).

    Args:
        logits: (parameters, inputs) -> logits.
    """
    import torch
    import torch.nn.functional as F

    frozen = all_placed(start)

    def score(params: Mapping[str, Any], inputs: Any, targets: Any) -> Any:
        losses = F.cross_entropy(logits(params, inputs).transpose(1, 2), targets, reduction="none")
        return -losses.sum(1)

    def measure(params: Mapping[str, Any], inputs: Any, targets: Any) -> tuple[Any, Any]:
        now = score(params, inputs, targets)
        with torch.no_grad():
            before = score(frozen, inputs, targets)
        half = len(now) // 2
        gained = now - before
        value = -F.logsigmoid(beta * (gained[:half] - gained[half:])).mean()
        return value, value.new_zeros(())

    return measure


def distillation_objective(logits: Any, teacher_logits: Any, teacher: Mapping[str, Any]) -> Objective:
    """Return the cross-entropy against a teacher's next-token distribution (arXiv 1503.02531)."""
    import torch

    frozen = all_placed(teacher)

    def measure(params: Mapping[str, Any], inputs: Any, targets: Any) -> tuple[Any, Any]:
        del targets
        with torch.no_grad():
            wanted = teacher_logits(frozen, inputs).softmax(-1)
        value = -(wanted * logits(params, inputs).log_softmax(-1)).sum(-1).mean()
        return value, value.new_zeros(())

    return measure


def frozen_objective(objective: Objective, taken: Mapping[str, npt.NDArray[np.float32]]) -> Objective:
    """Return an objective of all other tensors: those that are taken stay as they are."""
    frozen = all_placed(taken)

    def measure(params: Mapping[str, Any], inputs: Any, targets: Any) -> tuple[Any, Any]:
        return objective({**params, **frozen}, inputs, targets)

    return measure


def adapter_start(start: Mapping[str, npt.NDArray[np.float32]], rank: int, seed: int) -> dict[str, Any]:
    """Return the two factors of a low-rank adapter on q and v of every layer (arXiv 2106.09685): B is zero."""
    rng = np.random.default_rng(seed)
    factors: dict[str, Any] = {}
    for name, value in start.items():
        if name.endswith(("q_proj.weight", "v_proj.weight")):
            rows, columns = value.shape
            factors[name + ".a"] = (rng.standard_normal((rank, columns)) / rank**0.5).astype(np.float32)
            factors[name + ".b"] = np.zeros((rows, rank), dtype=np.float32)
    return factors


def merged_adapter(
    start: Mapping[str, Any], factors: Mapping[str, Any], scale: float = 2.0
) -> dict[str, Any]:
    """Return the weights with the adapter merged in; works on arrays and on torch tensors."""
    out = dict(start)
    for name in start:
        if name + ".a" in factors:
            out[name] = start[name] + scale * (factors[name + ".b"] @ factors[name + ".a"])
    return out


def adapter_objective(objective: Objective, start: Mapping[str, Any]) -> Objective:
    """Return an objective of the adapter's factors alone."""
    frozen = all_placed(start)
    return lambda factors, inputs, targets: objective(merged_adapter(frozen, factors), inputs, targets)


def written_by(logits: Any, teacher: Mapping[str, Any], prompts: Tokens, length: int, seed: int) -> Tokens:
    """Return one stream of text that a model writes, sampled at temperature one.

    Args:
        prompts: first tokens of every text, shape (texts, tokens).
        length: tokens of every text.
    """
    import torch

    weights = all_placed(teacher)
    generator = torch.Generator().manual_seed(seed)
    rows = placed(prompts)
    with torch.no_grad():
        while rows.shape[1] < length:
            # Drawn on the processor, so that the text follows the seed wherever the teacher runs.
            last = logits(weights, rows)[:, -1].softmax(-1).cpu()
            drawn = torch.multinomial(last, 1, generator=generator)
            rows = torch.cat([rows, drawn.to(rows.device)], dim=1)
    return rows.cpu().numpy().reshape(-1)


def data_of(kind: str, stream: Stream, pairs: Rows, vocab: int) -> Data:
    """Return what a run learns from, by the word a recipe uses.

    Raises:
        KeyError: no such word.
    """
    made: dict[str, Data] = {
        "text": stream,
        "masked": Masked(stream),
        "dirty": Dirty(stream, vocab),
        "pairs": pairs,
        "preferences": Preferences(pairs),
    }
    return made[kind]
