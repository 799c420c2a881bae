"""What answers are held against: output layers, tokenizers, items. Opened alike live and for a replay."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from filiation import checkpoint, vocabulary
from filiation.behaviour.candidates import Candidate, Unusable, open_all
from filiation.behaviour.heads import Head, of_checkpoint
from filiation.behaviour.items import Choice, Item, read_choices, read_items
from filiation.checkpoint import Checkpoint
from filiation.checkpoint.record import model_record
from filiation.errors import InputError
from filiation.evidence import ModelRecord
from filiation.probing.request import Request


@dataclass(frozen=True, eq=False)
class Materials:
    """What is at hand.

    Attributes:
        checkpoints: local models by role, as the report lists them.
        identity: by role, the digest of the model; roles with one digest are one model.
        head: the output layer that is looked for, and the role whose it is; ``heads`` those of controls.
        siblings: roles of controls whose vocabulary is that of the model in question.
        tokenizers: candidates; ``expected`` is the name of the one that the model in question would have.
        items, choices: the caller's questions with the SHA-256 of their file.
    """

    checkpoints: Mapping[str, ModelRecord] = field(default_factory=dict[str, ModelRecord])
    identity: Mapping[str, str] = field(default_factory=dict[str, str])
    head: tuple[str, Head] | None = None
    heads: tuple[Head, ...] = ()
    siblings: frozenset[str] = frozenset()
    tokenizers: tuple[Candidate, ...] = ()
    unusable: tuple[Unusable, ...] = ()
    expected: str | None = None
    items: tuple[tuple[Item, ...], str] | None = None
    choices: tuple[tuple[Choice, ...], str] | None = None

    @property
    def files(self) -> dict[str, str]:
        """The SHA-256 of the caller's files of questions, by option."""
        read = {"items": self.items, "choices": self.choices}
        return {option: found[1] for option, found in read.items() if found is not None}


def open_materials(request: Request) -> Materials:
    """Open everything that the request names and that is not asked over a network.

    Raises:
        InputError: a model, a tokenizer or a file of items is missing, unreadable or damaged.
    """
    opened = {role: checkpoint.open(locator) for role, locator in _local(request).items()}
    main = next((role for role in ("candidate", "reference", "parent") if role in opened), None)
    named = {role: opened[role].locator for role in (main,) if role is not None}
    named |= {Path(path).name: path for path in request.tokenizers}
    tokenizers, unusable = open_all(named)
    own = None if main is None else vocabulary.read(opened[main])
    expected = main if main in {t.name for t in tokenizers} else None
    return Materials(
        checkpoints={role: _record(found) for role, found in opened.items()},
        identity={role: found.digest for role, found in opened.items()},
        head=None if main is None else (main, of_checkpoint(opened[main], main)),
        heads=tuple(
            head
            for role, found in opened.items()
            if role.startswith("control") and (head := _head(found, role)) is not None
        ),
        siblings=frozenset(
            role
            for role, found in opened.items()
            if role.startswith("control") and own is not None and _tokens(found) == own.tokens
        ),
        tokenizers=tokenizers,
        unusable=unusable,
        expected=expected,
        items=_items(request),
        choices=_choices(request),
    )


def open_questions(request: Request) -> Materials:
    """Open the caller's questions alone: what a sheet is written from.

    Raises:
        InputError: a file of questions is missing, unreadable or damaged.
    """
    return Materials(items=_items(request), choices=_choices(request))


def _items(request: Request) -> tuple[tuple[Item, ...], str] | None:
    return None if request.items is None else (read_items(request.items), _digest(request.items))


def _choices(request: Request) -> tuple[tuple[Choice, ...], str] | None:
    return None if request.choices is None else (read_choices(request.choices), _digest(request.choices))


def _record(opened: Checkpoint) -> ModelRecord:
    """Return the record of a model as opened: how much is read later depends on what the endpoint can do."""
    return replace(model_record(opened, None, {}, ()), bytes_read=0)


def _local(request: Request) -> dict[str, str]:
    local = {party.role: party.locator for party in request.parties() if party.is_local}
    return local | ({} if request.candidate is None else {"candidate": request.candidate})


def _head(opened: Checkpoint, role: str) -> Head | None:
    """Return a control's output layer; a control without one is a control of answers all the same."""
    try:
        return of_checkpoint(opened, role)
    except InputError:
        return None


def _tokens(opened: Checkpoint) -> object:
    found = vocabulary.read(opened)
    return None if found is None else found.tokens


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
