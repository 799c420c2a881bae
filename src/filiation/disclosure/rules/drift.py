"""T1: the licence over time, from the repository's own history: what a copy taken earlier stood under."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from filiation.disclosure.context import Context
from filiation.disclosure.model import RuleResult, day
from filiation.disclosure.papers import LicencePaper
from filiation.disclosure.recognise import recognise
from filiation.disclosure.registry import licences
from filiation.disclosure.rules.answers import CANNOT_TELL, CONTRADICTED, SATISFIED, answer
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
    """T1: every licence file's states; a change is told with its day, and in which direction it went."""
    commits = sorted(context.repository.commits, key=lambda c: c.committed)
    if not commits:
        yield answer("T1", CANNOT_TELL, "no_history")
        return
    if not context.papers.licences:
        yield answer("T1", CANNOT_TELL, "no_licence_file")
    for entry in context.papers.licences:
        yield _file(context.repository, commits, entry)


def _file(repository: Repository, commits: Sequence[Commit], entry: LicencePaper) -> RuleResult:
    path, place = entry.paper.path, entry.paper.place(1)
    touched = [c for c in commits if path in c.paths][:_MAX_STATES]
    days = [str(day(c.committed)) for c in touched]
    if len(touched) < 2:
        values = {"file": path, "since": days[0] if days else "", "changes": ""}
        late = bool(days) and str(day(commits[0].committed)) < days[0]
        return answer(
            "T1",
            CANNOT_TELL if late else SATISFIED,
            "licence_came_later" if late else "licence_steady",
            place,
            **values,
        )
    states = _states(repository, path, touched)
    if states is None:
        return answer(
            "T1", CANNOT_TELL, "licence_touched", place, file=path, changes=", ".join(days), since=days[0]
        )
    changes = [(a, b) for a, b in pairwise(states) if a.licence != b.licence]
    values = {
        "file": path,
        "since": states[0].since,
        "changes": "; ".join(f"{s.since}: {s.licence or 'unknown'}" for s in states),
    }
    if not changes:
        return answer("T1", SATISFIED, "licence_steady", place, **values)
    tightened = any(_loose(a.licence) and not _loose(b.licence) for a, b in changes)
    reason = "licence_tightened" if tightened else "licence_changed"
    return answer("T1", CONTRADICTED, reason, place, **values)


def _states(repository: Repository, path: str, touched: Sequence[Commit]) -> list[_State] | None:
    """Return the states of a licence file; None where earlier contents cannot be read."""
    if repository.at is None:
        return None
    found: list[_State] = []
    for commit in touched:
        try:
            data = repository.at(commit.id, path)
        except FiliationError:
            return None
        state = _State(str(day(commit.committed)), recognise(data.decode("utf-8", "replace")).licence)
        if not found or found[-1].licence != state.licence:
            found.append(state)
    return found


def _loose(ident: str | None) -> bool:
    """Whether a licence is permissive; an unknown one is not."""
    return ident is not None and licences()[ident].kind in _LOOSE
