"""The walk over a repository's source: read, fingerprint, rank, compare, judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filiation.repository.model import Repository
from filiation.source import copied, headers, modular
from filiation.source.cache import cached, kept
from filiation.source.corpus.release import Release
from filiation.source.finding import evidence_of
from filiation.source.fingerprint import fingerprint
from filiation.source.given import Given
from filiation.source.headers import Header
from filiation.source.judge import Judged, judge
from filiation.source.library import Library
from filiation.source.model import (
    LEVELS,
    CopiedFrom,
    Disclosed,
    HeaderFinding,
    Level,
    NotExamined,
    RenameMap,
    SourceFound,
)
from filiation.source.pair import matches
from filiation.source.parse import Parsed, is_python, left_out, parse
from filiation.source.prints import Print
from filiation.source.ranking import Document, stem

SMALLEST = 120  # nodes below which any two files are alike by chance; such a file is said as not examined
_MOST_FILES = 2_000
_WORTH_A_PROCESS = 32  # files


@dataclass(frozen=True, eq=False)
class Examined:
    """One file of a repository after reading: its fingerprint, its head, its text."""

    path: str
    source: Print
    header: Header
    text: str
    disclosed: tuple[Disclosed, ...]


@dataclass
class _Read:
    files: list[Examined] = field(default_factory=list[Examined])
    left: list[NotExamined] = field(default_factory=list[NotExamined])


def examine(
    suspect: Repository,
    references: Sequence[Repository] = (),
    corpus: Library | Sequence[Release] | None = None,
    *,
    cache: Path | None = None,
    jobs: int = 1,
) -> SourceFound:
    """Compare the Python files of a repository with those of others and with a reference corpus.

    Args:
        suspect: the repository in question.
        references: repositories that it may come from.
        corpus: what :func:`filiation.source.library.load` gives, or releases; none means that nothing can be ranked.
        cache: a folder in which fingerprints are kept by the digest of their file.
        jobs: processes that read files, where there are many.

    Nothing is executed. A file that cannot be examined is in ``not_examined`` with the reason.
    """
    library = corpus if isinstance(corpus, Library) else Library(tuple(corpus or ()))
    ours = _read(suspect, cache, jobs)
    theirs = [(each, _read(each, cache, jobs)) for each in references]
    documents = [_document(repository, each) for repository, read in theirs for each in read.files]
    given = Given(library.index, documents) if documents else None
    heads = {(r.locator, each.path): each.header for r, read in theirs for each in read.files}
    judged = [(each, judge(each.source, given, library)) for each in ours.files]
    checked = [
        c for each in ours.files for c in copied.check(each.path, each.text, each.source, library.releases)
    ]
    return _found(suspect, library, ours, judged, heads, checked)


def _read(repository: Repository, cache: Path | None, jobs: int) -> _Read:
    read = _Read()
    wanted: list[str] = []
    for path in sorted(repository.files):
        why = _why_not(repository, path, len(wanted))
        if why is not None:
            read.left.append(NotExamined(path, why))
        elif is_python(path):
            wanted.append(path)
    results = _all_examined([(path, repository.data(path), cache) for path in wanted], jobs)
    for path, each in zip(wanted, results, strict=True):
        if isinstance(each, Examined) and each.source.statements.nodes >= SMALLEST:
            read.files.append(each)
        else:
            read.left.append(NotExamined(path, each if isinstance(each, str) else "too_small"))
    return read


def _all_examined(work: list[tuple[str, bytes, Path | None]], jobs: int) -> Iterable[Examined | str]:
    """Examine files, in several processes where that is asked for and worth it."""
    if jobs <= 1 or len(work) < _WORTH_A_PROCESS:
        return [examined(*each) for each in work]
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(examined, *zip(*work, strict=True), chunksize=8))


def _why_not(repository: Repository, path: str, so_far: int) -> str | None:
    why = left_out(path)
    if why is not None or not is_python(path):
        return why
    if not repository.readable(path):
        return repository.files[path].not_read or "unreadable"
    return "too_many" if so_far >= _MOST_FILES else None


def examined(path: str, data: bytes, cache: Path | None = None) -> Examined | str:
    """Return a file's fingerprint, head and statements about its sources, or why there are none (a phrase key)."""
    from filiation.source.parse import decode

    known = cached(cache, path, data)
    if known is not None:
        text = decode(data)
        return Examined(path, known[0], headers.read(text), text, known[1])
    parsed = parse(data)
    if isinstance(parsed, str):
        return parsed
    disclosed = modular.disclosed(path, parsed.text, parsed.tree)
    source = _fingerprint(parsed, path, data)
    if isinstance(source, str):
        return source
    kept(cache, data, source, disclosed)
    return Examined(path, source, headers.read(parsed.text), parsed.text, disclosed)


def _fingerprint(parsed: Parsed, path: str, data: bytes) -> Print | str:
    try:
        return fingerprint(parsed.tree, path, data, parsed.repaired)
    except RecursionError:
        return "too_deep"


def _document(repository: Repository, each: Examined) -> Document:
    work = f"{repository.locator}:{each.path}"
    return Document(repository.locator, each.path, work, each.header.year, None, (), -1, None, each.source)


def _found(
    suspect: Repository,
    library: Library,
    ours: _Read,
    judged: Sequence[tuple[Examined, Judged]],
    heads: Mapping[tuple[str, str], Header],
    checked: Sequence[CopiedFrom],
) -> SourceFound:
    files = tuple(result.found for _, result in judged)
    telling = [(e, r) for e, r in judged if r.pair is not None and r.document is not None]
    pairs = [
        m
        for _, r in telling
        if r.pair is not None and r.document is not None
        for m in matches(r.pair, suspect.locator, r.document.repository)
    ]
    strongest = min(judged, key=lambda j: (LEVELS.index(j[1].found.level), -j[1].found.nodes), default=None)
    disclosed = tuple(d for each in ours.files for d in each.disclosed)
    head = tuple(_head(each, result, heads, library) for each, result in judged)
    found = SourceFound(
        strongest[1].found.level if strongest else Level.NO_FINDING,
        files,
        tuple(pairs),
        strongest[1].found.rename_map if strongest else RenameMap(),
        head,
        tuple(checked),
        disclosed,
        tuple(sorted(ours.left, key=lambda n: n.file)),
        library.facts(),
    )
    digests = {each.path: each.source.digest for each in ours.files}
    return evidence_of(found, digests, library)


def _head(
    each: Examined, result: Judged, heads: Mapping[tuple[str, str], Header], library: Library
) -> HeaderFinding:
    document = result.document
    if document is None:
        return headers.compare(each.path, each.header, None, (), (None, None))
    if document.release is not None:
        reference = document.release.entries[document.number].header
    else:
        reference = heads[document.repository, document.path]
    where = (document.repository, document.path)
    return headers.compare(each.path, each.header, reference, called(document), where)


def called(document: Document) -> tuple[str, ...]:
    """Return how a file may be called in a sentence: its module, its folder, the model's name."""
    module = stem(document.path)
    model = module.partition("_")[2] if module.startswith(("modeling_", "image_processing_")) else module
    return tuple(dict.fromkeys((module, model.removeprefix("processing_"))))
