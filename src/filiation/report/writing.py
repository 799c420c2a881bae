"""Files are written whole or not at all: beside their place first, then moved into it.

Links are followed, and what is no regular file (``/dev/null``, a pipe) is written to, never put in the place of.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from filiation.errors import StorageError


def write(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically; an interrupted write leaves what was there before.

    Raises:
        StorageError: the folder does not exist, may not be written, or the disk is full.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically.

    Raises:
        StorageError: the folder does not exist, may not be written, or the disk is full.
    """
    draft: Path | None = None
    try:
        place = path.resolve()
        if place.exists() and not place.is_file():
            place.write_bytes(data)
            return
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=place.parent)
        draft = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o666 & ~_umask())
        draft.replace(place)
        draft = None
    except OSError as error:
        raise StorageError(
            f"The file '{path}' could not be written.",
            file=str(path),
            reason=error.strerror or str(error),
            next_step=_next_step(error),
        ) from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Refuse a path that cannot be written before minutes are spent on what is to be written there.

    Raises:
        StorageError: it is a folder, or its folder does not exist or may not be written.
    """
    reason = None
    if path.is_dir():
        reason = "It is a folder."
    elif not path.parent.is_dir():
        reason = "Its folder does not exist."
    elif path.exists() and not path.is_file():
        reason = None if os.access(path, os.W_OK) else "It may not be written."
    elif not os.access(path.resolve().parent, os.W_OK):
        reason = "Its folder may not be written."
    if reason:
        raise StorageError(
            f"The file '{path}' could not be written.",
            file=str(path),
            reason=reason,
            next_step="Name a file in an existing folder that you may write.",
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _next_step(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space, or name a file on another disk."
    return "Name a file in an existing folder that you may write."
