"""What can be audited at all: a place that is there and holds something that a model repository has."""

from __future__ import annotations

import os
from pathlib import Path

from filiation import repository
from filiation.errors import InputError, NetworkError, NotFoundError
from filiation.repository import Repository

_ENDINGS = (
    ".safetensors", ".gguf", ".bin", ".pt", ".pth", ".onnx", ".ckpt", ".npz", ".msgpack", ".h5", ".json", ".jsonl",
    ".model", ".tiktoken", ".jinja", ".py", ".pyi", ".pyc", ".so", ".ipynb", ".cu", ".cpp", ".cc", ".c", ".h", ".js",
    ".ts", ".rs", ".go", ".java", ".yml", ".yaml", ".toml", ".md", ".rst", ".markdown",
)  # fmt: skip
_WORDS = ("readme", "licen", "notice", "copying", "model", "vocab", "merges", "tokenizer")


def opened(locator: str) -> Repository:
    """Open a repository; a mistyped path is told as such before any hub is asked.

    Raises:
        NotFoundError: there is no such folder, and the folder above it is here. As :func:`filiation.repository.open`.
    """
    path = Path(os.path.expanduser(locator))
    looks_local = "://" not in locator and "\0" not in locator and bool(locator.strip())
    missing = looks_local and not os.path.lexists(path)
    if missing and os.sep in locator and path.parent.is_dir():
        raise NotFoundError(
            f"There is no folder or file {locator}.",
            file=locator,
            reason=f"The folder {path.parent} is here and holds nothing of this name; no hub was asked.",
            next_step=f"Check the path; for a model of the hub write hf://{locator}.",
        )
    try:
        return repository.open(locator)
    except (NotFoundError, NetworkError) as error:
        if not missing:
            raise
        raise type(error)(
            f"There is no local folder or file {locator}, and as a place elsewhere it could not be opened.",
            file=error.file,
            reason=f"{error.message} {error.reason or ''}".strip(),
            next_step=error.next_step,
        ) from error


def require_model_repository(found: Repository) -> None:
    """Refuse a place that holds no file of a kind that model repositories have.

    Raises:
        InputError: nothing here is a model repository.
    """
    for path in found.files:
        name = path.rpartition("/")[2].lower()
        if name.endswith(_ENDINGS) or any(word in name for word in _WORDS):
            return
    raise InputError(
        "Nothing here is a model repository.",
        file=found.locator,
        reason=f"It holds {len(found.files)} files, none a card, licence, configuration, tokenizer, code or weights.",
        next_step="Give the folder that holds config.json, the code or the model card.",
    )


def is_local(locator: str) -> bool:
    """Whether a locator is a folder or an archive here, whose name nobody published."""
    path = Path(os.path.expanduser(locator.removeprefix("file://")))
    return "\0" not in locator and os.path.lexists(path) and path.suffix.lower() != ".json"
