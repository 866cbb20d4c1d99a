"""Errors of requests: each class has its HTTP status, and its message is one line for the client."""

from __future__ import annotations

import logging

from monai_dgm.errors import InputError, StorageError, in_one_line

logger = logging.getLogger(__name__)

__all__ = [
    "ArchiveAwayError",
    "BusyError",
    "ConflictError",
    "ForbiddenError",
    "LoginError",
    "TooLargeError",
    "UnavailableError",
    "UnknownError",
    "answer_to",
    "status_of",
]


class LoginError(InputError):
    """Nobody has logged in, or the login does not count (401)."""


class UnknownError(InputError):
    """There is nothing of this name (404)."""


class ForbiddenError(InputError):
    """The server does not offer this, or not to this client (403)."""


class ConflictError(InputError):
    """Something of this name exists already, or is running (409)."""


class TooLargeError(InputError):
    """More bytes than the server accepts (413)."""


class UnavailableError(InputError):
    """It cannot be done now, for example without a trained model (503)."""


class ArchiveAwayError(UnavailableError):
    """The archive does not answer, or not with DICOMweb; a later request may succeed (503)."""


class BusyError(InputError):
    """Another task of this kind is running (429)."""


_STATUS: dict[type[InputError], int] = {
    LoginError: 401,
    UnknownError: 404,
    ForbiddenError: 403,
    ConflictError: 409,
    TooLargeError: 413,
    BusyError: 429,
    UnavailableError: 503,
    StorageError: 500,
}


def answer_to(error: InputError) -> str:
    """Message of an error for the client, in one line; paths of the server's own files are in the log only."""
    if isinstance(error, StorageError):
        logger.error("%s", error)
        return "a file that the server keeps cannot be used; its log says which"
    return in_one_line(error)


def status_of(error: InputError) -> int:
    """HTTP status of an error: that of its class above, 500 for a StorageError, 400 for any other InputError."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 400)
