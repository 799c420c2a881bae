"""Makes the list of names that many works use: ``python -m filiation.source.corpus.wordlist WHEEL ...``."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from filiation.source.corpus.build import build_wheel
from filiation.source.corpus.names import FILE
from filiation.source.corpus.release import Release

WORKS = 10  # that have a name in one release


def gathered(releases: Iterable[Release]) -> list[str]:
    """Return the names that at least ten works of one release have, sorted. The releases are built, not loaded."""
    found: set[str] = set()
    for each in releases:
        works: dict[str, set[str]] = defaultdict(set)
        for number, entry in enumerate(each.entries):
            for name in set(each.print_of(number).spelling.values()):
                works[name].add(entry.work)
        found |= {name for name, having in works.items() if len(having) >= WORKS and name.isidentifier()}
    return sorted(found)


def main(wheels: list[str]) -> None:
    """Write the list from wheels."""
    words = gathered(build_wheel(Path(wheel)) for wheel in wheels)
    target = files("filiation.source.corpus") / "data" / FILE
    Path(str(target)).write_text("\n".join(words) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
