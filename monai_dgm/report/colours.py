"""Planes to pictures: grey radiographs, residues on a diverging scale, saliency heat; as small PNG files.

A residue of 0 is black, as the paper draws it; what disease adds is amber to white, what it takes away is blue, and the
scale is symmetric about 0. Every picture is an 8-bit grey or palette PNG: a third of the size of a colour one.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

# Anchor colours (position in [0, 1], red, green, blue); darkness at 0.5 is a residue of zero.
_RESIDUE_ANCHORS = (
    (0.00, 214, 240, 255),
    (0.18, 94, 186, 255),
    (0.36, 24, 84, 168),
    (0.50, 8, 9, 12),
    (0.64, 156, 62, 10),
    (0.82, 255, 158, 36),
    (1.00, 255, 241, 205),
)
_HEAT_ANCHORS = (
    (0.00, 190, 20, 70),
    (0.35, 240, 70, 40),
    (0.70, 255, 170, 30),
    (1.00, 255, 247, 160),
)
LEAST_SCALE = 0.1
"""Residues are never stretched further than this |a| to full colour, or rounding noise would look like disease."""


def _colour_table(anchors: Iterable[tuple[float, int, int, int]]) -> NDArray[np.uint8]:
    """256 colours (256, 3) through the anchors."""
    points = np.array(list(anchors), dtype=np.float64)
    steps = np.linspace(0, 1, 256)
    return np.stack([np.interp(steps, points[:, 0], points[:, i]) for i in (1, 2, 3)], axis=1).round().astype(np.uint8)


RESIDUE_COLOURS = _colour_table(_RESIDUE_ANCHORS)
HEAT_COLOURS = _colour_table(_HEAT_ANCHORS)


def residue_scale(residues: Iterable[ArrayLike]) -> float:
    """|a| drawn in full colour, one for all ``residues`` (S, S): the 99.5th percentile of the strongest of them."""
    strengths = [np.abs(np.asarray(residue)) for residue in residues]
    finite = [strength[np.isfinite(strength)] for strength in strengths]  # a diverged network gives NaN
    return max([LEAST_SCALE, *(float(np.quantile(values, 0.995)) for values in finite if values.size)])


def grey_levels(image: ArrayLike) -> NDArray[np.uint8]:
    """[-1, 1] to 0..255, same shape; NaN is black."""
    return _levels((np.asarray(image, dtype=np.float64) + 1) / 2)


def residue_levels(residue: ArrayLike, scale: float) -> NDArray[np.uint8]:
    """Index into ``RESIDUE_COLOURS`` of a residue: -scale to scale is 1..255, so that 0 is exactly 128."""
    share = np.nan_to_num(np.clip(np.asarray(residue, dtype=np.float64) / scale, -1, 1), nan=0.0)
    return np.round(128 + 127 * share).astype(np.uint8)


def heat_levels(heat: ArrayLike) -> NDArray[np.uint8]:
    """Index into the heat palette: 0 where there is no heat (transparent), else 1..255."""
    values = np.nan_to_num(np.clip(np.asarray(heat, dtype=np.float64), 0, 1), nan=0.0)
    return np.where(values > 0, 1 + np.round(254 * values), 0).astype(np.uint8)


def heat_alpha() -> NDArray[np.uint8]:
    """Opacity (256,) of the heat palette: index 0 is clear, faint heat still visible, full heat nearly covers."""
    alpha = np.linspace(90, 215, 256).round().astype(np.uint8)
    alpha[0] = 0
    return alpha


def _levels(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.asarray(np.round(255 * np.clip(np.nan_to_num(share, nan=0.0), 0, 1)), dtype=np.uint8)


def overlay(image: ArrayLike, heat: ArrayLike) -> NDArray[np.uint8]:
    """Heat over a radiograph, both (S, S), as colours (S, S, 3)."""
    index = heat_levels(heat)
    alpha = heat_alpha()[index][..., None] / 255.0
    grey = grey_levels(image)[..., None].repeat(3, axis=-1)
    return np.asarray(np.round(HEAT_COLOURS[index] * alpha + grey * (1 - alpha)), dtype=np.uint8)


def grey_png(levels: NDArray[np.uint8]) -> bytes:
    """8-bit grey PNG of levels (rows, cols)."""
    return _png(Image.fromarray(levels))


def palette_png(index: NDArray[np.uint8], colours: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> bytes:
    """Palette PNG of colour numbers (rows, cols) into ``colours`` (256, 3), with an opacity (256,) each if given."""
    image = Image.fromarray(index)
    image.putpalette(colours.tobytes())
    return _png(image, transparency=alpha.tobytes()) if alpha is not None else _png(image)


def _png(image: Image.Image, **options: bytes) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True, **options)
    return buffer.getvalue()


def data_uri(png: bytes) -> str:
    """``data:`` address of a PNG."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
