"""Which embedding rows of two models belong to the same token: where vocabulary and anatomy meet."""

from __future__ import annotations

import numpy as np

from filiation import vocabulary
from filiation.anatomy.model import Anatomy
from filiation.origin.pairing import Plan, TokenRows


def shared_tokens(suspect: Anatomy, candidate: Anatomy, plan: Plan) -> TokenRows | None:
    """Return the shared tokens: by string where both tokenizers are there and can be afforded, else by equal ids.

    None where a model has no token embeddings.
    """
    rows_s, rows_c = _rows(suspect), _rows(candidate)
    if not rows_s or not rows_c:
        return None
    same = np.arange(min(rows_s, rows_c))
    if plan.frugal and rows_s == rows_c:  # megabytes of tokenizer buy nothing when the tables have one size
        return TokenRows(same, same, by_string=False)
    if not all(_affordable(model, plan) for model in (suspect, candidate)):
        return TokenRows(same, same, by_string=False)
    mine, theirs = vocabulary.read(suspect.checkpoint), vocabulary.read(candidate.checkpoint)
    if mine is not None and theirs is not None:
        ids_s, ids_c = vocabulary.shared_rows(mine, theirs)
        keep = (ids_s < rows_s) & (ids_c < rows_c)
        return TokenRows(ids_s[keep], ids_c[keep], by_string=True)
    return TokenRows(same, same, by_string=False)


def _affordable(model: Anatomy, plan: Plan) -> bool:
    """Return whether the files beside the weights, the tokenizer's among them, can be read inside the budget."""
    opened = model.checkpoint
    weights = {info.file for info in opened.tensors.values()}
    beside = sum(f.size for f in opened.files if f.name not in weights)
    return plan.affords(opened, beside)


def _rows(model: Anatomy) -> int:
    part = model.part("embedding")
    return 0 if part is None else part.shape[0]
