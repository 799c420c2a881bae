"""The ways to write where a model is on the Hugging Face hub, all taken to one form."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from filiation.checkpoint.sources.ranges import safe_name
from filiation.errors import UnsafeCheckpointError, UsageError

_HOSTS = frozenset({"huggingface.co", "hf.co", "www.huggingface.co"})
_REPO = r"[A-Za-z0-9][\w.-]*/[\w.-]*\w"
_BARE = re.compile(rf"({_REPO})(?:@(\S+))?")
_KEPT_REF = re.compile(r"refs/(?:pr/\d+|convert/[\w.-]+)")


@dataclass(frozen=True, slots=True)
class HubLocator:
    """A model repository, a revision (a branch, tag or commit; None for the default branch), and a path in it."""

    repo: str
    revision: str | None = None
    path: str = ""


def recognises(locator: str) -> bool:
    """True for ``org/name[@revision]``, ``hf://...`` and a pasted hub URL; a local path of that form goes first.

    Does not import the hub's client.
    """
    if locator.startswith("hf://"):
        return True
    if locator.startswith(("http://", "https://")):
        host = re.match(r"https?://([^/?#:@]*)", locator)
        return (host is not None and host[1].lower() in _HOSTS) or _on_endpoint(locator)
    return _BARE.fullmatch(locator) is not None


def parse(locator: str, endpoint: str | None = None) -> HubLocator:
    """Return what a locator names.

    Raises:
        UsageError: it names no model repository.
    """
    from huggingface_hub import parse_hf_uri
    from huggingface_hub.errors import HfUriError

    try:
        uri = parse_hf_uri(_as_uri(locator), endpoint)
    except HfUriError as error:
        raise _unusable(locator, str(error).rpartition(": ")[2]) from error
    if uri.type != "model":
        raise _unusable(locator, f"It names a {uri.type}, not a model.")
    try:
        for part in (uri.revision, uri.path_in_repo):
            if part:
                safe_name(part)
    except UnsafeCheckpointError as error:
        raise _unusable(locator, "Its revision or path leads out of the repository.") from error
    return HubLocator(uri.id, uri.revision, uri.path_in_repo.strip("/"))


def _as_uri(locator: str) -> str:
    match = _BARE.fullmatch(locator)
    if match is None:
        return locator
    revision = match[2] or ""
    if revision and not _KEPT_REF.fullmatch(revision):
        revision = revision.replace("/", "%2F")  # here a slash belongs to the branch name, not to a path
    return f"hf://{match[1]}" + (f"@{revision}" if revision else "")


def _on_endpoint(locator: str) -> bool:
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    return bool(endpoint) and locator.startswith(endpoint + "/")


def _unusable(locator: str, reason: str) -> UsageError:
    return UsageError(
        "The locator names no model on the hub.",
        file=locator.partition("?")[0],
        reason=reason,
        next_step="Write org/name, org/name@revision, hf://org/name@revision, or paste the model page's address.",
    )
