"""Exceptions that reach a user as one line."""

from __future__ import annotations


def in_one_line(error: BaseException) -> str:
    """The whole message of an error, its lines joined."""
    return " ".join(str(error).split())


def reason_of(error: BaseException, name: str) -> str:
    """Why a file cannot be used, in one line: our own message, else what kind of error came.

    Messages of other software are not repeated, for they may quote patient data.

    Args:
        error: what reading raised.
        name: the file, as our own messages name it.
    """
    if isinstance(error, InputError):
        return in_one_line(error)
    if isinstance(error, OSError):
        return f"{name}: cannot be read ({error.strerror or type(error).__name__})"
    return f"{name}: cannot be used, reading it failed ({type(error).__name__})"


class InputError(ValueError):
    """Input that cannot be used: the message names the file, what was expected and what came, in one line."""


class UsageError(InputError):
    """A command that was called with something it cannot work on: it ends with exit status 2."""


class StorageError(InputError):
    """A file that this software keeps for itself cannot be used; its name is not for a server's clients."""


def input_error_of(error: BaseException) -> InputError | None:
    """The :class:`InputError` that is, or led to, an error: MONAI wraps those of a configuration's expressions."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, InputError):
        cause = cause.__cause__ or cause.__context__
    return cause
