"""Builds the fingerprints of public tokenizers: ``python -m filiation.tokenizer.build LIST``.

LIST is a JSON array of ``{"name", "locator", "source"}``; each locator is opened as a repository. Only hashes of tokens
are kept. Fingerprints of other names stay as they are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from filiation.errors import NotFoundError
from filiation.repository import open as open_repository
from filiation.tokenizer.fingerprint import HERE, make
from filiation.tokenizer.loading import load


def main(arguments: list[str]) -> None:
    """Write the fingerprints of the tokenizers that the list names.

    Raises:
        NotFoundError: a locator holds no tokenizer.
    """
    made: list[dict[str, object]] = []
    for entry in json.loads(Path(arguments[0]).read_text(encoding="utf-8")):
        found = load(open_repository(entry["locator"]))
        if found is None:
            raise NotFoundError("There is no tokenizer.", file=entry["locator"])
        made.append(make(entry["name"], found.keys, found.added, entry["source"]))
    target = HERE / "fingerprints.json"
    names = {fingerprint["name"] for fingerprint in made}
    made += [f for f in json.loads(target.read_text(encoding="utf-8")) if f["name"] not in names]
    made.sort(key=lambda fingerprint: str(fingerprint["name"]))
    target.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
