"""Laws that scripted endpoints follow: categorical, greedy, examinees, teachers; the statistics on them are real."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filiation.behaviour.betting import Wealth
from filiation.behaviour.prompts import cell_of
from filiation.endpoint.model import Answer, Ask, Failure, Support, TokenChance, TokenStep
from tests.behaviour.asker import Law, able, said


class Model:
    """A categorical law for every cell, drawn from ``seed``: two seeds are two unrelated models.

    Args:
        seed: of the laws.
        answers: how many answers a cell has; shared between models, as words are.
        spread: the Dirichlet parameter; 0.15 gives a median Jensen-Shannon divergence of about 0.69 bit.
        toward: another model, of whose law ``share`` is mixed in.
    """

    def __init__(
        self,
        seed: int,
        *,
        answers: int = 12,
        spread: float = 0.15,
        toward: Model | None = None,
        share: float = 0.0,
    ) -> None:
        self.seed, self.answers, self.spread, self.toward, self.share = seed, answers, spread, toward, share
        self._laws: dict[str, np.ndarray] = {}

    def law(self, cell: str) -> np.ndarray:
        if cell not in self._laws:
            rng = np.random.default_rng([self.seed, zlib.crc32(cell.encode())])
            own = rng.dirichlet([self.spread] * self.answers)
            other = own if self.toward is None else self.toward.law(cell)
            self._laws[cell] = (1.0 - self.share) * own + self.share * other
        return self._laws[cell]

    def __call__(self, ask: Ask, rng: np.random.Generator) -> str:
        cell = cell_of(said(ask)) or "other"
        return f"word{chr(97 + rng.choice(self.answers, p=self.law(cell)))}"


class Greedy:
    """Answers each text by one word that depends on it: its own taste, or with chance ``loyalty`` that of ``parent``.

    ``shared`` is the chance to give the word that every model of this world gives; ``noise`` redraws an answer as a
    server does whose temperature 0 is not deterministic.
    """

    def __init__(
        self,
        seed: int,
        *,
        parent: Greedy | None = None,
        loyalty: float = 0.0,
        shared: float = 0.3,
        words: int = 50,
        noise: float = 0.0,
    ) -> None:
        self.seed, self.parent, self.loyalty = seed, parent, loyalty
        self.shared, self.words, self.noise = shared, words, noise

    def word(self, text: str) -> int:
        key = zlib.crc32(text.encode())
        rng = np.random.default_rng([self.seed, key])
        common = int(np.random.default_rng([7, key]).integers(self.words))
        if self.parent is not None and rng.random() < self.loyalty:
            return self.parent.word(text)
        return common if rng.random() < self.shared else int(rng.integers(self.words))

    def __call__(self, ask: Ask, rng: np.random.Generator) -> str:
        word = self.word(said(ask))
        if self.noise and rng.random() < self.noise:
            word = int(rng.integers(self.words))
        return f" item{chr(97 + word % 26)}{chr(97 + word // 26)}, and"


PROMPT_LOGPROBS = able(prompt_logprobs=Support.SUPPORTED)


def binomial_bound(rejected: int, runs: int, alpha: float) -> bool:
    """Whether ``rejected`` of ``runs`` is compatible with a level of ``alpha``: not in its upper 1/1000."""
    from scipy.stats import binom

    return bool(binom.sf(rejected - 1, runs, alpha) > 1e-3)


@dataclass
class World:
    """Laws of two models over cells, as arrays; ``share`` of the suspect's traffic comes from the second."""

    seed: int
    cells: int = 40
    answers: int = 12
    spread: float = 0.15
    share: float = 0.0

    def pairs(self, count: int) -> list[tuple[str, str, str]]:
        """``count`` triples (cell, answer of the reference, answer of the suspect), cells in turn."""
        rng = np.random.default_rng(self.seed)
        own, other = (rng.dirichlet([self.spread] * self.answers, self.cells) for _ in range(2))
        mixed = (1.0 - self.share) * own + self.share * other
        cells = np.arange(count) % self.cells
        left, right = (self._draw(rng, law[cells]) for law in (own, mixed))
        return [(f"c{c}", f"w{x}", f"w{y}") for c, x, y in zip(cells, left, right, strict=True)]

    @staticmethod
    def _draw(rng: np.random.Generator, laws: np.ndarray) -> np.ndarray:
        below = laws.cumsum(axis=1) < rng.random(len(laws))[:, None]
        return np.minimum(below.sum(axis=1), laws.shape[1] - 1)


def pairs_needed(pairs: Sequence[tuple[str, str, str]], alpha: float) -> int | None:
    """After how many pairs the bet wins at ``alpha``; ``None`` if it does not."""
    wealth = Wealth()
    for n, pair in enumerate(pairs, 1):
        if wealth.step(*pair) >= -np.log(alpha):
            return n
    return None


class Teacher:
    """Answers with twelve words of its own vocabulary."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, ask: Ask, rng: np.random.Generator) -> str:
        return " ".join(f"{self.name}{rng.integers(9)}" for _ in range(12))


class Scorer:
    """Gives log-probabilities of a prompt's tokens: a law of its own, plus ``gain`` on words that begin with ``word``.

    ``spelling`` writes tokens as a vocabulary file does; ``lost`` leaves one log-probability out.
    """

    CUT = r"\n\nAnswer:|\s*\S+"

    def __init__(self, gain: float = 0.0, word: str = "t", *, cut: str = CUT, lost: bool = False) -> None:
        self.gain, self.word, self.cut, self.lost = gain, word, re.compile(cut), lost
        self.spelling: dict[str, str] = {}

    def __call__(self, ask: Ask, rng: np.random.Generator) -> Answer:
        tokens = self.cut.findall(said(ask))
        values: list[float | None] = [
            -2.0
            + 0.3 * float(rng.standard_normal())
            + (self.gain if token.strip().startswith(self.word) else 0.0)
            for token in tokens
        ]
        values[0] = None
        if self.lost:
            values[-1] = None
        spelt = [token.translate(str.maketrans(self.spelling)) for token in tokens]
        steps = (TokenStep(TokenChance(token, value)) for token, value in zip(spelt, values, strict=True))
        return Answer("", ("x",), prompt_steps=tuple(steps))


def examinee(seed: int, accuracy: float = 0.6, parent: Law | None = None, loyalty: float = 0.0) -> Law:
    """A taker of multiple-choice tests whose wrong options follow the popularity that all share, item by item."""

    def law(ask: Ask, rng: np.random.Generator) -> Answer | Failure | str:
        item = int(said(ask).removeprefix("Q").split("?")[0])
        own, popular = np.random.default_rng([seed, item]), np.random.default_rng([99, item])
        if parent is not None and own.random() < loyalty:
            return parent(ask, rng)
        wrong = [option for option in range(4) if option != item % 4]
        mistaken = wrong[own.choice(3, p=popular.dirichlet([0.6] * 3))]
        option = item % 4 if own.random() < accuracy else mistaken
        return f"{chr(65 + option)}. option"

    return law
