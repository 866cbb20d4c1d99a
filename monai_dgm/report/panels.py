"""Panels: input | normal | residue | saliency, with the truth where it is known, as one picture.

:func:`panel_figure` draws them for TensorBoard and documents; the report page lays out the same :class:`Panel`
objects itself.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from monai_dgm.metrics.case_results import DecompositionResult
from monai_dgm.report.colours import RESIDUE_COLOURS, grey_levels, overlay, residue_levels, residue_scale
from monai_dgm.transforms.saliency import LungBoxSource, ThresholdRule, compute_saliency
from monai_dgm.utils.atomic import atomic_write

DISCLAIMER = "Research software, synthetic images, not for diagnosis."
LUNG_BOX_WORDS = {
    "lung_mask": "lung box from the lung mask",
    "given": "lung box given",
    "whole_image": "no lung box: whole image",
}
BOX_COLOUR = "#2ee6c5"
_TITLES = {
    "image": "input",
    "normal": "normal",
    "residue": "residue",
    "saliency": "saliency",
    "true_normal": "true normal",
    "true_residue": "true residue",
}


@dataclass(frozen=True)
class Panel:
    """One decomposed radiograph to show.

    Attributes:
        image: z, float32 (S, S) in [-1, 1].
        normal: y', float32 (S, S) in [-1, 1].
        residue: a, float32 (S, S).
        saliency: heat, float32 (S, S) in [0, 1], 0 where nothing is salient.
        boxes: true opacity boxes, float32 (N, 4) in model coordinates; (0, 4) for none.
        caption: one line; no patient identifiers.
        true_normal: float32 (S, S), when known.
        true_residue: float32 (S, S), when known.
        lung_box_source: as in :class:`monai_dgm.transforms.saliency.Saliency`.
        lung_box: (4,) in model coordinates, drawn dashed; None for the whole image.
    """

    image: NDArray[np.float32]
    normal: NDArray[np.float32]
    residue: NDArray[np.float32]
    saliency: NDArray[np.float32]
    boxes: NDArray[np.float32]
    caption: str = ""
    true_normal: NDArray[np.float32] | None = None
    true_residue: NDArray[np.float32] | None = None
    lung_box_source: LungBoxSource = "whole_image"
    lung_box: NDArray[np.float32] | None = None


def panel_from_result(
    record: DecompositionResult,
    threshold: ThresholdRule | float = "otsu",
    lung_box: ArrayLike | None = None,
) -> Panel:
    """Panel of an evaluated record: its saliency from the residue, its lung box from the lung mask where known.

    A residue that is not finite has no saliency, so that the report of a diverged training can still be drawn.
    """
    residue = record.residue if np.isfinite(record.residue).all() else np.zeros_like(record.residue)
    saliency = compute_saliency(residue, lung_box, threshold, lung_mask=record.lung_mask)
    boxes = np.zeros((0, 4), np.float32) if record.opacity_boxes is None else record.opacity_boxes
    truth = record.true_normal
    return Panel(
        image=record.image,
        normal=record.normal,
        residue=record.residue,
        saliency=saliency.heat,
        boxes=boxes,
        caption=f"{record.image_id} · {record.category.replace('_', ' ')} · p(abnormal) {record.probability:.2f}",
        true_normal=truth,
        true_residue=None if truth is None else record.image - truth,
        lung_box_source=saliency.lung_box_source,
        lung_box=None if saliency.lung_box_source == "whole_image" else saliency.lung_box,
    )


def panel_columns(panels: Sequence[Panel]) -> list[str]:
    """Columns that the panels need, in order: the true images only where one of them is known."""
    columns = ["image", "normal", "residue", "saliency"]
    return columns + [name for name in ("true_normal", "true_residue") if any(_has(panel, name) for panel in panels)]


def _has(panel: Panel, name: str) -> bool:
    return getattr(panel, name) is not None


def column_title(name: str) -> str:
    """What stands above a column."""
    return _TITLES[name]


def panels_scale(panels: Sequence[Panel]) -> float:
    """|a| in full colour, shared by every residue and true residue of the panels."""
    residues = [panel.residue for panel in panels]
    return residue_scale([*residues, *(panel.true_residue for panel in panels if panel.true_residue is not None)])


def panel_picture(panel: Panel, column: str, scale: float) -> NDArray[np.uint8] | None:
    """Colours (S, S, 3) of one cell, or None where it is not known."""
    if not _has(panel, column):
        return None
    plane = getattr(panel, column)
    if column in ("residue", "true_residue"):
        return np.asarray(RESIDUE_COLOURS[residue_levels(plane, scale)])
    if column == "saliency":
        return overlay(panel.image, plane)
    return grey_levels(plane)[..., None].repeat(3, axis=-1)


@dataclass(frozen=True)
class _Layout:
    """Places on the figure, all in inches; ``fraction`` turns them into matplotlib's."""

    columns: int
    rows: int
    title: bool
    cell: float = 1.9
    caption: float = 0.22
    bar: float = 0.75
    foot: float = 0.28

    @property
    def head(self) -> float:
        return 0.62 if self.title else 0.3

    @property
    def size(self) -> tuple[float, float]:
        height = self.head + self.rows * (self.caption + self.cell) + self.foot
        return self.columns * self.cell + self.bar, height

    def bottom(self, row: int) -> float:
        """Lower edge of a row's cells."""
        return self.size[1] - self.head - (row + 1) * (self.caption + self.cell)

    def fraction(self, left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
        across, up = self.size
        return left / across, bottom / up, width / across, height / up


def panel_figure(panels: Sequence[Panel], path: str | os.PathLike[str] | None = None, title: str = "") -> bytes:
    """Draw panels one a row, with true boxes, a shared residue scale and its colour bar, and the disclaimer.

    Args:
        panels: at least one.
        path: also write the PNG there (atomically).
        title: above the figure.

    Returns:
        PNG file.

    Raises:
        ValueError: no panels.
    """
    if not panels:
        raise ValueError("panels: expected at least one, got none")
    columns, scale = panel_columns(panels), panels_scale(panels)
    layout = _Layout(len(columns), len(panels), bool(title))
    figure = Figure(figsize=layout.size, facecolor="white")
    FigureCanvasAgg(figure)
    for row, panel in enumerate(panels):
        for col, name in enumerate(columns):
            left, side = col * layout.cell + 0.02, layout.cell - 0.04
            _draw_cell(
                figure.add_axes(layout.fraction(left, layout.bottom(row) + 0.02, side, side)), panel, name, scale
            )
        words = f"{panel.caption}   ({LUNG_BOX_WORDS[panel.lung_box_source]})"
        _write(figure, layout, 0.04, layout.bottom(row) + layout.cell + 0.03, words, fontsize=6.5, color="#444")
    top = layout.size[1] - layout.head + 0.06
    for col, name in enumerate(columns):
        _write(figure, layout, (col + 0.5) * layout.cell, top, column_title(name), ha="center", weight="bold")
    _draw_colour_bar(figure, layout, scale)
    if title:
        _write(figure, layout, 0.04, layout.size[1] - 0.24, title, fontsize=11, weight="bold")
    _write(figure, layout, 0.04, 0.09, DISCLAIMER, fontsize=7, color="#666")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    if path is not None:
        with atomic_write(path) as partial:
            partial.write_bytes(buffer.getvalue())
    return buffer.getvalue()


def _write(figure: Figure, layout: _Layout, x: float, y: float, words: str, **style: Any) -> None:
    """Text at (x, y) inches; ``$`` is a dollar sign and not mathematics."""
    across, up = layout.size
    figure.text(x / across, y / up, words, **{"fontsize": 9, "parse_math": False, **style})


def _draw_cell(axes: Axes, panel: Panel, name: str, scale: float) -> None:
    axes.set_axis_off()
    picture = panel_picture(panel, name, scale)
    if picture is None:
        axes.text(0.5, 0.5, "not known", ha="center", va="center", fontsize=7, color="#999")
        return
    rows, cols = picture.shape[:2]
    axes.imshow(picture, extent=(0, cols, rows, 0), interpolation="bilinear")
    if name not in ("image", "saliency"):
        return
    for box in panel.boxes:
        axes.add_patch(_rectangle(box, edgecolor=BOX_COLOUR, linewidth=1.2))
    if name == "saliency" and panel.lung_box is not None:
        axes.add_patch(_rectangle(panel.lung_box, edgecolor="white", linewidth=0.6, linestyle=(0, (3, 3)), alpha=0.6))


def _rectangle(box: NDArray[np.float32], **style: Any) -> Rectangle:
    xmin, ymin, xmax, ymax = (float(edge) for edge in box)
    return Rectangle((xmin, ymin), xmax - xmin, ymax - ymin, fill=False, **style)


def _draw_colour_bar(figure: Figure, layout: _Layout, scale: float) -> None:
    """Beside the first row."""
    left, bottom = layout.columns * layout.cell + 0.14, layout.bottom(0) + 0.1
    axes = figure.add_axes(layout.fraction(left, bottom, 0.11, layout.cell - 0.3))
    axes.imshow(RESIDUE_COLOURS[::-1, None, :], aspect="auto", extent=(0, 1, -scale, scale))
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.set_yticks([-scale, 0, scale], [f"−{scale:.2f}", "0", f"+{scale:.2f}"])
    axes.tick_params(labelsize=6.5, length=2)
    axes.set_title("residue", fontsize=6.5, loc="left")
