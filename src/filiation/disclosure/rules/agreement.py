"""What a repository says of one thing in several places, set beside one another: two licences, two base models.

Which of the two is meant nobody can tell from the files; that they differ anybody can see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from filiation.disclosure import expression, registry, spelled
from filiation.disclosure.context import Context
from filiation.disclosure.model import Licence, RuleResult
from filiation.disclosure.own import lookup
from filiation.disclosure.rules.answers import CANNOT_TELL, CONTRADICTED, answer, spot
from filiation.evidence import Claim

_VAGUE = frozenset({"other", "unknown"})


def base_models(context: Context) -> Iterator[RuleResult]:
    """D1: ``base_model`` or its relation given twice with other values."""
    for key in ("base_model", "base_model_relation"):
        yield from _twice(context, "D1" if key == "base_model" else "D2", key)


def licences(context: Context) -> Iterator[RuleResult]:
    """L1: the licence tag beside ``license_name``, beside GGUF metadata, and beside what the prose says."""
    yield from _twice(context, "L1", "license")
    tags = [c for c in context.said("license") if c.text.strip().lower() not in _VAGUE]
    for subject, reason in (
        ("license_name", "tag_and_name_differ"),
        ("gguf_license", "tag_and_gguf_differ"),
        ("prose_license", "tag_and_prose_differ"),
    ):
        said = context.said(subject)
        if subject == "prose_license":
            tags = tags or list(context.said("license_name"))
        if tags and said and _apart(tags, said):
            values = {"written": _listed(tags), "said": _listed(said), "where": spot(tags[0].place)}
            yield answer("L1", CONTRADICTED, reason, said[0].place, **values)
    yield from _text(context, tags)
    yield from _prose(context, tags)


def _text(context: Context, tags: Sequence[Claim]) -> Iterator[RuleResult]:
    """Without a tag, the prose beside the licence file's text; with one, the rule's main answer compares the text."""
    said = context.said("prose_license")
    meant = _meant(said)
    if tags or not meant or not context.own.shown or {x.id for x in meant} & context.own.shown:
        return
    values = {"said": _listed(said), "shown": ", ".join(sorted(context.own.shown))}
    yield answer("L1", CONTRADICTED, "prose_and_text_differ", said[0].place, **values)


def _prose(context: Context, tags: Sequence[Claim]) -> Iterator[RuleResult]:
    """Two sentences that name different licences may speak of two things: for people to read."""
    said = context.said("prose_license")
    first = next(iter(said), None)
    other = next(
        (c for c in said if first and c.place.line != first.place.line and _apart([first], [c])), None
    )
    if first is not None and other is not None and not (tags and _apart(tags, said)):
        values = {"said": first.text, "other": other.text, "where": spot(other.place)}
        yield answer("L1", CANNOT_TELL, "prose_says_two", first.place, **values)


def _twice(context: Context, rule: str, key: str) -> Iterator[RuleResult]:
    for claim in context.said("card_repeated"):
        if claim.text == key:
            said = _listed(context.said(key))
            yield answer(rule, CONTRADICTED, "key_twice", claim.place, key=key, said=said)


def _apart(one: Sequence[Claim], other: Sequence[Claim]) -> bool:
    """Whether both are known and no licence is meant by both; an unknown licence contradicts nothing."""
    left, right = _meant(one), _meant(other)
    return bool(left) and bool(right) and not {x.id for x in left} & {x.id for x in right}


def _meant(claims: Sequence[Claim]) -> tuple[Licence, ...]:
    found: list[Licence] = []
    for claim in claims:
        if claim.subject == "prose_license":
            named = spelled.meant(claim.text)
            each: tuple[Licence, ...] = named.licences if named else ()
        elif claim.subject == "license_name":
            each = registry.by_name(claim.text)
        else:
            read = expression.parse(claim.text)
            whole = lookup(claim.text)
            each = whole or tuple(x for name in (read.names if read else ()) for x in lookup(name))
        found += each
    return tuple(dict.fromkeys(found))


def _listed(claims: Sequence[Claim]) -> str:
    return ", ".join(dict.fromkeys(c.text for c in claims))
