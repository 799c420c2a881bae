"""Small model files written for these tests, and repositories made of texts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from filiation.repository.model import Repository, RepositoryFile
from filiation.source.corpus import Release, build, dump, load

HEAD = (
    "# Copyright 2021 The Example Team and Other Lab Inc. All rights reserved.\n"
    "# Licensed under the Apache License, Version 2.0\n"
)

MODEL = '''
"""An attention model."""
import math
import torch
import torch.nn.functional as F
from torch import nn
from ...activations import ACT2FN


class ExampleNorm(nn.Module):
    """Scales."""

    def __init__(self, width: int, eps: float = 1e-6):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.variance_epsilon = eps

    def forward(self, hidden):
        kind = hidden.dtype
        hidden = hidden.to(torch.float32)
        variance = hidden.pow(2).mean(-1, keepdim=True)
        hidden = hidden * torch.rsqrt(variance + self.variance_epsilon)
        return self.gain * hidden.to(kind)


class ExampleAttention(nn.Module):
    def __init__(self, config, layer: int = 0):
        super().__init__()
        self.config = config
        self.layer = layer
        self.heads = config.num_heads
        self.head_width = config.width // config.num_heads
        if self.head_width * self.heads != config.width:
            raise ValueError(f"width {config.width} is not divisible")
        self.query = nn.Linear(config.width, config.width, bias=False)
        self.key = nn.Linear(config.width, config.width, bias=False)
        self.value = nn.Linear(config.width, config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=config.attention_bias)

    def _split(self, x, length, batch):
        return x.view(batch, length, self.heads, self.head_width).transpose(1, 2).contiguous()

    def forward(self, hidden, mask=None, positions=None):
        batch, length, _ = hidden.size()
        query = self._split(self.query(hidden), length, batch)
        key = self._split(self.key(hidden), length, batch)
        value = self._split(self.value(hidden), length, batch)
        scores = torch.matmul(query, key.transpose(2, 3)) / math.sqrt(self.head_width)
        if mask is not None:
            scores = scores + mask[:, :, :, : key.shape[-2]]
        weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
        mixed = torch.matmul(weights, value).transpose(1, 2).reshape(batch, length, -1)
        return self.out(mixed), weights


class ExampleBlock(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.attention = ExampleAttention(config, layer)
        self.first_norm = ExampleNorm(config.width, eps=config.eps)
        self.second_norm = ExampleNorm(config.width, eps=config.eps)
        self.up = nn.Linear(config.width, config.inner, bias=False)
        self.down = nn.Linear(config.inner, config.width, bias=False)
        self.act = ACT2FN[config.hidden_act]

    def forward(self, hidden, mask=None):
        residual = hidden
        mixed, weights = self.attention(self.first_norm(hidden), mask=mask)
        hidden = residual + mixed
        residual = hidden
        hidden = self.down(self.act(self.up(self.second_norm(hidden))))
        return residual + hidden, weights


def chosen_sizes(images, grids, limit):
    sizes = []
    for image in images:
        if image.area > limit:
            sizes.append(image.area // limit)
    best = min(grids, key=lambda grid: abs(grid - len(sizes)))
    total = sum(sizes) if sizes else 0
    return best, total
'''

OTHER = """
import numpy as np
import torch
from torch import nn


class WindowMixer(nn.Module):
    def __init__(self, settings):
        super().__init__()
        self.depth = settings.depth
        self.decay = nn.Parameter(torch.zeros(settings.depth))
        self.bank = nn.ModuleList([nn.Conv1d(settings.channels, settings.channels, 3) for _ in range(settings.depth)])
        self.register_buffer("steps", torch.arange(settings.depth))

    def forward(self, signal, state=None):
        state = torch.zeros_like(signal) if state is None else state
        for index, stage in enumerate(self.bank):
            gate = torch.sigmoid(self.decay[index])
            state = gate * state + (1 - gate) * stage(signal)
            signal = torch.cat([signal, state], dim=1)[:, : self.depth]
        return signal.cumsum(dim=-1), state

    def spectrum(self, signal):
        values = np.fft.rfft(signal.detach().cpu().numpy())
        energy = np.abs(values) ** 2
        order = np.argsort(energy)[::-1]
        return energy[order], order


def schedule(step, warmup, total):
    while step > total:
        step -= total
    if step < warmup:
        return step / max(1, warmup)
    progress = (step - warmup) / max(1, total - warmup)
    return max(0.0, 0.5 * (1.0 + np.cos(np.pi * progress)))
"""


def renamed(text: str, **names: str) -> str:
    """Return ``text`` with every word (or start of a word, for a key that ends in ``_``) replaced."""
    for old, new in names.items():
        pattern = rf"\b{old[:-1]}" if old.endswith("_") else rf"\b{old}\b"
        text = re.sub(pattern, new, text)
    return text


YOURS = HEAD + renamed(MODEL, Example_="Yours", first_norm="ln1", second_norm="ln2")


def repository(name: str, files: Mapping[str, str | bytes]) -> Repository:
    """Return a repository of these texts."""
    data = {path: body if isinstance(body, bytes) else body.encode() for path, body in files.items()}
    return Repository(name, name, {p: RepositoryFile(p, len(d)) for p, d in data.items()}, data.__getitem__)


def variant(number: int) -> str:
    """Return a model file that has the library's manner and nothing else in common with others."""
    steps = "\n".join(
        f"        x = self.w{k}(x) * {number}.{k} + torch.{_OPS[(number + k) % 8]}(x)" for k in range(9)
    )
    parts = "\n".join(f"        self.w{k} = nn.Linear(c.a{k}, {number * 7 + k})" for k in range(9))
    return (
        f"import torch\nfrom torch import nn\n\nclass V{number}(nn.Module):\n    def __init__(self, c):\n"
        f"        super().__init__()\n{parts}\n\n    def forward(self, x):\n{steps}\n        return x\n"
    )


_OPS = ("exp", "log", "sin", "cos", "tanh", "sigmoid", "relu", "sqrt")


def corpus(**files: str) -> Release:
    """Return a small release: the given models and forty that have nothing in common."""
    every = files | {f"v{n}": variant(n) for n in range(40)}
    named = {f"transformers/models/{n}/modeling_{n}.py": body.encode() for n, body in every.items()}
    built = build(
        sorted(named.items()), package="transformers", version="0.1", released="2021-05-01", sha256="0" * 64
    )
    (made,) = load(dump(built), "small")
    return made
