"""Distilled? Does the student fit the teacher's answers better than its own base does, more than any other teacher's?

``g = (log p_student - log p_base) / tokens`` of an answer is what training added to its likelihood. Every prompt is
answered by the teacher and by each control teacher, and the statistic is the mean over prompts of ``g`` of the
teacher's answer less ``g`` of a control's. Under the null hypothesis "student against base treats both answers to a
prompt exchangeably" the labels may be permuted within the prompt: an exact test. The claim is against every control,
so the largest p counts (after arXiv:2607.09692; endpoints that give no log-probabilities of a prompt cannot take part).

Without those the answers themselves are compared (:mod:`filiation.behaviour.similar`); that can only ever say
"similar to", and its figures say so: ``ceiling`` is then ``associated``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from filiation.behaviour import asking, similar
from filiation.behaviour.asking import Enquiry, Form, Row
from filiation.behaviour.prompts import Probe, commitment, questions
from filiation.behaviour.recording import applied, identifier, not_measured
from filiation.behaviour.records import Found, ProbeTest
from filiation.endpoint.model import Answer, Ask, Asker, Support, TokenStep
from filiation.evidence import Effect, Evidence, Outcome

NAME = "distilled"
FEWEST = 20
_SPELT = str.maketrans(
    {"Ġ": " ", "▁": " ", "Ċ": "\n"}
)  # servers that show tokens as the vocabulary file spells them


@dataclass(frozen=True, slots=True)
class Setting:
    """What is asked.

    Attributes:
        seed: the committed seed that the prompts are drawn from.
        student, teacher: roles.
        base: role of the student's base, or of an earlier checkpoint of its lineage; ``None`` if there is none.
        controls: roles of control teachers.
        prompts: how many, for the likelihood.
        words: how many, for the text alone.
        alpha: the level.
        tokens: how long an answer may be.
        temperature: of the teachers' answers.
        permutations: how many relabellings are drawn.
        batch: how many prompts are sent together.
    """

    seed: int
    student: str = "suspect"
    teacher: str = "teacher"
    base: str | None = None
    controls: tuple[str, ...] = ()
    prompts: int = 60
    words: int = 400
    alpha: float = 0.01
    tokens: int = 96
    temperature: float = 0.7
    permutations: int = 9999
    batch: int = 20

    def id(self, by: str) -> str:
        """Return the evidence id; ``by`` is ``likelihood`` or ``text``."""
        return identifier(
            NAME,
            student=self.student,
            teacher=self.teacher,
            base=self.base or "none",
            controls=self.controls or "none",
            prompts=self.prompts if by == "likelihood" else self.words,
            alpha=self.alpha,
            tokens=self.tokens if by == "likelihood" else similar.TOKENS,
            temperature=self.temperature if by == "likelihood" else 0.0,
            permutations=self.permutations,
            seed=commitment(self.seed)[:12],
            by=by,
        )


def run(asker: Asker, setting: Setting) -> Found:
    """Ask and judge, by likelihood where student and base give it, else by text.

    Raises:
        AccessDeniedError: an endpoint refuses the key.
    """
    by = "likelihood" if _gives_likelihood(asker, setting) else "text"
    base = () if setting.base is None else (setting.base,)
    roles = (setting.student, setting.teacher, *base, *setting.controls)
    reason = None
    if setting.teacher not in asker.records:
        reason = "no_teacher"
    elif not setting.controls:
        reason = "no_control"
    elif absent := asking.missing(asker, roles):
        reason = "no_base" if absent == setting.base else "endpoint_absent"
    speakers = (setting.teacher, *setting.controls) if by == "likelihood" else roles
    reason = reason or asking.obstacle(asker, speakers, one_word=by == "text")
    form = None if reason else asking.form(asker, speakers, Form.CHAT if by == "likelihood" else Form.RAW)
    if form is None:
        return not_measured(NAME, setting.id(by), reason or "no_common_interface", controls=setting.controls)
    return _likelihood(asker, setting, form) if by == "likelihood" else similar.run(asker, setting, form)


def _gives_likelihood(asker: Asker, setting: Setting) -> bool:
    if setting.base is None:
        return False
    records = [asker.records.get(role) for role in (setting.student, setting.base)]
    return all(r is not None and r.capabilities.prompt_logprobs is Support.SUPPORTED for r in records)


def _likelihood(asker: Asker, setting: Setting, form: Form) -> Found:
    enquiry = Enquiry(asker, NAME, setting.batch)
    probes = questions(setting.seed, enquiry.within(setting.prompts, 3.0 * (1 + len(setting.controls))))
    answers = enquiry.rows(probes, lambda probe: _teachers(setting, form, probe))
    texts = [
        (probe, {role: a.text.strip() for role, a in by_role.items()})
        for probe, by_role in answers
        if all(a.text.strip() for a in by_role.values())
    ]
    gains = [
        gain
        for _, rows in enquiry.rows(texts, lambda t: _scored(setting, *t))
        if (gain := _gain(setting, rows))
    ]
    if len(gains) < FEWEST:
        reason = "likelihoods_unusable" if len(texts) >= FEWEST else "too_few_answers"
        if enquiry.exhausted or len(probes) < setting.prompts:
            reason = "budget_too_small"
        id = setting.id("likelihood")
        return not_measured(NAME, id, reason, requests=enquiry.requests, controls=setting.controls)
    return _found(setting, enquiry, gains)


def _teachers(setting: Setting, form: Form, probe: Probe) -> Row:
    ask = asking.worded(form, probe.text, max_tokens=setting.tokens, temperature=setting.temperature)
    return {role: (role, ask) for role in (setting.teacher, *setting.controls)}


def _scored(setting: Setting, probe: Probe, texts: Mapping[str, str]) -> Row:
    """Ask student and base for the log-probabilities of every answer, after the same words."""
    assert setting.base is not None  # the likelihood is only taken where there is a base
    before = _before(probe)
    asks = {
        role: Ask(prompt=before + text, max_tokens=1, prompt_logprobs=True) for role, text in texts.items()
    }
    row = {f"student/{role}": (setting.student, ask) for role, ask in asks.items()}
    return row | {f"base/{role}": (setting.base, ask) for role, ask in asks.items()}


def _before(probe: Probe) -> str:
    return f"Question: {probe.text}\n\nAnswer: "


def _gain(setting: Setting, rows: Mapping[str, Answer]) -> dict[str, float] | None:
    """Return ``g`` of each teacher's answer, nats per token; ``None`` where a likelihood cannot be used."""
    gains: dict[str, float] = {}
    for role in (setting.teacher, *setting.controls):
        student, base = rows[f"student/{role}"].prompt_steps, rows[f"base/{role}"].prompt_steps
        if (
            student is None
            or base is None
            or [s.chosen.token for s in student] != [s.chosen.token for s in base]
        ):
            return None
        both = [_answer_part(steps) for steps in (student, base)]
        if None in both or not both[0]:
            return None
        own, others = (part or () for part in both)
        gains[role] = sum(a - b for a, b in zip(own, others, strict=True)) / len(own)
    return gains


def _answer_part(steps: Sequence[TokenStep]) -> tuple[float, ...] | None:
    """Return the log-probabilities of the tokens after the word ``Answer:``; ``None`` where one is missing."""
    text = ""
    start = 0
    for n, step in enumerate(steps):
        text += step.chosen.token.translate(_SPELT)
        if not start and "\n\nAnswer:" in text:
            start = n + 1
    values = [step.chosen.logprob for step in steps[start:]] if start else [None]
    known = tuple(value for value in values if value is not None)
    return known if len(known) == len(values) else None


def _found(setting: Setting, enquiry: Enquiry, gains: Sequence[Mapping[str, float]]) -> Found:
    effects: list[Effect] = []
    ps: dict[str, float] = {}
    for n, control in enumerate(setting.controls):
        gap = np.array([gain[setting.teacher] - gain[control] for gain in gains])
        ps[control] = swapped_p(gap, setting.seed + n, setting.permutations)
        effects.append(_mean(f"gain_over_{control}", gap))
    p = max(ps.values())
    supported = p <= setting.alpha
    test = ProbeTest(
        name=NAME,
        evidence=setting.id("likelihood"),
        outcome=Outcome.SUPPORTED if supported else Outcome.UNDECIDED,
        reason=None if supported else "not_beyond_controls",
        p=p,
        effect=tuple(effects),
        smallest_effect=None if supported else _smallest(setting, gains),
        against=setting.teacher,
        requests=enquiry.requests,
        controls=setting.controls,
        figures={
            "by": "likelihood",
            "ceiling": "trained_on_outputs",
            "prompts": len(gains),
            "p_by_control": ps,
            "gain": {
                role: float(np.mean([g[role] for g in gains]))
                for role in (setting.teacher, *setting.controls)
            },
            "failures": dict(sorted(enquiry.failures.items())),
            "exhausted": enquiry.exhausted,
        },
    )
    return Found(test, (_evidence(setting, effects, p, len(gains), supported),))


def swapped_p(gap: np.ndarray, seed: int, permutations: int) -> float:
    """Return the one-sided p of ``mean(gap) > 0`` when teacher and control may change places within each prompt.

    ``(1 + #{permuted >= observed}) / (1 + permutations)``: exact where each difference is as likely to be its negative.
    """
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, size=(permutations, len(gap))) * 2.0 - 1.0
    reached = int((signs @ gap >= gap.sum() - 1e-9 * np.abs(gap).sum()).sum())
    return (1 + reached) / (1 + permutations)


def _mean(name: str, gap: np.ndarray) -> Effect:
    from scipy.stats import t

    error = float(t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap)))
    return Effect(
        name, float(gap.mean()), float(gap.mean()) - error, float(gap.mean()) + error, "nats per token"
    )


def _smallest(setting: Setting, gains: Sequence[Mapping[str, float]]) -> Effect:
    """Return the smallest mean gain that these prompts would have shown in 9 runs of 10, by the normal law."""
    from scipy.stats import norm

    spread = max(
        float(np.std([g[setting.teacher] - g[control] for g in gains], ddof=1))
        for control in setting.controls
    )
    needed = float(norm.isf(setting.alpha) + norm.isf(0.1)) * spread / len(gains) ** 0.5
    return Effect("gain", needed, unit="nats per token")


def _evidence(setting: Setting, effects: Sequence[Effect], p: float, n: int, supported: bool) -> Evidence:
    smallest = min(effects, key=lambda each: each.value)
    return applied(
        setting.id("likelihood"),
        NAME,
        statistic_name="gain",
        statistic=smallest.value,
        expected=0.0,
        n=n,
        p_value=p,
        effect=tuple(effects),
        shows="fits_teacher" if supported else "fits_no_more",
        cannot_show=("common_source", "intent"),
    )
