"""From path lengths to the picture: Beer-Lambert law, scatter, film or detector response, noise, markers, cables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, uniform_filter

from monai_dgm.data.simulator.anatomy import Anatomy
from monai_dgm.data.simulator.grid import BoolArray, FloatArray, Grid, noise_field, tube
from monai_dgm.data.simulator.patient import Patient, stream

SOFT_PER_CM = 0.19  # water at the effective energy of a chest exposure, about 70 keV
BONE_PER_CM = 0.36  # what bone adds to the soft tissue that it replaces


@dataclass(frozen=True)
class Film:
    """How one exposure becomes grey values.

    Attributes:
        scatter: scattered share added to the primary beam.
        lung_grey, soft_grey: the grey values in [-1, 1] that lung fields and mediastinum come to.
        toe: how hard black is clipped.
        noise: quantum noise of the log signal in the lung fields.
        blur: detector blur, cm.
        corner: strength and direction of uneven exposure.
    """

    scatter: float
    lung_grey: float
    soft_grey: float
    toe: float
    noise: float
    blur: float
    corner: tuple[float, float]


def sample_film(seed: int, study: int, portable: bool) -> Film:
    """Draw the exposure and film settings of a radiograph."""
    rng = stream(seed, "film", study)
    lung = rng.normal(-0.19, 0.2) + (0.1 if portable else 0)
    span = float(np.clip(rng.normal(0.9, 0.18), 0.5, 1.25)) * (0.9 if portable else 1)
    return Film(
        scatter=rng.uniform(0.25, 0.6) * (1.3 if portable else 1),
        lung_grey=float(np.clip(lung, -0.6, 0.25)),
        soft_grey=float(np.clip(lung + span, 0.35, 0.85)),
        toe=rng.uniform(0.6, 1.6),
        noise=rng.uniform(0.003, 0.012) * (1.25 if portable else 1),
        blur=rng.uniform(0.02, 0.09),
        corner=(rng.normal(0, 0.03), rng.normal(0, 0.03)),
    )


def attenuation(
    anatomy: Anatomy,
    bone: FloatArray,
    vessels: FloatArray,
    density: float,
    filled: FloatArray | float = 0.0,
    added: FloatArray | float = 0.0,
) -> FloatArray:
    """Line integral of attenuation (dimensionless).

    Args:
        anatomy, bone, vessels: path maps, cm.
        density: of aerated lung relative to soft tissue.
        filled: share in [0, 1] of the lung path whose air is replaced by fluid or tissue; vessels vanish in it.
        added: further soft tissue on top, cm.
    """
    aerated = anatomy.lung * (1 - filled)
    soft = anatomy.body - anatomy.air - (1 - density) * aerated + vessels * (1 - filled) + added
    return SOFT_PER_CM * np.maximum(soft, 0) + BONE_PER_CM * bone


class Camera:
    """Exposure and film of one radiograph, determined on the normal chest and used without change for the diseased one.

    Scatter and quantum noise are those of the normal exposure: a lesion then changes the picture only where
    it lies, so the true residue is 0 elsewhere.
    """

    def __init__(self, normal: FloatArray, lung: BoolArray, film: Film, grid: Grid, rng: np.random.Generator) -> None:
        self._film = film
        # At least half a pixel: a detector averages over its pixels, and the drawn clouds of points need it.
        self._sigma = max(film.blur / grid.pixel_cm, 0.55)
        primary = np.exp(-normal)
        reduce = max(grid.size // 64, 1)
        coarse = uniform_filter(primary, reduce)[reduce // 2 :: reduce, reduce // 2 :: reduce]
        glare = gaussian_filter(np.minimum(coarse, np.quantile(coarse, 0.7)), 3.2 / (grid.pixel_cm * reduce))
        resized = Image.fromarray(glare).resize((grid.size, grid.size), Image.Resampling.BILINEAR)
        self._scatter: FloatArray = film.scatter * np.asarray(resized)
        self._noise = self._draw_noise(primary + self._scatter, grid, rng)
        log = self._log_signal(normal)
        fields = log[lung]
        self._low = float(np.median(fields)) if fields.size else float(np.median(log))
        column = log[grid.size // 4 : 3 * grid.size // 4]
        self._high = float(np.quantile(column, 0.9))
        self._low = min(self._low, self._high - 0.3)

    def _draw_noise(self, exposure: FloatArray, grid: Grid, rng: np.random.Generator) -> FloatArray:
        white = rng.standard_normal((grid.size, grid.size), dtype=np.float32)
        white = gaussian_filter(white, 0.55) * 1.8
        relative = np.minimum(np.sqrt(0.2 / np.maximum(exposure, 1e-3)), 4)
        uneven = noise_field(rng, grid.size, 2, octaves=1) * 0.02
        ramp = self._film.corner[0] * (grid.x - grid.centre[0]) + self._film.corner[1] * (grid.y - grid.centre[1])
        return (
            self._film.noise * relative * white * np.float32(grid.size / 256) ** 0.5
            + uneven
            + ramp * np.float32(2 / grid.field_cm)
        )

    def _log_signal(self, total: FloatArray) -> FloatArray:
        sharp = -np.log(np.exp(-total) + self._scatter)
        return gaussian_filter(sharp, self._sigma, truncate=3)

    def expose(self, total: FloatArray) -> FloatArray:
        """Grey values about [-1, 1], not yet clipped, of an attenuation map."""
        film = self._film
        value = (self._log_signal(total) + self._noise - self._low) / (self._high - self._low)
        grey: FloatArray = film.lung_grey + (film.soft_grey - film.lung_grey) * value
        # Shoulder and toe of the characteristic curve: a soft approach to white and to black.
        bright, dark = grey > 0.5, grey < -0.6
        grey[bright] = 0.5 + 0.5 * np.tanh((grey[bright] - 0.5) / 0.5)
        grey[dark] = -0.6 + 0.42 * np.tanh((grey[dark] + 0.6) / 0.42 * film.toe)
        return grey


def draw_extras(picture: FloatArray, extras: FloatArray) -> FloatArray:
    """Markers and collimation over a picture: NaN in ``extras`` lets the picture through, a number replaces it."""
    return np.where(np.isnan(extras), picture, extras).astype(np.float32)


def marker_overlay(grid: Grid, patient: Patient, rng: np.random.Generator) -> FloatArray:
    """Side marker, sometimes a text, and the collimator's edge: grey values in [-1, 1], NaN where there is none."""
    size = grid.size
    canvas = Image.new("F", (size, size), float("nan"))
    letters = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(letters)
    left = bool(rng.random() < 0.7)
    height = rng.uniform(0.035, 0.06) * size
    x = size * (rng.uniform(0.85, 0.93) if left else rng.uniform(0.04, 0.1))
    y = size * rng.uniform(0.03, 0.17)
    font = ImageFont.load_default(max(height, 5))
    if rng.random() < 0.85:
        draw.text((x, y), "L" if left else "R", fill=255, font=font)
        if rng.random() < 0.25:
            draw.ellipse((x - 0.35 * height, y - 0.02 * height, x + 0.95 * height, y + 1.3 * height), outline=255)
    if patient.view == "AP" and rng.random() < 0.5:
        small = ImageFont.load_default(max(0.45 * height, 5))
        draw.text(
            (x - 0.9 * height, y + 1.6 * height),
            str(rng.choice(["PORTABLE", "AP", "SUPINE", "ERECT"])),
            fill=255,
            font=small,
        )
    if rng.random() < 0.5:
        letters = letters.rotate(rng.normal(0, 9), resample=Image.Resampling.BILINEAR, center=(x, y))
    strength = np.asarray(letters, dtype=np.float32) / 255
    overlay = np.array(canvas)
    overlay[strength > 0.35] = rng.uniform(0.75, 1.0) * strength[strength > 0.35]
    if rng.random() < 0.35:
        edges = (rng.uniform(-0.04, 0.05, 4) * size).astype(int)
        for k, edge in enumerate(edges):
            if edge > 0:
                index: list[slice] = [slice(None), slice(None)]
                index[k % 2] = slice(0, edge) if k < 2 else slice(size - edge, size)
                overlay[tuple(index)] = -1.0
    return overlay


def cables(grid: Grid, patient: Patient, rng: np.random.Generator) -> FloatArray:
    """Leads, electrodes, lines and tubes of some portable patients, as cm of bone-like material."""
    metal = np.zeros_like(grid.x)
    if rng.random() > (0.6 if patient.view == "AP" else 0.06):
        return metal
    thorax = patient.thorax
    along = np.linspace(0, 1, 500)[:, None]
    for _ in range(int(rng.integers(1, 5))):
        x = rng.uniform(-0.8, 0.8) * thorax.half_width
        end = np.array([x, rng.uniform(thorax.apex + 3, thorax.dome)])
        start = np.array(
            [
                rng.choice([-1, 1]) * rng.uniform(0.3, 1.3) * thorax.half_width,
                rng.choice([thorax.apex - 8, thorax.base + 9]),
            ]
        )
        bend = (start + end) / 2 + rng.normal(0, 4.5, 2)
        bend2 = (start + end) / 2 + rng.normal(0, 4.5, 2)
        path = (
            (1 - along) ** 3 * start
            + 3 * (1 - along) ** 2 * along * bend
            + 3 * (1 - along) * along**2 * bend2
            + along**3 * end
        )
        metal += rng.uniform(2, 5) * grid.splat(tube(path, 0.11, 3))
        disc = ((grid.x - end[0]) ** 2 + (grid.y - end[1]) ** 2) / rng.uniform(0.35, 0.75) ** 2
        metal += 0.9 * np.exp(-((disc - 0.6) ** 2) * 3) + 0.6 * (disc < 0.15)
    if rng.random() < 0.4:
        tip = thorax.apex + rng.uniform(6, 12)
        knots = np.array([[-5.5, thorax.apex - 6], [-4.2, thorax.apex - 1], [-2.4, thorax.apex + 3], [-2.0, tip]])
        path = np.stack([np.interp(along[:, 0] * 3, range(4), knots[:, axis]) for axis in (0, 1)], axis=-1)
        metal += 1.6 * grid.splat(tube(gaussian_filter(path, (25, 0), mode="nearest"), 0.13, 4, shell=0.4))
    return metal
