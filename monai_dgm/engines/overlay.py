"""A picture of one decomposed radiograph: saliency heat and opacity boxes over the image, caption and disclaimer."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from monai_dgm.report.colours import HEAT_COLOURS, heat_levels
from monai_dgm.report.panels import fitting_font
from monai_dgm.transforms.geometry import resize_antialiased

DISCLAIMER = "Research software, not for diagnosis"
# clearer than the report's, so that the anatomy below the heat can be read; index 0 is no heat
_HEAT_OPACITY = np.concatenate([[0], np.linspace(75, 150, 255)]).round().astype(np.uint8)
_BOX_COLOUR = (255, 255, 255)
_HALO = (0, 0, 0)
_STRIP = (18, 22, 28)
_INK = (242, 244, 247)
_SOFT = (170, 179, 191)


def draw_overlay(
    display: NDArray[np.uint8],
    heat: NDArray[np.float32],
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    caption: str = "",
    softness: float = 0.0,
) -> Image.Image:
    """Draw heat and boxes over a radiograph; a strip below the picture holds caption and disclaimer.

    Args:
        display: grey levels of :func:`monai_dgm.transforms.geometry.display_levels`.
        heat: saliency heat (rows, cols) over the original's pixels, in [0, 1].
        boxes: (N, 4) in the original's pixels.
        scores: (N,), written at the boxes.
        caption: one line above the disclaimer; no patient identifiers.
        softness: blur of the heat's edge in pixels of the picture, which hides the steps of a small model input.

    Returns:
        RGB picture, as wide as ``display`` and higher by the strip.
    """
    rows, cols = display.shape
    levels = heat_levels(resize_antialiased(heat, rows, cols))
    picture = Image.fromarray(display).convert("RGB")
    _paste_heat(picture, levels, softness)
    scale = np.tile([cols / heat.shape[1], rows / heat.shape[0]], 2)
    draw = ImageDraw.Draw(picture)
    size = max(12, round(max(rows, cols) / 46))
    for box, score in zip(boxes * scale, scores, strict=True):
        _draw_box(draw, box, f"{score:.2f}", size, picture.size)
    return _with_strip(picture, caption, size)


def _paste_heat(picture: Image.Image, levels: NDArray[np.uint8], softness: float) -> None:
    """Paint the heat where there is some, and as far around it as its blur reaches."""
    rows, cols = np.flatnonzero(levels.any(axis=1)), np.flatnonzero(levels.any(axis=0))
    if not rows.size:
        return
    margin = math.ceil(4 * softness) + 4
    top, left = max(0, int(rows[0]) - margin), max(0, int(cols[0]) - margin)
    part = levels[top : int(rows[-1]) + 1 + margin, left : int(cols[-1]) + 1 + margin]
    opacity = Image.fromarray(_HEAT_OPACITY[part]).filter(ImageFilter.GaussianBlur(softness))
    picture.paste(Image.fromarray(HEAT_COLOURS[part]), (left, top), mask=opacity)


def _draw_box(
    draw: ImageDraw.ImageDraw, box: NDArray[np.float64], text: str, size: int, shape: tuple[int, int]
) -> None:
    # edges are continuous: pixel i spans [i, i + 1], and Pillow paints whole pixels
    left, top = (int(np.clip(round(float(edge)), 0, shape[i] - 2)) for i, edge in enumerate(box[:2]))
    right = max(left + 1, min(round(float(box[2])), shape[0]) - 1)
    bottom = max(top + 1, min(round(float(box[3])), shape[1]) - 1)
    width = max(2, size // 9)
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=_HALO, width=width + 2)
    draw.rectangle((left, top, right, bottom), outline=_BOX_COLOUR, width=width)
    font = ImageFont.load_default(size)
    length = draw.textlength(text, font=font)
    x = min(left, shape[0] - length - 3)
    y = top - size - 5 if top > size + 5 else min(top + width + 2, shape[1] - size - 3)
    draw.text((x + 1, y), text, font=font, fill=_BOX_COLOUR, stroke_width=2, stroke_fill=_HALO)


def _with_strip(picture: Image.Image, caption: str, size: int) -> Image.Image:
    margin = size // 2
    lines = [(caption, _INK)] if caption else []
    lines.append((DISCLAIMER, _SOFT))
    height = 2 * margin + round(1.4 * size * len(lines))
    canvas = Image.new("RGB", (picture.width, picture.height + height), _STRIP)
    canvas.paste(picture)
    draw = ImageDraw.Draw(canvas)
    for i, (line, colour) in enumerate(lines):
        font = fitting_font(line, size, picture.width - 2 * margin)
        draw.text((margin, picture.height + margin + 1.4 * size * i), line, font=font, fill=colour)
    return canvas
