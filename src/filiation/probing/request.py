"""How a probe was asked for: plain values, kept in the log, so that a replay need not be told again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from filiation.behaviour.phrasebook import CHOICES
from filiation.errors import LogError, UsageError
from filiation.evidence import plain

TESTS = (
    "same_model",
    "tokenizer",
    "output_layer",
    "derived",
    "distilled",
    "exclusive_data",
    "shared_mistakes",
    "identity",
)


@dataclass(frozen=True, slots=True)
class Party:
    """Someone to ask: an address with a model name, or a model of one's own that is served for the purpose."""

    role: str
    locator: str
    model: str
    is_local: bool


@dataclass(frozen=True, slots=True)
class Request:
    """How a probe was asked for.

    Attributes:
        url, model: the endpoint in question, and the name to ask it for.
        dialect: how it is spoken to; guessed from the address where empty.
        reference: a model that it might be; ``second`` another deployment of the same weights.
        candidate: a checkpoint whose output layer is looked for; a local reference or parent where None.
        parents: models that it might derive from; ``controls`` models that it does not.
        teacher: a model on whose outputs it might be trained; ``teacher_controls`` others; ``base`` what it was
            before, as far as it is known.
        tokenizers: tokenizer files beside the shipped ones.
        items: a file of questions that only the owner's data answers; ``choices`` one of multiple-choice questions.
        tests: only these; all that can be asked where empty.
        seed: that every probe is drawn from.
        pairs, most, prompts: how many pairs the test of the same model asks at first and at most, and how many prompts
            the test of derivation asks.
        languages: of the prompts for the same model (en, zh, es, fr); all of them where empty.
        vectors: how many vectors of log-probabilities are collected to read off how wide the model is; 0 for none.
        key_env: names of environment variables with keys, ``VAR`` for the endpoint or ``ROLE=VAR``; or of entries of
            the keyring, ``keyring:SERVICE/USER``.
        stream: ask for streams.

    A model is given as ``URL#MODEL``, a path, or a hub id.
    """

    url: str
    model: str
    dialect: str = ""
    reference: str | None = None
    second: str | None = None
    candidate: str | None = None
    parents: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    teacher: str | None = None
    teacher_controls: tuple[str, ...] = ()
    base: str | None = None
    tokenizers: tuple[str, ...] = ()
    items: str | None = None
    choices: str | None = None
    tests: tuple[str, ...] = ()
    seed: int = 0
    pairs: int = 200
    most: int = 1000
    prompts: int = 400
    vectors: int = 0
    key_env: tuple[str, ...] = field(default=())
    stream: bool = False
    languages: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise UsageError where what is asked for contradicts itself."""
        unknown = [name for name in self.tests if name not in TESTS]
        if unknown:
            raise UsageError(
                f"There is no test '{unknown[0]}'.", next_step=f"Use one of: {', '.join(TESTS)}."
            )
        if foreign := [name for name in self.languages if name not in CHOICES]:
            raise UsageError(
                f"There are no prompts in the language '{foreign[0]}'.",
                next_step=f"Use one of: {', '.join(CHOICES)}.",
            )
        if self.teacher_controls and self.teacher is None:
            raise UsageError("A control of a teacher needs the teacher.", next_step="Name it with --teacher.")
        if self.controls and not (self.parents or self.reference or self.items or self.choices):
            raise UsageError(
                "A control needs something that it is a control of.",
                next_step="Name a --parent or --reference, or give --items.",
            )

    def parties(self) -> tuple[Party, ...]:
        """Return everybody who is asked, the suspect first."""
        named: list[tuple[str, str | None]] = [
            ("reference", self.reference),
            ("second", self.second),
            *(_numbered("parent", n, self.parents) for n in range(len(self.parents))),
            *((f"control-{n}", c) for n, c in enumerate(self.controls, 1)),
            ("teacher", self.teacher),
            *((f"teacher-control-{n}", c) for n, c in enumerate(self.teacher_controls, 1)),
            ("base", self.base),
        ]
        suspect = Party("suspect", self.url, self.model, is_local=False)
        return (suspect, *(_party(role, locator) for role, locator in named if locator))

    def about(self) -> dict[str, Any]:
        """Return plain JSON of it, for the log and the report."""
        return {key: value for key, value in plain(self).items() if value not in (None, [], False, "")}

    @classmethod
    def of(cls, about: Mapping[str, Any], file: str) -> Request:
        """Return the request that a log holds.

        Raises:
            LogError: it holds none, or one of another version.
        """
        from pydantic import TypeAdapter, ValidationError

        try:
            if set(about) <= {f.name for f in fields(cls)}:
                return TypeAdapter(cls).validate_python(dict(about))
        except ValidationError:
            pass
        raise LogError(
            "The log does not say how the probe was asked for.",
            file=file,
            reason="It was written by another program or another version.",
            next_step="Give a log that 'filiation probe --log' of this version wrote.",
        )


def _numbered(role: str, number: int, among: tuple[str, ...]) -> tuple[str, str]:
    return (role if len(among) == 1 else f"{role}-{number + 1}"), among[number]


def _party(role: str, locator: str) -> Party:
    if locator.startswith(("http://", "https://")):
        url, mark, model = locator.rpartition("#")
        if not mark or not model:
            raise UsageError(
                f"The {role} has an address but no model name.",
                file=locator,
                next_step="Write it as URL#MODEL, such as http://127.0.0.1:8080/v1#my-model.",
            )
        return Party(role, url, model, is_local=False)
    return Party(role, locator, locator.rstrip("/").rpartition("/")[2], is_local=True)
