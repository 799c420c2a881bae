"""Relative imports that lead nowhere; long files that a program wrote are not parsed for them."""

from __future__ import annotations

from filiation import traces
from filiation.repository.model import Repository, RepositoryFile
from filiation.traces import compiled


def repository(**files: str) -> Repository:
    data = {path.replace("__", "/") + ".py": text.encode() for path, text in files.items()}
    return Repository("s", "s", {p: RepositoryFile(p, len(d)) for p, d in data.items()}, data.__getitem__)


def missing(made: Repository) -> list[str]:
    found = traces.find(made, ())
    return [str(t.numbers["target"]) for t in found.traces if t.kind == "dangling_reference"]


def test_modules_and_folders_that_are_there_are_not_missing() -> None:
    made = repository(
        main="from .parts import x\nfrom .kept import y\nfrom .gone.deep import z\nfrom\t. import parts\n",
        kept="y = 1\n",
        parts__one="x = 1\n",
        parts__inner__two="from ..one import x\nfrom \\\n .absent import q\n",
    )
    assert missing(made) == ["gone.deep", "absent"]


def test_a_file_of_countless_statements_is_no_tree() -> None:
    """Two hundred of these in an archive of a few kilobytes took minutes and gigabytes."""
    made = repository(long="a=1\n" * 60_000, wide="a=1;" * 60_000, short="from .gone import x\n")
    assert compiled.parsed(made, "long.py") is None
    assert compiled.parsed(made, "wide.py") is None
    assert missing(made) == ["gone"]
