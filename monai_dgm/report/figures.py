"""Panels: input | normal | residue | saliency, with the truth where it is known, as one picture.

:func:`panel_figure` draws them for TensorBoard and documents; the report page lays out the same :class:`Panel`
objects itself.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.metrics.records import DecompositionRecord
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


def panel_from_record(
    record: DecompositionRecord,
    threshold: ThresholdRule | float = "otsu",
    lung_box: ArrayLike | None = None,
) -> Panel:
    """Panel of an evaluated record: its saliency from the residue, its lung box from the lung mask where known."""
    saliency = compute_saliency(record.residue, lung_box, threshold, lung_mask=record.lung_mask)
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
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # only here, so that a page needs no matplotlib
    from matplotlib.figure import Figure

    columns, scale = panel_columns(panels), panels_scale(panels)
    inch, bar, head, caption = 1.9, 0.75, 0.62 if title else 0.34, 0.2
    width = inch * len(columns) + bar
    height = (inch + caption) * len(panels) + head + 0.26
    figure = Figure(figsize=(width, height), facecolor="white")
    for row, panel in enumerate(panels):
        bottom = height - head - (row + 1) * (inch + caption)
        for col, name in enumerate(columns):
            axes = figure.add_axes(
                (
                    (col * inch + 0.02) / width,
                    (bottom + 0.02) / height,
                    (inch - 0.04) / width,
                    (inch - 0.04) / height,
                )
            )
            _draw_cell(axes, panel, name, scale)
            if row == 0:
                axes.text(0.5, 1.13, column_title(name), transform=axes.transAxes, ha="center", fontsize=9, weight="bold")
        where = f"  ({LUNG_BOX_WORDS[panel.lung_box_source]})"
        figure.text(0.04 / width, (bottom + inch + 0.03) / height, panel.caption + where, fontsize=6.5, color="#444")
    _draw_colour_bar(figure, scale, width, height, inch * len(columns), inch, head + caption)
    if title:
        figure.text(0.04 / width, 1 - 0.2 / height, title, fontsize=11, weight="bold")
    figure.text(0.04 / width, 0.08 / height, DISCLAIMER, fontsize=7, color="#666")
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=110)
    png = buffer.getvalue()
    if path is not None:
        with atomic_write(path) as partial:
            partial.write_bytes(png)
    return png


def _draw_cell(axes: object, panel: Panel, name: str, scale: float) -> None:
    from matplotlib.patches import Rectangle

    axes.set_axis_off()  # type: ignore[attr-defined]
    picture = panel_picture(panel, name, scale)
    if picture is None:
        axes.text(0.5, 0.5, "not known", ha="center", va="center", fontsize=7, color="#999")  # type: ignore[attr-defined]
        return
    rows, cols = picture.shape[:2]
    axes.imshow(picture, extent=(0, cols, rows, 0), interpolation="bilinear")  # type: ignore[attr-defined]
    if name not in ("image", "saliency"):
        return
    for xmin, ymin, xmax, ymax in panel.boxes:
        box = Rectangle((xmin, ymin), xmax - xmin, ymax - ymin, fill=False, edgecolor=BOX_COLOUR, linewidth=1.2)
        axes.add_patch(box)  # type: ignore[attr-defined]
    if name == "saliency" and panel.lung_box is not None:
        xmin, ymin, xmax, ymax = panel.lung_box
        style = {"fill": False, "edgecolor": "white", "linewidth": 0.6, "linestyle": (0, (3, 3)), "alpha": 0.6}
        axes.add_patch(Rectangle((xmin, ymin), xmax - xmin, ymax - ymin, **style))  # type: ignore[attr-defined]


def _draw_colour_bar(
    figure: object, scale: float, width: float, height: float, left: float, inch: float, top: float
) -> None:
    rect = ((left + 0.14) / width, (height - top - inch + 0.1) / height, 0.11 / width, (inch - 0.2) / height)
    axes = figure.add_axes(rect)  # type: ignore[attr-defined]
    axes.imshow(RESIDUE_COLOURS[::-1, None, :], aspect="auto", extent=(0, 1, -scale, scale))
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.set_yticks([-scale, 0, scale], [f"−{scale:.2f}", "0", f"+{scale:.2f}"])
    axes.tick_params(labelsize=6.5, length=2)
    axes.set_title("residue", fontsize=6.5, loc="left")
