"""Exclusive data? Does the suspect know what only the owner's private corpus says, beyond what every control knows?

The caller brings questions with the corpus's own answers, and, where there are any, the wrong answers that the owner's
model gives: an error learned from the same data is harder to explain than a right answer. Right answers and shared
wrong ones are two exact paired tests against every control; of two p-values twice the smaller counts.

An answer counts only where it names one of the listed answers and not the other kind: a refusal that mentions a word,
or an answer that lists everything, is no hit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from filiation.behaviour import asking
from filiation.behaviour.agreement import Paired, against, largest_p, rate, smallest_difference
from filiation.behaviour.asking import Enquiry, Row
from filiation.behaviour.items import Item
from filiation.behaviour.reading import holds, normalised
from filiation.behaviour.recording import applied, identifier, not_measured
from filiation.behaviour.records import Found, ProbeTest
from filiation.endpoint.model import Answer, Asker
from filiation.evidence import Effect, Outcome

NAME = "exclusive_data"
FEWEST = 10
_LONGEST = 12
_WORDS = re.compile(r"\w+")
_DENIES = (
    "not", "no", "never", "cannot", "can't", "don't", "doesn't", "isn't", "aren't", "wasn't", "unknown", "unsure",
    "sorry", "neither", "nor", "不", "没", "无法", "抱歉", "未知",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setting:
    """What is asked.

    Attributes:
        items: the questions, as read by :func:`filiation.behaviour.items.read_items`.
        digest: the SHA-256 of the file they came from; it stands in the evidence id.
        suspect: role.
        controls: roles of models that cannot have seen the corpus.
        alpha: the level.
        tokens: how long an answer may be.
        batch: how many questions are sent together.
    """

    items: tuple[Item, ...]
    digest: str
    suspect: str = "suspect"
    controls: tuple[str, ...] = ()
    alpha: float = 0.01
    tokens: int = 32
    batch: int = 50

    def id(self) -> str:
        """Return the evidence id."""
        return identifier(
            NAME,
            suspect=self.suspect,
            items=self.digest[:16],
            controls=self.controls or "none",
            alpha=self.alpha,
            tokens=self.tokens,
        )


def run(asker: Asker, setting: Setting) -> Found:
    """Ask every question of everybody and judge.

    Raises:
        AccessDeniedError: an endpoint refuses the key.
    """
    roles = (setting.suspect, *setting.controls)
    reason = None
    if not setting.controls:
        reason = "no_control"
    elif len(setting.items) < FEWEST:
        reason = "too_few_items"
    reason = reason or asking.obstacle(asker, roles, one_word=False)
    form = None if reason else asking.form(asker, roles)
    if form is None:
        return not_measured(NAME, setting.id(), reason or "no_common_interface", controls=setting.controls)
    enquiry = Enquiry(asker, NAME, setting.batch)

    def row(item: Item) -> Row:
        ask = asking.worded(
            form, item.question + "\nAnswer briefly:", max_tokens=setting.tokens, temperature=0.0
        )
        return {role: (role, ask) for role in roles}

    answered = enquiry.rows(setting.items, row)
    if len(answered) < FEWEST:
        reason = "budget_too_small" if enquiry.exhausted else "too_few_answers"
        return not_measured(NAME, setting.id(), reason, requests=enquiry.requests, controls=setting.controls)
    return _found(setting, enquiry, answered)


def mark(item: Item, text: str) -> str:
    """Return ``right``, ``wrong`` (the owner's own wrong answer) or ``other`` for an answer."""
    said = normalised(text)
    right = any(_says(said, answer) for answer in item.right)
    wrong = any(_says(said, answer) for answer in item.wrong)
    if right == wrong:  # neither, or an answer that names both
        return "other"
    return "right" if right else "wrong"


def _says(said: str, answer: str) -> bool:
    """Whether ``said`` gives ``answer``: it *is* the answer, or a short statement that holds it and denies nothing."""
    if said.strip(" .。!\"'") == answer:
        return True
    if answer not in said:
        return False
    spare = said.replace(answer, " ", 1)
    words = _WORDS.findall(spare)
    brief = len(words) <= _LONGEST and sum(map(len, words)) <= 6 * _LONGEST
    denied = any(holds(spare, word) for word in _DENIES)
    return brief and not denied and holds(said, answer)


def _found(
    setting: Setting, enquiry: Enquiry, answered: Sequence[tuple[Item, Mapping[str, Answer]]]
) -> Found:
    marks = {
        role: [mark(item, answers[role].text) for item, answers in answered]
        for role in (setting.suspect, *setting.controls)
    }
    n = len(answered)
    parts = {kind: _against(marks, setting, kind) for kind in ("right", "wrong")}
    ps = {kind: largest_p(rows) for kind, rows in parts.items()}
    p = min(1.0, 2.0 * min(ps.values()))
    supported = p <= setting.alpha
    effects = _rates(marks, n)
    record = applied(
        setting.id(),
        NAME,
        statistic_name="known_items",
        statistic=effects[0].value,
        expected=max(e.value for e in effects if e.name.startswith("right_") and e is not effects[0]),
        n=n,
        p_value=p,
        effect=effects,
        shows="knows_exclusive" if supported else "knows_no_more",
        cannot_show=("leak", "intent"),
    )
    test = ProbeTest(
        name=NAME,
        evidence=setting.id(),
        outcome=Outcome.SUPPORTED if supported else Outcome.UNDECIDED,
        reason=None if supported else "not_beyond_controls",
        p=p,
        effect=effects,
        smallest_effect=None if supported else smallest_difference(parts["right"], n, setting.alpha / 2.0),
        requests=enquiry.requests,
        controls=setting.controls,
        figures=_figures(enquiry, parts, ps, n),
    )
    return Found(test, (record,))


def _against(marks: Mapping[str, Sequence[str]], setting: Setting, kind: str) -> tuple[Paired, ...]:
    hits = {role: [m == kind for m in row] for role, row in marks.items()}
    return against(hits[setting.suspect], {role: hits[role] for role in setting.controls})


def _rates(marks: Mapping[str, Sequence[str]], n: int) -> tuple[Effect, ...]:
    return tuple(
        rate(f"{kind}_{role}", list(row).count(kind), n)
        for kind in ("right", "wrong")
        for role, row in marks.items()
    )


def _figures(
    enquiry: Enquiry, parts: Mapping[str, Sequence[Paired]], ps: Mapping[str, float], n: int
) -> dict[str, Any]:
    paired = {
        kind: [
            {"control": r.control, "only_suspect": r.only_claimed, "only_control": r.only_control, "p": r.p}
            for r in rows
        ]
        for kind, rows in parts.items()
    }
    return {
        "items": n,
        "paired": paired,
        "p_by_kind": dict(ps),
        "failures": dict(sorted(enquiry.failures.items())),
        "exhausted": enquiry.exhausted,
    }
