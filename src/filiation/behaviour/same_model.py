"""Same model? The suspect and a live reference answer the same fresh prompts, and their answers are held together.

Three procedures, each with an exact null (docs/probe/same-model.md):

* *permutation* on a number of prompts fixed beforehand: labels permuted within each prompt, counting the observed one;
* *betting*, sequentially and anytime-valid, with no stored law: it may go on for as long as the budget lasts;
* *alike*: a bet against "the suspect agrees with the reference less than a model that is clearly another would".
  Only this one can speak *for* the same model; the two above can only speak against it.

The first two share the level, half each. A difference counts against the same model only where it goes beyond what the
same weights show: the reference is asked everything twice, or a second deployment of the same weights beside it.

When asking stops depends on the answers: at a difference found, or once the agreement is won *and* the pairs would have
shown the swapped share that is promised. No level depends on that. Both bets are e-processes under their nulls, so by
Ville's inequality the chance that one is ever won is at most its level, whenever asking stops and for whatever reason
that is known by then; what the pairs would have shown is reckoned from the reference's earlier answers and the
committed seed, hence known. The permutation's p-value, and those of the reference against itself, are of the first
``pairs`` prompts alone, a number that no answer has a say in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from filiation.behaviour import asking, same_records
from filiation.behaviour.asking import Enquiry, Form, Row
from filiation.behaviour.betting import MeanBet, Wealth
from filiation.behaviour.permutation import Stratum, TwoSample, two_sample
from filiation.behaviour.prompts import Probe, choices, commitment
from filiation.behaviour.reading import first_word
from filiation.behaviour.recording import identifier, not_measured
from filiation.behaviour.records import Found
from filiation.behaviour.same_records import Facts, Pair
from filiation.endpoint.model import Answer, Asker

NAME = "same_model"
FEWEST = 20
_USUAL = 0.9


@dataclass(frozen=True, slots=True)
class Setting:
    """What is asked.

    Attributes:
        seed: the committed seed that the prompts are drawn from.
        suspect, reference: roles.
        second: the role of another deployment of the reference's weights (another engine, another quantisation): its
            distance from the reference is then the margin. Without it the reference itself is asked twice.
        controls: roles of models that are known to be others.
        pairs: how many prompts the fixed part has.
        most: how many pairs the bet may use in all; at least ``pairs``.
        batch: after how many pairs the bet may stop the asking.
        settle: after the fixed part, stop once the bet for the same model has won and ``share`` would have been seen.
            Otherwise the search for a small swapped fraction goes on up to ``most``.
        share: the swapped fraction of the answers that the pairs must have been able to show before anything is said
            for the same model.
        alpha: level of either side of the test.
        temperature: of every request. Below 1 a model agrees with itself more often, so that one answer tells more; any
            value is valid, as both sides get the same. ``None`` leaves it to the servers.
        settings_known: whether the suspect samples as it is told to. What a person typed into a chat site it answered
            with settings of its own, which alone make answers differ: a difference then decides nothing.
        tokens: how many tokens are generated; the first word of them is counted.
        permutations: how many relabellings are drawn.
        languages: of the prompts.
        slack: without a control, ``alike`` bets against "agrees less than ``1 - slack`` times as often as the
            reference with itself"; with controls, against "lies halfway or more towards the control".
    """

    seed: int
    suspect: str = "suspect"
    reference: str = "reference"
    second: str | None = None
    controls: tuple[str, ...] = ()
    pairs: int = 200
    most: int = 1000
    batch: int = 50
    settle: bool = True
    share: float = 0.5
    alpha: float = 0.01
    temperature: float | None = 0.3
    settings_known: bool = True
    tokens: int = 3
    permutations: int = 9999
    languages: tuple[str, ...] = ("en", "zh", "es", "fr")
    slack: float = 0.25

    def id(self) -> str:
        """Return the evidence id without the procedure."""
        return identifier(
            NAME,
            suspect=self.suspect,
            reference=self.reference,
            second=self.second or self.reference,
            controls=self.controls or "none",
            pairs=self.pairs,
            most=self.most,
            batch=self.batch,
            settle=self.settle,
            share=self.share,
            alpha=self.alpha,
            temperature="own" if self.temperature is None else self.temperature,
            settings="known" if self.settings_known else "unknown",
            tokens=self.tokens,
            permutations=self.permutations,
            languages=self.languages,
            slack=self.slack,
            seed=commitment(self.seed)[:12],
        )


def run(asker: Asker, setting: Setting) -> Found:
    """Ask and judge; see the module's text for the procedures.

    Raises:
        AccessDeniedError: an endpoint refuses the key.
    """
    second = () if setting.second is None else (setting.second,)
    roles = (setting.suspect, setting.reference, *second, *setting.controls)
    reason = "no_reference" if setting.reference not in asker.records else asking.obstacle(asker, roles)
    form = None if reason else asking.form(asker, roles)
    if form is None:
        return not_measured(NAME, setting.id(), reason or "no_common_interface", controls=setting.controls)
    enquiry = Enquiry(asker, NAME, setting.batch)
    watch = _Watch(setting)
    _ask(enquiry, setting, form, watch)
    if len(watch.pairs) < FEWEST:
        reason = "budget_too_small" if enquiry.exhausted else "too_few_answers"
        failed = dict(sorted(enquiry.failures.items()))
        return not_measured(NAME, setting.id(), reason, requests=enquiry.requests, failures=failed)
    return same_records.found(setting, _facts(setting, enquiry, watch))


def _ask(enquiry: Enquiry, setting: Setting, form: Form, watch: _Watch) -> None:
    """Ask in batches until the matter is settled, the prompts are used up or the budget is."""
    probes = choices(setting.seed, max(setting.most, setting.pairs), setting.languages)
    edges = sorted({*range(0, len(probes), setting.batch), setting.pairs, len(probes)})
    for start, end in pairwise(edges):
        complete = not watch.settled
        for probe, answers in enquiry.rows(
            probes[start:end], lambda p, c=complete: _row(setting, form, p, c)
        ):
            watch.see(probe, answers)
        if end == setting.pairs and not enquiry.exhausted:
            watch.fixed = len(watch.pairs)
        watch.settle()
        if enquiry.exhausted or watch.crossed is not None or (setting.settle and watch.settled):
            return


def _row(setting: Setting, form: Form, probe: Probe, complete: bool) -> Row:
    ask = asking.worded(form, probe.text, max_tokens=setting.tokens, temperature=setting.temperature)
    row = {"x": (setting.reference, ask), "y": (setting.suspect, ask)}
    if complete:
        row["again"] = (setting.second or setting.reference, ask)
        row |= {f"control/{role}": (role, ask) for role in setting.controls}
    return row


class _Watch:
    """What has been seen so far, and the bets on it."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.pairs: list[Pair] = []
        self.wealth = Wealth()
        self.trail: list[float] = []
        low = -1.0 if setting.controls else setting.slack - 1.0
        self.alike: Mapping[str, MeanBet] = {role: MeanBet(low) for role in setting.controls or ("",)}
        self.crossed: int | None = None
        self.fixed: int | None = None
        self.settled = False
        self._usual: dict[str, dict[str, int]] = {}

    def see(self, probe: Probe, answers: Mapping[str, Answer]) -> None:
        """Take in the answers to one prompt."""
        words = {slot: first_word(answer.text) for slot, answer in answers.items()}
        controls = {slot.partition("/")[2]: w for slot, w in words.items() if slot.startswith("control/")}
        pair = Pair(probe.cell, words["x"], words["y"], words.get("again"), controls, answers["y"].request)
        self.pairs.append(pair)
        if pair.again is not None and self._tells(pair.cell):
            self._bet_alike(pair)
        if self.crossed is None:
            self.wealth.step(pair.cell, pair.reference, pair.suspect)
            self.trail.append(self.wealth.log10)
            if self.wealth.log_wealth >= math.log(2.0 / self.setting.alpha):
                self.crossed = len(self.pairs)
        if pair.again is not None and self.setting.second is None:
            self.wealth.learn(pair.cell, pair.again)
        seen = self._usual.setdefault(pair.cell, {})
        seen[pair.reference] = seen.get(pair.reference, 0) + 1

    def _tells(self, cell: str) -> bool:
        """Whether agreement in this cell can mean something: the reference did not always answer alike there."""
        seen = self._usual.get(cell, {})
        return sum(seen.values()) >= 3 and max(seen.values()) < _USUAL * sum(seen.values())

    def settle(self) -> None:
        """After the fixed part, look whether the agreement is won and ``share`` would have been seen."""
        if self.fixed is not None and not self.settled and all(map(self._has_won, self.alike.values())):
            self.settled = same_records.would_show(self.setting, self.pairs)

    def _has_won(self, bet: MeanBet) -> bool:
        return bet.log_wealth >= -math.log(self.setting.alpha)

    def _bet_alike(self, pair: Pair) -> None:
        """Bet that the suspect agrees with the reference's two answers more often than the null allows.

        Without a control the null says: at most ``1 - slack`` times as often as the two agree with each other; with
        one: no more often than halfway between that and how often the control agrees with them. A bet that has won is
        not played on: its wealth at that moment is an e-value, and what comes later cannot take it back.
        """
        own = float(pair.again == pair.reference)
        for role, bet in self.alike.items():
            if self._has_won(bet):
                continue
            least = (
                0.5 * (own + _agreement(pair, pair.controls[role]))
                if role
                else (1.0 - self.setting.slack) * own
            )
            bet.step(_agreement(pair, pair.suspect) - least)


def _agreement(pair: Pair, word: str) -> float:
    return 0.5 * ((word == pair.reference) + (word == pair.again))


def _facts(setting: Setting, enquiry: Enquiry, watch: _Watch) -> Facts:
    pairs = watch.pairs
    distance = _two_sample(setting, pairs, [pair.suspect for pair in pairs])
    # The p-value is that of the number of prompts fixed beforehand: after an early stop there is none.
    fixed = None if watch.fixed is None else pairs[: watch.fixed]
    exact = None if not fixed else _two_sample(setting, fixed, [pair.suspect for pair in fixed])
    return Facts(
        pairs=tuple(pairs),
        requests=enquiry.requests,
        failures=dict(sorted(enquiry.failures.items())),
        exhausted=enquiry.exhausted,
        distance=distance,
        exact=exact,
        margin=_itself(setting, pairs),
        stable=_itself(setting, pairs if fixed is None else fixed).p,
        fixed=watch.fixed,
        crossed=watch.crossed,
        log10_wealth=watch.wealth.log10,
        log_best=watch.wealth.log_best,
        trail=tuple(watch.trail),
        alike={role: (bet.log10, bet.count) for role, bet in watch.alike.items()},
    )


def _itself(setting: Setting, pairs: Sequence[Pair]) -> TwoSample:
    """Hold the reference's second answers against its first."""
    twice = [pair for pair in pairs if pair.again is not None]
    return _two_sample(setting, twice, [pair.again or "" for pair in twice])


def _two_sample(setting: Setting, pairs: Sequence[Pair], suspect: Sequence[str]) -> TwoSample:
    strata = [Stratum(p.cell, (p.reference,), (word,)) for p, word in zip(pairs, suspect, strict=True)]
    return two_sample(strata, setting.seed, setting.permutations)
