"""The text-only fallback of "distilled?": whose words has the student moved to? Never more than "similar to".

On prompts where the teacher and a control teacher answer differently, it is counted whose side the student takes where
its base does not: moves to the teacher against moves to the control, an exact sign test. Without a base the sides are
counted as they are. Either way the finding is likeness: style and common data move in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from filiation.behaviour.agreement import Paired, largest_p, rate, sign_p, smallest_difference
from filiation.behaviour.asking import Enquiry, Form, Row, worded
from filiation.behaviour.prompts import Probe, continuations
from filiation.behaviour.reading import first_word
from filiation.behaviour.recording import applied, not_measured
from filiation.behaviour.records import Found, ProbeTest
from filiation.endpoint.model import Asker
from filiation.evidence import Outcome

if TYPE_CHECKING:
    from filiation.behaviour.distilled import Setting

NAME = "distilled"
INSTRUCTION = "Continue this sentence. Answer with the next few words only, without repeating it:\n"
SIMILAR_ONLY = "similar_only"  # the verdict makes no more than an association of a test with this reason
TOKENS = 6
FEWEST = 10


def run(asker: Asker, setting: Setting, form: Form) -> Found:
    """Ask for words and judge; the roles of ``setting`` are known to be there."""
    id = setting.id("text")
    enquiry = Enquiry(asker, NAME, setting.batch)
    base = () if setting.base is None else (setting.base,)
    roles = (setting.student, setting.teacher, *base, *setting.controls)

    def row(probe: Probe) -> Row:
        ask = worded(form, probe.text, INSTRUCTION, max_tokens=TOKENS, temperature=0.0)
        return {role: (role, ask) for role in roles}

    probes = continuations(setting.seed, enquiry.within(setting.words, len(roles)))
    words = [
        {role: first_word(answer.text) for role, answer in answers.items()}
        for _, answers in enquiry.rows(probes, row)
    ]
    rows = [_sides(setting, words, control) for control in setting.controls]
    if min(row.only_claimed + row.only_control for row in rows) < FEWEST:
        reason = "budget_too_small" if enquiry.exhausted else "too_few_answers"
        return not_measured(NAME, id, reason, requests=enquiry.requests, controls=setting.controls)
    return _found(setting, id, enquiry, rows, len(words))


def _sides(setting: Setting, words: Sequence[Mapping[str, str]], control: str) -> Paired:
    moved = [_side(setting, each, control) for each in words]
    b, c = moved.count(setting.teacher), moved.count(control)
    return Paired(control, b, c, sign_p(b, c))


def _side(setting: Setting, words: Mapping[str, str], control: str) -> str | None:
    """Return whose answer the student gives and its base does not, of two that differ; ``None`` for neither."""
    if words[setting.teacher] == words[control] or not words[setting.student]:
        return None
    if setting.base is not None and words[setting.base] == words[setting.student]:
        return None
    sides = {words[setting.teacher]: setting.teacher, words[control]: control}
    return sides.get(words[setting.student])


def _found(setting: Setting, id: str, enquiry: Enquiry, rows: Sequence[Paired], n: int) -> Found:
    p = largest_p(rows)
    supported = p <= setting.alpha
    effects = tuple(
        rate(f"sides_over_{r.control}", r.only_claimed, r.only_claimed + r.only_control) for r in rows
    )
    record = applied(
        id,
        "distilled_text",
        statistic_name="sides",
        statistic=min(each.value for each in effects),
        expected=0.5,
        n=n,
        p_value=p,
        effect=effects,
        shows="similar" if supported else "not_similar",
        cannot_show=("text_only", "common_source"),
    )
    test = ProbeTest(
        name=NAME,
        evidence=id,
        outcome=Outcome.SUPPORTED if supported else Outcome.UNDECIDED,
        reason=SIMILAR_ONLY if supported else "not_beyond_controls",
        p=p,
        effect=effects,
        smallest_effect=None if supported else smallest_difference(rows, n, setting.alpha),
        against=setting.teacher,
        requests=enquiry.requests,
        controls=setting.controls,
        figures={
            "by": "text",
            "ceiling": "associated",
            "prompts": n,
            "base": setting.base,
            "paired": [
                {"control": r.control, "to_teacher": r.only_claimed, "to_control": r.only_control, "p": r.p}
                for r in rows
            ],
            "failures": dict(sorted(enquiry.failures.items())),
            "exhausted": enquiry.exhausted,
        },
    )
    return Found(test, (record,))
