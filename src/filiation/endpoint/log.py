"""The log of a session: one JSON object a line, only ever appended to, on disk before the next request is planned.

Kinds of line: ``run`` (first: seed, budget, endpoints), ``capabilities``, ``exchange`` (a request, its tries, what came
back, secrets removed), ``allowance`` (what a test was told is left), ``refused`` (a batch that the budget did not
allow), ``resumed``, ``finished``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filiation.endpoint.keys import Redactor
from filiation.errors import LogError, StorageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOG_SCHEMA = "filiation-exchange-log/1"
_PACKED_FROM = 32 * 1024  # characters; a reply with a whole vocabulary has millions
_LONGEST = 1 << 30

Record = Mapping[str, Any]


class ExchangeLog:
    """A log that is being written.

    Args:
        path: a new file, or with ``resume`` an existing log.
        redact: applied to every line, whatever it holds.

    Raises:
        StorageError: the file exists already, or cannot be written.
    """

    def __init__(self, path: Path, redact: Redactor, *, resume: bool = False) -> None:
        self.path = path
        self._redact = redact
        self._lock = threading.Lock()
        flags = (
            os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0) | (0 if resume else os.O_EXCL)
        )
        try:
            # What an endpoint answers is nobody else's business until the user publishes it.
            self._fd = os.open(path, flags, 0o600)
        except FileExistsError as error:
            raise StorageError(
                "The log exists already; nothing was written.",
                file=str(path),
                reason="A log is never overwritten.",
                next_step="Give another name, or resume the session that it belongs to.",
            ) from error
        except OSError as error:
            raise _unwritable(path, error) from error
        self._claim()
        if resume and _is_torn(path):
            self._write(b"\n")

    def _claim(self) -> None:
        """Let no second session write to the same log, where the system can tell."""
        if fcntl is None:
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise StorageError(
                "The log is in use.",
                file=str(self.path),
                reason="Another session writes to it.",
                next_step="Wait until that session ends, or stop it.",
            ) from error

    def append(self, record: Record) -> None:
        """Write one line and wait until it is on disk.

        Raises:
            StorageError: it cannot be written.
        """
        line = json.dumps(record, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        data = self._redact(line).encode("utf-8", "surrogatepass") + b"\n"
        with self._lock:
            self._write(data)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fsync(self._fd)
        except OSError as error:
            raise _unwritable(self.path, error) from error


def read_log(path: Path) -> Iterator[Record]:
    """Yield the records of a log in order; see :func:`placed_records`."""
    return (record for _, record in placed_records(path))


def record_at(path: Path, place: int) -> Record:
    """Return the record that begins at a byte of a log.

    Raises:
        LogError: there is none.
    """
    with path.open("rb") as file:
        file.seek(place)
        record = _record(file.readline())
    if record is None:
        raise _damaged(path, None)
    return record


def placed_records(path: Path) -> Iterator[tuple[int, Record]]:
    """Yield the records of a log in order, each with the byte at which it begins.

    A line that broke off when the session was killed is left out: the last one, or the one before a ``resumed`` record.

    Raises:
        LogError: the file is no log, or a line of it is damaged.
    """
    torn: int | None = None
    seen = place = 0
    for number, line in enumerate(_lines(path), 1):
        begins, place = place, place + len(line)
        record = _record(line)
        if torn is not None and (record is None or record.get("kind") != "resumed"):
            raise _damaged(path, torn)
        torn = number if record is None else None
        if record is None:
            continue
        if not seen and (record.get("kind") != "run" or record.get("schema") != LOG_SCHEMA):
            raise LogError(
                "The file is not a log of requests that this version can read.",
                file=str(path),
                reason=f"Its first line does not say {LOG_SCHEMA!r}.",
                next_step="Give a log that `filiation probe --log` wrote.",
            )
        seen += 1
        yield begins, record
    if not seen:
        raise _damaged(path, 1)


def digest(path: Path) -> str:
    """Return the SHA-256 of a log, which a report states."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack(text: str) -> Record:
    """Return the body of a reply as the log keeps it: as it is, or packed where it is long."""
    if len(text) < _PACKED_FROM:
        return {"text": text}
    data = text.encode("utf-8", "surrogatepass")
    return {
        "packed": base64.b64encode(zlib.compress(data, 6)).decode(),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def unpack(record: Record, path: Path | None = None) -> str:
    """Return the body of a reply as it was received.

    Raises:
        LogError: it was damaged.
    """
    if "packed" not in record:
        return str(record.get("text", ""))
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(record["packed"]), _LONGEST)
    except (ValueError, zlib.error) as error:
        raise _damaged(path or Path("log"), None) from error
    if hashlib.sha256(data).hexdigest() != record.get("sha256"):
        raise _damaged(path or Path("log"), None)
    return data.decode("utf-8", "surrogatepass")


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except FileNotFoundError as error:
        raise LogError("The log does not exist.", file=str(path), next_step="Check the path.") from error
    except OSError as error:
        raise LogError("The log cannot be read.", file=str(path), reason=f"{error.strerror}.") from error


def _record(line: bytes) -> Record | None:
    try:
        record = json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _is_torn(path: Path) -> bool:
    """Whether the last line broke off."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _damaged(path: Path, line: int | None) -> LogError:
    return LogError(
        "The log is damaged.",
        file=str(path),
        reason="An exchange in it was altered or is incomplete."
        if line is None
        else f"Line {line} is no record.",
        next_step="Use the log as it was written; nothing may be taken out of it.",
    )


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        "The log cannot be written.",
        file=str(path),
        reason=f"{error.strerror or type(error).__name__}.",
        next_step="Free space or give another place; the session can be resumed from what is on disk.",
    )
