"""The exceptions of filiation: one tree, each with a stable code, what was tried, and a next step.

::

    FiliationError                      exit 5  internal
    ├── UsageError                      exit 2  usage
    │   ├── MissingExtraError                   missing_extra
    │   ├── BudgetError                         budget
    │   └── ConsentError                        consent
    ├── InputError                      exit 4  input
    │   ├── NotFoundError                       not_found
    │   ├── AccessDeniedError                   access_denied
    │   ├── NetworkError                        network
    │   ├── CorruptCheckpointError              corrupt_checkpoint
    │   ├── NonFiniteWeightsError               non_finite_weights
    │   ├── UnsafeCheckpointError               unsafe_checkpoint
    │   ├── UnsupportedFormatError              unsupported_format
    │   ├── UnknownAnatomyError                 unknown_anatomy
    │   ├── LogError                            log
    │   └── ReportError                         report
    └── StorageError                    exit 4  storage

Every error can say which file and which tensor it speaks of, why it was raised, and what to do next. Under
``--json`` it is printed as the envelope of :meth:`FiliationError.envelope`.
"""

from __future__ import annotations

from typing import ClassVar


class FiliationError(Exception):
    """Base of every error that filiation raises on purpose.

    Args:
        message: one sentence: what could not be done.
        file: the file (or URL) it concerns.
        tensor: the tensor it concerns.
        reason: why, in one sentence.
        next_step: what the reader can do now.
    """

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 5

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        tensor: str | None = None,
        reason: str | None = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.tensor = tensor
        self.reason = reason
        self.next_step = next_step

    def envelope(self) -> dict[str, dict[str, str | None]]:
        """Return the JSON error envelope: ``{"error": {code, message, file, tensor, reason, next_step}}``."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "file": self.file,
                "tensor": self.tensor,
                "reason": self.reason,
                "next_step": self.next_step,
            }
        }

    def __str__(self) -> str:
        lines = [self.message]
        for label, value in (
            ("file", self.file),
            ("tensor", self.tensor),
            ("reason", self.reason),
            ("next step", self.next_step),
        ):
            if value:
                lines.append(f"  {label}: {value}")
        return "\n".join(lines)


class UsageError(FiliationError):
    """The call itself is wrong: an unknown option, a bad locator, contradictory arguments."""

    code = "usage"
    exit_code = 2


class MissingExtraError(UsageError):
    """A feature needs an optional dependency; the message names the extra that brings it."""

    code = "missing_extra"

    def __init__(self, feature: str, extra: str, package: str) -> None:
        super().__init__(
            f"{feature} needs the package '{package}', which is not installed.",
            reason=f"It belongs to the optional extra '{extra}'.",
            next_step=f'pip install "filiation[{extra}]"',
        )
        self.feature, self.extra, self.package = feature, extra, package

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str, str]]:
        """Let it pass between processes: its arguments are not those of an ordinary exception."""
        return type(self), (self.feature, self.extra, self.package)


class BudgetError(UsageError):
    """What is asked for would exceed the budget that the caller set: bytes read, or requests sent to an endpoint."""

    code = "budget"


class ConsentError(UsageError):
    """Nothing was sent to an endpoint, because the user did not agree to it."""

    code = "consent"


class InputError(FiliationError):
    """An input is missing or unreadable."""

    code = "input"
    exit_code = 4


class NotFoundError(InputError):
    """Nothing is at the locator, or a file the checkpoint promises is missing."""

    code = "not_found"


class AccessDeniedError(InputError):
    """The file or repository exists but may not be read (permissions, gated model, missing token)."""

    code = "access_denied"


class NetworkError(InputError):
    """A server did not answer, or not in a usable way, after the retries."""

    code = "network"


class CorruptCheckpointError(InputError):
    """A file contradicts itself, its index or its config: truncated, overlapping, lying header."""

    code = "corrupt_checkpoint"


class NonFiniteWeightsError(InputError):
    """A tensor that was read holds NaN or infinity."""

    code = "non_finite_weights"


class UnsafeCheckpointError(InputError):
    """Reading on would mean executing code or leaving the checkpoint's folder; refused."""

    code = "unsafe_checkpoint"


class UnsupportedFormatError(InputError):
    """The file is of a kind, or holds a data type, that filiation cannot read."""

    code = "unsupported_format"


class UnknownAnatomyError(InputError):
    """The tensors cannot be named: the parts of the model could not be inferred."""

    code = "unknown_anatomy"


class LogError(InputError):
    """A log of requests cannot be read, or is of another run."""

    code = "log"


class ReportError(InputError):
    """A report file is not one that this version can read or verify."""

    code = "report"


class StorageError(FiliationError):
    """Writing failed: disk full, no permission."""

    code = "storage"
    exit_code = 4
