"""Room: repository. A model repository as files: code, configs, tokenizer, index, card, licence; no weights."""

from __future__ import annotations

from filiation.repository.model import Commit, Repository, RepositoryFile

__all__ = ["Commit", "Repository", "RepositoryFile"]
