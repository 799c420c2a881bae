"""Names that many works use, so that a reference known by its hashes can be spelled: ``hidden_states``, ``layer_idx``.

The corpus holds names as hashes. A name that at least ten works have is a word of the library and no work's own; these
words are shipped in clear, and whatever has the hash of one of them is that word.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from filiation.source.hashing import LOCAL, SHARED, name_hash

FILE = "names.txt"


@cache
def common_names() -> Mapping[int, str]:
    """Return the shipped names by their hashes, as local and as shared ones."""
    words = (files("filiation.source.corpus") / "data" / FILE).read_text("utf-8").split()
    return {name_hash(scope, word): word for word in words for scope in (LOCAL, SHARED)}
