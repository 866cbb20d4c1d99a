"""When to look again at what others may have changed: a folder, an archive."""

from __future__ import annotations

import time

__all__ = ["Rescan"]

RESCAN_SECONDS = 5.0


class Rescan:
    """Whether the last look is some seconds old. One thread at a time."""

    def __init__(self) -> None:
        self._looked: float | None = None

    @property
    def due(self) -> bool:
        """Whether to look again; so before the first look."""
        return self._looked is None or time.monotonic() - self._looked >= RESCAN_SECONDS

    def done(self) -> None:
        """A look has ended now."""
        self._looked = time.monotonic()
