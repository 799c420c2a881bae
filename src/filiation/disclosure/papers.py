"""The papers of a repository: its cards, licence files and notices, found by name and read once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from filiation.disclosure.model import Recognised
from filiation.disclosure.recognise import recognise
from filiation.evidence import Place
from filiation.repository import Repository

MAX_PAPERS = 60
"""Files of each kind that are read."""

MAX_PAPER = 2 << 20
"""Bytes of one such file; longer ones are left out."""

_TEXT = frozenset({"", ".txt", ".md", ".rst", ".markdown", ".text"})
_LICENCE = re.compile(r"licen[sc]e|copying|terms[-_ ]of[-_ ]use|licen[sc]e[-_ ]agreement|许可", re.I)
_NOTICE = re.compile(r"(?:^|[-_ ])notices?$", re.I)
_CARD = re.compile(r"^(?:readme|model[-_ ]?card)", re.I)


@dataclass(frozen=True, slots=True)
class Paper:
    """One file of text: path inside the repository, its text, SHA-256."""

    path: str
    text: str
    digest: str | None

    def place(self, line: int | None = None) -> Place:
        """Return where a reader can look."""
        return Place(file=self.path, line=line, digest=self.digest)

    def line_of(self, part: str) -> int | None:
        """Return the first line (from 1) that holds ``part``, capitals aside."""
        wanted = part.lower()
        lines = enumerate(self.text.splitlines(), 1)
        return next((number for number, line in lines if wanted in line.lower()), None)


@dataclass(frozen=True, slots=True)
class LicencePaper:
    """A licence file and what its text was recognised as."""

    paper: Paper
    found: Recognised


@dataclass(frozen=True, slots=True)
class Papers:
    """What there is to read: the card (the repository's front page), all cards, licence files, notices."""

    card: Paper | None
    cards: tuple[Paper, ...]
    licences: tuple[LicencePaper, ...]
    notices: tuple[Paper, ...]

    @property
    def licence_ids(self) -> frozenset[str]:
        """The licences whose text stands in the repository."""
        texts = (x.found for x in self.licences)
        return frozenset(i for f in texts if f.basis in {"text", "version_mark"} for i in f.ids)

    def licence_with(self, ids: Iterable[str]) -> LicencePaper | None:
        """Return the licence file that holds the text of one of these."""
        wanted = set(ids)
        held = (x for x in self.licences if x.found.basis != "mention")
        return next((x for x in held if wanted & set(x.found.ids)), None)


def read_papers(repository: Repository) -> Papers:
    """Find and read the papers; files that cannot be read are left out (the repository's notes say why)."""
    cards = _read(repository, (p for p in repository.files if is_card(p)))
    card = next((c for c in cards if c.path.lower() == "readme.md"), None)
    card = card or next((c for c in cards if "/" not in c.path), None)
    texts = _read(repository, (p for p in repository.files if _is_licence(p)))
    return Papers(
        card=card,
        cards=cards,
        licences=tuple(LicencePaper(paper, recognise(paper.text)) for paper in texts),
        notices=_read(repository, (p for p in repository.files if _is_notice(p))),
    )


def _read(repository: Repository, paths: Iterable[str]) -> tuple[Paper, ...]:
    chosen = sorted((p for p in paths if repository.readable(p)), key=lambda p: (p.count("/"), p))
    small = [p for p in chosen if (repository.files[p].size or 0) <= MAX_PAPER]
    return tuple(Paper(p, repository.text(p), repository.files[p].sha256) for p in small[:MAX_PAPERS])


def _parts(path: str) -> tuple[str, str]:
    """Return a file's name without, and with, an ending that text files have."""
    name = PurePosixPath(path).name
    stem, dot, ending = name.rpartition(".")
    if not stem or " " in ending or len(ending) > 8:
        return name, ""
    return stem, (dot + ending).lower()


def _is_licence(path: str) -> bool:
    """A file named for a licence: ``LICENSE``, ``LICENSE-MODEL``, ``Tongyi Qianwen LICENSE AGREEMENT``, ``COPYING``."""
    stem, ending = _parts(path)
    return ending in _TEXT and bool(_LICENCE.search(stem)) and not _NOTICE.search(stem)


def _is_notice(path: str) -> bool:
    stem, ending = _parts(path)
    return ending in _TEXT and bool(_NOTICE.search(stem))


def is_paper(path: str) -> bool:
    """Whether a file is named as a card, a licence or a notice is."""
    return is_card(path) or _is_licence(path) or _is_notice(path)


def is_card(path: str) -> bool:
    """Whether a file is named as a card is: ``README``, ``model-card.md``; not in a folder's folder."""
    stem, ending = _parts(path)
    return (
        ending in {".md", ".markdown", ".rst", ".txt", ""}
        and path.count("/") <= 1
        and bool(_CARD.match(stem))
    )
