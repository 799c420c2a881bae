"""Derived? Does the suspect agree with the claimed parent on next words more often than with every control?

The same openings of sentences go to the suspect, the parent and the controls. On each it is noted who gives the
suspect's next word; parent and control are compared prompt by prompt by the exact one-sided McNemar test, and the
claim is "more than with *every* control", so the largest p counts. A parent chosen among several is chosen on one half
of the prompts and tested on the other. Temperature 0 is asked for because it makes answers comparable; nothing here
takes an answer to be repeatable: each is one draw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from filiation.behaviour import asking
from filiation.behaviour.agreement import Paired, against, conformal_p, largest_p, rate, smallest_difference
from filiation.behaviour.asking import Enquiry, Form
from filiation.behaviour.controls import Standing, wanting
from filiation.behaviour.prompts import Probe, commitment, continuations
from filiation.behaviour.reading import first_word
from filiation.behaviour.recording import applied, identifier, not_measured, share_row
from filiation.behaviour.records import Found, ProbeTest
from filiation.endpoint.model import Ask, Asker
from filiation.evidence import Effect, Evidence, Outcome

NAME = "derived"
FEWEST = 30
INSTRUCTION = "Continue this sentence. Answer with the next few words only, without repeating it:\n"
_ONE_WORD = 0.9

Words = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Setting:
    """What is asked.

    Attributes:
        seed: the committed seed that the prompts are drawn from.
        suspect: role.
        parents: roles of the claimed parents; of several, the likeliest is chosen on half of the prompts.
        controls: roles of models that the suspect is known not to come from.
        standings: what each control shares with the parent, by role, as far as it is known.
        prompts: how many, in all.
        alpha: the level.
        tokens: how many tokens are generated; the first word of them is compared, whatever the tokenizer.
        batch: how many prompts are sent together.
    """

    seed: int
    suspect: str = "suspect"
    parents: tuple[str, ...] = ("parent",)
    controls: tuple[str, ...] = ()
    standings: Mapping[str, Standing] = field(default_factory=dict[str, Standing])
    prompts: int = 400
    alpha: float = 0.01
    tokens: int = 6
    batch: int = 50

    def id(self) -> str:
        """Return the evidence id."""
        return identifier(
            NAME,
            suspect=self.suspect,
            parents=self.parents,
            controls=self.controls or "none",
            prompts=self.prompts,
            alpha=self.alpha,
            tokens=self.tokens,
            split="half" if len(self.parents) > 1 else "none",
            seed=commitment(self.seed)[:12],
        )


def run(asker: Asker, setting: Setting) -> Found:
    """Ask and judge; see the module's text.

    Raises:
        AccessDeniedError: an endpoint refuses the key.
    """
    roles = (setting.suspect, *setting.parents, *setting.controls)
    reason = _missing(asker, setting, roles)
    form = None if reason else asking.form(asker, roles, Form.RAW)
    if form is None:
        return not_measured(NAME, setting.id(), reason or "no_common_interface", controls=setting.controls)
    enquiry = Enquiry(asker, NAME, setting.batch)
    scouting = len(setting.parents) > 1
    each = len(setting.controls) + 2.0
    each = 0.5 * (each + 1.0 + len(setting.parents)) if scouting else each
    probes = continuations(setting.seed, enquiry.within(setting.prompts, each))
    parent, scouted = setting.parents[0], 0
    if scouting:
        scouted = len(probes) // 2
        parent = _choose(enquiry, setting, form, probes[:scouted])
    tested = (setting.suspect, parent, *setting.controls)
    words = _words(enquiry, setting, form, tested, probes[scouted:])
    if len(words) < FEWEST:
        short = enquiry.exhausted or len(probes) < setting.prompts
        reason = "budget_too_small" if short else "too_few_answers"
        return not_measured(NAME, setting.id(), reason, requests=enquiry.requests, controls=setting.controls)
    return _found(setting, enquiry, parent, words)


def _missing(asker: Asker, setting: Setting, roles: Sequence[str]) -> str | None:
    if not setting.parents or any(parent not in asker.records for parent in setting.parents):
        return "no_parent"
    if not setting.controls:
        return "no_control"
    return asking.obstacle(asker, roles)


def _words(
    enquiry: Enquiry, setting: Setting, form: Form, roles: Sequence[str], probes: Sequence[Probe]
) -> list[Words]:
    """Return the first words of ``roles`` by prompt."""

    def row(probe: Probe) -> Mapping[str, tuple[str, Ask]]:
        ask = asking.worded(form, probe.text, INSTRUCTION, max_tokens=setting.tokens, temperature=0.0)
        return {role: (role, ask) for role in roles}

    return [
        {role: first_word(answer.text) for role, answer in answers.items()}
        for _, answers in enquiry.rows(probes, row)
    ]


def _choose(enquiry: Enquiry, setting: Setting, form: Form, probes: Sequence[Probe]) -> str:
    words = _words(enquiry, setting, form, (setting.suspect, *setting.parents), probes)
    return max(setting.parents, key=lambda parent: sum(agree(words, setting.suspect, parent)))


def agree(words: Sequence[Words], suspect: str, other: str) -> list[bool]:
    """Return on which prompts two gave the same word; silence agrees with nobody."""
    return [each[suspect] != "" and each[suspect] == each[other] for each in words]


def _found(setting: Setting, enquiry: Enquiry, parent: str, words: Sequence[Words]) -> Found:
    hits = {role: agree(words, setting.suspect, role) for role in (parent, *setting.controls)}
    rows = against(hits[parent], {role: hits[role] for role in setting.controls})
    p = largest_p(rows)
    outcome, reason = _judge(setting, words, p)
    rates = tuple(rate(f"agreement_{role}", sum(h), len(words)) for role, h in hits.items())
    smallest = smallest_difference(rows, len(words), setting.alpha)
    rank = conformal_p(sum(hits[parent]), [sum(hits[role]) for role in setting.controls])
    test = ProbeTest(
        name=NAME,
        evidence=setting.id(),
        outcome=outcome,
        reason=reason,
        p=p,
        effect=rates,
        smallest_effect=smallest if outcome is Outcome.UNDECIDED else None,
        against=parent,
        requests=enquiry.requests,
        controls=setting.controls,
        figures=_figures(setting, enquiry, rates, rows, rank, len(words)),
    )
    return Found(test, (_agreement(setting, rates, p, len(words), outcome), _rank(setting, rates, rank)))


def _judge(setting: Setting, words: Sequence[Words], p: float) -> tuple[Outcome, str | None]:
    usual = Counter(each[setting.suspect] for each in words).most_common(1)[0][1]
    if usual >= _ONE_WORD * len(words):
        return Outcome.UNDECIDED, "one_answer_to_all"
    if p <= setting.alpha:
        return Outcome.SUPPORTED, None
    return Outcome.UNDECIDED, "not_beyond_controls"


def _agreement(setting: Setting, rates: tuple[Effect, ...], p: float, n: int, outcome: Outcome) -> Evidence:
    supported = outcome is Outcome.SUPPORTED
    return applied(
        setting.id(),
        NAME,
        statistic_name="agreement",
        statistic=rates[0].value,
        expected=max(each.value for each in rates[1:]),
        n=n,
        p_value=p,
        effect=rates,
        shows="agrees_beyond" if supported else "agrees_no_more",
        cannot_show=("shared_data", *wanting(setting.standings, setting.controls)),
    )


def _rank(setting: Setting, rates: tuple[Effect, ...], rank: float | None) -> Evidence:
    others = [each.value for each in rates[1:]]
    return applied(
        setting.id() + "/by=rank",
        "derived_rank",
        statistic_name="rank_among_controls",
        statistic=float(1 + sum(other >= rates[0].value for other in others)),
        n=len(others),
        p_value=rank,
        shows="rank",
        cannot_show=("rank_resolution",),
    )


def _figures(
    setting: Setting,
    enquiry: Enquiry,
    rates: Sequence[Effect],
    rows: Sequence[Paired],
    rank: float | None,
    n: int,
) -> dict[str, Any]:
    names = [rate.name.removeprefix("agreement_") for rate in rates]
    return {
        "parent": names[0],
        "agreement": [
            share_row(rate, name, control=name != names[0]) for rate, name in zip(rates, names, strict=True)
        ],
        "chosen_on": None if len(setting.parents) == 1 else setting.prompts // 2,
        "prompts": n,
        "paired": [
            {"control": r.control, "only_parent": r.only_claimed, "only_control": r.only_control, "p": r.p}
            for r in rows
        ],
        "conformal_p": rank,
        "standings": {
            role: {"same_tokenizer": s.same_tokenizer, "same_generation": s.same_generation}
            for role, s in ((role, setting.standings.get(role, Standing())) for role in setting.controls)
        },
        "failures": dict(sorted(enquiry.failures.items())),
        "exhausted": enquiry.exhausted,
    }
