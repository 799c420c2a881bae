"""Who is kin to whom in a zoo, which pairs are measured, and what counts as right for each.

What counts as right stands in ``expected.toml``, which was written before anything was measured.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any, cast

from filiation.errors import CorruptCheckpointError, NotFoundError, ReportError, UsageError

#: Kinds of models that were trained from drawn weights; those of the first are whole models of a recipe.
ROOTS = ("pretrained",)
_DRAWN = (*ROOTS, "pretrained_short", "same_initialisation")
STRANGERS = 4

Groups = tuple[tuple[str, ...], ...]


class Category(StrEnum):
    """Why a pair is measured."""

    DERIVED = "derived"
    JOINT = "joint"
    QUIET = "quiet"
    INITIALISATION = "initialisation"
    FIXTURE = "fixture"
    INDEPENDENT = "independent"
    STRANGER = "stranger"


@dataclass(frozen=True)
class Expected:
    """What counts as right: relations, and groups of derivation kinds of which one each must be named."""

    relations: tuple[str, ...]
    right: Groups = ()


#: What counts as right for models that share nothing.
QUIET = Expected(("none_found", "cannot_test"))


@dataclass(frozen=True)
class Case:
    """One comparison to make.

    Attributes:
        kinds: the kinds of the suspect's makers, from the suspect back to the candidate.
        family: what the suspect's root is: the lab's own `llama` or a `transformers` family.
    """

    suspect: str
    candidates: tuple[str, ...]
    category: Category
    kinds: tuple[str, ...]
    expected: Expected
    family: str = "llama"
    same_shape: bool = True
    steps: int | None = None


def expectations() -> dict[str, Any]:
    """Read ``expected.toml``."""
    text = (resources.files("filiation.lab") / "expected.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


class Zoo:
    """A bred zoo and the kinships in it."""

    def __init__(self, folder: Path) -> None:
        place = folder / "zoo.json"
        if not place.is_file():
            raise NotFoundError(
                "There is no zoo.",
                file=str(place),
                reason="A zoo has a zoo.json.",
                next_step=f"Breed one: filiation lab breed smoke --out {folder}",
            )
        self.folder = folder
        self.record = _record(place)
        self.models = cast("dict[str, dict[str, Any]]", self.record["models"])
        self.expected = expectations()
        unknown = {m["kind"] for m in self.models.values()} - self.expected.keys() - set(_DRAWN)
        if unknown:
            raise UsageError(
                f"What counts as right is not known for {', '.join(sorted(unknown))}.",
                file=str(place),
                next_step="Add the kind to expected.toml, before anything is measured.",
            )

    def check(self) -> None:
        """Compare the files of every model with what was written down when it was bred.

        Raises:
            CorruptCheckpointError: a file is gone or another; the message names the model.
        """
        for name, model in self.models.items():
            for file, wanted in model.get("sha256", {}).items():
                place = self.folder / name / file
                if not place.is_file() or hashlib.sha256(place.read_bytes()).hexdigest() != wanted:
                    raise CorruptCheckpointError(
                        f"The model {name} is not as it was bred.",
                        file=str(place),
                        reason="Its sha256 is not the one in zoo.json." if place.is_file() else "It is gone.",
                        next_step="Breed the recipe again into the same folder: only what is broken is made.",
                    )

    def digest(self) -> str:
        """Return a sha256 over the digests of all models."""
        found = {name: model["digest"] for name, model in self.models.items()}
        return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()

    def drawn(self, name: str) -> str | None:
        """Return what fixes a model's initial weights, or None for one that began as a copy."""
        settings = self.models[name]["settings"]
        if "seed" not in settings or "shape" not in settings:
            return None
        return json.dumps([settings["shape"], settings["seed"]], sort_keys=True)

    def touched(self, name: str) -> frozenset[str]:
        """Return every draw of initial weights that a model's makers saw, teachers and framed models included."""
        own = self.drawn(name)
        found = {own} if own is not None else set[str]()
        for parent in self.models[name]["parents"]:
            found |= self.touched(parent)
        return frozenset(found)

    def steps(self, name: str) -> Iterator[tuple[str, str, Expected]]:
        """Yield each parent whose weights a model has, what it was made by, and what counts as right."""
        model = self.models[name]
        entry = self.expected.get(model["kind"], {})
        if not entry.get("asked", True):
            return
        for place, parent in enumerate(model["parents"]):
            if place == 0 and "body" in entry:
                yield parent, f"{model['kind']} (body)", _expected(entry["body"])
            elif entry.get("weights", True):
                yield parent, str(model["kind"]), _expected(entry)

    def lines(self, name: str) -> Iterator[tuple[str, tuple[str, ...], Expected]]:
        """Yield each ancestor by weights once, nearest first, with the kinds between and what counts as right."""
        seen: set[str] = set()
        waiting = [(parent, (kind,), e) for parent, kind, e in self.steps(name)]
        while waiting:
            ancestor, kinds, expected = waiting.pop(0)
            if ancestor in seen or ancestor not in self.models:
                continue
            seen.add(ancestor)
            yield ancestor, kinds, expected
            waiting += [(p, (*kinds, kind), _along(expected, e)) for p, kind, e in self.steps(ancestor)]

    def family(self, name: str) -> str:
        """Return the family of a model's root, and its shape's sizes."""
        model = self.models[name]
        if "shape" in model["settings"]:
            return str(model["settings"]["shape"].get("family", "llama"))
        return self.family(model["parents"][0])

    def shape(self, name: str) -> str:
        """Return the shape a model's line began with."""
        model = self.models[name]
        if "shape" in model["settings"]:
            return json.dumps(model["settings"]["shape"], sort_keys=True)
        return self.shape(model["parents"][0])

    def roots(self) -> list[str]:
        """Return the models trained from drawn weights at full length."""
        return [name for name, model in self.models.items() if model["kind"] in ROOTS]

    def cases(self) -> list[Case]:
        """Return every comparison: kin first, then shared initial weights, quiet fixtures, strangers."""
        children = [name for name, model in self.models.items() if model["kind"] not in _DRAWN]
        cases = [case for name in children for case in self._kin(name)]
        cases += [*self._initialisation(), *self._fixtures()]
        cases += self._independent()
        return [*cases, *(case for name in children for case in self._strangers(name))]

    def _kin(self, name: str) -> Iterator[Case]:
        model, family = self.models[name], self.family(name)
        for ancestor, kinds, expected in self.lines(name):
            yield Case(name, (ancestor,), Category.DERIVED, kinds, expected, family)
        entry = self.expected[model["kind"]]
        present = tuple(p for p in model["parents"] if p in self.models)
        if "joint" in entry and len(present) > 1:
            expected = Expected(tuple(entry["relations"]), _groups(entry["joint"]))
            yield Case(name, present, Category.JOINT, (model["kind"],), expected, family)
        if not entry.get("weights", True):
            for other in present[1:] if "body" in entry else present:
                yield Case(name, (other,), Category.QUIET, (model["kind"],), _expected(entry), family)

    def _initialisation(self) -> Iterator[Case]:
        entry = _expected(self.expected["same_initialisation"])
        for pair in self.record.get("pairs", []):
            s, c = pair["suspect"], pair["candidate"]
            if s in self.models and c in self.models and not pair.get("quiet"):
                yield Case(s, (c,), Category.INITIALISATION, (pair["kind"],), entry, steps=pair["steps"])

    def _fixtures(self) -> Iterator[Case]:
        """Yield pairs that share nothing but were made alike: what must stay quiet."""
        for pair in self.record.get("pairs", []):
            s, c = pair["suspect"], pair["candidate"]
            if pair.get("quiet") and s in self.models and c in self.models:
                yield Case(s, (c,), Category.FIXTURE, (pair["kind"],), QUIET, self.family(s))

    def _independent(self) -> Iterator[Case]:
        for one, other in combinations(self.roots(), 2):
            if not self.touched(one) & self.touched(other):
                yield self._stranger(other, one, Category.INDEPENDENT)

    def _strangers(self, name: str) -> Iterator[Case]:
        free = [root for root in self.roots() if not self.touched(name) & self.touched(root)]

        def rank(root: str) -> tuple[bool, str]:
            order = hashlib.sha256(f"{name}/{root}".encode()).hexdigest()
            return self.shape(root) != self.shape(name), order

        for root in sorted(free, key=rank)[:STRANGERS]:
            yield self._stranger(name, root, Category.STRANGER)

    def _stranger(self, suspect: str, candidate: str, category: Category) -> Case:
        same = self.shape(suspect) == self.shape(candidate)
        kinds = (str(self.models[suspect]["kind"]),)
        family = self.family(suspect)
        return Case(suspect, (candidate,), category, kinds, QUIET, family, same)


def _record(place: Path) -> dict[str, Any]:
    """Read ``zoo.json``.

    Raises:
        ReportError: it is no record of a zoo, or names a parent that is not in it.
    """
    try:
        record = cast("dict[str, Any]", json.loads(place.read_text(encoding="utf-8")))
        models = cast("dict[str, dict[str, Any]]", record["models"])
        absent = {parent for model in models.values() for parent in model["parents"]} - models.keys()
        if absent:
            raise KeyError(f"a parent that is not there: {', '.join(sorted(absent))}")
        for key in ("kind", "settings", "digest"):
            _ = [model[key] for model in models.values()]
        _ = record["recipe"], record["made_with"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReportError(
            "The record of the zoo cannot be read.",
            file=str(place),
            reason=f"{type(error).__name__}: {error}",
            next_step=f"Breed again into {place.parent}: models that are there are kept, and the record written anew.",
        ) from error
    return record


def _groups(found: Sequence[Sequence[str]]) -> Groups:
    return tuple(tuple(group) for group in found)


def _expected(entry: Mapping[str, Any]) -> Expected:
    return Expected(tuple(entry["relations"]), _groups(entry["right"]))


def _along(near: Expected, far: Expected) -> Expected:
    """Return what counts as right over two steps of a line."""
    relations = dict.fromkeys((*near.relations, *far.relations))
    for step in (near, far):
        if "identical" not in step.relations:
            relations.pop("identical", None)
        if not {"identical", "common_origin"} & set(step.relations):
            relations.pop("common_origin", None)
    groups = (
        *(g for g in near.right if "identical" not in g),
        *(g for g in far.right if "identical" not in g),
    )
    return Expected(tuple(relations), tuple(dict.fromkeys(groups)))
