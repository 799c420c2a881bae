"""Opening what is to be compared, and how much of it to read: fixed before any weight is seen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields

from filiation import anatomy, checkpoint
from filiation.anatomy.model import Anatomy
from filiation.anatomy.views import scan_tables
from filiation.checkpoint.model import Checkpoint, Floats, Index
from filiation.errors import FiliationError
from filiation.origin.pairing import Plan

Progress = Callable[[str, int, int | None], None]

#: Models up to this size are read whole; larger ones are sampled.
WHOLE_UP_TO = 64 * 2**20
#: Default budget of bytes read from each model when one of them is remote.
REMOTE_BUDGET = 10**9


def open_model(
    locator: str, base: str | None, budget: int | None, progress: Progress, role: str = "model"
) -> Anatomy:
    """Open a checkpoint, look for NaN in small files, and name the parts; errors say which model they are of."""
    progress(f"opening {locator}", 0, None)
    whose = f"{role.capitalize()} {locator}"
    with _naming(whose):
        opened = _named(checkpoint.open(locator, base=base, keep=budget), whose)
        # Under a budget only what is kept is looked through: to read it again costs nothing then.
        look = opened.is_local and opened.total_bytes <= WHOLE_UP_TO and (budget is None or opened.kept)
        model = anatomy.dissect(opened)
        if look:
            checkpoint.scan_finite(opened, but=scan_tables(model))
        return model


@contextmanager
def _naming(whose: str) -> Generator[None]:
    """Say in an error whose files it speaks of: two models have files and tensors of the same names."""
    try:
        yield
    except FiliationError as error:
        if whose not in error.message:
            error.message = f"{whose}: {error.message}"
        raise


@dataclass(frozen=True)
class _Named(Checkpoint):
    """A checkpoint whose errors say which model it is, also when it is read long after it was opened."""

    whose: str = ""

    def naming(self) -> AbstractContextManager[None]:
        return _naming(self.whose)

    def read(self, name: str, *index: int | slice) -> Floats:
        with self.naming():
            return super().read(name, *index)

    def prefetch(self, wanted: Iterable[tuple[str, Index]]) -> None:
        with self.naming():
            super().prefetch(wanted)

    def read_file(self, name: str) -> bytes:
        with self.naming():
            return super().read_file(name)


def _named(opened: Checkpoint, whose: str) -> Checkpoint:
    return _Named(**{f.name: getattr(opened, f.name) for f in fields(opened)}, whose=whose)


def make_plan(suspect: Anatomy, candidate: Anatomy, budget: int | None, seed: str | None = None) -> Plan:
    """Return how much to read: fixed by sizes, digests and the caller's word, before any weight is seen."""
    digests = f"{suspect.checkpoint.digest}\n{candidate.checkpoint.digest}"
    digests += f"\n{seed}" if seed is not None else ""
    small = max(suspect.checkpoint.total_bytes, candidate.checkpoint.total_bytes) <= WHOLE_UP_TO
    local = suspect.checkpoint.is_local and candidate.checkpoint.is_local
    limit = budget if budget is not None else (None if local else REMOTE_BUDGET)
    if suspect.checkpoint.kept and candidate.checkpoint.kept:
        limit = None  # all of both fits, and no byte is read twice
    fits = limit is None or limit >= WHOLE_UP_TO
    seed_of_both = hashlib.sha256(digests.encode()).hexdigest()
    return Plan(seed_of_both, whole=small and fits, budget=limit, blocks=4 if local else 1)
