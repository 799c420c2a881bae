"""Published similarity statistics as a reader needs them: beside what unrelated pairs show."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from filiation.evidence import Background, Evidence, Status
from filiation.report.measured import strangers
from filiation.report.numbers import clean, decimal, figure, share, short
from filiation.report.sentences import (
    is_likeness,
    name_of_test,
    plain_text,
    question_text,
    sentence,
)
from filiation.report.wording import Phrases


@dataclass(frozen=True, slots=True)
class Likeness:
    """A similarity statistic beside what unrelated pairs show.

    ``here``: what this version showed on independent models of one recipe, where that was measured.
    """

    name: str
    question: str
    plain: str
    background: str
    rate: str | None
    source: str | None
    here: str | None
    shows: str | None
    evidence: Evidence


def likeness(
    phrases: Phrases, evidence: Sequence[Evidence], validation: Mapping[str, Any] | None = None
) -> tuple[Likeness, ...]:
    """Return the similarity statistics that were computed, worded, each beside its backgrounds."""
    applied = (e for e in evidence if e.status is Status.APPLIED and is_likeness(e))
    return tuple(_view(phrases, e, strangers(phrases, validation, e.test)) for e in applied)


def _view(phrases: Phrases, e: Evidence, here: str | None) -> Likeness:
    template = phrases.find("test", e.test, "plain")
    said = plain_text(phrases, e)
    if template and e.statistic is not None:
        said = phrases.fill(template, x=decimal(e.statistic, 3))
    text, rate, source = _background(phrases, e.background)
    bred = is_bred(e.background)
    population = phrases.find("ui", "background_bred") if bred else phrases.find("test", e.test, "population")
    if population:
        text = phrases.say("ui", "label_colon", label=population, value=text)
    return Likeness(
        name=name_of_test(phrases, e.test),
        question=question_text(phrases, e),
        plain=sentence(said),
        background=text,
        rate=rate,
        source=source,
        here=None if bred else here,
        shows=phrases.find("test", e.test, "shows"),
        evidence=e,
    )


def _background(phrases: Phrases, background: Background | None) -> tuple[str, str | None, str | None]:
    if background is None:
        return phrases.say("ui", "no_background"), None, None
    named = quantiles(background)
    key = "background_pairs" if background.n_families is None else "background_pairs_families"
    pairs = phrases.say(
        "ui",
        "background_simulated" if is_simulated(background) else key,
        pairs=figure(background.n_pairs),
        families=figure(background.n_families),
    )
    known = {
        key: short(named[level])
        for key, level in (("median", 0.5), ("q95", 0.95), ("max", 1.0))
        if level in named
    }
    if len(known) == 3:
        text = phrases.say("ui", "background_text", **known)
    else:
        named_too = phrases.ordered("quantile", background.quantiles)
        listed = phrases.say("ui", "list_comma").join(
            f"{phrases.name('quantile', k)} {short(v)}" for k, v in named_too
        )
        text = listed or clean(background.description)
    rate = background.false_positive_rate
    rated = "background_rate_families" if is_bred(background) else "background_rate"
    return (
        phrases.say("ui", "with_detail", text=text, detail=pairs),
        None if rate is None else phrases.say("ui", rated, rate=share(rate)),
        clean(background.source) or None,
    )


def is_simulated(background: Background) -> bool:
    """Whether the pairs were made up: then the background says nothing about trained models."""
    return background.source.startswith("simulation")


def is_bred(background: Background | None) -> bool:
    """Whether filiation measured it itself, on models bred for it: rates then count pairs of families."""
    return background is not None and background.source.startswith("filiation lab")


_NAMED = {"min": 0.0, "low": 0.0, "high": 1.0, "minimum": 0.0, "median": 0.5, "max": 1.0, "maximum": 1.0}


def quantiles(background: Background) -> dict[float, float]:
    """Return the quantiles by level in [0, 1]: ``"median"``, ``"0.95"``, ``"q95"`` and ``"95%"`` are understood."""
    found: dict[float, float] = {}
    for key, value in background.quantiles.items():
        name = key.strip().lower()
        if name in _NAMED:
            found[_NAMED[name]] = value
        elif match := re.fullmatch(r"[qp]?(\d+(?:\.\d+)?)\s*%?", name):
            level = float(match[1])
            as_share = level <= 1 and not name.endswith("%") and name[0] not in "qp"
            found[level if as_share else level / 100] = value
    return dict(sorted(found.items()))
