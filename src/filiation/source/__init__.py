"""Wing: source code, compared robustly against renaming and rewriting.

:func:`examine` takes repositories and a reference corpus and says, file by file, what a suspect shares with which
reference, under which rename map, what became of the copyright lines, and whether the file's own statements about its
sources hold. The corpus (:mod:`filiation.source.corpus`) holds hashes, names of definitions and copyright lines of
public releases, no code.
"""

from filiation.source import library
from filiation.source.examine import examine
from filiation.source.library import Library
from filiation.source.model import (
    Candidate,
    CodePlace,
    CopiedFrom,
    CopyStatus,
    Disclosed,
    FileFound,
    HeaderFinding,
    HeaderState,
    Level,
    Match,
    NotExamined,
    RenameMap,
    Renaming,
    SourceFound,
)

load = library.load

__all__ = [
    "Candidate",
    "CodePlace",
    "CopiedFrom",
    "CopyStatus",
    "Disclosed",
    "FileFound",
    "HeaderFinding",
    "HeaderState",
    "Level",
    "Library",
    "Match",
    "NotExamined",
    "RenameMap",
    "Renaming",
    "SourceFound",
    "examine",
    "load",
]
