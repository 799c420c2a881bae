"""REEF: linear CKA of what two models make of the same texts (arXiv 2410.14273).

No threshold documented that could be established from the paper's public text and repository.
"""

from __future__ import annotations

import numpy as np

from benchmarks.fingerprints import texts
from benchmarks.fingerprints.forward import trace
from benchmarks.fingerprints.subject import CannotTestError, Doubles, Index, Subject

SAMPLES = 200
DEPTH = 18 / 32  # the paper's layer 18 of a model of 32 layers


def similarity(one: Subject, other: Subject) -> float:
    """Return the largest linear CKA, 0 to 1, between one layer of the second model and any layer of the first.

    The second model, from which the first may come, is looked at 18/32 of the way up. Compared are the residual
    streams (samples, d_model) after the last token of 200 texts; the widths may differ.

    Raises:
        CannotTestError: a model cannot be run here, or no tokenizer is there.
    """
    passages = texts.rows_each(one, other, SAMPLES)
    mine = last_tokens(one, [a for a, _ in passages])
    theirs = last_tokens(other, [b for _, b in passages])
    asked = theirs[max(0, round(DEPTH * len(theirs)) - 1)]
    return max(linear_cka(layer, asked) for layer in mine)


def last_tokens(model: Subject, passages: list[Index]) -> list[Doubles]:
    """Return, for each layer, the residual stream after the last token of each passage: (passages, d_model)."""
    found = np.zeros((len(model.layers), len(passages), model.geometry.d_model))
    for batch in texts.batches(passages):
        hidden = trace(model, batch.tokens).hidden
        rows = np.arange(len(batch.places))
        found[:, batch.places] = np.stack([layer[rows, batch.lengths - 1] for layer in hidden])
    if not np.isfinite(found).all():
        raise CannotTestError("the forward pass does not stay finite")
    return list(found)


def linear_cka(x: Doubles, y: Doubles) -> float:
    """Return the linear CKA of x (samples, a) and y (samples, b), by the biased estimator of HSIC.

    It is the same under any rotation, reflection or common scaling of either side's columns. With fewer samples than
    columns it lies well above 0 for unrelated x and y.
    """
    x, y = x - x.mean(0), y - y.mean(0)
    gram_x, gram_y = x @ x.T, y @ y.T
    size = float(np.linalg.norm(gram_x) * np.linalg.norm(gram_y))
    return float((gram_x * gram_y).sum()) / size if size else 0.0
