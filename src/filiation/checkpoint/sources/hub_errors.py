"""What the hub's refusals mean, and what to do about each."""

from __future__ import annotations

from filiation.checkpoint.sources.http_link import Link, StatusError
from filiation.checkpoint.sources.hub_locator import HubLocator
from filiation.errors import AccessDeniedError, InputError, NetworkError, NotFoundError

_NO_ACCOUNT = "No token was sent. (A token is sent over https:// only.)"
_LOG_IN = "set HF_TOKEN or run `hf auth login`"
_DISABLED = "Access to this resource is disabled."


def refusal(error: StatusError, place: HubLocator, with_token: bool, file: str | None = None) -> InputError:
    """Return the error for a final answer of the hub that is not a success."""
    code = error.headers.get("x-error-code", "")
    if code == "GatedRepo":
        return _gated(place, with_token, file)
    if error.headers.get("x-error-message") == _DISABLED:
        return _disabled(place, file)
    if code == "RevisionNotFound":
        return no_such_revision(place)
    if code == "EntryNotFound" or (error.status == 404 and file is not None and code != "RepoNotFound"):
        return _no_such_file(place, file or place.path)
    if error.status in (401, 403) and (with_token or file is not None) and code != "RepoNotFound":
        return _denied(place, with_token, file)
    if error.status in (401, 404):
        return _no_such_model(place, with_token)
    return AccessDeniedError(
        "The hub refuses the request.",
        file=str(error.link),
        reason=f"It answers with status {error.status}.",
        next_step="Try again later, or download the model and pass its folder.",
    )


def storage_refusal(error: StatusError, file: str) -> NetworkError:
    """Return the error for the hub's storage refusing a link that the hub gave a moment ago."""
    return NetworkError(
        "The hub's storage refuses a file.",
        file=file,
        reason=f"It answers with status {error.status} to a fresh link from the hub ({error.link}).",
        next_step="Try again later, or download the model and pass its folder.",
    )


def not_like_the_hub(link: Link, reason: str) -> NetworkError:
    """Return the error for an endpoint that speaks something else."""
    return NetworkError(
        "The endpoint does not answer like the Hugging Face hub.",
        file=str(link),
        reason=reason,
        next_step="Check HF_ENDPOINT, or download the model and pass its folder.",
    )


def no_such_revision(place: HubLocator) -> NotFoundError:
    """Return the error for a branch, tag or commit that does not exist."""
    return NotFoundError(
        f"{place.repo} has no revision {place.revision!r}.",
        file=place.repo,
        reason="The hub knows the model, but no branch, tag or commit of that name.",
        next_step="Look at the model page's list of branches, or leave out the revision.",
    )


def no_such_path(place: HubLocator, commit: str) -> NotFoundError:
    """Return the error for a file or folder that the commit does not hold."""
    return NotFoundError(
        f"{place.repo} holds neither a file nor a folder {place.path!r}.",
        file=place.path,
        reason=f"The listing of commit {commit} does not name it.",
        next_step="Look at the model page's list of files.",
    )


def not_cached(place: HubLocator) -> NotFoundError:
    """Return the error for a model that is needed offline and is not in the cache."""
    return NotFoundError(
        f"{place.repo} is not on this machine.",
        file=_name(place),
        reason="HF_HUB_OFFLINE is set, and the hub's cache does not hold this revision.",
        next_step=f"Unset HF_HUB_OFFLINE, or fetch it where there is a network: hf download {place.repo}",
    )


def incomplete_cache(place: HubLocator, file: str, commit: str) -> NotFoundError:
    """Return the error for a file that is needed offline and was never fetched."""
    return NotFoundError(
        f"{file} of {place.repo} is not on this machine.",
        file=file,
        reason=f"HF_HUB_OFFLINE is set, and the cached snapshot {commit} does not hold the whole file.",
        next_step=f"Unset HF_HUB_OFFLINE, or complete it where there is a network: hf download {place.repo}",
    )


def _gated(place: HubLocator, with_token: bool, file: str | None) -> AccessDeniedError:
    reason = "The account of the token has not been granted access." if with_token else _NO_ACCOUNT
    step = f"Accept its terms on https://huggingface.co/{place.repo}"
    return AccessDeniedError(
        f"{place.repo} is gated.",
        file=file or place.repo,
        reason=reason,
        next_step=f"{step}." if with_token else f"{step}, then {_LOG_IN}.",
    )


def _disabled(place: HubLocator, file: str | None) -> AccessDeniedError:
    return AccessDeniedError(
        f"{place.repo} has been disabled.",
        file=file or place.repo,
        reason="The hub has withdrawn access to it for everyone.",
        next_step="Pass the folder of a copy that you have.",
    )


def _denied(place: HubLocator, with_token: bool, file: str | None) -> AccessDeniedError:
    known = "The hub does not accept the token: it is wrong, expired, or may not read this model."
    return AccessDeniedError(
        f"{place.repo} may not be read.",
        file=file or place.repo,
        reason=known if with_token else _NO_ACCOUNT,
        next_step=f"Check the token at https://huggingface.co/settings/tokens, then {_LOG_IN}.",
    )


def _no_such_model(place: HubLocator, with_token: bool) -> NotFoundError:
    hidden = "or it is private and the token may not see it" if with_token else "or it is private"
    return NotFoundError(
        f"The hub has no model {place.repo}.",
        file=place.repo,
        reason=f"It does not exist, {hidden}.",
        next_step=f"Check the spelling (owner/name). If it is private, {_LOG_IN}.",
    )


def _no_such_file(place: HubLocator, file: str) -> NotFoundError:
    return NotFoundError(
        f"{place.repo} has no file {file}.",
        file=file,
        reason="The hub lists it or an index names it, but it is not there.",
        next_step="The upload is incomplete; tell the model's owner.",
    )


def _name(place: HubLocator) -> str:
    return place.repo if place.revision is None else f"{place.repo}@{place.revision}"
