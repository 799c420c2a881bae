"""Room repository: a model repository's files, their identities and its history; weights are listed, not read.

A folder, an archive, one file, a facts file, or a place on the hub becomes a :class:`Repository`. Nothing in it is
executed; no link is followed out of it; what is read is bounded (:mod:`filiation.repository.limits`).
"""

from filiation.repository.identity import git_id, same_bytes
from filiation.repository.model import Commit, Repository, RepositoryFile
from filiation.repository.opening import open
from filiation.repository.source import RepositorySource

__all__ = ["Commit", "Repository", "RepositoryFile", "RepositorySource", "git_id", "open", "same_bytes"]
