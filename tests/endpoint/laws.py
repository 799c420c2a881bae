"""Laws of the next token, exact and repeatable, for a server that has no model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_ONSETS = ("", "b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "sh")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ou", "ea")


def words(n: int = 256) -> tuple[str, ...]:
    """Return `n` different tokens: syllables with a space before them."""
    made = [f" {a}{b}{c}" for c in ("", "n", "r", "s", "nk", "lt") for a in _ONSETS for b in _VOWELS]
    assert n <= len(made)
    return tuple(made[:n])


def drawn(*parts: object) -> np.random.Generator:
    """Return a generator that depends on `parts` alone."""
    digest = hashlib.sha256("\x1f".join(str(p) for p in parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


class Law(Protocol):
    """Gives the logits of the next token after a text."""

    @property
    def vocabulary(self) -> Sequence[str]: ...

    def logits(self, context: str) -> Floats: ...


@dataclass(frozen=True)
class CategoricalLaw:
    """A law of its own for every context: normal logits times `sharpness`, drawn from `seed` and the context.

    `closeness` to another law: logits are a blend with those of `parent`, so a derivative can be made.
    """

    seed: int
    vocabulary: tuple[str, ...] = field(default_factory=words)
    sharpness: float = 2.0
    parent: Law | None = None
    closeness: float = 0.0

    def logits(self, context: str) -> Floats:
        own = drawn("law", self.seed, context).standard_normal(len(self.vocabulary)) * self.sharpness
        if self.parent is None:
            return own
        return self.closeness * self.parent.logits(context) + (1 - self.closeness) * own


@dataclass(frozen=True)
class FixedLaw:
    """The same probabilities after every context."""

    chances: tuple[float, ...]
    vocabulary: tuple[str, ...] = field(default_factory=words)

    def logits(self, context: str) -> Floats:
        padded = np.zeros(len(self.vocabulary))
        padded[: len(self.chances)] = self.chances
        with np.errstate(divide="ignore"):
            return np.maximum(np.log(padded), -700.0)


@dataclass(frozen=True)
class HeadLaw:
    """A softmax head: logits are `weights` (V, d) times a hidden state drawn from `seed` and the context."""

    weights: Floats
    seed: int = 0
    bias: Floats | None = None
    softcap: float | None = None
    vocabulary: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.vocabulary:
            object.__setattr__(self, "vocabulary", words(len(self.weights)))

    def hidden(self, context: str) -> Floats:
        return drawn("hidden", self.seed, context).standard_normal(self.weights.shape[1])

    def logits(self, context: str) -> Floats:
        found = self.weights @ self.hidden(context)
        if self.bias is not None:
            found = found + self.bias
        return found if self.softcap is None else self.softcap * np.tanh(found / self.softcap)


@dataclass(frozen=True)
class FunctionLaw:
    """Logits as a function says."""

    function: Callable[[str], Floats]
    vocabulary: tuple[str, ...] = field(default_factory=words)

    def logits(self, context: str) -> Floats:
        return self.function(context)


def log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())
