"""Exceptions that reach a user as one line."""

from __future__ import annotations


def in_one_line(error: BaseException) -> str:
    """The whole message of an error, its lines joined."""
    return " ".join(str(error).split())


class InputError(ValueError):
    """Input that cannot be used: the message names the file, what was expected and what came, in one line."""


class StorageError(InputError):
    """A file that this software keeps for itself cannot be used; its name is not for a server's clients."""
