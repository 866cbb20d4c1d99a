"""What commands of the package end with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from monai_dgm.errors import InputError

__all__ = ["exit_status"]


def exit_status(run: Callable[[argparse.Namespace], int | None], arguments: argparse.Namespace) -> int:
    """Run a command: its own status, 0 where it has none, 2 where it refuses its input, in one line on stderr."""
    try:
        return run(arguments) or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
