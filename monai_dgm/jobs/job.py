"""One command of a bundle, as plans hold it. Nothing here runs or reads anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Job", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """How a bundle trains.

    Attributes:
        overrides: keys of the configuration and their values.
        overlays: configuration files of the bundle laid over its ``train.json``, before the overrides; an absolute path
            is a file elsewhere.
    """

    overrides: Mapping[str, Any] = field(default_factory=dict)
    overlays: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One command of a bundle.

    Attributes:
        name: unique, made of letters, digits, dots, dashes and underscores; the job's folder starts with it.
        kind: "decomposer", "head", "classifier" or "detector".
        title: one line for people.
        bundle: folder below ``bundles/``.
        run_id: what the bundle runs, "training" or "evaluating".
        configs: files in the bundle's ``configs/``, or absolute paths; the last one wins.
        overrides: keys and values; the runner adds the paths.
        fold: the test fold.
        needs: the job whose weights it takes (the fold's decomposer), or None.
    """

    name: str
    kind: str
    title: str
    bundle: str
    run_id: str
    configs: tuple[str, ...]
    overrides: Mapping[str, Any]
    fold: int
    needs: str | None = None
