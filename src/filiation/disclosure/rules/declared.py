"""D1 to D3: is the parent declared in the card, is the relation plausible, does the prose say it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from filiation.disclosure import cardyaml, names
from filiation.disclosure.configs import read_json
from filiation.disclosure.context import Context
from filiation.disclosure.model import Basis, Parent, RuleResult
from filiation.disclosure.prose import statements
from filiation.disclosure.rules.answers import (
    CANNOT_TELL,
    CONTRADICTED,
    MISSING,
    NOT_APPLICABLE,
    SATISFIED,
    answer,
    spot,
)
from filiation.disclosure.rules.shipped import holders
from filiation.evidence import Claim, Place
from filiation.repository import Repository

_GEOMETRY = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "model_type")
_RELATIONS = frozenset({"adapter", "merge", "quantized", "finetune"})


def base_model(context: Context) -> Iterator[RuleResult]:
    """D1: ``base_model`` of the card against the parents that the repository's files or the evidence show."""
    written = context.said("base_model")
    shown = [p for p in context.parents if p.by_weights]
    if not shown:
        yield answer("D1", NOT_APPLICABLE if context.parents else CANNOT_TELL, "no_parent_by_weights")
        return
    concluded = [p for p in shown if p.concluded]
    inside = [
        p for p in shown if not p.concluded and not (concluded and p.place in [c.place for c in written])
    ]
    for parent in (
        *concluded,
        *inside,
    ):  # what the card itself declares is no evidence against other evidence
        yield _declared(context, parent, written)


def _declared(context: Context, parent: Parent, written: Sequence[Claim]) -> RuleResult:
    exact = [c for c in written if names.same(c.text, parent.name)]
    loose = [] if parent.concluded else [c for c in written if names.means(parent.name, c.text)]
    found = next(iter(exact or loose), None)
    if found:
        return answer("D1", SATISFIED, "base_model_declared", found.place, parent=parent.name)
    sibling = next((c for c in written if names.siblings(c.text, parent.name)), None)
    if sibling:
        return answer(
            "D1", CANNOT_TELL, "base_model_sibling", sibling.place, parent=parent.name, said=sibling.text
        )
    places = [c.place for c in written]
    if not written:
        elsewhere = _elsewhere(context, parent)
        reason = "base_model_elsewhere" if elsewhere else "base_model_missing"
        place = elsewhere.place if elsewhere else _card(context)
        return answer("D1", MISSING, reason, place, parent=parent.name)
    others = [
        p
        for p in context.parents
        if p is not parent and p.by_weights and (p.concluded or p.place not in places)
    ]
    partly = any(names.same(c.text, p.name) for c in written for p in others)
    said = ", ".join(c.text for c in written)
    if partly:
        return answer("D1", MISSING, "base_model_partial", written[0].place, parent=parent.name, said=said)
    if parent.concluded or parent.place is None:
        return answer(
            "D1", CONTRADICTED, "base_model_differs", written[0].place, parent=parent.name, said=said
        )
    where = spot(parent.place)
    return answer(
        "D1",
        CONTRADICTED,
        "base_model_disagrees",
        written[0].place,
        parent=parent.name,
        said=said,
        where=where,
    )


def _elsewhere(context: Context, parent: Parent) -> Claim | None:
    said = context.said("adapter_base", "merge_parent", "gguf_base_model", "prose_parent")
    return next(
        (c for c in said if names.means(c.text, parent.name) or names.means(parent.name, c.text)), None
    )


def _card(context: Context) -> Place | None:
    return context.papers.card.place(1) if context.papers.card else None


def relation(context: Context) -> Iterator[RuleResult]:
    """D2: the relation, declared or as the hub infers it, against files, configurations and evidence."""
    written = context.said("base_model")
    if not written:
        yield answer("D2", NOT_APPLICABLE, "no_base_model")
        return
    said = next(iter(context.said("base_model_relation")), None)
    name = declared_or_inferred(context)
    place = said.place if said else written[0].place
    if name not in _RELATIONS:
        yield answer("D2", CANNOT_TELL, "relation_unknown", place, relation=name)
        return
    against = _against(context, name, written)
    for other in [p for p in context.parents if p.relation in _RELATIONS and p.relation != name]:
        if not (name == "merge" or other.relation == "finetune"):
            against = against or ("relation_evidence", {"shown": other.relation})
    if against is None and not _backed(context, name, written):
        status, reason = (
            (CANNOT_TELL, "relation_untested") if said else (NOT_APPLICABLE, "relation_undeclared")
        )
        yield answer("D2", status, reason, place, relation=name)
        return
    if against is None:
        yield answer("D2", SATISFIED, "relation_plausible", place, relation=name)
        return
    reason, values = against
    yield answer("D2", CONTRADICTED, reason, place, relation=name, **values)


def declared_or_inferred(context: Context) -> str | None:
    """Return the relation to the base model as the card says it, else as the hub infers it; None without one."""
    said = next(iter(context.said("base_model_relation")), None)
    written = context.said("base_model")
    if said is not None:
        return said.text.strip().lower()
    return _inferred(context, written) if written else None


def _backed(context: Context, name: str, written: Sequence[Claim]) -> bool:
    """Whether evidence or a file speaks for a relation; that nothing speaks against it is no agreement."""
    if any(p.relation == name for p in context.parents):
        return True
    if name == "adapter":
        return bool(context.said("adapter_base", "adapter_type"))
    if name == "merge":
        return len(_merged(context)) > 1
    if name == "quantized":
        return bool(context.said("quantization"))
    return False


def _inferred(context: Context, written: Sequence[Claim]) -> str:
    """The hub's own inference where the card does not say: several parents mean a merge, an adapter file an adapter."""
    if len(written) > 1:
        return "merge"
    if context.said("adapter_base"):
        return "adapter"
    return "quantized" if context.said("quantization") else "finetune"


def _against(context: Context, name: str, written: Sequence[Claim]) -> tuple[str, dict[str, Any]] | None:
    """Return why the files speak against a relation, or None."""
    if name == "adapter" and context.is_model and not context.said("adapter_base", "adapter_type"):
        return "relation_no_adapter", {}
    if name != "adapter" and context.said("adapter_base") and not _whole(context.repository):
        return "relation_is_adapter", {}
    if name == "merge" and len({c.text for c in written}) < 2 and len(_merged(context)) < 2:
        return "relation_one_parent", {}
    if name == "quantized":
        changed = [c for p in context.parents for c in _geometry(context.repository, p.repository)]
        if changed:
            return "relation_shapes_differ", {"changed": ", ".join(changed)}
    return None


def _merged(context: Context) -> set[str]:
    return {c.text for c in context.said("merge_parent")}


def _whole(repository: Repository) -> bool:
    """Whether weights of a whole model are there beside those of an adapter."""
    known = (p.rpartition("/")[2].lower() for p in repository.files)
    return any(f.endswith((".safetensors", ".bin", ".gguf")) and not f.startswith("adapter") for f in known)


def _geometry(one: Repository, other: Repository | None) -> list[str]:
    """Return the settings of shape in which two configurations differ."""
    if other is None:
        return []
    mine, theirs = read_json(one, "config.json")[1], read_json(other, "config.json")[1]
    return [k for k in _GEOMETRY if k in mine and k in theirs and mine[k] != theirs[k]]


def prose(context: Context) -> Iterator[RuleResult]:
    """D3: a sentence that says where the model, or its code, comes from."""
    if not context.parents:
        yield answer("D3", NOT_APPLICABLE, "no_parent")
    for parent in context.parents:
        yield _said(context, parent)


def _said(context: Context, parent: Parent) -> RuleResult:
    subjects = ["prose_parent"]
    if Basis.CODE in parent.basis and not parent.by_weights:
        subjects += ["prose_architecture", "prose_code"]
    if parent.by_outputs:
        subjects += ["prose_outputs"]
    every = [*context.said(*subjects), *_by_name(context, parent, subjects)]
    said = next((c for c in every if _meant(c, parent)), None)
    denied = next((c for c in context.said("prose_denial") if _meant(c, parent)), None)
    if said and denied and said.subject == "prose_parent":
        where = spot(denied.place)
        return answer("D3", CONTRADICTED, "prose_disagrees", said.place, parent=parent.name, where=where)
    if said:
        return answer("D3", SATISFIED, "prose_says_so", said.place, parent=parent.name)
    if parent.by_outputs and parent.place is not None:
        return answer("D3", SATISFIED, "outputs_in_datasets", parent.place, parent=parent.name)
    if denied and parent.by_weights:
        reason = "prose_denies" if Basis.WEIGHTS in parent.basis else "prose_denies_declared"
        return answer("D3", CONTRADICTED, reason, denied.place, parent=parent.name)
    if Basis.CODE in parent.basis and not (parent.by_weights or parent.by_outputs):
        kept = _kept_in_files(context, parent)
        if kept is not None:
            return kept
    mention = _mention(context, parent)
    if mention:
        return answer("D3", MISSING, "prose_only_mentions", mention, parent=parent.name)
    reason = "prose_silent" if context.papers.card else "no_card"
    return answer("D3", MISSING, reason, _card(context), parent=parent.name)


def _kept_in_files(context: Context, parent: Parent) -> RuleResult | None:
    """Matched code whose heads keep their copyright lines says there where it comes from; lost lines are L8's."""
    results = [holders(context, parent, finding) for finding in parent.code]
    if any(r.status in {MISSING, CANNOT_TELL} for r in results):
        return None
    kept = next((r for r in results if r.status is SATISFIED), None)
    if kept is not None:
        return answer("D3", SATISFIED, "code_notices_kept", kept.place, parent=parent.name)
    return answer("D3", NOT_APPLICABLE, "code_names_nobody", None, parent=parent.name)


def _by_name(context: Context, parent: Parent, subjects: Sequence[str]) -> Iterator[Claim]:
    """Yield what the cards say of the parent by its very name, where that looks like no model's name."""
    spelled = [names.own(parent.name)]
    if (
        Basis.CODE in parent.basis and not parent.by_weights
    ):  # "transformers 4.44.2", and the file that matches
        spelled += [spelled[0].partition(" ")[0], *(names.own(f.reference_file or "") for f in parent.code)]
    for card in context.papers.cards:
        start = cardyaml.read(card.text, frozenset()).body_line
        body = "\n".join(card.text.splitlines()[start - 1 :])
        for name in dict.fromkeys(n for n in spelled if len(n) > 2):
            for said in statements(body, start, name):
                if f"prose_{said.kind}" in subjects:
                    yield Claim(f"prose_{said.kind}", parent.name, card.place(said.line))


def _meant(claim: Claim, parent: Parent) -> bool:
    return names.means(claim.text, parent.name) or names.means(parent.name, claim.text)


def _mention(context: Context, parent: Parent) -> Place | None:
    """Return where the parent's family is named without being disclosed: a table row, a comparison, a reference."""
    family = next((p for p in names.pieces(parent.name) if p.isalpha() and len(p) > 1), None)
    for card in context.papers.cards if family else ():
        line = card.line_of(family or "")
        if line is not None:
            return card.place(line)
    return None
