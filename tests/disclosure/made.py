"""Repositories made in memory, and a licence of our own whose text a test may hold."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence

from filiation.disclosure.model import Licence, ModelPattern, Obligation, Reading
from filiation.disclosure.recognise import fingerprint
from filiation.repository import Commit, Repository, RepositoryFile, git_id

HOUSE_TEXT = """HOUSE MODEL LICENCE
House Model Licence, release date: 2 January 2024

1. Whoever passes the house model or anything made from it to somebody else hands over these terms together with it.
2. A file called Notice travels with every copy, and the sentence about the house printed in the annex stands in it.
3. The documentation of a model that grew out of the house model carries the words set out in the annex, easy to find.
4. A model that grew out of the house model is called by a name whose first word is House, whatever follows after that.
5. Nobody points the house model at other people's doors, windows or letter boxes; recipients are bound too.
6. Changed files tell their readers that they were changed, when that was, and where the unchanged ones can be had.
7. More than ten thousand visitors a day need a letter from the landlord before the doors of the house may be opened.
"""
HOUSE_LINE = (
    "The House is licensed under the House Model Licence, Copyright (c) House Builders. All Rights Reserved."
)

HOUSE = Licence(
    id="house-1.0",
    name="House Model Licence",
    kind="community",
    family="house",
    reading=Reading.TEXT,
    valid_from=datetime.date(2024, 1, 2),
    attaches=("weights",),
    names=("house-licence",),
    relicense="own_terms",
    relicense_clause="1",
    output_clause="3",
    models=(ModelPattern("builders/house-*"),),
    obligations=(
        Obligation("copy", "1"),
        Obligation("notice", "2", line=HOUSE_LINE),
        Obligation("display", "3", phrases=("Built with House",), outputs=True),
        Obligation("name", "4", part="House", rule="starts_with"),
        Obligation("use", "5", rule="pass_on", link="https://house.example/policy"),
        Obligation("changes", "6"),
        Obligation("scale", "7", asks={"en": "Is it below?", "zh-CN": "是否低于？"}),
    ),
    fingerprints=(fingerprint(HOUSE_TEXT),),
)


def repository(
    files: Mapping[str, str | bytes],
    name: str = "Tuned-7B",
    commits: Sequence[Commit] = (),
    history: Mapping[tuple[str, str], str] | None = None,
) -> Repository:
    """Return a repository of these files; ``history`` maps commit and path to earlier text."""
    data = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    records = {
        path: RepositoryFile(path, len(raw), git_id(raw), hashlib.sha256(raw).hexdigest())
        for path, raw in data.items()
    }
    earlier = history or {}
    return Repository(
        locator=f"publisher/{name}",
        name=name,
        files=records,
        read=data.__getitem__,
        commits=tuple(commits),
        part=lambda path, start, end: data[path][start:end],
        at=(lambda commit, path: earlier[commit, path].encode()) if earlier else None,
    )


def card(body: str = "", **front: str | list[str]) -> str:
    """Return a model card."""
    lines = ["---"]
    for key, value in front.items():
        lines += [f"{key}: {value}"] if isinstance(value, str) else [f"{key}:", *(f"- {v}" for v in value)]
    return "\n".join([*lines, "---", body]) + "\n"
