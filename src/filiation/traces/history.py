"""Git histories compared: commits that both hold, and which history was written first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from filiation.evidence import Place
from filiation.repository.model import Commit, Repository
from filiation.traces.model import Trace

_MOST_SHOWN = 20
_APART = timedelta(days=1)


def traces(suspect: Repository, reference: Repository, number: int) -> Iterator[Trace]:
    """Yield the commits that both repositories hold, and the order of the two histories.

    Times are what the committers' machines said; anyone can set them.
    """
    if not suspect.commits or not reference.commits:
        return
    theirs = {commit.id for commit in reference.commits if commit.id}
    shared = [commit for commit in suspect.commits if commit.id in theirs]
    place = Place(file=".git", digest=suspect.commits[0].id or None)
    if shared:
        numbers = {"count": len(shared), "commits": [c.id for c in shared[:_MOST_SHOWN]]}
        yield Trace(
            "shared_commits", place, "shows.shared_commits", numbers, number, ("cannot_show.trace_direction",)
        )
    mine, other = _span(suspect.commits), _span(reference.commits)
    if mine is None or other is None:
        return
    later = moment(mine[0].committed) > moment(other[0].committed)  # both were parsed by _span
    after_all = moment(mine[0].committed) > moment(other[1].committed)
    yield Trace(
        "commit_order",
        place,
        "shows.suspect_later" if later else "shows.suspect_earlier",
        {
            "suspect_first": mine[0].committed,
            "suspect_last": mine[1].committed,
            "reference_first": other[0].committed,
            "reference_last": other[1].committed,
            "after_the_reference_ended": after_all,
            "rewritten": sum(_rewritten(commit) for commit in suspect.commits),
            "commits": len(suspect.commits),
        },
        number,
        ("cannot_show.clocks",),
    )


def moment(text: str) -> datetime:
    """Return an ISO 8601 time; one without an offset is taken as UTC.

    Raises:
        ValueError: it is no time.
    """
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _span(commits: Sequence[Commit]) -> tuple[Commit, Commit] | None:
    """Return the first and the last commit by their committers' clocks; None where no time can be read."""
    timed: list[tuple[datetime, Commit]] = []
    for commit in commits:
        try:
            timed.append((moment(commit.committed), commit))
        except ValueError:
            continue
    if not timed:
        return None
    ordered = sorted(timed, key=lambda pair: pair[0])
    return ordered[0][1], ordered[-1][1]


def _rewritten(commit: Commit) -> bool:
    """Whether a commit was written to the history more than a day after its author made it."""
    try:
        return moment(commit.committed) - moment(commit.authored) > _APART
    except ValueError:
        return False
