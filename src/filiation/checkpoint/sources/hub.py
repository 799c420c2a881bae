"""A model on the Hugging Face hub, read by byte range, pinned to a commit.

One API call turns the revision into a commit and lists its files. What the hub client's cache already holds of that
commit is read from there; of the rest, only the bytes that are asked for are fetched. Large files live on another
site: the hub's redirect is asked for once a file and followed until it expires.

The hub client's conventions hold: ``HF_ENDPOINT``, ``HF_TOKEN`` and the stored token, ``HF_HOME`` and
``HF_HUB_CACHE``, ``HF_HUB_OFFLINE``, ``HF_HUB_DISABLE_IMPLICIT_TOKEN``. Nothing is written to the cache, and no request
is made but those named here; the user agent holds this program's name and version only.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import quote

from filiation.checkpoint.sources.http_client import HttpClient, Version
from filiation.checkpoint.sources.http_link import Link, StatusError, may_carry_token
from filiation.checkpoint.sources.http_retry import Patience
from filiation.checkpoint.sources.hub_cache import COMMIT, HubCache, Listed, as_git_id, read_cached
from filiation.checkpoint.sources.hub_errors import (
    incomplete_cache,
    no_such_path,
    not_cached,
    not_like_the_hub,
    refusal,
    storage_refusal,
)
from filiation.checkpoint.sources.hub_locator import HubLocator, parse, recognises
from filiation.checkpoint.sources.ranges import Piece, RangeReader, Span, safe_name
from filiation.errors import InputError, NetworkError
from filiation.evidence import FileRecord

__all__ = ["HubSettings", "HubSource", "open_source", "recognises"]

_MAX_ANSWER = 64 * 1024 * 1024
_NOT_HASHED = "the hub records a SHA-256 for large files only"


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Where the hub is, as whom it is asked, and where its client keeps what it fetched."""

    endpoint: str
    cache: Path
    token: str | None = field(default=None, repr=False)
    offline: bool = False
    patience: Patience = field(default_factory=Patience)

    @classmethod
    def from_environment(cls) -> HubSettings:
        """Take everything from the hub client, which reads the environment when it is first imported."""
        from huggingface_hub import constants, get_token

        offline = constants.is_offline_mode()
        wanted = not (offline or constants.HF_HUB_DISABLE_IMPLICIT_TOKEN)
        return cls(
            endpoint=constants.ENDPOINT,
            cache=Path(constants.HF_HUB_CACHE),
            token=get_token() if wanted else None,
            offline=offline,
            patience=Patience(silence=max(10.0, float(constants.HF_HUB_DOWNLOAD_TIMEOUT))),
        )


def open_source(locator: str, *, settings: HubSettings | None = None) -> HubSource:
    """Open a model named as :func:`recognises` says; reads its listing and no weights.

    Raises:
        UsageError: no model repository is named.
        NotFoundError: no such repository, revision, file or folder; or not in the cache while offline.
        AccessDeniedError: it is private, gated or disabled.
        NetworkError: the hub cannot be reached or does not answer like the hub.
        UnsafeCheckpointError: the listing holds a name that leads out of the repository.
    """
    settings = settings or HubSettings.from_environment()
    if not may_carry_token(Link(settings.endpoint)):
        settings = replace(settings, token=None)
    place = parse(locator, settings.endpoint)
    cache = HubCache(settings.cache, place.repo)
    client = HttpClient(settings.patience, trusted=_trusted_hosts())
    snapshot = _cached(place, cache, needed=settings.offline)
    notes: tuple[str, ...] = ()
    if snapshot is None or not (settings.offline or _pinned(place, snapshot)):
        try:
            snapshot = _ask(place, settings, client)
        except NetworkError as error:
            if snapshot is None:
                raise
            reason = (error.reason or "").rstrip(".")
            notes = (f"the hub did not answer ({reason}); the cached commit {snapshot.commit} was used",)
    return HubSource(locator, place, snapshot, cache, client, settings, notes)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A commit and what it holds; ``complete`` if the cache is known to have all of it."""

    repo: str
    commit: str
    listing: Mapping[str, Listed]
    complete: bool = False


def _trusted_hosts() -> frozenset[str]:
    from huggingface_hub import constants

    return frozenset(constants.HF_URL_HOSTS)


def _pinned(place: HubLocator, snapshot: _Snapshot) -> bool:
    """True if the cache alone answers: the revision is a commit, which never moves, and all of it is there."""
    return snapshot.complete and place.revision == snapshot.commit


def _cached(place: HubLocator, cache: HubCache, *, needed: bool) -> _Snapshot | None:
    """Return what the cache knows of a revision.

    Raises:
        NotFoundError: nothing, and it is ``needed``.
    """
    commit = cache.commit(place.revision or "main")
    present = {} if commit is None else cache.files(commit)
    if commit is None or not present:
        if needed:
            raise not_cached(place)
        return None
    listing = cache.listing(commit) or {}
    whole = [name in present and present[name].size == file.size for name, file in listing.items()]
    return _Snapshot(place.repo, commit, {**present, **listing}, complete=bool(whole) and all(whole))


def _ask(place: HubLocator, settings: HubSettings, client: HttpClient) -> _Snapshot:
    """Ask the hub for the commit and its files: one request."""
    revision = "" if place.revision is None else f"/revision/{quote(place.revision, safe='')}"
    url = f"{settings.endpoint}/api/models/{place.repo}{revision}?blobs=true"
    try:
        body = client.document(Link(url, settings.token), _MAX_ANSWER)
    except StatusError as error:
        raise refusal(error, place, settings.token is not None) from error
    try:
        answer = cast(Mapping[str, Any], json.loads(body))
        commit, repo = str(answer["sha"]), str(answer.get("id") or place.repo)
        listing = {safe_name(str(entry["rfilename"])): _listed(entry) for entry in answer["siblings"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise not_like_the_hub(Link(url), "The answer lacks the commit, the files or their sizes.") from error
    if not COMMIT.fullmatch(commit):
        raise not_like_the_hub(Link(url), "What it gives for a commit is none.")
    return _Snapshot(safe_name(repo), commit, listing)


def _listed(entry: Mapping[str, Any]) -> Listed:
    lfs = cast("Mapping[str, Any] | None", entry.get("lfs"))
    git_id = as_git_id(entry.get("blobId"))
    if lfs is None:
        return Listed(int(entry["size"]), git_id=git_id)
    return Listed(int(lfs["size"]), str(lfs["sha256"]), large=True, git_id=git_id)


class HubSource:
    """A model repository at one commit. Made by :func:`open_source`.

    Attributes:
        chosen: the weight file that the caller named, or None.
        notes: what had to be assumed.
    """

    def __init__(
        self,
        locator: str,
        place: HubLocator,
        snapshot: _Snapshot,
        cache: HubCache,
        client: HttpClient,
        settings: HubSettings,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._locator = locator.partition("?")[0]
        self._place = place
        self._snapshot = snapshot
        self._cache = cache
        self._client = client
        self._settings = settings
        self.notes = notes
        self._folder, self.chosen = _split_path(place, snapshot)
        self._listing = {
            name[len(self._folder) :]: file
            for name, file in sorted(snapshot.listing.items())
            if name.startswith(self._folder)
        }
        self._paths = {name: path for name in self._listing if (path := self._cached_path(name)) is not None}
        self._reader = RangeReader({name: file.size for name, file in self._listing.items()}, self._fetch)
        self._links: dict[str, Link] = {}
        self._lock = threading.Lock()
        self._resolving = {name: threading.Lock() for name in self._listing}
        self._local_bytes = 0

    @property
    def locator(self) -> str:
        """What the caller wrote, without a URL's query."""
        return self._locator

    @property
    def name(self) -> str:
        """The repository's name without its owner, or the chosen file's without its ending."""
        if self.chosen is not None:
            return PurePosixPath(self.chosen).stem
        return self._snapshot.repo.partition("/")[2]

    @property
    def revision(self) -> str:
        """The commit."""
        return self._snapshot.commit

    @property
    def bytes_read(self) -> int:
        """Bytes read: bodies over the wire, the listing included, plus what came from the cache."""
        return self._client.bytes_received + self._local_bytes

    @property
    def requests(self) -> int:
        """Requests sent, those that failed and were tried again included."""
        return self._client.requests

    def files(self) -> Sequence[FileRecord]:
        """Every file at the commit, with the SHA-256 that the hub records for large ones."""
        return [
            FileRecord(name, file.size, file.sha256, None if file.sha256 else _NOT_HASHED)
            for name, file in self._listing.items()
        ]

    def git_ids(self) -> Mapping[str, str]:
        """Return git's object id of every file whose id the hub told; of a large file, its pointer's."""
        return {name: file.git_id for name, file in self._listing.items() if file.git_id is not None}

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes ``start:stop``; see :meth:`filiation.checkpoint.sources.base.Source.read`."""
        path = self._paths.get(name)
        if path is None:
            self._require_network(name)
            return self._reader.read(name, start, stop)
        start, stop = self._reader.bounds(name, start, stop)
        data = bytearray(stop - start)
        read_cached(path, name, start, memoryview(data))
        self._count_local(len(data))
        return bytes(data)

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        """Fill ``buffer`` from byte ``start`` on; from a cached file without a copy in between.

        Raises:
            What :meth:`read` raises.
        """
        path = self._paths.get(name)
        if path is None:
            buffer[:] = self.read(name, start, start + len(buffer))
            return
        self._reader.bounds(name, start, start + len(buffer))
        read_cached(path, name, start, buffer)
        self._count_local(len(buffer))

    def prefetch(self, name: str, ranges: Sequence[Span]) -> None:
        """Fetch these ranges now, joined into few requests, several at once; nothing for a cached file."""
        if name not in self._paths:
            self._require_network(name)
            self._reader.prefetch(name, ranges)

    def local_path(self, name: str) -> Path | None:
        """Return where the cache holds the file, or None."""
        return self._paths.get(name)

    def _count_local(self, count: int) -> None:
        with self._lock:
            self._local_bytes += count

    def _cached_path(self, name: str) -> Path | None:
        return self._cache.path(self._snapshot.commit, self._folder + name, self._listing[name].size)

    def _require_network(self, name: str) -> None:
        if self._settings.offline and name in self._listing:
            raise incomplete_cache(self._place, name, self._snapshot.commit)

    def _fetch(self, name: str, start: int, stop: int) -> Piece:
        """Fetch a span; if the storage refuses a link that was used before, it has expired: ask for a new one."""
        expected = Version(self._listing[name].size)
        stale: Link | None = None
        while True:
            link = self._link(name, stale)
            try:
                return self._client.read_range(link, start, stop, expected)[0]
            except StatusError as error:
                elsewhere = error.link.site != self._hub_link(name).site
                if elsewhere and stale is None and error.status in (400, 401, 403, 404, 410):
                    stale = link
                elif elsewhere:
                    raise storage_refusal(error, name) from error
                else:
                    raise self._refusal(error, name) from error

    def _refusal(self, error: StatusError, name: str) -> InputError:
        return refusal(error, self._place, self._settings.token is not None, name)

    def _hub_link(self, name: str) -> Link:
        path = quote(self._folder + name)
        url = f"{self._settings.endpoint}/{self._snapshot.repo}/resolve/{self._snapshot.commit}/{path}"
        return Link(url, self._settings.token)

    def _link(self, name: str, stale: Link | None = None) -> Link:
        """Return where the bytes of a file are, asking anew if that was ``stale``; large files lie on another site.

        The redirect is asked for without a range: the storage may bind a link to the range it was asked with.
        """
        if not self._listing[name].large:
            return self._hub_link(name)
        with self._resolving[name]:
            if self._links.get(name) == stale:  # None, or what failed and nobody has renewed since
                self._links[name] = self._resolve(name)
            return self._links[name]

    def _resolve(self, name: str) -> Link:
        try:
            return self._client.head(self._hub_link(name)).link
        except StatusError as error:
            if error.status in (405, 501):  # a mirror that knows no HEAD serves the bytes itself
                return self._hub_link(name)
            raise self._refusal(error, name) from error


def _split_path(place: HubLocator, snapshot: _Snapshot) -> tuple[str, str | None]:
    """Return the folder (with a final slash, or empty) and the file that a locator's path names."""
    if not place.path:
        return "", None
    if place.path in snapshot.listing:
        folder, slash, file = place.path.rpartition("/")
        return folder + slash, file
    if any(name.startswith(place.path + "/") for name in snapshot.listing):
        return place.path + "/", None
    raise no_such_path(place, snapshot.commit)
