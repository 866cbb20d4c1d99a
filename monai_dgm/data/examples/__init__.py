"""Real radiographs that come with the package, to try it on: see README.md in this folder for their source."""

from __future__ import annotations

from pathlib import Path

__all__ = ["example_radiographs"]


def example_radiographs() -> Path:
    """The folder of a ``manifest.csv`` and ``images/``: 24 radiographs of NIH ChestX-ray14, PNG of 288 x 288 pixels."""
    return Path(__file__).parent
