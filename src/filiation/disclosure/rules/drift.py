"""T1: the licence over time, from the repository's own history: what a copy taken earlier stood under."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from filiation.disclosure import cardyaml
from filiation.disclosure.context import Context
from filiation.disclosure.model import RuleResult, day
from filiation.disclosure.own import lookup
from filiation.disclosure.papers import Paper
from filiation.disclosure.recognise import recognise
from filiation.disclosure.rules.answers import CANNOT_TELL, SATISFIED, answer
from filiation.errors import FiliationError
from filiation.repository import Commit, Repository

_MAX_STATES = 40
_LOOSE = frozenset({"permissive"})


@dataclass(frozen=True, slots=True)
class _State:
    """The licence that a file held from a day on; None where it was not recognised."""

    since: str
    licence: str | None


def over_time(context: Context) -> Iterator[RuleResult]:
    """T1: the states of each licence file and of the card's tag; a change is told with its day.

    A change is nobody's breach: a licensor may change terms. It decides what holds for a copy of a certain day.
    """
    commits = sorted(context.repository.commits, key=lambda c: c.committed)
    if not commits:
        yield answer("T1", CANNOT_TELL, "no_history")
        return
    papers = [(entry.paper, _text_licence) for entry in context.papers.licences]
    card = context.papers.card
    if card is not None and context.own.written is not None and not context.own.in_prose:
        papers.append((card, _tagged))
    if not papers:
        yield answer("T1", CANNOT_TELL, "no_licence_file")
    for paper, reader in papers:
        yield _file(context.repository, commits, paper, reader)


Reader = Callable[[str], str | None]


def _text_licence(text: str) -> str | None:
    return recognise(text).licence


def _tagged(text: str) -> str | None:
    """The card's tag as written, with the name where the tag is ``other``."""
    front = cardyaml.read(text, frozenset({"license", "license_name"}))
    said = [v.text for key in ("license", "license_name") for v in front.values.get(key, ())]
    return " ".join(said) or None


def _file(repository: Repository, commits: Sequence[Commit], paper: Paper, reader: Reader) -> RuleResult:
    path, place = paper.path, paper.place(1)
    touched = [c for c in commits if path in c.paths][:_MAX_STATES]
    days = [str(day(c.committed)) for c in touched]
    values = {"file": path, "since": days[0] if days else "", "changes": ", ".join(days)}
    if len(touched) < 2:
        late = bool(days) and str(day(commits[0].committed)) < days[0]
        if late:
            return answer("T1", CANNOT_TELL, "licence_came_later", place, **values)
        return answer("T1", SATISFIED, "licence_steady", place, **values)
    states = _states(repository, path, touched, reader)
    if states is None:
        return answer("T1", CANNOT_TELL, "licence_touched", place, **values)
    values["changes"] = "; ".join(f"{s.since}: {s.licence or 'unknown'}" for s in states)
    if len(states) == 1:
        return answer("T1", SATISFIED, "licence_steady", place, **values)
    tightened = any(_loose(a.licence) and not _loose(b.licence) for a, b in pairwise(states))
    return answer("T1", CANNOT_TELL, "licence_tightened" if tightened else "licence_changed", place, **values)


def _states(
    repository: Repository, path: str, touched: Sequence[Commit], reader: Reader
) -> list[_State] | None:
    """Return the differing states of a file; None where earlier contents cannot be read."""
    if repository.at is None:
        return None
    found: list[_State] = []
    for commit in touched:
        try:
            data = repository.at(commit.id, path)
        except FiliationError:
            return None
        state = _State(str(day(commit.committed)), reader(data.decode("utf-8", "replace")))
        if not found or found[-1].licence != state.licence:
            found.append(state)
    return found


def _loose(ident: str | None) -> bool:
    """Whether a licence is permissive; an unknown one is not."""
    meant = lookup(ident) if ident else ()
    return bool(meant) and all(x.kind in _LOOSE for x in meant)
