"""Handler that writes the report of an evaluation: a page, the metrics as CSV and JSON, and panels."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from monai_dgm.engines.decomposition.evaluator import DecompositionMetrics
from monai_dgm.handlers.history import read_history
from monai_dgm.handlers.panels import choose_results
from monai_dgm.metrics.case_results import MetricRow
from monai_dgm.report import table_files
from monai_dgm.report.page import write_report
from monai_dgm.report.panels import panel_figure, panel_from_result
from monai_dgm.utils.atomic import write_json

__all__ = ["ReportWriter", "write_rows"]

logger = logging.getLogger(__name__)


def write_rows(rows: Sequence[MetricRow], folder: str | os.PathLike[str]) -> None:
    """Write metrics to ``metrics.csv`` (NaN is empty) and ``metrics.json`` (NaN is null) in ``folder``."""
    clean = [table_files.without_nan(dataclasses.asdict(row)) for row in rows]
    table_files.write_rows(Path(folder) / "metrics.csv", clean)
    write_json(Path(folder) / "metrics.json", clean)


class ReportWriter:
    """Writes ``report/index.html`` with metrics, panels and curves when the evaluator has finished.

    Args:
        metrics: of the evaluation.
        output_dir: ``report/`` is made in it.
        title: heading of the page.
        summary: what was trained or evaluated, on which data.
        settings: shown on the page; may be nested.
        history: file of :class:`monai_dgm.handlers.history.TrainingHistory`, or None.
        warnings: a list that the collapse monitor fills, or None.
        num_panels: number of images shown.
    """

    def __init__(
        self,
        metrics: DecompositionMetrics,
        output_dir: str | os.PathLike[str],
        title: str,
        summary: str,
        settings: Mapping[str, Any] | None = None,
        history: str | os.PathLike[str] | None = None,
        warnings: Sequence[str] | None = None,
        num_panels: int = 12,
    ) -> None:
        self.metrics = metrics
        self.folder = Path(output_dir) / "report"
        self.title = title
        self.summary = summary
        self.settings = dict(settings or {})
        self.history = history
        self.warnings = warnings if warnings is not None else ()
        self.num_panels = num_panels

    def attach(self, engine: Engine) -> None:
        """Write the report when the evaluation, with its metrics, has finished."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write all files and log the metrics of the group "all"."""
        rows = self.metrics.rows
        panels = [panel_from_result(result) for result in choose_results(self.metrics.results, self.num_panels)]
        write_rows(rows, self.folder)
        panel_figure(panels, self.folder / "panels.png")
        page = write_report(
            self.folder,
            title=self.title,
            summary=self.summary,
            settings=self.settings,
            history=[] if self.history is None else read_history(self.history),
            metrics=rows,
            panels=panels,
            warnings=list(self.warnings),
            notes=[],
        )
        for row in rows:
            if row.group == "all":
                logger.info("%s: %.3f [%.3f, %.3f], %d images", row.name, row.value, row.low, row.high, row.num_images)
        print(f"report: {page}", flush=True)
