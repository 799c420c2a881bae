"""What models, effects and keys are called in a probe's report, and how clauses become sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from filiation.evidence import Effect
from filiation.probing.records import ProbeReport
from filiation.report.numbers import clean
from filiation.report.sentences import sentence
from filiation.report.wording import Phrases

_OF_A_MODEL = ("agreement", "right", "wrong", "gain_over", "sides_over")
"""What effects of one model are called by, before its role."""


def model_name(report: ProbeReport, against: str | None, phrases: Phrases) -> str:
    """What the model that a verdict speaks of is called: by the endpoint, the checkpoint, or its role."""
    if against is None:
        return phrases.say("probe", "ui", "another")
    roles = [role for role, key in report.models.identity.items() if key == against] or [against]
    for role in roles:
        for record in report.models.others:
            if record.role == role:
                return clean(record.model)
        if role in report.models.checkpoints:
            return clean(report.models.checkpoints[role].name)
    return clean(roles[0])


def named(value: str, report: ProbeReport, phrases: Phrases) -> str:
    """Return what a role, or a control that a test made for itself, is called."""
    if value.startswith("row_permuted"):
        return phrases.say("probe", "ui", "row_permuted_plain")
    roles = {record.role for record in report.models.others} | set(report.models.checkpoints)
    return (
        model_name(report, report.models.identity.get(value, value), phrases)
        if value in roles
        else clean(value)
    )


def listed(names: Sequence[str], report: ProbeReport, phrases: Phrases) -> str:
    """Return names with commas, equal ones once, with their number."""
    called = Counter(named(name, report, phrases) for name in names)
    parts = (name if n == 1 else f"{name} ({n})" for name, n in called.items())
    return phrases.say("ui", "list_comma").join(parts)


def p_text(p: float) -> str:
    """Return a p-value as text, never smaller than it is."""
    if p <= 0:
        return "0"
    if p >= 0.001:
        return f"{min(1.0, p + 0.0005):.3f}" if p < 1 else "1"
    mantissa, power = f"{p:.1e}".split("e")
    return f"{mantissa} · 10^{int(power)}".replace("10^-", "10^-")


def sentences(phrases: Phrases, *parts: str) -> str:
    """Return clauses as sentences: a capital in front, a full stop behind."""
    stop, space = phrases.say("probe", "ui", "stop"), phrases.say("ui", "sentence_join")
    ended = (part if part.endswith((".", "。", "?", "？")) else part + stop for part in filter(None, parts))
    return space.join(sentence(part) for part in ended)


def say_key(phrases: Phrases, key: str, values: Mapping[str, object]) -> str:
    """Return the phrase of a record's key, filled; the key with spaces where there is none."""
    known = phrases.find("behaviour", *key.split(".")) or phrases.resolve(key, "behaviour")
    if known is None:
        known = phrases.find("probe", "reason", key)
    return phrases.fill(known, **values) if known else clean(key).replace("_", " ")


def effect_name(phrases: Phrases, effect: Effect, report: ProbeReport) -> str:
    """Return what an effect is called; one of a role by the name of that role's model."""
    known = phrases.find("behaviour", "effect", effect.name)
    of = next((key for key in _OF_A_MODEL if effect.name.startswith(f"{key}_")), None)
    if known is not None or of is None:
        return known or phrases.name_at("behaviour", "effect", effect.name)
    name = named(effect.name.removeprefix(f"{of}_"), report, phrases)
    return phrases.say("behaviour", "effect", f"{of}_with", name=name)
