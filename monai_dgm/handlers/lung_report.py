"""Handler that writes the report of a lung segmentor: metrics as CSV and JSON, and a picture of masks."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ignite.engine import Engine, Events
from numpy.typing import NDArray
from PIL import Image

from monai_dgm.engines.lungs.mask_evaluation import LungMaskResult, LungMetrics
from monai_dgm.engines.metric_rows import add_to_settings, finite
from monai_dgm.handlers.report_writer import write_rows
from monai_dgm.metrics.case_results import MetricRow
from monai_dgm.utils.atomic import atomic_write

__all__ = ["LungReport", "draw_masks", "save_metrics_to_settings"]

logger = logging.getLogger(__name__)

PANEL_SIDE = 192
COLUMNS = 6
_TRUTH, _FOUND = (80, 200, 120), (240, 80, 60)


class LungReport:
    """Writes ``report/metrics.csv``, ``metrics.json`` and ``lungs.png`` when the evaluator has finished.

    Args:
        metrics: of the evaluation.
        output_dir: ``report/`` is made in it.
        chest_rows: called at the end for the metrics of the chest check; None leaves them out.
        model_path: weights; the metrics are also added to the JSON file beside them. None adds them nowhere.
    """

    def __init__(
        self,
        metrics: LungMetrics,
        output_dir: str | os.PathLike[str],
        chest_rows: Callable[[], Sequence[MetricRow]] | None = None,
        model_path: str | os.PathLike[str] | None = None,
    ) -> None:
        self.metrics = metrics
        self.folder = Path(output_dir) / "report"
        self.chest_rows = chest_rows
        self.model_path = model_path

    def attach(self, engine: Engine) -> None:
        """Write the report when the evaluation, with its metrics, has finished."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write all files and print a line for each metric."""
        rows = [*self.metrics.rows, *(self.chest_rows() if self.chest_rows is not None else ())]
        write_rows(rows, self.folder)
        picture = draw_masks(self.metrics)
        with atomic_write(self.folder / "lungs.png") as partial:
            Image.fromarray(picture).save(partial)
        if self.model_path is not None:
            save_metrics_to_settings(self.model_path, rows)
        for row in rows:
            bounds = f"[{row.low:.3f}, {row.high:.3f}]"
            print(f"{row.group:32} {row.name:26} {row.value:.3f} {bounds}, {row.num_images} images")
        print(f"metrics: {self.folder / 'metrics.json'}", flush=True)


def save_metrics_to_settings(model_path: str | os.PathLike[str], rows: Sequence[MetricRow]) -> None:
    """Add metrics to the JSON file beside a model's weights, under "metrics", by group and name.

    Args:
        model_path: the weights.
        rows: metrics; a value that is not defined becomes None.
    """
    metrics: dict[str, dict[str, dict[str, float | int | None]]] = {}
    for row in rows:
        numbers = {"value": row.value, "low": row.low, "high": row.high}
        clean = {name: finite(number, 6) for name, number in numbers.items()}
        metrics.setdefault(row.group, {})[row.name] = {**clean, "num_images": row.num_images}
    add_to_settings(model_path, metrics=metrics)


def draw_masks(metrics: LungMetrics, number: int = 12) -> NDArray[np.uint8]:
    """Radiographs with the outlines of true (green) and predicted (red) lung masks.

    Half of them have the lowest Dice; the others are taken from the remaining images at equal steps of rank.

    Args:
        metrics: of an evaluation.
        number: of panels, six in each row.

    Returns:
        RGB picture, uint8 (rows, columns, 3).
    """
    order = sorted(range(len(metrics.results)), key=lambda index: metrics.results[index].dice)
    number = min(number, len(order))
    worst, rest = order[: number // 2], order[number // 2 :]
    steps = np.linspace(0, len(rest) - 1, number - len(worst)).round().astype(int)
    chosen = [*worst, *(rest[step] for step in dict.fromkeys(steps.tolist()))]
    panels = [_panel(metrics.dataset[index]["image"][0].numpy(), metrics.results[index]) for index in chosen]
    panels += [np.zeros_like(panels[0])] * (-len(panels) % COLUMNS)
    return np.concatenate([np.concatenate(panels[i : i + COLUMNS], 1) for i in range(0, len(panels), COLUMNS)])


def _panel(image: NDArray[np.float32], record: LungMaskResult) -> NDArray[np.uint8]:
    scale = max(1, round(PANEL_SIDE / image.shape[0]))
    grey = ((image + 1) * 127.5).clip(0, 255).astype(np.uint8).repeat(scale, 0).repeat(scale, 1)
    picture = np.stack([grey] * 3, axis=-1)
    for mask, colour in ((record.truth, _TRUTH), (record.mask, _FOUND)):
        large = mask.repeat(scale, 0).repeat(scale, 1)
        padded = np.pad(large, 1)
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        picture[large & ~inner] = colour
    return picture
