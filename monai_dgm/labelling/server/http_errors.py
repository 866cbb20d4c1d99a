"""Requests that are refused: one line for whoever asked, and the HTTP status that goes with it."""

from __future__ import annotations

import logging

from monai_dgm.errors import InputError, StorageError, in_one_line

logger = logging.getLogger(__name__)

__all__ = [
    "ArchiveAwayError",
    "BusyError",
    "ConflictError",
    "ForbiddenError",
    "TooLargeError",
    "UnavailableError",
    "UnknownError",
    "answer_to",
    "status_of",
]


class UnknownError(InputError):
    """Something of that name is not there."""


class ForbiddenError(InputError):
    """A request that this server does not serve, or not to whoever asked."""


class ConflictError(InputError):
    """Something of that name is there already."""


class TooLargeError(InputError):
    """More than the server takes."""


class UnavailableError(InputError):
    """Served in principle, but there is no trained model for it."""


class ArchiveAwayError(UnavailableError):
    """The archive of the studies does not answer, or not as an archive does. Later it may."""


class BusyError(InputError):
    """Something of the kind is under way."""


_STATUS: dict[type[InputError], int] = {
    UnknownError: 404,
    ForbiddenError: 403,
    ConflictError: 409,
    TooLargeError: 413,
    BusyError: 429,
    UnavailableError: 503,
    StorageError: 500,
}


def answer_to(error: InputError) -> str:
    """What a client is told of an error, in one line: no path of the server's own files, which goes to the log."""
    if isinstance(error, StorageError):
        logger.error("%s", error)
        return "a file that the server keeps cannot be used; its log says which"
    return in_one_line(error)


def status_of(error: InputError) -> int:
    """HTTP status of an error: that of its class above, 500 for a StorageError, 400 for any other InputError."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 400)
