"""How much of a repository is believed and read. Every bound has a note or a reason of its own when it is reached."""

from __future__ import annotations

SMALL_FILE = 64 << 20
"""Bytes of a file that is read and hashed whole; the largest tokenizer.json known has about 35 MB."""

ALL_FILES = 1 << 30
"""Bytes that are read and hashed in all when a repository is opened."""

IN_MEMORY = 512 << 20
"""Bytes of a compressed tar archive's files that are kept: it cannot be read in any order but its own."""

MOST_FILES = 50_000
"""Files that are listed; of more, the first by path."""

DEEPEST = 40
"""Folders below the repository's own that are entered."""
