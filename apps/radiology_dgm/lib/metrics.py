"""Numbers about the server for Prometheus. They contain no names, ids or UIDs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from monai_dgm.labelling.server.http_errors import ArchiveAwayError

SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LOW_DISK = 200_000_000  # bytes; below it the server says that it is not well


@dataclass
class Timed:
    """A request that is being answered."""

    status: int = 0


class Metrics:
    """Counts requests, and asks the app for its state when it is asked itself.

    Args:
        app: the label app.
    """

    def __init__(self, app: Any) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("monai_dgm_requests", "Requests", ["route", "status"], registry=self.registry)
        self.seconds = Histogram(
            "monai_dgm_request_seconds", "Time to the answer", ["route"], buckets=SECONDS, registry=self.registry
        )
        self.registry.register(_State(app))

    @contextmanager
    def timed(self, route: str) -> Iterator[Timed]:
        """Count a request, whose status the block sets."""
        one, start = Timed(), time.perf_counter()
        try:
            yield one
        finally:
            self.requests.labels(route, str(one.status)).inc()
            self.seconds.labels(route).observe(time.perf_counter() - start)

    def text(self) -> bytes:
        """All numbers as Prometheus reads them."""
        return generate_latest(self.registry)


class _State(Collector):
    def __init__(self, app: Any) -> None:
        self.app = app

    def collect(self) -> Iterable[Metric]:
        """The state now."""
        for name, (about, value) in state_of(self.app).items():
            yield GaugeMetricFamily(f"monai_dgm_{name}", about, value=value)
        models = {name: version or "none" for name, version in self.app.analysis.models.versions().items()}
        yield InfoMetricFamily("monai_dgm_models", "Versions of the models", models)


def state_of(app: Any) -> dict[str, tuple[str, float]]:
    """Numbers of the app's state with what they are."""
    submissions = app.submissions
    try:
        images = float(len(app.analysis.studies.ids()))
    except ArchiveAwayError:
        images = float("nan")
    values = {
        "images": ("Images", images),
        "labelled_images": ("Images with a label", len(submissions.labelled())),
        "damaged_labels": ("Label files that are left out", len(submissions.damaged)),
        "disk_free_bytes": ("Free space for labels and results", shutil.disk_usage(app.settings.state_dir).free),
        "training": ("Whether a training runs", float(app.training.running())),
        "scoring_failures": ("Images that cannot be scored", len(app.selection.failures)),
    }
    if app.watcher is not None:
        files, size = app.analysis.studies.cache.size()
        values |= {
            "archive_away": ("Whether the archive does not answer", float(app.watcher.away)),
            "queue": ("Images that wait for results", app.watcher.waiting),
            "result_failures": ("Images whose results failed", len(app.watcher.results.failures())),
            "cache_files": ("Files in the cache", files),
            "cache_bytes": ("Size of the cache", size),
        }
    return values


def problems_of(app: Any) -> list[str]:
    """Why the server is not well; empty where it is."""
    found = [] if app.analysis.models.has("decomposer") else ["no decomposer"]
    if shutil.disk_usage(app.settings.state_dir).free < LOW_DISK:
        found.append("little space on the disk")
    if app.watcher is not None and app.watcher.away:
        found.append("the archive does not answer")
    return found
