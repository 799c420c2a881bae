"""What is asked for is drawn from the seed: nobody can keep a list of it."""

from __future__ import annotations

from filiation.behaviour import vectors
from filiation.behaviour.probes import battery
from filiation.behaviour.prompts import questions
from filiation.behaviour.writing import KINDS, writing


def test_texts_differ_between_seeds_and_repeat_for_one() -> None:
    first, second = writing(1), writing(2)
    assert first == writing(1)
    assert len(first) == KINDS == len(set(first))
    assert sum(a != b for a, b in zip(first, second, strict=True)) >= KINDS - 2
    assert len(set(writing(3, 24))) == 24


def test_the_prompts_for_vectors_are_nobody_elses() -> None:
    texts = vectors.texts(5, 700)
    assert len(set(texts)) == 700
    assert texts[:8] != tuple(p.text for p in questions(5, 8))
    assert texts[:8] != vectors.texts(6, 8)


def test_frames_differ_between_seeds() -> None:
    frames = {battery(seed, 1)[0].framed.partition("[")[0] for seed in range(60)}
    assert len(frames) > 20
