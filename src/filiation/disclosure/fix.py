"""A patch of card, notice, licence files and heads that would satisfy what is owed, as far as files can.

What files cannot do is left, and said: another name, a licence text that is not at hand, an answer to a question.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files

from filiation.disclosure import context as contexts
from filiation.disclosure import names
from filiation.disclosure.claims import claims as read_claims
from filiation.disclosure.context import Context
from filiation.disclosure.desk import Desk, Left, Patch
from filiation.disclosure.headers import is_copyright_line, read_head
from filiation.disclosure.model import Basis, Beside, Licence, Parent, RuleResult
from filiation.disclosure.papers import read_papers
from filiation.disclosure.parents import alike
from filiation.disclosure.registry import known, licences
from filiation.disclosure.rules import RULES
from filiation.evidence import Claim
from filiation.repository import Repository, RepositoryFile, git_id


def fix(
    repository: Repository,
    claims: Sequence[Claim] | None = None,
    parents: Sequence[Parent] = (),
    findings: Sequence[Parent] = (),
    language: str = "en",
    beside: Sequence[Beside] = (),
) -> Patch:
    """Return a patch that would satisfy what the rules find missing or contradicted.

    Args:
        repository: the suspect's files; nothing is written.
        claims, parents, findings: as for :func:`~filiation.disclosure.check.check`.
        language: of the sentences that are added: ``en`` or ``zh-CN``.
        beside: as for :func:`~filiation.disclosure.check.check`.
    """
    said = read_claims(repository) if claims is None else tuple(claims)
    made = contexts.make(repository, said, parents, findings, beside)
    owed = [r for rule in RULES.values() for r in rule(made) if r.owed]
    desk = Desk(made, _sentences()[language])
    for result in owed:
        _EDITS.get(result.id, _cannot)(desk, result)
    return desk.patch()


def patched(repository: Repository, patch: Patch) -> Repository:
    """Return the repository as it would be: files replaced and added, under the suggested name."""
    known = dict(repository.files)
    data = {path: text.encode() for path, text in patch.files.items()}
    for path, raw in data.items():
        known[path] = RepositoryFile(path, len(raw), git_id(raw), hashlib.sha256(raw).hexdigest())

    def read(path: str) -> bytes:
        return data[path] if path in data else repository.read(path)

    return replace(repository, name=patch.name or repository.name, files=known, read=read)


@cache
def _sentences() -> Mapping[str, Mapping[str, str]]:
    text = (files("filiation.disclosure") / "words" / "patch.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


_TWO_VOICES = frozenset(
    {
        "key_twice",
        "base_model_disagrees",
        "tag_and_name_differ",
        "tag_and_gguf_differ",
        "tag_and_prose_differ",
        "prose_and_text_differ",
    }
)


def _base_model(desk: Desk, result: RuleResult) -> None:
    if result.reason in _TWO_VOICES:
        _cannot(desk, result)
        return
    shown = [p.name for p in desk.context.parents if p.by_weights and Basis.OUTPUTS not in p.basis]
    said = [c.text for c in desk.context.said("base_model")]
    kept = [] if result.reason == "base_model_differs" else said
    wanted = list(kept)
    for name in shown:
        if not any(names.same(name, have) for have in wanted):
            wanted.append(name)
    desk.front("base_model", wanted)
    relation = _relation(desk.context)
    if relation is not None:
        desk.front("base_model_relation", [relation])


def _relation(context: Context) -> str | None:
    """Return the relation that evidence or files show; None where nothing does: a patch does not make one up."""
    shown = next((p.relation for p in context.parents if p.relation and p.relation != "identical"), None)
    if shown:
        return shown
    if context.said("adapter_base", "adapter_type"):
        return "adapter"
    if len({c.text for c in context.said("merge_parent")}) > 1:
        return "merge"
    said = next((c.text.strip().lower() for c in context.said("base_model_relation")), None)
    return said if said in {"adapter", "merge", "quantized", "finetune"} else None


def _fix_relation(desk: Desk, result: RuleResult) -> None:
    said = {c.text.strip().lower() for c in desk.context.said("base_model_relation")}
    relation = _relation(desk.context)
    if relation is None or relation in said:
        _cannot(desk, result)
    else:
        desk.front("base_model_relation", [relation])


def _prose(desk: Desk, result: RuleResult) -> None:
    parent = desk.parent(result)
    if result.reason.startswith("origin_"):
        _cannot(desk, result)
        return
    if parent is None:
        return
    if result.reason in {"prose_denies", "prose_denies_declared", "prose_disagrees"}:
        desk.left.append(Left("D3", "disclosure.left.denial", {"parent": parent.name}))
        return
    if parent.by_outputs:
        kind = "outputs"
    elif not parent.by_weights:
        kind = "code"
    else:
        kind = parent.relation or _relation(desk.context) or "parent"
    desk.say(desk.words[kind].format(parent=_linked(parent.name)))


def _linked(name: str) -> str:
    return f"[{name}](https://huggingface.co/{name})" if names.publisher(name) else name


def _licence(desk: Desk, result: RuleResult) -> None:
    """L1 and L2: the tag becomes the licence that the parents' terms ask for, else the one whose text is there."""
    target = _target(desk.context)
    if result.reason in _TWO_VOICES:  # which of the two is meant only people know
        _cannot(desk, result)
        return
    if target is None:
        desk.left.append(Left(result.id, "disclosure.left.choose_licence"))
        return
    if target.hub:
        desk.front("license", [target.hub[0]])
    elif target.spdx and not target.spdx.startswith("LicenseRef-"):
        desk.front("license", [target.spdx.lower()])
    else:
        desk.front("license", ["other"])
        desk.front("license_name", [target.names[0] if target.names else target.id])
        desk.front("license_link", ["LICENSE"])
    _copy(desk, target, result.id)


def _target(context: Context) -> Licence | None:
    """Return the licence that the repository must have: a parent's that is not permissive, else its own text's."""
    asked: list[Licence] = []
    for parent in context.parents:
        if parent.by_weights:
            terms = context.model_terms(parent)
            latest = alike(terms.options)
            asked += (latest,) if latest else terms.licences
        elif parent.by_outputs:
            asked += [x for x in context.model_terms(parent).licences if x.output_clause]
    strict = list(dict.fromkeys(x for x in asked if x.kind not in {"permissive", "notice_only"}))
    if len(strict) == 1:
        return strict[0]
    if strict:
        return None
    shown = [licences()[i] for i in sorted(context.own.shown)]
    declared = [group[0] for group in context.own.declared if len(group) == 1]
    return next(iter([*declared[:1], *shown, *asked]), None)


def _copy(desk: Desk, licence: Licence, rule: str) -> None:
    """Ship the licence's text where a parent's repository holds it; the registry keeps no texts."""
    if desk.context.papers.licence_with([licence.id]):
        return
    for parent in desk.context.parents:
        held = read_papers(parent.repository).licence_with([licence.id]) if parent.repository else None
        if held:
            path = "LICENSE" if not desk.has("LICENSE") else f"LICENSE-{licence.id}"
            if not desk.has(path):
                desk.put(path, held.paper.text)
            return
    link = licence.links[0] if licence.links else licence.name
    desk.left.append(Left(rule, "disclosure.left.licence_text", {"licence": licence.name, "link": link}))


def _licence_of(result: RuleResult) -> tuple[Licence, ...]:
    """Return the licence of a result; the latest of several versions, of which nobody knows which one holds."""
    every = known((result.licence or "").split(" OR "))
    return (max(every, key=lambda x: str(x.valid_from or "")),) if every else ()


def _ship(desk: Desk, result: RuleResult) -> None:
    for licence in _licence_of(result):
        if result.reason == "licence_not_linked":
            desk.say(
                desk.words["terms"].format(
                    parent=str(result.parent), licence=licence.name, link=licence.links[0]
                )
            )
        else:
            _copy(desk, licence, "L6")


def _notice(desk: Desk, result: RuleResult) -> None:
    line = str(result.values.get("line", ""))
    if result.reason == "credit_missing":
        _prose(desk, result)
    elif line:
        desk.notice(line)


def _name(desk: Desk, result: RuleResult) -> None:
    part, rule = str(result.values["part"]), str(result.values["how"])
    said = next((c.text for c in desk.context.said("given_name")), desk.context.repository.name)
    desk.name = names.suggestion(desk.name or said, part, rule)
    desk.left.append(Left("L4", "disclosure.left.rename", {"name": desk.name, "part": part}))


def _display(desk: Desk, result: RuleResult) -> None:
    parent = str(result.parent)
    phrase = str(result.values["phrase"])
    if result.licence == "yi-notice-2024":
        phrase = f"{phrase} {names.own(parent)} by 01.AI, used under the Apache 2.0 License"
    elif result.licence == "falcon-2-11b-1.0":
        phrase = f"{desk.context.repository.name} {phrase}"
    desk.say(f"{phrase}.")


def _changes(desk: Desk, result: RuleResult) -> None:
    parent, file = desk.parent(result), str(result.values.get("file", ""))
    if parent is None:
        return
    if not file:
        _prose(desk, result)
        return
    finding = next((f for f in parent.code if f.suspect_file == file), None)
    source = (finding.reference_file if finding else None) or file
    _into_head(desk, file, [desk.words["changed"].format(file=source, parent=parent.name)])


def _holders(desk: Desk, result: RuleResult) -> None:
    lost = [line for line in str(result.values.get("holders", "")).split("; ") if line]
    lost = [line for line in lost if is_copyright_line(line)]
    if lost:
        _into_head(desk, str(result.values["file"]), [desk.words["copyright"], *lost])
    else:
        _cannot(desk, result)


def _into_head(desk: Desk, path: str, sentences: Sequence[str]) -> None:
    """Add comment lines to a code file: behind an interpreter or encoding line, before all else."""
    if not desk.context.repository.readable(path):
        desk.left.append(Left("L7", "disclosure.left.file", {"file": path}))
        return
    mark = "#" if path.endswith((".py", ".pyi")) else "//"
    lines = desk.text(path).splitlines()
    at = 0
    while at < min(2, len(lines)) and (lines[at].startswith("#!") or "coding" in lines[at][:40]):
        at += 1
    added = [
        f"{mark} {s}" for s in sentences if s not in "\n".join(lines[: read_head(desk.text(path)).lines])
    ]
    desk.put(path, "\n".join([*lines[:at], *added, *lines[at:]]) + "\n")


def _use(desk: Desk, result: RuleResult) -> None:
    for licence in _licence_of(result):
        asked = next((o for o in licence.asks("use") if o.link), None)
        link = (asked.link if asked else None) or (licence.links[0] if licence.links else "LICENSE")
        desk.say(desk.words["use"].format(licence=licence.name, link=link))


def _cannot(desk: Desk, result: RuleResult) -> None:
    desk.left.append(Left(result.id, f"disclosure.reason.{result.reason}", result.said()))


def _leftover(desk: Desk, result: RuleResult) -> None:
    """A reference to an undeclared model that is a parent is settled by D1; any other is for people."""
    if result.reason == "reference_undeclared" and desk.context.is_parent(str(result.values["said"])):
        return
    _cannot(desk, result)


_EDITS: Mapping[str, Callable[[Desk, RuleResult], None]] = {
    "D1": _base_model,
    "D2": _fix_relation,
    "D3": _prose,
    "D4": _leftover,
    "L1": _licence,
    "L2": _licence,
    "L3": _notice,
    "L4": _name,
    "L5": _display,
    "L6": _ship,
    "L7": _changes,
    "L8": _holders,
    "L9": _use,
}
