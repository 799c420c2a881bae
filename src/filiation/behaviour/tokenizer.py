"""Which tokenizer stands behind an endpoint? Stated counts, generated text counted again, tokens spelt out.

Counts alone decide nothing in favour of a candidate: a proxy can make them up. They can rule candidates out, and they
can go with what tokens and ids say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from filiation.behaviour import tokenizer_reference
from filiation.behaviour.candidates import Candidate, Unusable
from filiation.behaviour.probes import LONGEST, SHORTEST, Probe, battery
from filiation.behaviour.recording import applied, not_measured
from filiation.behaviour.records import Found, ProbeTest
from filiation.behaviour.rounds import asked, places, said
from filiation.behaviour.tokenizer_counts import FEWEST, Counts, Fit, alike, collect, fit
from filiation.behaviour.tokenizer_tokens import Agreement, Recount, Spelling, recount, spelling
from filiation.behaviour.usage import Fabrication, slope_of
from filiation.behaviour.writing import KINDS, writing
from filiation.endpoint.model import Answer, Asker, Call, Failure
from filiation.evidence import Effect, Evidence, Outcome, Scale

NAME = "tokenizer"
_CANNOT = ("model_of_tokenizer", "rewritten_usage", "tokenizer_not_among_candidates")
_POWER = 0.99


@dataclass(frozen=True)
class Setting:
    """What the tokenizer test asks.

    Attributes:
        candidates: the tokenizers it is held against.
        unusable: those that were named and cannot be.
        reference: role of a model that counts the same texts beside it, so that no file of its tokenizer is needed.
        expected: name of the candidate that the endpoint is said to have (the reference's), None for none.
        role: the endpoint.
        seed: of the probes.
        probes: how many, 12 to 16; ``repeats`` how many of them are asked again.
        writing: how many short texts are asked for, to be counted again.
        template_tokens: what the template adds where that is known; the rest of the offset is a hidden prompt.
    """

    candidates: tuple[Candidate, ...]
    unusable: tuple[Unusable, ...] = ()
    expected: str | None = None
    reference: str | None = None
    role: str = "suspect"
    seed: int = 0
    probes: int = 16
    repeats: int = 4
    writing: int = KINDS
    template_tokens: int | None = None

    @property
    def id(self) -> str:
        """The evidence id, which holds every parameter."""
        return (
            f"behaviour.tokenizer/role={self.role}/reference={self.reference or 'none'}"
            f"/probes={self.probes}/repeats={self.repeats}"
            f"/length={SHORTEST}-{LONGEST}/writing={self.writing}/seed={self.seed}"
        )


@dataclass(frozen=True)
class _Heard:
    probes: tuple[Probe, ...]
    counts: Counts
    written: tuple[Answer | Failure, ...]
    replies: tuple[Answer | Failure, ...]


@dataclass(frozen=True)
class _Held:
    """A candidate with what each channel says of it."""

    candidate: Candidate
    fit: Fit | None
    recount: Recount
    spelling: Spelling

    @property
    def is_out(self) -> bool:
        """Whether any channel rules it out; stated counts do not outweigh the tokens that were generated."""
        if self.spelling.agreement is Agreement.NOT_MEASURED:
            return self.is_counted_otherwise
        return self.spelling.agreement is Agreement.DISAGREES

    @property
    def is_counted_otherwise(self) -> bool:
        """Whether the stated counts are not its own plus a fixed number."""
        return self.fit is not None and not self.fit.fits

    @property
    def is_in(self) -> bool:
        """Whether what is measured fits, and something is."""
        told = self.fit is not None or self.spelling.agreement is Agreement.AGREES
        return told and not self.is_out


def run(asker: Asker, setting: Setting) -> Found:
    """Ask the probes, hold every candidate against the answers, judge.

    Raises:
        InputError: a candidate's tokenizer failed on a probe.
    """
    names = tuple(c.name for c in setting.candidates)
    if setting.role not in asker.records:
        return not_measured(NAME, setting.id, "endpoint_absent", controls=names)
    if not setting.candidates:
        return not_measured(NAME, setting.id, "no_candidate_tokenizers")
    heard = _ask(asker, setting)
    if heard is None:
        return not_measured(NAME, setting.id, "budget_too_small", controls=names)
    held = [_hold(candidate, heard) for candidate in setting.candidates]
    if not any(h.fit is not None or h.spelling.agreement is not Agreement.NOT_MEASURED for h in held):
        return _nothing(setting, heard, names)
    beside = tokenizer_reference.ask(asker, setting.reference, heard.counts, heard.written)
    found = _judged(setting, heard, held)
    if beside is None:
        return found
    return tokenizer_reference.joined(found, beside, decides=setting.expected is None)


def _ask(asker: Asker, setting: Setting) -> _Heard | None:
    able = asker.records[setting.role].capabilities
    probes = battery(setting.seed, setting.probes)
    repeated = range(min(setting.repeats, len(probes)))
    room = 16 if able.reasoning else 1
    top = None if able.top_logprobs is None else (20 if able.top_logprobs < 0 else min(20, able.top_logprobs))
    framed = [probes[n].framed for n in [*range(len(probes)), *repeated]]
    asks = [said(able, text, max_tokens=room, temperature=0.0) for text in framed]
    asks += [
        said(able, text, max_tokens=64, temperature=0.0, top_logprobs=top)
        for text in writing(setting.seed, setting.writing)
    ]
    replies = asked(asker, [Call(setting.role, ask, NAME) for ask in asks])
    if replies is None:
        return None
    second, third = len(probes), len(framed)
    counts = collect(probes, replies[:second], list(repeated), replies[second:third])
    return _Heard(probes, counts, replies[third:], replies)


def _hold(candidate: Candidate, heard: _Heard) -> _Held:
    counts = heard.counts
    usable = counts.fabrication is None and len(counts.stated) >= FEWEST
    again = recount(candidate, heard.written) if usable else Recount(0, 0, ())
    return _Held(
        candidate, fit(candidate, counts) if usable else None, again, spelling(candidate, heard.written)
    )


def _nothing(setting: Setting, heard: _Heard, names: tuple[str, ...]) -> Found:
    """No channel was usable; made-up counts are a finding all the same."""
    counts = heard.counts
    reason = "too_few_answers"
    if counts.fabrication is not None:
        reason = "usage_missing" if counts.fabrication.kind == "missing" else "usage_fabricated"
    elif counts.unstable:
        reason = "usage_unstable"
    empty = not_measured(NAME, setting.id, reason, requests=len(heard.replies), controls=names)
    return Found(empty.test, (*empty.evidence, _gate(setting, heard)))


def _judged(setting: Setting, heard: _Heard, held: Sequence[_Held]) -> Found:
    fitting = [h for h in held if h.is_in]
    texts = [probe.framed for probe in heard.probes]
    one = all(alike(fitting[0].candidate, h.candidate, texts) for h in fitting[1:]) if fitting else False
    rewritten = _rewritten(heard, fitting) if one else None
    outcome, reason = _outcome(setting, heard, fitting, one, rewritten)
    effects = _effects(setting, fitting, one)
    figures = _figures(setting, heard, held, fitting, one)
    seen = max(1, len(heard.counts.stated))
    smallest = Effect("share_of_probes_counted_otherwise", 1 - (1 - _POWER) ** (1 / seen))
    main = applied(
        setting.id,
        NAME,
        scale=Scale.FACT,
        reason=reason,
        statistic_name="candidates_that_fit",
        statistic=float(len(fitting)),
        n=len(heard.counts.stated),
        effect=effects,
        places=places(heard.replies),
        shows=_shows(outcome, reason, one and bool(fitting)),
        cannot_show=_CANNOT,
    )
    test = ProbeTest(
        name=NAME,
        evidence=setting.id,
        outcome=outcome,
        reason=reason,
        effect=effects,
        smallest_effect=smallest if outcome is Outcome.UNDECIDED and fitting else None,
        requests=len(heard.replies),
        controls=tuple(h.candidate.name for h in held),
        figures=figures,
    )
    return Found(test, (main, _gate(setting, heard, rewritten)))


def _rewritten(heard: _Heard, fitting: Sequence[_Held]) -> Fabrication | None:
    """Return what was done to the counts where generated tokens spell a tokenizer that does not count like that."""
    found = fitting[0].fit
    if found is None or found.fits:
        return None
    slope = slope_of(found.counts, heard.counts.stated)
    return Fabrication("counted_otherwise") if slope is None else Fabrication("rescaled", "token", slope)


def _outcome(
    setting: Setting, heard: _Heard, fitting: Sequence[_Held], one: bool, rewritten: Fabrication | None
) -> tuple[Outcome, str | None]:
    names = {h.candidate.name for h in fitting}
    if not fitting:
        # Where none is expected this contradicts nobody: the tokenizer is just not among the candidates.
        outcome = Outcome.UNDECIDED if setting.expected is None else Outcome.CONTRADICTED
        return outcome, "no_candidate_fits"
    if setting.expected is not None and setting.expected not in names:
        return Outcome.CONTRADICTED, "expected_tokenizer_does_not_fit"
    if not one:
        return Outcome.UNDECIDED, "several_tokenizers_fit"
    if all(h.spelling.agreement is not Agreement.AGREES for h in fitting):
        return Outcome.UNDECIDED, "usage_alone"
    trusted = heard.counts.fabrication is None and rewritten is None
    if trusted and all(h.recount.agreement is Agreement.DISAGREES for h in fitting):
        return Outcome.UNDECIDED, "completion_counts_disagree"
    return Outcome.SUPPORTED, None if rewritten is None else f"usage_{rewritten.kind}"


def _shows(outcome: Outcome, reason: str | None, one: bool) -> str:
    if outcome is Outcome.CONTRADICTED:
        return "tokenizer_ruled_out"
    if reason == "no_candidate_fits":
        return "tokenizer_none"
    if not one:
        return "tokenizer_several"
    if reason in ("usage_rescaled", "usage_counted_otherwise"):
        return "tokenizer_spelt_only"
    return "tokenizer_counts" if reason == "usage_alone" else "tokenizer_spelt"


def _effects(setting: Setting, fitting: Sequence[_Held], one: bool) -> tuple[Effect, ...]:
    if not fitting or not one or fitting[0].fit is None or not fitting[0].fit.fits:
        return ()
    offset = fitting[0].fit.offset
    found = [Effect("offset", float(offset), unit="tokens")]
    if setting.template_tokens is not None:
        found.append(Effect("hidden_prompt", float(offset - setting.template_tokens), unit="tokens"))
    return tuple(found)


def _figures(
    setting: Setting, heard: _Heard, held: Sequence[_Held], fitting: Sequence[_Held], one: bool
) -> Mapping[str, Any]:
    counts = heard.counts
    alone = fitting[0].candidate if fitting and one else None
    return {
        "named": None if alone is None else setting.expected or alone.name,
        "probes_counted": len(counts.stated),
        "identified": None if alone is None else [h.candidate.name for h in fitting],
        "vendor": None
        if alone is None
        else next((h.candidate.vendor for h in fitting if h.candidate.vendor), None),
        "expected": setting.expected,
        "channels_conflict": _conflict(held),
        "probes": [
            {"kind": p.kind, "characters": len(p.text), "bytes": len(p.text.encode()), "stated": c}
            for p, c in zip(counts.probes, counts.stated, strict=True)
        ],
        "candidates": [_row(h) for h in held],
        "unusable": [{"name": u.name, "reason": u.reason} for u in setting.unusable],
    }


def _conflict(held: Sequence[_Held]) -> bool:
    """Whether counts fit one candidate and spelt tokens another: counted by one tokenizer, generated with another."""
    counted = {h.candidate.name for h in held if h.fit is not None and h.fit.fits}
    spelt = {h.candidate.name for h in held if h.spelling.agreement is Agreement.AGREES}
    return bool(counted and spelt and not counted & spelt)


def _row(held: _Held) -> dict[str, Any]:
    found = held.fit
    return {
        "name": held.candidate.name,
        "source": held.candidate.source,
        "sha256": held.candidate.digest,
        "shipped": held.candidate.is_shipped,
        "fits": held.is_in,
        "counts": None if found is None else list(found.counts),
        "offset": found.offset if found is not None and found.fits else None,
        "against": None if found is None else found.against,
        "distinct_differences": None if found is None else found.distinct,
        "recounted": {
            "answers": held.recount.answers,
            "near": held.recount.near,
            "agreement": held.recount.agreement,
        },
        "spelt": {
            "tokens": held.spelling.tokens,
            "known": held.spelling.known,
            "ids": held.spelling.with_id,
            "equal_ids": held.spelling.equal_ids,
            "answers": held.spelling.answers,
            "cut_alike": held.spelling.alike,
            "agreement": held.spelling.agreement,
        },
    }


def _gate(setting: Setting, heard: _Heard, rewritten: Fabrication | None = None) -> Evidence:
    """Return the finding on the usage block itself: whether it is a count of its own tokens."""
    counts = heard.counts
    made = counts.fabrication or rewritten
    slope = () if made is None or made.slope is None else (Effect(f"tokens_per_{made.measure}", made.slope),)
    return applied(
        f"behaviour.usage/role={setting.role}/probes={setting.probes}/seed={setting.seed}",
        "usage",
        scale=Scale.FACT,
        reason=None if made is None else f"usage_{made.kind}",
        statistic_name="unstable_probes",
        statistic=float(counts.unstable),
        n=len(heard.probes) - counts.unanswered,
        effect=slope,
        places=places(heard.replies[: len(heard.probes)]),
        shows="usage_gate" if made is None else "usage_fabricated",
        cannot_show=("who_counts",),
    )
