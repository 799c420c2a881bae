"""Vocabularies extended, pruned, reordered, replaced: with a tokenizer, and without one."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.derivation import derive
from filiation.lab import derive as lab
from filiation.lab import launder
from filiation.origin.pairing import Plan, TokenRows
from tests.derivation.models import VOCAB, anatomy, base, derived, examined, numbers, tuned


def _by_string(suspect: np.ndarray, candidate: np.ndarray) -> TokenRows:
    return TokenRows(suspect, candidate, by_string=True)


KEPT = np.sort(np.random.default_rng(0).permutation(VOCAB)[:300])


def test_pruned_with_a_tokenizer() -> None:
    rows = _by_string(np.arange(300), KEPT)
    shown = numbers(derived(lab.take_tokens(*base(), KEPT), base(), rows=rows), "vocabulary_changed")
    assert shown["change"] == "pruned"
    assert (shown["from"], shown["to"]) == (VOCAB, 300)
    assert (shown["tokens_shared"], shown["tokens_added"], shown["tokens_removed"]) == (300, 0, VOCAB - 300)
    assert shown["rows_equal"] == 1.0


@pytest.mark.parametrize("level", [0.0, 0.03])
def test_pruned_without_a_tokenizer(level: float) -> None:
    child = lab.take_tokens(*base(), KEPT)
    found = derived(tuned(*child, level=level) if level else child, base())
    shown = numbers(found, "vocabulary_changed")
    assert shown["change"] == "pruned"
    assert shown["cosine"] > 0.99
    assert found.kinds == ({"vocabulary_changed", "fine_tuned"} if level else {"vocabulary_changed"})


def test_extended() -> None:
    rows = _by_string(np.arange(VOCAB), np.arange(VOCAB))
    child = lab.extend_vocabulary(*base(), tokens=40, seed=1)
    shown = numbers(derived(child, base(), rows=rows), "vocabulary_changed")
    assert shown["change"] == "extended"
    assert (shown["tokens_shared"], shown["tokens_added"], shown["tokens_removed"]) == (VOCAB, 40, 0)


def test_reordered() -> None:
    order = np.random.default_rng(1).permutation(VOCAB)
    child = lab.take_tokens(*base(), order)
    found = derived(child, base(), rows=_by_string(np.arange(VOCAB), order))
    assert found.kinds == {"vocabulary_changed"}
    shown = numbers(found, "vocabulary_changed")
    assert shown["change"] == "reordered"
    assert shown["tokens_moved"] > 500
    assert shown["rows_equal"] == 1.0


def test_exchanged() -> None:
    child = lab.extend_vocabulary(*lab.take_tokens(*base(), KEPT), tokens=50, seed=1)
    shown = numbers(derived(child, base(), rows=_by_string(np.arange(300), KEPT)), "vocabulary_changed")
    assert shown["change"] == "exchanged"
    assert (shown["tokens_added"], shown["tokens_removed"]) == (50, VOCAB - 300)


@pytest.mark.parametrize("vocab", [300, VOCAB, 900])
def test_replaced(vocab: int) -> None:
    found = derived(lab.replace_embeddings(*base(), seed=1, vocab=vocab), base())
    assert found.kinds == {"vocabulary_changed"}
    shown = numbers(found, "vocabulary_changed")
    assert shown["change"] == "replaced"
    assert (shown["from"], shown["to"]) == (VOCAB, vocab)
    assert shown["body_kept"] is True


def test_layers_in_another_model_keep_no_body() -> None:
    """Two layers grafted: the table is not the candidate's, and neither is the body."""
    child = lab.graft(base(9)[0], base()[0], base()[1], layers=[1, 4])
    found = derived(child, base())
    assert "grafted" in found.kinds
    step = found.step("vocabulary_changed")
    assert step is None or "body_kept" not in step.numbers


@pytest.mark.parametrize("by_string", [True, False])
def test_rows_that_no_budget_reads_are_not_called_replaced(by_string: bool) -> None:
    """Where every read is a request the table is not read: names and sizes are all that can be told."""
    suspect, candidate = anatomy(lab.extend_vocabulary(*base(), tokens=40, seed=1)), anatomy(base())
    rows = TokenRows(np.arange(VOCAB), np.arange(VOCAB), by_string=by_string)
    plan = Plan("0" * 64, whole=False, budget=10**9)
    found = derive(suspect, candidate, examined(suspect, candidate, plan, rows), plan, rows, full=False)
    shown = numbers(found, "vocabulary_changed")
    assert shown["change"] == ("extended" if by_string else "resized")
    assert (shown["from"], shown["to"]) == (VOCAB, VOCAB + 40)


def test_pruned_and_laundered() -> None:
    child = launder.launder(*lab.take_tokens(*base(), KEPT), seed=1)
    found = derived(child, base(), rows=_by_string(np.arange(300), KEPT))
    assert {"vocabulary_changed", "permuted", "rotated", "rescaled"} <= found.kinds
    assert "fine_tuned" not in found.kinds
    shown = numbers(found, "vocabulary_changed")
    assert shown["cosine"] == pytest.approx(1.0, abs=1e-5)
