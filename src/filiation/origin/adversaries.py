"""Pairs of units that share no label and try to look as if they did: what :func:`check_test` puts a test through.

Each adversary builds a suspect and a candidate, and knows which arrangements of the suspect's labels H0 makes equally
likely. They are the structures of the evidence contract's sections 2, 3 and 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation.origin.units import Floats, Units

Numbers = npt.NDArray[np.floating[Any]]
Pair = tuple[Units, Units]
Expand = Callable[[Units], Units]

#: Kinds whose contents flip with the sign, so that they are compared by ``|cosine|``.
SIGN_FREE = frozenset({"residual", "value"})
WIDTH = 12


def _as_it_is(units: Units) -> Units:
    return units


@dataclass(frozen=True, slots=True)
class Case:
    """A pair, and what follows from the suspect's arbitrary labels: copies that move along, padding that stays.

    The test sees ``expand(suspect)``, after the labels were drawn anew, and ``candidate``.
    """

    suspect: Units
    candidate: Units
    expand: Expand = _as_it_is


@dataclass(frozen=True, slots=True)
class Adversary:
    """One structure: ``build(rng, n, kind)`` makes a case of ``n`` units; ``weights`` are passed on to the test.

    ``smallest`` is the number of units it is built of when all arrangements are gone through one by one.
    """

    name: str
    build: Callable[[np.random.Generator, int, str], Case]
    smallest: int = 4
    weights: Mapping[int, float] | None = None


Build = Callable[[np.random.Generator, int, str], Pair]


def make(kind: str, content: Numbers, signed: tuple[Numbers, ...]) -> Units:
    """Return units in one block and in place; for kinds that flip with the sign the first signed array is matched."""
    free, number = kind in SIGN_FREE, np.arange(len(content))
    by_sign = tuple(s.astype(np.float32) for s in signed)
    matched = by_sign[0] if free else content.astype(np.float32)
    return Units(kind, matched, number, np.zeros_like(number), by_sign, sign_free=free)


def _normal(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.standard_normal(shape).astype(np.float32)


def _signed(rng: np.random.Generator, n: int) -> tuple[Numbers, ...]:
    """Two arrays with sizes that vary a thousandfold over the units."""
    scale = np.exp(2 * _normal(rng, n, 1))
    return _normal(rng, n, WIDTH) * scale, _normal(rng, n, WIDTH + 1) / scale


def _independent(rng: np.random.Generator, n: int, kind: str) -> Pair:
    suspect = make(kind, _normal(rng, n, WIDTH), _signed(rng, n))
    return suspect, make(kind, _normal(rng, n, WIDTH), _signed(rng, n))


def _shared(rng: np.random.Generator, n: int, kind: str) -> Pair:
    """Equal contents: every unit knows its match, so nothing but the labels stands between the test and an error."""
    content, signed = _normal(rng, n, WIDTH), _signed(rng, n)
    noisy = tuple((s * (1 + 0.01 * _normal(rng, *s.shape))).astype(np.float32) for s in signed)
    return make(kind, content + 0.01 * _normal(rng, n, WIDTH), noisy), make(kind, content, signed)


def _sorted(rng: np.random.Generator, n: int, kind: str) -> Pair:
    """A candidate in order of size, and hubs: units that resemble every unit, more so the larger they are."""
    common = _normal(rng, 1, WIDTH)

    def one(size: Floats) -> tuple[Floats, tuple[Floats, ...]]:
        rows = size * common + _normal(rng, n, WIDTH)
        return rows * size, (rows * size, _normal(rng, n, WIDTH) * size)

    random = np.abs(_normal(rng, n, 1)) * 2
    ordered = np.sort(np.abs(_normal(rng, n, 1)) * 2, axis=0)
    return make(kind, *one(random)), make(kind, *one(ordered))


def _ties(rng: np.random.Generator, n: int, kind: str) -> Pair:
    """Few possible contents: most similarities are tied."""

    def one() -> Units:
        rows = rng.choice(np.array([-1, 0, 1], np.float32), size=(n, 2))
        return make(kind, rows, (rows, rng.choice(np.array([-1, 0, 1], np.float32), size=(n, 2))))

    return one(), one()


def _constant(rng: np.random.Generator, n: int, kind: str) -> Pair:
    """Equal similarity of everything with everything; linear assignment answers with the identity."""
    row, other = _normal(rng, 1, WIDTH), _normal(rng, 1, WIDTH)
    content, theirs = np.repeat(row, n, axis=0), np.repeat(other, n, axis=0)
    return make(kind, content, _signed(rng, n)), make(kind, theirs, _signed(rng, n))


def _tied(common: float) -> Build:
    """Distinct contents of one similarity: every assignment is as good as the identity.

    What sets the units apart lies in directions that the other model does not use, so nothing that drops equal
    units helps; what they have in common is ``common`` long. All entries are -1, 0 or 1 times one
    number, so that the similarities are equal to the last bit.
    """

    def build(rng: np.random.Generator, n: int, kind: str) -> Pair:
        bits = max(5, (n - 1).bit_length())
        numbers = np.arange(1 << bits)
        every = np.where(numbers[:, None] >> np.arange(bits) & 1, 1.0, -1.0)
        every = np.hstack([np.ones((1 << bits, 1)), every])  # so that no two differ by their sign only
        nothing, shared = np.zeros((n, bits + 1)), np.full((n, 1), common)
        own = [every[rng.permutation(1 << bits)[:n]] for _ in range(2)]
        mine, theirs = np.hstack([shared, own[0], nothing]), np.hstack([shared, nothing, own[1]])
        suspect = make(kind, mine, (mine, _normal(rng, n, WIDTH)))
        return suspect, make(kind, theirs, (theirs, _normal(rng, n, WIDTH)))

    return build


def _zeros(rng: np.random.Generator, n: int, kind: str) -> Pair:
    """Dead units: zero contents, zero in one of the signed arrays, zero in both."""

    def one() -> Units:
        content, signed = _normal(rng, n, WIDTH), _signed(rng, n)
        content[n // 2 :: 3] = 0
        signed[0][n // 2 :: 2] = 0
        signed[1][n // 4 :: 3] = 0
        return make(kind, content, signed)

    return one(), one()


def _one_for_all(rng: np.random.Generator, n: int, kind: str) -> Pair:
    """One unit of the candidate that every unit of the suspect matches."""
    suspect, candidate = _independent(rng, n, kind)
    common = _normal(rng, 1, WIDTH)
    mine = common + 0.2 * _normal(rng, n, WIDTH)
    theirs = _normal(rng, n, WIDTH) - common * 0.5
    theirs[n // 2] = common
    signed = tuple(rng.choice((-1, 1), (n, 1)).astype(np.float32) * mine for _ in range(2))
    return make(kind, mine, signed), make(kind, theirs, (theirs, candidate.signed[0] + suspect.signed[0]))


def _in_blocks(sizes: Callable[[int], list[int]]) -> Build:
    def build(rng: np.random.Generator, n: int, kind: str) -> Pair:
        found = sizes(n)
        block = np.repeat(np.arange(len(found)), found)
        position = np.concatenate([np.arange(size) for size in found])
        suspect, candidate = _shared(rng, int(sum(found)), kind)
        return replace(suspect, block=block, position=position), replace(
            candidate, block=block, position=position
        )

    return build


def _unequal(rng: np.random.Generator, n: int, kind: str) -> Pair:
    """The candidate has half as many units again, the suspect's matches are spread over it."""
    _, candidate = _shared(rng, n + n // 2, kind)
    chosen = np.sort(rng.permutation(n + n // 2)[:n])
    suspect = candidate.take(chosen)
    return make(
        kind, suspect.content + 0.01 * _normal(rng, *suspect.content.shape), suspect.signed
    ), candidate


def _padded(value: float) -> Callable[[np.random.Generator, int, str], Case]:
    """Padding at the end of both models, zero or all alike; only the live units' labels are arbitrary."""

    def build(rng: np.random.Generator, n: int, kind: str) -> Case:
        filler = value * np.repeat(_normal(rng, 1, WIDTH + 1), n // 2, axis=0)
        padding = make(kind, filler[:, :WIDTH], (filler[:, :WIDTH], filler))
        padding = replace(padding, position=n + padding.position)
        suspect, candidate = _independent(rng, n, kind)
        return Case(suspect, _joined([candidate, padding]), lambda units: _joined([units, padding]))

    return build


def _clones(rng: np.random.Generator, n: int, kind: str) -> Case:
    """Both models were widened by copying every unit: copies stand n further on and flip together."""
    suspect, candidate = _independent(rng, n, kind)

    def widened(units: Units) -> Units:
        return _joined([replace(units, position=units.position + copy * n) for copy in range(3)])

    return Case(suspect, widened(candidate), widened)


def _copied_blocks(rng: np.random.Generator, n: int, kind: str) -> Case:
    """Three blocks (heads) that are copies of one another, in both models alike; with weights of a third."""
    suspect, candidate = _shared(rng, n, kind)

    def thrice(units: Units) -> Units:
        return _joined([replace(units, block=units.block + copy) for copy in range(3)])

    return Case(suspect, thrice(candidate), thrice)


def _joined(parts: list[Units]) -> Units:
    return replace(
        parts[0],
        content=np.concatenate([p.content for p in parts]),
        position=np.concatenate([p.position for p in parts]),
        block=np.concatenate([p.block for p in parts]),
        signed=tuple(np.concatenate(s) for s in zip(*(p.signed for p in parts), strict=True)),
    )


def _plain(build: Build) -> Callable[[np.random.Generator, int, str], Case]:
    return lambda rng, n, kind: Case(*build(rng, n, kind))


ADVERSARIES: tuple[Adversary, ...] = (
    Adversary("independent", _plain(_independent)),
    Adversary("shared_contents", _plain(_shared)),
    Adversary("sorted_candidate_and_hubs", _plain(_sorted)),
    Adversary("ties", _plain(_ties)),
    Adversary("constant_similarity", _plain(_constant)),
    Adversary("tied_orthogonal", _plain(_tied(0.0))),
    Adversary("tied_alike", _plain(_tied(1.0))),
    Adversary("zero_units", _plain(_zeros)),
    Adversary("one_match_for_all", _plain(_one_for_all)),
    Adversary("blocks_of_two", _plain(_in_blocks(lambda n: [2] * (n // 2)))),
    Adversary("unequal_blocks", _plain(_in_blocks(lambda n: [1, 3] if n < 8 else [2, 3, 1, n - 6]))),
    Adversary("unequal_sizes", _plain(_unequal)),
    Adversary("zero_padded", _padded(0.0)),
    Adversary("padded_alike", _padded(1.0)),
    Adversary("clones", _clones),
    Adversary("copied_blocks", _copied_blocks, 3, weights=dict.fromkeys(range(3), 1 / 3)),
)


def arrangements(units: Units, labels: str) -> Iterator[Units]:
    """Yield the units under every element of the group: orders inside blocks, or signs."""
    if labels == "order":
        rows_of = [rows for _, rows in units.blocks()]
        for orders in product(*(list(permutations(range(len(rows)))) for rows in rows_of)):
            position = units.position.copy()
            for rows, order in zip(rows_of, orders, strict=True):
                position[rows] = units.position[rows][list(order)]
            yield replace(units, position=position).take(np.lexsort((position, units.block)))
        return
    for signs in product((-1.0, 1.0), repeat=len(units)):
        yield flipped(units, np.array(signs, np.float32))


def flipped(units: Units, signs: Floats) -> Units:
    """Return the units with their signs multiplied by ``signs`` ``(n,)``."""
    by_unit = signs[:, None].astype(np.float32)
    content = units.content * by_unit if units.sign_free and units.signed else units.content
    return replace(units, content=content, signed=tuple(s * by_unit for s in units.signed))
