"""The verdict on one candidate, worded: what it says, what it means, what happened, and what it does not say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from filiation.evidence import Relation, Verdict
from filiation.report.figures import Figures, figures, value_text
from filiation.report.numbers import bans, bound, clean, share
from filiation.report.sentences import layers_text, limit_text, reason_text
from filiation.report.wording import Phrases


@dataclass(frozen=True, slots=True)
class Step:
    """One derivation: what happened and its numbers."""

    kind: str
    name: str
    text: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict on one candidate, worded."""

    relation: str
    name: str
    sentence: str
    means: str
    bound: str | None
    bound_meaning: str
    names_bound: bool
    facts: Figures
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    verdict: Verdict

    @property
    def happened(self) -> tuple[str, ...]:
        """The names of what happened, each once: one kind can have happened to several sorts of units."""
        return tuple(dict.fromkeys(step.name for step in self.steps))


def word_answer(
    phrases: Phrases, verdict: Verdict, names: tuple[str, ...], rank: tuple[str, ...], tensors: int
) -> Answer:
    """Word a verdict.

    ``names``: of the suspect and the candidates; ``rank``: what the figure is worth among several candidates;
    ``tensors``: how many the suspect has.
    """
    relation = str(verdict.relation)
    number = verdict.candidate + 1
    scope = scope_text(phrases, verdict.scope)
    values = {
        "suspect": names[0],
        "candidate": names[number] if number < len(names) else phrases.say("ui", "candidate_short"),
        "bound": bound(verdict.log10_e),
        "scope": scope or phrases.say("ui", "parts_found"),
    }
    return Answer(
        relation=relation,
        name=phrases.name("relation", relation),
        sentence=_opening(phrases, verdict, phrases.say("relation", relation, _sentence(verdict), **values)),
        means=phrases.find("relation", relation, _meaning(verdict)) or "",
        bound=None if verdict.log10_e is None else bound(verdict.log10_e),
        bound_meaning=_bound_meaning(phrases, verdict),
        names_bound=_names_bound(verdict),
        facts=_answer_facts(phrases, verdict, scope),
        steps=tuple(
            _step(phrases, d.kind, _with_names(d.numbers, names), tensors) for d in verdict.derivation
        ),
        notes=(*rank, *_notes(phrases, verdict)),
        verdict=verdict,
    )


def _meaning(verdict: Verdict) -> str:
    """Return which meaning a relation has: weights that agree closely are not said to speak against descent."""
    return "means_divided" if verdict.reason in ("history_divided", "history_computes_apart") else "means"


def _sentence(verdict: Verdict) -> str:
    """Return which sentence a relation has: it must not say that traces differ which agree."""
    own = {"history_computes_apart": "sentence_apart", "history_divided": "sentence_divided"}
    relation = verdict.relation is Relation.SHARED_INITIALISATION
    return own.get(verdict.reason or "", "sentence") if relation else "sentence"


def _opening(phrases: Phrases, verdict: Verdict, sentence: str) -> str:
    """Return the first sentence; of what is no finding, why it is none comes before everything else."""
    if verdict.relation is not Relation.SUGGESTIVE or not verdict.reason:
        return sentence
    caveat = reason_text(phrases, verdict.reason)
    return phrases.say("ui", "caveat_first", caveat=caveat, sentence=sentence)


def _notes(phrases: Phrases, verdict: Verdict) -> tuple[str, ...]:
    """Why it is this relation and no stronger one, then the walk's notes."""
    why = [reason_text(phrases, verdict.reason)] if verdict.reason and verdict.log10_e is not None else []
    if verdict.relation is Relation.SUGGESTIVE or (
        verdict.relation is Relation.NONE_FOUND and verdict.reason == "no_test_rejected"
    ):
        why = []  # what the first sentence, or the meaning of the bound, says already
    return tuple(dict.fromkeys([*why, *(limit_text(phrases, note) for note in verdict.notes)]))


def _with_names(numbers: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    """Weights of a merge are kept by the candidates' numbers; a reader wants their names."""
    weights = numbers.get("weights")
    if not isinstance(weights, Mapping):
        return numbers
    by_number = cast("Mapping[str, Any]", weights)
    named = {
        names[int(k) + 1] if k.isdigit() and int(k) + 1 < len(names) else k: v for k, v in by_number.items()
    }
    return {**numbers, "weights": named}


def _names_bound(verdict: Verdict) -> bool:
    """Whether there is a bound that says something: "at most 1" is noise, and one on what is no finding misleads."""
    without = (Relation.NONE_FOUND, Relation.SUGGESTIVE)
    return verdict.log10_e is not None and verdict.log10_e > 0 and verdict.relation not in without


def _bound_meaning(phrases: Phrases, verdict: Verdict) -> str:
    """What 1/e means and does not mean: it must stand beside the number."""
    if verdict.log10_e is None:
        if not verdict.reason:
            return ""
        return phrases.say("bound", "undefined", reason=reason_text(phrases, verdict.reason))
    if verdict.relation is Relation.SUGGESTIVE:
        return phrases.say("bound", "suggestive" if verdict.log10_e > 0 else "suggestive_without")
    if not _names_bound(verdict):
        return phrases.say("bound", "none")
    meaning = phrases.say("bound", "meaning", bound=bound(verdict.log10_e))
    return phrases.say("ui", "sentence_join").join((meaning, phrases.say("bound", "not_meaning")))


def _answer_facts(phrases: Phrases, verdict: Verdict, scope: str) -> Figures:
    facts: list[tuple[str, str]] = []
    if verdict.log10_e is not None:
        key = "strength_value" if _names_bound(verdict) else "strength_none"
        key = "strength_withheld" if verdict.relation is Relation.SUGGESTIVE else key
        value = phrases.say("ui", key, bans=bans(verdict.log10_e), bound=bound(verdict.log10_e))
        facts.append((phrases.say("ui", "strength"), value))
    inherited = _inherited_share(verdict)
    if inherited is not None:
        facts.append((phrases.say("ui", "inherited_share"), share(inherited)))
    if scope:
        label = "scope_labels" if verdict.relation is Relation.SUGGESTIVE else "scope"
        facts.append((phrases.say("ui", label), scope))
    return tuple(facts)


def _inherited_share(verdict: Verdict) -> float | None:
    """Return the share of layers that are inherited; where what they hold was looked at, that decides."""
    if verdict.inherited_share is None:
        return None
    grafted = (step.numbers.get("share") for step in verdict.derivation if step.kind == "grafted")
    return min([verdict.inherited_share, *(s for s in grafted if isinstance(s, int | float))])


def scope_text(phrases: Phrases, scope: Sequence[str]) -> str:
    """Return the wording of ``verdict.scope``: entries such as ``language: layers 0-3`` or ``vision``.

    The component is named only where it is not the language model alone.
    """
    entries = [(head, rest) if rest else (None, head) for head, _, rest in (s.partition(": ") for s in scope)]
    alone = {head for head, _ in entries} <= {None, "language"}
    texts: list[str] = []
    for component, what in entries:
        text = _scope_entry(phrases, what)
        if component and not alone:
            text = phrases.say("ui", "label_colon", label=phrases.name("component", component), value=text)
        texts.append(text)
    return phrases.say("ui", "list_comma").join(texts)


def _scope_entry(phrases: Phrases, what: str) -> str:
    if layers := re.fullmatch(r"layers?[ =]+([\d,\s–-]+)", what):
        return layers_text(phrases, layers[1])
    if layers := re.fullmatch(r"value channels of layers ([\d,\s–-]+)", what):
        return phrases.say("scope", "value_channels", layers=layers_text(phrases, layers[1]))
    if experts := re.fullmatch(r"expert ([\d,\s–-]+) of layers ([\d,\s–-]+)", what):
        layers = layers_text(phrases, experts[2])
        return phrases.say("scope", "experts", numbers=experts[1], layers=layers)
    if tokens := re.fullmatch(r"embeddings of (\d+) shared tokens", what):
        return phrases.say("scope", "shared_tokens", tokens=f"{int(tokens[1]):,d}")
    if ":" in what:  # a further tower of a kind, named by its prefix, which may hold any word
        return phrases.name("component", what)
    return phrases.resolve(what.replace(" ", "_"), "scope", "role", "component") or clean(what).replace(
        "_", " "
    )


#: Steps that are told from single tensors, and the numbers that count these.
_OF_TENSORS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("fine_tuned", "continued_pretraining", "noise_added", "low_rank_update", "cannot_tell"),
        ("tensors_changed", "tensors_equal"),
    ),
    "identical": ("tensors",),
}


def _step(phrases: Phrases, kind: str, numbers: Mapping[str, Any], tensors: int) -> Step:
    return Step(
        kind=kind,
        name=_with_share(phrases, step_name(phrases, kind, numbers), kind, numbers, tensors),
        text=_with_reach(phrases, _step_text(phrases, kind, numbers), kind, numbers, tensors),
        figures=figures(phrases, numbers, kind),
    )


def step_name(phrases: Phrases, kind: str, numbers: Mapping[str, Any]) -> str:
    """Return what a step is called: with the explanations that fit, or which way it is told if not the usual one."""
    name = phrases.name("derivation", kind)
    candidates = numbers.get("candidates")
    if isinstance(candidates, list | tuple) and candidates:
        fitting = [value_text(phrases, c) for c in cast("Sequence[Any]", candidates)]
        name = phrases.say("ui", "with_detail", text=name, detail=phrases.say("ui", "or").join(fitting))
    if numbers.get("reversed"):
        name = phrases.say("ui", "with_detail", text=name, detail=phrases.say("ui", "step_reversed"))
    return name


def _step_text(phrases: Phrases, kind: str, numbers: Mapping[str, Any]) -> str:
    """Return a step's sentence: the one of what it was done to, or of which model came first in it."""
    own = [f"text_{numbers.get('what')}"] + (["text_reversed"] if numbers.get("reversed") else [])
    found = (phrases.find("derivation", kind, key) for key in (*own, "text"))
    return next((text for text in found if text), "")


def _described(kind: str, numbers: Mapping[str, Any]) -> int | None:
    """Return of how many tensors a step speaks: those that were laid beside the other model's."""
    counts = [numbers[key] for key in _OF_TENSORS.get(kind, ()) if isinstance(numbers.get(key), int)]
    return sum(counts) if counts else None


def _with_share(phrases: Phrases, name: str, kind: str, numbers: Mapping[str, Any], tensors: int) -> str:
    """Return the name of a step; equal weights are not said of a model of which tensors were left out."""
    described = _described(kind, numbers) if kind == "identical" else None
    if described is None or described >= tensors or numbers.get("reversed"):
        return name
    share_of = phrases.say("ui", "of_tensors", described=f"{described:,d}", total=f"{tensors:,d}")
    return phrases.say("ui", "with_detail", text=name, detail=share_of)


def _with_reach(phrases: Phrases, text: str, kind: str, numbers: Mapping[str, Any], tensors: int) -> str:
    """Add of how many tensors a step speaks."""
    described = _described(kind, numbers)
    if described is None:
        return text
    # Fused tensors are counted by their parts, and what is told the other way counts the candidate's.
    known = described <= tensors and not numbers.get("reversed")
    key = "speaks_of" if known else "speaks_of_some"
    return phrases.say("ui", key, text=text, described=f"{described:,d}", total=f"{tensors:,d}")
