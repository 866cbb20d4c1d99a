"""Panels: input, normal image, residue and saliency side by side, with the truth where it is known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from monai_dgm.metrics.case_results import DecompositionResult
from monai_dgm.report.colours import RESIDUE_COLOURS, grey_levels, overlay, residue_levels, residue_scale
from monai_dgm.transforms.saliency import LungBoxSource, ThresholdRule, compute_saliency
from monai_dgm.utils.atomic import write_bytes
from monai_dgm.utils.png import encode_png

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
_CELL = 209  # side of a picture, in pixels as the lengths below
_GAP, _MARGIN, _CAPTION, _FOOT, _HEAD, _TITLE_HEAD = 4, 4, 22, 30, 26, 60
_BAR, _BAR_SPACE = 12, 76


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
    columns, scale = panel_columns(panels), panels_scale(panels)
    head = _TITLE_HEAD if title else _HEAD
    width = _MARGIN + len(columns) * (_CELL + _GAP) + _BAR_SPACE
    picture = Image.new("RGB", (width, head + len(panels) * (_CAPTION + _CELL) + _FOOT), "white")
    draw = ImageDraw.Draw(picture)
    if title:
        _write(draw, (_MARGIN, 8), title, 17, "black", width - 2 * _MARGIN)
    for row, panel in enumerate(panels):
        top = head + row * (_CAPTION + _CELL) + _CAPTION
        words = f"{panel.caption}   ({LUNG_BOX_WORDS[panel.lung_box_source]})"
        _write(draw, (_MARGIN, top - 16), words, 11, "#444444", width - 2 * _MARGIN)
        for column, name in enumerate(columns):
            left = _MARGIN + column * (_CELL + _GAP)
            if row == 0:
                _write(draw, (left + _CELL // 2, head - 18), COLUMN_TITLES[name], 14, "black", anchor="ma")
            _draw_cell(picture, (left, top), panel, name, scale)
    _draw_bar(picture, (width - _BAR_SPACE + 14, head + _CAPTION), scale)
    _write(draw, (_MARGIN, picture.height - 18), DISCLAIMER, 11, "#666666", width - 2 * _MARGIN)
    content = encode_png(np.asarray(picture))
    if path is not None:
        write_bytes(path, content)
    return content


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    size: int,
    colour: str,
    width: float = float("inf"),
    anchor: str = "la",
) -> None:
    """A line of text, smaller where it would be wider than ``width``."""
    draw.text(place, text, font=fitting_font(text, size, width), fill=colour, anchor=anchor)


def fitting_font(text: str, size: float, width: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The default font at ``size`` pixels, smaller where the line would be wider than ``width`` pixels."""
    font = ImageFont.load_default(size)
    length = font.getlength(text)
    return font if length <= width else ImageFont.load_default(max(6.0, size * width / length))


def _draw_cell(picture: Image.Image, place: tuple[int, int], panel: Panel, name: str, scale: float) -> None:
    draw, (left, top) = ImageDraw.Draw(picture), place
    pixels = panel_picture(panel, name, scale)
    if pixels is None:
        _write(draw, (left + _CELL // 2, top + _CELL // 2), "not known", 11, "#999999", anchor="mm")
        return
    rows, cols = pixels.shape[:2]
    picture.paste(Image.fromarray(pixels).resize((_CELL, _CELL), Image.Resampling.BILINEAR), place)
    unit, corner = np.array([_CELL / cols, _CELL / rows] * 2), np.array([left, top] * 2)
    if name in ("image", "saliency"):
        for box in panel.boxes:
            edges = (box * unit).round() + corner
            draw.rectangle(tuple(edges.tolist()), outline="#2ee6c5", width=2)
    if name == "saliency" and panel.lung_box is not None:
        xmin, ymin, xmax, ymax = ((panel.lung_box * unit).round() + corner).astype(int).tolist()
        for x in range(xmin, xmax, 8):
            for y in (ymin, ymax - 1):
                draw.line((x, y, min(x + 3, xmax), y), fill="#cccccc")
        for y in range(ymin, ymax, 8):
            for x in (xmin, xmax - 1):
                draw.line((x, y, x, min(y + 3, ymax)), fill="#cccccc")


def _draw_bar(picture: Image.Image, place: tuple[int, int], scale: float) -> None:
    """The residue's scale, as high as a cell."""
    (left, top), draw = place, ImageDraw.Draw(picture)
    bar = Image.fromarray(RESIDUE_COLOURS[::-1][:, None].repeat(_BAR, axis=1))
    picture.paste(bar.resize((_BAR, _CELL), Image.Resampling.BILINEAR), place)
    _write(draw, (left, top - 16), "residue", 11, "black")
    for share, value in ((0.0, scale), (0.5, 0.0), (1.0, -scale)):
        y = top + round(share * (_CELL - 1))
        draw.line((left + _BAR, y, left + _BAR + 3, y), fill="black")
        middle = min(max(y, top + 6), top + _CELL - 6)
        _write(draw, (left + _BAR + 6, middle), f"{value:+.2f}" if value else "0", 11, "black", anchor="lm")
