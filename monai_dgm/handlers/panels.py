"""Panels of image | normal | residue | saliency while training, to files and TensorBoard."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ignite.engine import Engine, Events
from PIL import Image

from monai_dgm.engines.decomposition.evaluator import DecompositionMetrics
from monai_dgm.metrics.case_results import DecompositionResult
from monai_dgm.report.panels import panel_figure, panel_from_result

__all__ = ["PanelHandler", "choose_results"]


def choose_results(records: Sequence[DecompositionResult], count: int) -> list[DecompositionResult]:
    """The same few records every time: half with opacities, then normals and other abnormal ones, by image id.

    Args:
        records: to choose from.
        count: how many, at most.
    """
    ordered = sorted(records, key=lambda record: record.image_id)
    marked = [record for record in ordered if record.opacity_area() is not None]
    normal = [record for record in ordered if record.label == 0]
    other = [record for record in ordered if record.label == 1 and record.opacity_area() is None]
    chosen = marked[: (count + 1) // 2]
    chosen += normal[: (count - len(chosen) + 1) // 2]
    chosen += other[: count - len(chosen)]
    seen = {record.image_id for record in chosen}
    return chosen + [record for record in ordered if record.image_id not in seen][: count - len(chosen)]


class PanelHandler:
    """Attached to the validator: draws the same few images after every validation.

    Args:
        figures: whose records are drawn.
        output_dir: ``panel_<epoch>.png`` are written there, and TensorBoard events in the same folder.
        count: images.
    """

    def __init__(self, metrics: DecompositionMetrics, output_dir: str | os.PathLike[str], count: int = 6) -> None:
        self.metrics = metrics
        self.output_dir = Path(output_dir)
        self.count = count

    def attach(self, engine: Engine) -> None:
        """After the metrics are computed."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw."""
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and only training with panels needs it

        panels = [panel_from_result(record) for record in choose_results(self.metrics.records, self.count)]
        png = panel_figure(panels, self.output_dir / f"panel_{engine.state.epoch:04d}.png")
        picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        with SummaryWriter(str(self.output_dir)) as writer:
            writer.add_image("decomposition", picture, engine.state.epoch, dataformats="HWC")
