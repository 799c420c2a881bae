"""What does the model say it is? Recorded, counted, and of no weight.

Seven of 27 models that a study asked (``arXiv:2411.10683``) took themselves for another, and not because they were
copies. The counts stand beside that rate. What raises attention, without weight either, is a claim against the
tokenizer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from filiation.behaviour.agreement import rate
from filiation.behaviour.identity_prompts import KINDS, QUESTIONS
from filiation.behaviour.recording import applied, identifier, not_measured
from filiation.behaviour.records import Found, ProbeTest
from filiation.behaviour.rounds import asked, places, said
from filiation.behaviour.vendors import Named, named
from filiation.endpoint.model import Answer, Asker, Call
from filiation.evidence import Background, Effect, Outcome, Scale

NAME = "identity"
CONFUSED, STUDIED = 7, 27
_EXCERPT = 240
_HALF = 0.5


@dataclass(frozen=True)
class Setting:
    """What the identity battery asks.

    Attributes:
        role: the endpoint.
        languages: of :data:`filiation.behaviour.identity_prompts.QUESTIONS`.
        kinds: of :data:`filiation.behaviour.identity_prompts.KINDS`.
        samples: how often each question is asked, each time in a fresh conversation.
        max_tokens: of an answer.
        told: the model name under which the endpoint is offered; recorded beside the counts.
    """

    role: str = "suspect"
    languages: tuple[str, ...] = tuple(QUESTIONS)
    kinds: tuple[str, ...] = KINDS
    samples: int = 1
    max_tokens: int = 120
    told: str | None = None

    @property
    def id(self) -> str:
        """The evidence id, which holds every parameter."""
        return identifier(
            NAME,
            role=self.role,
            languages=self.languages,
            kinds=self.kinds,
            samples=self.samples,
            max_tokens=self.max_tokens,
        )


def run(asker: Asker, setting: Setting) -> Found:
    """Ask the battery and count whom the answers name."""
    if setting.role not in asker.records:
        return not_measured(NAME, setting.id, "endpoint_absent")
    able = asker.records[setting.role].capabilities
    room = setting.max_tokens * 4 if able.reasoning else setting.max_tokens
    questions = [
        (language, kind, QUESTIONS[language][KINDS.index(kind)])
        for language in setting.languages
        for kind in setting.kinds
        for _ in range(setting.samples)
    ]
    calls = [Call(setting.role, said(able, text, max_tokens=room), NAME) for _, _, text in questions]
    replies = asked(asker, calls)
    if replies is None:
        return not_measured(NAME, setting.id, "budget_too_small")
    rows = [
        (language, kind, reply.text, named(reply.text))
        for (language, kind, _), reply in zip(questions, replies, strict=True)
        if isinstance(reply, Answer) and reply.text
    ]
    if not rows:
        return not_measured(NAME, setting.id, "too_few_answers", requests=len(calls))
    effects = _rates([found for *_, found in rows])
    main = applied(
        setting.id,
        NAME,
        scale=Scale.FACT,
        statistic_name="answers",
        statistic=float(len(rows)),
        n=len(rows),
        effect=effects,
        background=Background(
            "models that take themselves for another",
            STUDIED,
            {},
            "arXiv 2411.10683",
            None,
            CONFUSED / STUDIED,
        ),
        places=places(replies),
        shows="self_identification",
        cannot_show=("claims_of_model",),
    )
    return Found(
        ProbeTest(
            NAME,
            setting.id,
            Outcome.UNDECIDED,
            "self_identification_weighs_nothing",
            effect=effects,
            requests=len(calls),
            figures=_figures(setting, rows),
        ),
        (main,),
    )


def _rates(found: Sequence[Named]) -> tuple[Effect, ...]:
    """Return the share of answers that name each vendor as the maker, with its Wilson interval; most often first."""
    counts = Counter(vendor for row in found for vendor in row.claimed)
    ordered = sorted(counts, key=lambda vendor: (-counts[vendor], vendor))
    return tuple(rate(f"names_{vendor}", counts[vendor], len(found)) for vendor in ordered)


def _figures(setting: Setting, rows: Sequence[tuple[str, str, str, Named]]) -> Mapping[str, Any]:
    claimed = Counter(vendor for *_, found in rows for vendor in found.claimed)
    denied = Counter(vendor for *_, found in rows for vendor in found.denied)
    ordered = sorted({*claimed, *denied}, key=lambda v: (-claimed[v], -denied[v], v))
    return {
        "weight": 0,
        "base_rate": {"confused": CONFUSED, "models": STUDIED, "source": "arXiv 2411.10683"},
        "told": setting.told,
        "answers": len(rows),
        "no_name": sum(not found.claimed for *_, found in rows),
        "vendors": [
            {
                "vendor": vendor,
                "claimed": claimed[vendor],
                "denied": denied[vendor],
                "languages": sorted({language for language, _, _, f in rows if vendor in f.claimed}),
            }
            for vendor in ordered
        ],
        "excerpts": [
            {"language": language, "kind": kind, "claimed": list(found.claimed), "text": text[:_EXCERPT]}
            for language, kind, text, found in rows
        ],
    }


def contradiction(identity: Found, tokenizer: Found) -> str | None:
    """Return the phrase key of a claim against the tokenizer, None where there is none; attention, no weight.

    The answers that name anybody name one vendor more often than not, beyond chance, and the tokenizer that the
    endpoint's tokens spell is another vendor's. Stated counts alone raise nothing: whoever states them can choose them.
    """
    vendors: Sequence[Mapping[str, Any]] = identity.test.figures.get("vendors", ())
    answers = int(identity.test.figures.get("answers", 0)) - int(identity.test.figures.get("no_name", 0))
    owner = tokenizer.test.figures.get("vendor")
    if not vendors or owner is None or tokenizer.test.outcome is not Outcome.SUPPORTED:
        return None
    most = rate("claims", int(vendors[0]["claimed"]), answers)
    if most.low is None or most.low <= _HALF:
        return None
    return "claim_against_tokenizer" if vendors[0]["vendor"] != owner else None
