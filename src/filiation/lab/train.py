"""Training: seeded, resumable, AdamW with warm-up and cosine decay (extra `lab`).

Which tokens a step sees depends on the recipe's `order_seed` and the step number alone, so a run that was cut
off and resumed sees what an uncut one would have. One thread; on one machine the result is bit-identical on the
processor. Where torch sees a GPU it is used (`filiation.lab.device`).
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from filiation.errors import UsageError
from filiation.lab.bpe import Tokens
from filiation.lab.device import all_placed, fetched, placed
from filiation.lab.llama import Config, loss

Weights = dict[str, npt.NDArray[np.float32]]
Batch = tuple[Tokens, Tokens]
#: Parameters by name, inputs and targets -> mean loss in nats and a balancing term (torch tensors).
Objective = Callable[[Mapping[str, Any], Any, Any], tuple[Any, Any]]
REPORT_EVERY, SAVE_EVERY = 50, 100


@dataclass(frozen=True)
class Recipe:
    """Everything that fixes a run beside its initial weights and its data.

    Attributes:
        steps: optimiser steps.
        rate: peak learning rate; falls along a cosine to `floor` times the peak.
        warmup: steps of linear warm-up.
        order_seed: fixes which windows of the data each step sees.
        balance: weight of the load-balancing loss (mixture-of-experts models only).
        ema: decay of an exponential moving average of the weights, which is then what the run returns; 0 for none.
    """

    steps: int
    rate: float
    order_seed: int
    warmup: int = 100
    batch: int = 32
    context: int = 128
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    floor: float = 0.1
    balance: float = 0.0
    ema: float = 0.0

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        along = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.rate * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * along)))


class Data(Protocol):
    """What a run learns from: a batch for every step."""

    def batch(self, recipe: Recipe, step: int) -> Batch:
        """Return inputs and targets of one step, each of shape (batch, context)."""
        ...


@dataclass(frozen=True)
class Stream:
    """Windows at random places of one token stream."""

    tokens: Tokens

    def batch(self, recipe: Recipe, step: int) -> Batch:
        """Return `batch` windows and the same windows one token later."""
        generator = np.random.default_rng([recipe.order_seed, step])
        starts = generator.integers(0, self.tokens.size - recipe.context - 1, recipe.batch)
        rows = self.tokens[starts[:, None] + np.arange(recipe.context + 1)]
        return rows[:, :-1], rows[:, 1:]


@dataclass(frozen=True)
class Rows:
    """Ready rows with targets, drawn epoch by epoch without replacement."""

    inputs: Tokens
    targets: Tokens

    def batch(self, recipe: Recipe, step: int) -> Batch:
        """Return `batch` rows and their targets."""
        chosen = [self._row(recipe, step * recipe.batch + place) for place in range(recipe.batch)]
        return self.inputs[chosen], self.targets[chosen]

    def _row(self, recipe: Recipe, place: int) -> int:
        epoch, within = divmod(place, len(self.inputs))
        return int(np.random.default_rng([recipe.order_seed, epoch]).permutation(len(self.inputs))[within])


@dataclass(frozen=True)
class Trained:
    """A finished run: its weights and what was measured, in nats a token."""

    weights: Weights
    start_loss: float
    end_loss: float
    steps: int
    tokens: int


def windows(stream: Tokens, length: int, count: int = 96) -> Batch:
    """Cut `count` evenly spread windows of `length` tokens out of a stream, with their targets."""
    starts = np.linspace(0, stream.size - length - 2, count).astype(np.int64)
    rows = stream[starts[:, None] + np.arange(length + 1)]
    return rows[:, :-1], rows[:, 1:]


def evaluate(weights: Weights, config: Config, held_out: Batch, objective: Objective | None = None) -> float:
    """Return the mean loss, in nats a token, over held-out inputs and targets."""
    import torch

    objective = objective or _of_llama(config)

    inputs, targets = (placed(part) for part in held_out)
    with torch.no_grad():
        params = {name: placed(value) for name, value in weights.items()}
        return float(objective(params, inputs, targets)[0])


def _of_llama(config: Config) -> Objective:
    return lambda params, inputs, targets: loss(params, inputs, targets, config)


def train(
    name: str,
    start: Weights,
    config: Config,
    data: Data,
    recipe: Recipe,
    held_out: Batch,
    state: Path,
    *,
    objective: Objective | None = None,
    judged_by: Objective | None = None,
) -> Trained:
    """Train from `start` and return the result; resume from `state` where a cut-off run left it.

    Args:
        name: what progress lines on stderr call the run.
        held_out: inputs and targets on which the loss is measured before and after.
        state: folder for the run's state. A finished run found there is returned without training.
        objective: what is made small; next-token prediction of a small Llama or Mixtral when None.
        judged_by: what is measured on ``held_out``; the objective when None.

    Raises:
        UsageError: `state` holds a run of another recipe or other initial weights.
    """
    import torch

    torch.set_num_threads(1)
    objective = objective or _of_llama(config)
    params = {key: value.requires_grad_() for key, value in all_placed(start).items()}
    optimiser = _optimiser(params, recipe)
    identity = _identity(recipe, start)
    path = state / f"{name}.pt"
    averaged: Weights = {key: value.copy() for key, value in start.items()} if recipe.ema else {}
    first = _resume(path, identity, params, optimiser, averaged)
    began = time.monotonic()
    for step in range(first, recipe.steps):
        recent = _step(params, optimiser, objective, data, recipe, step)
        for key, value in averaged.items():
            value *= recipe.ema
            value += (1 - recipe.ema) * fetched(params[key])
        done = step + 1
        if done % REPORT_EVERY == 0:
            rate = (done - first) * recipe.batch * recipe.context / (time.monotonic() - began)
            sys.stderr.write(f"{name}: step {done}/{recipe.steps}, loss {recent:.3f}, {rate:,.0f} tokens/s\n")
        if done % SAVE_EVERY == 0 or done == recipe.steps:
            _save(path, identity, done, params, optimiser, averaged)
    weights = averaged or {key: fetched(value).copy() for key, value in params.items()}
    judge = judged_by or objective
    before, after = (evaluate(each, config, held_out, judge) for each in (start, weights))
    return Trained(weights, before, after, recipe.steps, recipe.steps * recipe.batch * recipe.context)


def _optimiser(params: Mapping[str, Any], recipe: Recipe) -> Any:
    import torch

    # Gains are not decayed: decay would pull them to zero, not to the one they start from.
    matrices = [value for value in params.values() if value.ndim > 1]
    gains = [value for value in params.values() if value.ndim == 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": gains, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=recipe.betas, fused=True)


def _step(
    params: dict[str, Any], optimiser: Any, objective: Objective, data: Data, recipe: Recipe, step: int
) -> float:
    import torch

    for group in optimiser.param_groups:
        group["lr"] = recipe.rate_at(step)
    inputs, targets = (placed(part) for part in data.batch(recipe, step))
    value, balance = objective(params, inputs, targets)
    optimiser.zero_grad(set_to_none=True)
    (value + recipe.balance * balance).backward()
    torch.nn.utils.clip_grad_norm_(list(params.values()), recipe.clip)
    optimiser.step()
    return float(value.detach())


def _identity(recipe: Recipe, start: Weights) -> str:
    running = hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode())
    # In the order given: the gradient norm is summed in it, so another order rounds differently.
    for key in start:
        running.update(key.encode() + start[key].tobytes())
    return running.hexdigest()


def _save(
    path: Path, identity: str, done: int, params: dict[str, Any], optimiser: Any, averaged: Weights
) -> None:
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    plain = {key: value.detach() for key, value in params.items()}
    means = {key: torch.from_numpy(value) for key, value in averaged.items()}
    torch.save(
        {
            "identity": identity,
            "done": done,
            "params": plain,
            "optimiser": optimiser.state_dict(),
            "averaged": means,
        },
        partial,
    )
    partial.replace(path)


def _resume(path: Path, identity: str, params: dict[str, Any], optimiser: Any, averaged: Weights) -> int:
    import torch

    if not path.exists():
        return 0
    saved = torch.load(path, weights_only=True, map_location="cpu")
    if saved["identity"] != identity:
        raise UsageError(
            "cannot resume this training run",
            file=str(path),
            reason="it was begun with another recipe or other initial weights",
            next_step="remove the file, or name another folder with --state",
        )
    with torch.no_grad():
        for key, value in params.items():
            value.copy_(saved["params"][key])
    for key, value in averaged.items():
        value[...] = saved["averaged"][key].numpy()
    optimiser.load_state_dict(saved["optimiser"])
    return int(saved["done"])
