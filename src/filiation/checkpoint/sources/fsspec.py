"""Folders and files in object stores (``s3://``, ``gs://``, ``az://`` ...) through fsspec.

fsspec itself comes with the hub's client; the driver of a store is an extra (``s3``) or a package of its own. The
driver keeps its own credentials, retries and time limits. Chained locators (``simplecache::s3://``) are refused:
they write to disk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast

from filiation.checkpoint.sources.ranges import Piece, RangeReader, Span, safe_name
from filiation.errors import (
    AccessDeniedError,
    FiliationError,
    MissingExtraError,
    NetworkError,
    NotFoundError,
    UnsafeCheckpointError,
    UsageError,
)
from filiation.evidence import FileRecord

EXTRAS = {"s3": "s3fs", "s3a": "s3fs"}
"""Stores with an extra: all of them are the extra ``s3``."""
DRIVERS = {
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "oss": "ossfs",
    "oci": "ocifs",
    "sftp": "paramiko",
    "hdfs": "pyarrow",
    "file": "fsspec",
    "memory": "fsspec",
}
"""Other stores, and the package that drives each."""
_MAX_DEPTH = (
    3  # a bucket may hold millions of files; a checkpoint's lie at its top or in onnx/, original/ ...
)


def recognises(locator: str) -> bool:
    """True for ``protocol://...`` that no other source takes, known or not; imports nothing."""
    protocol, mark, _ = locator.partition("://")
    return bool(mark) and protocol not in ("http", "https", "hf")


def open_source(locator: str, *, options: Mapping[str, Any] | None = None) -> FsspecSource:
    """Open a folder or file in an object store; one listing.

    Args:
        options: passed to the driver, e.g. ``{"anon": True}`` or ``{"endpoint_url": ...}``.

    Raises:
        MissingExtraError: the driver is an extra that is not installed.
        UsageError: an unknown protocol, a chained locator, or another driver that is not installed.
        NotFoundError, AccessDeniedError, NetworkError: the store says so.
        UnsafeCheckpointError: a listed name or link leads out of the folder.
    """
    protocol = locator.partition("://")[0]
    if protocol not in EXTRAS and protocol not in DRIVERS:
        raise UsageError(
            "The kind of store is not known.",
            file=locator,
            reason=f"{protocol}:// is none of {', '.join(sorted({*EXTRAS, *DRIVERS, 'hf', 'https'}))}.",
            next_step="Download the model and pass its folder.",
        )
    store, root = _connect(protocol, locator, options or {})
    return FsspecSource(locator, store, root)


class FsspecSource:
    """A folder, or one file with what lies beside it, in a store. Made by :func:`open_source`.

    Attributes:
        chosen: the weight file that the caller named, or None.
    """

    def __init__(self, locator: str, store: Any, root: str) -> None:
        self._locator = locator
        self._store = store
        entry = _guard(locator, store.info, root)
        self.chosen = PurePosixPath(root).name if entry["type"] == "file" else None
        self._root = root.rpartition("/")[0] if self.chosen else root.rstrip("/")
        self._sizes = self._list()
        self._lock = threading.Lock()
        self._bytes_read = 0
        self._requests = 0
        self._reader = RangeReader(self._sizes, self._fetch)

    @property
    def locator(self) -> str:
        """What the caller wrote."""
        return self._locator

    @property
    def name(self) -> str:
        """The folder's name, or the chosen file's without its ending."""
        return PurePosixPath(self.chosen).stem if self.chosen else PurePosixPath(self._root).name

    @property
    def revision(self) -> None:
        """None: a store has no commits."""
        return

    @property
    def bytes_read(self) -> int:
        """Bytes that the store has given."""
        return self._bytes_read

    @property
    def requests(self) -> int:
        """Reads asked of the driver."""
        return self._requests

    def files(self) -> Sequence[FileRecord]:
        """Every file below the folder."""
        return [FileRecord(n, size, None, "read by range from a store") for n, size in self._sizes.items()]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes ``start:stop``; see :meth:`filiation.checkpoint.sources.base.Source.read`."""
        return self._reader.read(name, start, stop)

    def prefetch(self, name: str, ranges: Sequence[Span]) -> None:
        """Fetch these ranges now, joined into few requests, several at once."""
        self._reader.prefetch(name, ranges)

    def local_path(self, name: str) -> Path | None:
        """None: read through the driver, even where that is a local one."""
        return None

    def _list(self) -> dict[str, int]:
        depth = 1 if self.chosen else _MAX_DEPTH
        listed = _guard(self._locator, self._store.find, self._root, maxdepth=depth, detail=True)
        found = cast("dict[str, dict[str, Any]]", listed)
        sizes: dict[str, int] = {}
        for path, entry in sorted(found.items()):
            name = safe_name(path.removeprefix(self._root).lstrip("/"))
            self._refuse_link(name, path, entry)
            sizes[name] = int(entry["size"])
        return sizes

    def _refuse_link(self, name: str, path: str, entry: Mapping[str, Any]) -> None:
        """Refuse a symbolic link out of the folder; only the driver for local files has any."""
        if entry.get("islink") and not Path(os.path.realpath(path)).is_relative_to(
            os.path.realpath(self._root)
        ):
            raise UnsafeCheckpointError(
                "A link leads out of the checkpoint; refused.",
                file=name,
                reason=f"It points to {os.path.realpath(path)}.",
                next_step="Replace the link by the file, or name that file itself.",
            )

    def _fetch(self, name: str, start: int, stop: int) -> Piece:
        with self._lock:
            self._requests += 1
        data = cast(bytes, _guard(name, self._store.cat_file, f"{self._root}/{name}", start=start, end=stop))
        with self._lock:
            self._bytes_read += len(data)
        return Piece(start, data)


def _connect(protocol: str, locator: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    import fsspec  # pyright: ignore[reportMissingTypeStubs]

    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        if protocol in EXTRAS:
            raise MissingExtraError(f"Reading {protocol}:// locators", "s3", EXTRAS[protocol]) from error
        raise UsageError(
            f"Reading {protocol}:// locators needs the package {DRIVERS[protocol]!r}, which is not installed.",
            file=locator,
            reason="The driver of this store is a package of its own.",
            next_step=f"pip install {DRIVERS[protocol]}",
        ) from error
    return _guard(locator, fsspec.core.url_to_fs, locator, **options)


def _guard(file: str, call: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a driver; whatever it raises becomes one of our errors."""
    try:
        return call(*args, **kwargs)
    except FiliationError:
        raise
    except FileNotFoundError as error:
        raise NotFoundError(
            "There is nothing at this place in the store.",
            file=file,
            reason="The store does not know it.",
            next_step="Check the spelling, and that the credentials may list the bucket.",
        ) from error
    except PermissionError as error:
        raise _denied(file, error) from error
    except Exception as error:  # drivers raise what their SDK raises; none of it is ours
        if type(error).__name__ == "NoCredentialsError":  # botocore's, which may not be installed
            raise _denied(file, error) from error
        raise NetworkError(
            "The store did not answer in a usable way.",
            file=file,
            reason=_short(error),
            next_step="Check the address, the credentials and the connection, or download the model.",
        ) from error


def _denied(file: str, error: Exception) -> AccessDeniedError:
    return AccessDeniedError(
        "The store refuses access.",
        file=file,
        reason=_short(error),
        next_step="Check the credentials that the store's own tools use (for s3: AWS_PROFILE or `aws login`); "
        "for a public s3 bucket set FSSPEC_S3_ANON=true.",
    )


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}"
