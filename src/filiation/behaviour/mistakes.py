"""Shared mistakes: do two models choose the same wrong option more often than a pool of others makes likely?

Only items that both got wrong count. Two tests, of which the larger p is reported:

* *pool*: an option's popularity is estimated from the pool, which holds neither of the two (add-half smoothing); under
  "the suspect draws its wrong option from the pool's law" the matches follow a Poisson-binomial law, summed exactly.
  Its error rate is as good as the estimate;
* *exchangeable*: given the multiset of wrong options that the pool *and* the two chose, a pair drawn from it matches
  with chance ``sum n_o (n_o - 1) / (N (N - 1))``. Under "all who erred on an item are exchangeable" this is exact for
  any pool, with nothing estimated.

``1 / (K - 1)`` as chance is wrong: unrelated models agree on about 60 % of joint errors (arXiv:2506.07962). Better and
larger models agree more, across vendors: the finding is association, never more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filiation.behaviour import asking
from filiation.behaviour.agreement import conformal_p, rate
from filiation.behaviour.asking import Enquiry, Form, Row
from filiation.behaviour.items import Choice
from filiation.behaviour.recording import applied, identifier, not_measured
from filiation.behaviour.records import Found, ProbeTest
from filiation.endpoint.model import Asker
from filiation.evidence import Effect, Outcome

NAME = "shared_mistakes"
FEWEST = 10
SMALLEST_POOL = 3
_LETTER = re.compile(r"(?<![\w'])([A-Z])(?![\w'])")


@dataclass(frozen=True, slots=True)
class Setting:
    """What is asked.

    Attributes:
        items: multiple-choice questions, as read by :func:`filiation.behaviour.items.read_choices`.
        digest: the SHA-256 of the file they came from.
        suspect, other: the roles of the two models.
        pool: roles of at least three further models, of like accuracy.
        alpha: the level.
        tokens: how long an answer may be.
        batch: how many questions are sent together.
    """

    items: tuple[Choice, ...]
    digest: str
    suspect: str = "suspect"
    other: str = "parent"
    pool: tuple[str, ...] = ()
    alpha: float = 0.01
    tokens: int = 4
    batch: int = 50

    def id(self) -> str:
        """Return the evidence id."""
        return identifier(
            NAME,
            suspect=self.suspect,
            items=self.digest[:16],
            other=self.other,
            pool=self.pool or "none",
            alpha=self.alpha,
            tokens=self.tokens,
        )


@dataclass(frozen=True, slots=True)
class Joint:
    """An item that both got wrong: how many wrong options, theirs, and those of the pool members who erred."""

    wrong_options: int
    suspect: int
    other: int
    pool: tuple[int, ...]


def upper_tail(chances: Sequence[float], matches: int) -> float:
    """Return ``P(at least matches)`` for independent trials of unequal ``chances``, by exact convolution."""
    law: npt.NDArray[np.float64] = np.ones(1)
    for chance in chances:
        law = np.convolve(law, [1.0 - chance, chance])
    return float(min(1.0, law[max(matches, 0) :].sum())) if matches > 0 else 1.0


def pool_chance(item: Joint) -> float:
    """Return how likely the pool's law is to give the other model's wrong option; add-half smoothing."""
    return (item.pool.count(item.other) + 0.5) / (len(item.pool) + 0.5 * item.wrong_options)


def exchangeable_chance(item: Joint) -> float:
    """Return how likely two of all who erred on the item, drawn at random, chose the same wrong option."""
    counts = Counter((*item.pool, item.suspect, item.other))
    n = len(item.pool) + 2
    return sum(c * (c - 1) for c in counts.values()) / (n * (n - 1))


def run(asker: Asker, setting: Setting) -> Found:
    """Ask every question of everybody and judge.

    Raises:
        AccessDeniedError: an endpoint refuses the key.
    """
    roles = (setting.suspect, setting.other, *setting.pool)
    reason = None
    if len(setting.pool) < SMALLEST_POOL or {setting.suspect, setting.other} & set(setting.pool):
        reason = "no_pool"
    reason = reason or asking.obstacle(asker, roles)
    form = None if reason else asking.form(asker, roles)
    if form is None:
        return not_measured(NAME, setting.id(), reason or "no_common_interface", controls=setting.pool)
    enquiry = Enquiry(asker, NAME, setting.batch)
    answered = [
        (item, {role: chosen(item, answer.text) for role, answer in answers.items()})
        for item, answers in enquiry.rows(setting.items, lambda item: _row(setting, form, roles, item))
    ]
    joint = _joint(setting, answered)
    if len(joint) < FEWEST:
        reason = "budget_too_small" if enquiry.exhausted else "too_few_mistakes"
        return not_measured(NAME, setting.id(), reason, requests=enquiry.requests, controls=setting.pool)
    return _found(setting, enquiry, answered, joint)


def _row(setting: Setting, form: Form, roles: Sequence[str], item: Choice) -> Row:
    listed = "\n".join(f"{chr(65 + n)}. {option}" for n, option in enumerate(item.options))
    text = f"{item.question}\n{listed}\nAnswer with the letter only:"
    ask = asking.worded(form, text, max_tokens=setting.tokens, temperature=0.0)
    return {role: (role, ask) for role in roles}


def chosen(item: Choice, text: str) -> int | None:
    """Return the index of the option that an answer names by its letter; ``None`` where it names none or several."""
    named = {ord(letter) - 65 for letter in _LETTER.findall(text)}
    named = {n for n in named if n < len(item.options)}
    return named.pop() if len(named) == 1 else None


def _joint(setting: Setting, answered: Sequence[tuple[Choice, Mapping[str, int | None]]]) -> list[Joint]:
    joint: list[Joint] = []
    for item, options in answered:
        own, other = options[setting.suspect], options[setting.other]
        if own is None or other is None or item.answer in (own, other):
            continue
        pool = tuple(o for role in setting.pool if (o := options[role]) is not None and o != item.answer)
        joint.append(Joint(len(item.options) - 1, own, other, pool))
    return joint


def _found(
    setting: Setting,
    enquiry: Enquiry,
    answered: Sequence[tuple[Choice, Mapping[str, int | None]]],
    joint: Sequence[Joint],
) -> Found:
    matches = sum(item.suspect == item.other for item in joint)
    by_pool = [pool_chance(item) for item in joint]
    by_exchange = [exchangeable_chance(item) for item in joint]
    ps = {"pool": upper_tail(by_pool, matches), "exchangeable": upper_tail(by_exchange, matches)}
    p = max(ps.values())
    supported = p <= setting.alpha
    expected = max(sum(by_pool), sum(by_exchange)) / len(joint)
    effects = (rate("joint_errors_shared", matches, len(joint)), *_accuracy(setting, answered))
    record = applied(
        setting.id(),
        NAME,
        statistic_name="joint_errors_shared",
        statistic=matches / len(joint),
        expected=expected,
        n=len(joint),
        p_value=p,
        effect=effects,
        shows="shared_mistakes" if supported else "mistakes_by_chance",
        cannot_show=("association",),
    )
    test = ProbeTest(
        name=NAME,
        evidence=setting.id(),
        outcome=Outcome.SUPPORTED if supported else Outcome.UNDECIDED,
        reason=None if supported else "not_beyond_pool",
        p=p,
        effect=effects,
        smallest_effect=None if supported else _smallest(by_pool, by_exchange, setting.alpha),
        against=setting.other,
        requests=enquiry.requests,
        controls=setting.pool,
        figures={
            "ceiling": "associated",
            "joint_errors": len(joint),
            "matches": matches,
            "expected_share": expected,
            "p_by_law": ps,
            "conformal_p": _rank(setting, answered, matches, len(joint)),
            "failures": dict(sorted(enquiry.failures.items())),
            "exhausted": enquiry.exhausted,
        },
    )
    return Found(test, (record,))


def _smallest(by_pool: Sequence[float], by_exchange: Sequence[float], alpha: float) -> Effect | None:
    """Return the smallest share of joint errors shared that would have been significant; ``None`` where none is."""
    n = len(by_pool)
    needed = next(
        (m for m in range(n + 1) if max(upper_tail(c, m) for c in (by_pool, by_exchange)) <= alpha), None
    )
    return None if needed is None else Effect("joint_errors_shared", needed / n)


def _accuracy(
    setting: Setting, answered: Sequence[tuple[Choice, Mapping[str, int | None]]]
) -> tuple[Effect, ...]:
    return tuple(
        rate(
            f"accuracy_{role}", sum(options[role] == item.answer for item, options in answered), len(answered)
        )
        for role in (setting.suspect, setting.other, *setting.pool)
    )


def _rank(
    setting: Setting, answered: Sequence[tuple[Choice, Mapping[str, int | None]]], matches: int, joint: int
) -> float | None:
    """Return the rank of the suspect's share of joint errors with the other among the pool members' shares with it."""
    shares: list[float] = []
    for role in setting.pool:
        both = [
            options[role] == options[setting.other]
            for item, options in answered
            if options[role] not in (None, item.answer) and options[setting.other] not in (None, item.answer)
        ]
        if both:
            shares.append(sum(both) / len(both))
    return conformal_p(matches / joint, shares)
