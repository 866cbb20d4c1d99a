"""Panels: input, normal image, residue and saliency side by side, with the truth where it is known."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.metrics.case_results import DecompositionResult
from monai_dgm.report.colours import RESIDUE_COLOURS, grey_levels, overlay, residue_levels, residue_scale
from monai_dgm.transforms.saliency import LungBoxSource, ThresholdRule, compute_saliency
from monai_dgm.utils.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DISCLAIMER = "Research software, synthetic images, not for diagnosis."
LUNG_BOX_WORDS = {
    "lung_mask": "lung box from the lung mask",
    "given": "lung box given",
    "whole_image": "no lung box: whole image",
}
COLUMN_TITLES = {
    "image": "input",
    "normal": "normal",
    "residue": "residue",
    "saliency": "saliency",
    "true_normal": "true normal",
    "true_residue": "true residue",
}
_CELL = 1.9  # inches


@dataclass(frozen=True)
class Panel:
    """One decomposed radiograph to show.

    Attributes:
        image: z, float32 (S, S) in [-1, 1].
        normal: y', float32 (S, S) in [-1, 1].
        residue: a, float32 (S, S).
        saliency: heat, float32 (S, S) in [0, 1], 0 where nothing is salient.
        boxes: true opacity boxes, float32 (N, 4) in model coordinates; (0, 4) for none.
        caption: one line without patient identifiers.
        true_normal: float32 (S, S), where known.
        true_residue: float32 (S, S), where known.
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
    result: DecompositionResult,
    threshold: ThresholdRule | float = "otsu",
    lung_box: ArrayLike | None = None,
) -> Panel:
    """The panel of an evaluated radiograph, with the saliency of its residue and the lung box of its lung mask.

    A residue that is not finite gets an empty saliency, so that the report of a diverged training can be drawn.
    """
    residue = result.residue if np.isfinite(result.residue).all() else np.zeros_like(result.residue)
    saliency = compute_saliency(residue, lung_box, threshold, lung_mask=result.lung_mask)
    truth = result.true_normal
    return Panel(
        image=result.image,
        normal=result.normal,
        residue=result.residue,
        saliency=saliency.heat,
        boxes=np.zeros((0, 4), np.float32) if result.opacity_boxes is None else result.opacity_boxes,
        caption=f"{result.image_id} · {result.category.replace('_', ' ')} · p(abnormal) {result.probability:.2f}",
        true_normal=truth,
        true_residue=None if truth is None else result.image - truth,
        lung_box_source=saliency.lung_box_source,
        lung_box=None if saliency.lung_box_source == "whole_image" else saliency.lung_box,
    )


def panel_columns(panels: Sequence[Panel]) -> list[str]:
    """Names of the columns in order; those of the truth only where a panel has it."""
    return [name for name in COLUMN_TITLES if any(getattr(panel, name) is not None for panel in panels)]


def panels_scale(panels: Sequence[Panel]) -> float:
    """The |a| in full colour, shared by all residues and true residues of the panels."""
    planes = [plane for panel in panels for plane in (panel.residue, panel.true_residue) if plane is not None]
    return residue_scale(planes)


def panel_picture(panel: Panel, column: str, scale: float) -> NDArray[np.uint8] | None:
    """RGB (S, S, 3) of one cell; None where the plane is not known."""
    plane = getattr(panel, column)
    if plane is None:
        return None
    if column in ("residue", "true_residue"):
        return np.asarray(RESIDUE_COLOURS[residue_levels(plane, scale)])
    if column == "saliency":
        return overlay(panel.image, plane)
    return grey_levels(plane)[..., None].repeat(3, axis=-1)


def panel_figure(panels: Sequence[Panel], path: str | os.PathLike[str] | None = None, title: str = "") -> bytes:
    """Draw one panel per row, with true boxes, one residue scale with its colour bar, and the disclaimer.

    Args:
        panels: at least one.
        path: also write the PNG there (atomically).
        title: above the panels.

    Returns:
        PNG file.

    Raises:
        ValueError: no panels.
    """
    if not panels:
        raise ValueError("panels: expected at least one, got none")
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.figure import Figure

    columns, scale = panel_columns(panels), panels_scale(panels)
    head = 0.75 if title else 0.45
    width, height = len(columns) * _CELL + 0.75, head + len(panels) * (_CELL + 0.2) + 0.3
    figure = Figure(figsize=(width, height), facecolor="white")
    frame = {"left": 0.02 / width, "right": 1 - 0.75 / width, "top": 1 - head / height, "bottom": 0.3 / height}
    grid = figure.subplots(
        len(panels), len(columns), squeeze=False, gridspec_kw={**frame, "wspace": 0.02, "hspace": 0.22 / _CELL}
    )
    for cells, panel in zip(grid, panels, strict=True):
        for axes, name in zip(cells, columns, strict=True):
            _draw_cell(axes, panel, name, scale)
        words = f"{panel.caption}   ({LUNG_BOX_WORDS[panel.lung_box_source]})"
        # Captions are plain text: a dollar sign in an image's name does not start a formula.
        cells[0].set_title(words, loc="left", fontsize=6.5, color="#444", pad=2, parse_math=False)
    for axes, name in zip(grid[0], columns, strict=True):
        place = axes.get_position()
        figure.text((place.x0 + place.x1) / 2, 1 - (head - 0.22) / height, COLUMN_TITLES[name], ha="center", size=9)
    first = grid[0, -1].get_position()
    bar = figure.add_axes((first.x1 + 0.12 / width, first.y0, 0.11 / width, first.height))
    colours = ScalarMappable(Normalize(-scale, scale), ListedColormap(RESIDUE_COLOURS / 255))
    figure.colorbar(colours, cax=bar, ticks=[-scale, 0, scale], format="%+.2f").ax.tick_params(labelsize=6.5, length=2)
    bar.set_title("residue", fontsize=6.5, loc="left", pad=7)
    if title:
        figure.text(0.04 / width, 1 - 0.24 / height, title, fontsize=11, weight="bold", parse_math=False)
    figure.text(0.04 / width, 0.09 / height, DISCLAIMER, fontsize=7, color="#666")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    if path is not None:
        with atomic_write(path) as partial:
            partial.write_bytes(buffer.getvalue())
    return buffer.getvalue()


def _draw_cell(axes: Axes, panel: Panel, name: str, scale: float) -> None:
    axes.set_axis_off()
    picture = panel_picture(panel, name, scale)
    if picture is None:
        axes.text(0.5, 0.5, "not known", ha="center", va="center", fontsize=7, color="#999")
        return
    rows, cols = picture.shape[:2]
    axes.imshow(picture, extent=(0, cols, rows, 0), interpolation="bilinear")
    if name in ("image", "saliency"):
        for box in panel.boxes:
            _draw_box(axes, box, edgecolor="#2ee6c5", linewidth=1.2)
    if name == "saliency" and panel.lung_box is not None:
        _draw_box(axes, panel.lung_box, edgecolor="white", linewidth=0.6, linestyle=(0, (3, 3)), alpha=0.6)


def _draw_box(axes: Axes, box: NDArray[np.float32], **style: Any) -> None:
    from matplotlib.patches import Rectangle

    xmin, ymin, xmax, ymax = (float(edge) for edge in box)
    axes.add_patch(Rectangle((xmin, ymin), xmax - xmin, ymax - ymin, fill=False, **style))
