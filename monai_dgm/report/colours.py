"""Colours of radiographs (grey), residues (diverging scale) and saliency heat, and small PNG files of them.

A residue of 0 is black, as in the paper's figures. What disease adds is amber to white, what it takes away is blue; the
scale is symmetric about 0. Every PNG has 8 bits per pixel (grey or palette): a third of the size of an RGB file.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

LEAST_SCALE = 0.1
"""The smallest |a| that is drawn in full colour; a finer scale would make rounding noise look like disease."""


def _colour_table(anchors: Sequence[tuple[float, int, int, int]]) -> NDArray[np.uint8]:
    """256 colours (256, 3), interpolated between anchors of (position in [0, 1], red, green, blue)."""
    points, steps = np.array(anchors, dtype=np.float64), np.linspace(0, 1, 256)
    return np.stack([np.interp(steps, points[:, 0], points[:, i]) for i in (1, 2, 3)], axis=1).round().astype(np.uint8)


RESIDUE_COLOURS = _colour_table(
    [
        (0.00, 214, 240, 255),
        (0.18, 94, 186, 255),
        (0.36, 24, 84, 168),
        (0.50, 8, 9, 12),
        (0.64, 156, 62, 10),
        (0.82, 255, 158, 36),
        (1.00, 255, 241, 205),
    ]
)
"""Palette (256, 3) of residues; index 128 is a residue of 0."""
UNCERTAINTY_COLOURS = _colour_table(
    [(0.00, 8, 9, 12), (0.25, 62, 30, 110), (0.50, 150, 60, 160), (0.75, 226, 120, 170), (1.00, 255, 232, 240)]
)
"""Palette (256, 3) of the uncertainty of residues; index 0 is none."""
HEAT_COLOURS = _colour_table([(0.00, 190, 20, 70), (0.35, 240, 70, 40), (0.70, 255, 170, 30), (1.00, 255, 247, 160)])
"""Palette (256, 3) of saliency heat."""


def residue_scale(residues: Iterable[ArrayLike]) -> float:
    """The |a| that is drawn in full colour, shared by all ``residues`` (S, S).

    It is the 99.5th percentile of the strongest residue, at least ``LEAST_SCALE``. Values that are not finite (of a
    diverged network) are ignored.
    """
    strengths = (np.abs(np.asarray(residue)) for residue in residues)
    finite = [strength[np.isfinite(strength)] for strength in strengths]
    return max([LEAST_SCALE, *(float(np.quantile(values, 0.995)) for values in finite if values.size)])


def grey_levels(image: ArrayLike) -> NDArray[np.uint8]:
    """Grey levels 0..255 of an image in [-1, 1], same shape; NaN is black."""
    share = np.nan_to_num((np.asarray(image, dtype=np.float64) + 1) / 2, nan=0.0)
    return np.asarray(np.round(255 * np.clip(share, 0, 1)), dtype=np.uint8)


def residue_levels(residue: ArrayLike, scale: float) -> NDArray[np.uint8]:
    """Indices into ``RESIDUE_COLOURS``: -scale to scale becomes 1..255, so that 0 is exactly 128; NaN counts as 0."""
    share = np.asarray(residue, dtype=np.float64) / scale
    np.clip(share, -1, 1, out=share)
    share[np.isnan(share)] = 0.0
    share *= 127
    share += 128
    return np.rint(share, out=share).astype(np.uint8)


def heat_levels(heat: ArrayLike) -> NDArray[np.uint8]:
    """Indices into ``HEAT_COLOURS`` of heat in [0, 1]: 0 where there is no heat (transparent), else 1..255."""
    array = np.asarray(heat)
    warm = array > 0  # a small part of most radiographs; NaN is not
    levels = np.zeros(array.shape, dtype=np.uint8)
    levels[warm] = (1 + np.round(254 * np.minimum(array[warm].astype(np.float64), 1))).astype(np.uint8)
    return levels


def heat_alpha() -> NDArray[np.uint8]:
    """Opacity (256,) of each heat index: 0 for index 0, then from 90 (faint heat) to 215 (full heat)."""
    alpha = np.linspace(90, 215, 256).round().astype(np.uint8)
    alpha[0] = 0
    return alpha


def overlay(image: ArrayLike, heat: ArrayLike) -> NDArray[np.uint8]:
    """Heat over a radiograph, both (S, S), as RGB (S, S, 3)."""
    index = heat_levels(heat)
    alpha = heat_alpha()[index][..., None] / 255.0
    grey = grey_levels(image)[..., None].repeat(3, axis=-1)
    return np.asarray(np.round(HEAT_COLOURS[index] * alpha + grey * (1 - alpha)), dtype=np.uint8)


def grey_png(levels: NDArray[np.uint8]) -> bytes:
    """8-bit grey PNG of levels (rows, cols)."""
    return _png(Image.fromarray(levels))


def palette_png(
    index: NDArray[np.uint8],
    colours: NDArray[np.uint8],
    alpha: NDArray[np.uint8] | None = None,
    compression: int | None = None,
) -> bytes:
    """Palette PNG of indices (rows, cols) into ``colours`` (256, 3).

    Args:
        index: (rows, cols).
        colours: (256, 3).
        alpha: opacity (256,) of each index; None for none.
        compression: 0 to 9; None for the smallest file, which takes four times as long as 1.
    """
    image = Image.fromarray(index)
    image.putpalette(colours.tobytes())
    options: dict[str, Any] = {} if alpha is None else {"transparency": alpha.tobytes()}
    return _png(image, **options) if compression is None else _png(image, compress_level=compression, **options)


def _png(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize="compress_level" not in options, **options)
    return buffer.getvalue()


def data_uri(content: bytes, kind: str = "png") -> str:
    """The ``data:`` address of a picture; ``kind`` is "png" or "svg+xml"."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
