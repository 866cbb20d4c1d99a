"""Draws panels of input, normal image, residue and saliency while training, as files and in TensorBoard."""

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


def choose_results(results: Sequence[DecompositionResult], count: int) -> list[DecompositionResult]:
    """Results to show: half of them with opacities, then normal and other abnormal images, the first by image id.

    The same images are chosen after every validation.

    Args:
        results: to choose from.
        count: at most so many are chosen.
    """
    ordered = sorted(results, key=lambda result: result.image_id)
    marked = [result for result in ordered if result.opacity_area() is not None]
    normal = [result for result in ordered if result.label == 0]
    other = [result for result in ordered if result.label == 1 and result.opacity_area() is None]
    chosen = marked[: (count + 1) // 2]
    chosen += normal[: (count - len(chosen) + 1) // 2]
    chosen += other[: count - len(chosen)]
    seen = {result.image_id for result in chosen}
    return chosen + [result for result in ordered if result.image_id not in seen][: count - len(chosen)]


class PanelHandler:
    """Draws the same few images after every validation.

    Args:
        metrics: of the validation; its results are drawn.
        output_dir: folder for ``panel_<epoch>.png`` and for TensorBoard events.
        count: number of images.
    """

    def __init__(self, metrics: DecompositionMetrics, output_dir: str | os.PathLike[str], count: int = 6) -> None:
        self.metrics = metrics
        self.output_dir = Path(output_dir)
        self.count = count

    def attach(self, engine: Engine) -> None:
        """Draw after each validation, when its metrics are computed."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the picture of this epoch."""
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and only training with panels needs it

        panels = [panel_from_result(result) for result in choose_results(self.metrics.results, self.count)]
        png = panel_figure(panels, self.output_dir / f"panel_{engine.state.epoch:04d}.png")
        picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        with SummaryWriter(str(self.output_dir)) as writer:
            writer.add_image("decomposition", picture, engine.state.epoch, dataformats="HWC")
