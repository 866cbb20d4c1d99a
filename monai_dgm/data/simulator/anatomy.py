"""Soft tissue of the chest as maps of path length (cm): body, aerated lungs, heart, mediastinum, airways, abdomen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_dgm.data.simulator.grid import BoolArray, FloatArray, Grid, half_chord, noise_field, smoothstep, spline, tube
from monai_dgm.data.simulator.patient import Heart, Patient, stream


@dataclass(frozen=True)
class Anatomy:
    """Maps of one patient, each float32 (size, size) unless said; paths in cm along the beam.

    Attributes:
        body: path through the body as if all of it were soft tissue.
        air: path through gas outside the lungs (trachea, bronchi, stomach, colon).
        lung: path through aerated lung.
        visible: bool, lung fields as a reader outlines them: not behind the heart nor below the domes.
        inside: distance (cm, signed) to the inner side of the cage laterally.
        dome: height (cm, y) of the diaphragm's upper edge at each pixel's x.
    """

    body: FloatArray
    air: FloatArray
    lung: FloatArray
    visible: BoolArray
    inside: FloatArray
    dome: FloatArray


def diaphragm(patient: Patient, x: np.ndarray) -> np.ndarray:
    """Height y (cm) of the domes' upper edge at lateral position x; the right one (x < 0) stands higher."""
    thorax = patient.thorax
    width = thorax.half_width
    right_top, left_top = -0.46 * width, 0.52 * width
    lift = np.where(x < 0, 0.0, 1.1 + 0.25 * patient.heart.knob)
    top = np.where(x < 0, right_top, left_top)
    lateral = np.abs(x) > np.abs(top)
    reach = np.where(lateral, 1.005 * width - np.abs(top), np.abs(top))
    share = np.clip(np.abs(x - top) / reach, 0, 1.2)
    fall = np.where(lateral, (thorax.dome_height - lift) * share**2.2, 1.9 * share**2)
    return thorax.dome + lift + fall


def heart_chord(grid: Grid, patient: Patient, heart: Heart) -> FloatArray:
    """Path through the heart (cm): an upright oval between its right and left borders, round in depth."""
    thorax = patient.thorax
    bottom = thorax.dome + 2.6
    scale = thorax.half_width / 13.8
    height = np.clip(bottom + 2.3, 9, 14)
    at = [bottom - height * f for f in (1.06, 0.95, 0.82, 0.66, 0.5, 0.34, 0.2, 0.09, 0.0)]
    left = (
        np.array([0.8, 2.5, 3.9, 5.4, 6.9, 8.2, 9.0, 9.0, 7.4]) * heart.left * scale
        + heart.shift
        + 0.5 * patient.rotation
    )
    right = (
        np.array([0.8, 2.1, 2.5, 2.9, 3.5, 3.9, 3.9, 3.3, 2.0]) * heart.right * scale
        - heart.shift
        - 0.5 * patient.rotation
    )
    left_border = grid.along_y(spline(list(zip(at, left, strict=True))))
    right_border = grid.along_y(spline(list(zip(at, right, strict=True))))
    half = (left_border + right_border) / 2
    offset = (grid.x - (left_border - right_border) / 2) / half
    vertical = grid.along_y(
        spline([(at[0], 0.0), (at[2], 0.55), (at[4], 0.95), (at[6], 1.0), (bottom + 2, 1.0), (bottom + 6, 0.0)])
    )
    return heart.depth * vertical * half_chord(1 - offset * offset)


def mediastinum_borders(grid: Grid, patient: Patient) -> tuple[FloatArray, FloatArray]:
    """Right and left lateral reach (cm from the midline) of the great vessels and the tissue about the spine."""
    heart, apex = patient.heart, patient.thorax.apex
    scale = patient.thorax.half_width / 13.8
    wide = scale * (1.12 if patient.view == "AP" else 1.0)
    shift = 0.6 * patient.rotation
    knob_y = apex + 7.2 * scale
    knob = 0.95 * heart.knob * scale
    right = [
        (apex - 0.5, 7.0),
        (apex + 0.4, 5.3),
        (apex + 1.3, 4.2),
        (apex + 3, 3.0),
        (apex + 5, 2.4),
        (apex + 7, 2.3),
        (apex + 10, 2.5),
        (apex + 14, 2.3),
        (apex + 17, 1.9),
    ]
    left = [
        (apex - 0.5, 6.8),
        (apex + 0.4, 5.1),
        (apex + 1.3, 4.0),
        (apex + 3, 2.8),
        (apex + 5, 2.2),
        (apex + 11, 2.3),
        (apex + 14, 2.3),
        (apex + 18, 2.2),
    ]
    right_base, left_base = spline([(y, v * wide) for y, v in right]), spline([(y, v * wide) for y, v in left])

    def left_profile(y: np.ndarray) -> np.ndarray:
        arch = knob * np.sqrt(np.maximum(1 - ((y - knob_y) / (1.75 * scale)) ** 2, 0))
        trunk = 0.65 * heart.trunk * scale * np.exp(-(((y - knob_y - 3.9 * scale) / 1.5) ** 2))
        return left_base(y) + arch + trunk + shift

    return grid.along_y(lambda y: right_base(y) - shift), grid.along_y(left_profile)


def lung_path(grid: Grid, patient: Patient, heart: FloatArray) -> FloatArray:
    """Path through aerated lung (cm), a heart (its path, cm) and the domes cut out of it."""
    thorax = patient.thorax
    cage = grid.along_y(thorax.cage)
    right, left = mediastinum_borders(grid, patient)
    lateral = half_chord(1 - (grid.x / np.maximum(cage, 0.1)) ** 2)
    medial = np.where(grid.x < 0, -grid.x - right, grid.x - left)
    opening = np.sqrt(np.clip(medial / 1.9, 0, 1))
    depth = grid.along_y(
        lambda y: thorax.depth * (0.12 + 0.88 * thorax.cage(y) / thorax.half_width) * (thorax.cage(y) > 0)
    )
    path = depth * np.minimum(lateral**0.9 * 1.06, opening)
    path = path - np.minimum(heart, 0.8 * path)
    below = np.maximum(grid.y - grid.along_x(lambda x: diaphragm(patient, x)), 0)
    return np.maximum(path - 2 * np.sqrt(2 * 7.0 * below), 0) * smoothstep((thorax.base + 3.5 - grid.y) / 2.5)


def body_path(grid: Grid, patient: Patient) -> FloatArray:
    """Path through the whole body (cm): trunk, shoulders, neck, arms, breasts, as one smooth union."""
    thorax, habitus = patient.thorax, patient.habitus
    wall, width = habitus.wall, thorax.half_width
    armpit = thorax.apex + 8.5
    ax = np.abs(grid.x)
    waist = spline(
        [
            (armpit - 5, width + 5.5),
            (armpit, width + 0.9 * wall + 1.3),
            (armpit + 5, width + wall),
            (thorax.base + 2, width * 0.98 + wall),
            (thorax.base + 12, width * 0.95 + 1.1 * wall),
        ]
    )
    front_back = (thorax.depth + 3.0 + 1.1 * wall) * habitus.depth
    edge = grid.along_y(waist)
    shoulder_y = thorax.apex + habitus.shoulder
    top = spline(
        [
            (0, shoulder_y - 8.5),
            (habitus.neck - 1.2, shoulder_y - 6.6),
            (habitus.neck + 0.4, shoulder_y - 4.6),
            (habitus.neck + 3, shoulder_y - 2.4),
            (12, shoulder_y - 0.6),
            (width + 3, shoulder_y + 0.8),
            (width + 6.5, shoulder_y + 3.5),
            (width + 9, shoulder_y + 9),
        ]
    )
    depth_down = grid.y - grid.along_x(lambda x: top(np.abs(x)))
    trunk = (
        front_back
        * half_chord(1 - (ax / edge) ** 2.6)
        * np.sqrt(np.clip(depth_down / 9.0, 0, 1) * 0.72 + 0.28)
        * np.sqrt(np.clip(depth_down / 1.5, 0, 1))
    )
    neck = 11.0 * half_chord(1 - (grid.x / habitus.neck) ** 2) * smoothstep((shoulder_y + 2 - grid.y) / 8)
    joint = np.array([width + 2.2, shoulder_y + 4.2])
    along = (ax - joint[0]) * np.sin(habitus.arm) + (grid.y - joint[1]) * np.cos(habitus.arm)
    across = (ax - joint[0]) * np.cos(habitus.arm) - (grid.y - joint[1]) * np.sin(habitus.arm)
    radius = 4.0 + 0.45 * wall
    arm = 2 * radius * half_chord(1 - (across**2 + np.minimum(along, 0) ** 2) / radius**2)
    body = np.maximum(np.maximum(trunk, neck), 0) ** 3 + arm**3
    body = np.cbrt(body + (0.75 * neck) ** 3 * 0.3)
    return body + _breasts(grid, patient)


def _breasts(grid: Grid, patient: Patient) -> FloatArray:
    size = patient.habitus.breast
    if size < 0.1:
        return np.zeros_like(grid.x)
    thorax = patient.thorax
    radius = 5.0 + 1.3 * size
    centre_y = thorax.dome - 2.2 + 1.2 * size
    offset = (np.abs(grid.x) - (0.58 * thorax.half_width + 0.6 * size)) / radius
    rise = (grid.y - centre_y) / np.where(grid.y > centre_y, 0.72 * radius, 1.5 * radius)
    lower = smoothstep((grid.y - centre_y) / (1.6 * radius) + 0.75)
    return (1.5 + 1.7 * size) * lower * half_chord(1 - offset**2 - rise**2) ** 1.2


def _airways(grid: Grid, patient: Patient, rng: np.random.Generator) -> FloatArray:
    apex, shift = patient.thorax.apex, 0.35 * patient.rotation
    carina = apex + 9.3 * patient.thorax.half_width / 13.8
    bend = 0.45 * patient.heart.knob
    trunk = np.array(
        [
            [shift, apex - 14],
            [shift, apex - 4],
            [shift - 0.1, apex + 2],
            [shift - bend, carina - 2],
            [shift - 0.5 * bend, carina],
        ]
    )
    right = np.array([trunk[-1], [-1.8 + shift, carina + 2.0], [-3.3 + shift, carina + 4.2]])
    left = np.array([trunk[-1], [2.2 + shift, carina + 2.0], [4.6 + shift, carina + 3.6]])
    radius = rng.uniform(0.85, 1.1)
    clouds = []
    for knots, size in ((trunk, radius), (right, 0.72 * radius), (left, 0.62 * radius)):
        steps = np.linspace(0, len(knots) - 1, 260)
        path = np.stack(
            [spline([(float(i), float(v)) for i, v in enumerate(knots[:, axis])])(steps) for axis in (0, 1)], axis=-1
        )
        clouds.append(tube(path, size, across=16))
    return grid.splat(*clouds)


def _abdominal_gas(grid: Grid, patient: Patient, rng: np.random.Generator) -> FloatArray:
    """Stomach bubble under the left dome, with a fluid level when upright, and haustral colon in some."""
    thorax = patient.thorax
    gas = np.zeros_like(grid.x)
    if rng.random() < 0.6:
        centre_x, half = rng.uniform(0.4, 0.62) * thorax.half_width, rng.uniform(1.2, 3.4)
        high = half * rng.uniform(0.35, 0.7)
        top = float(diaphragm(patient, np.array([centre_x]))[0]) + 0.7
        offset = ((grid.x - centre_x) / half) ** 2 + ((grid.y - top - high) / high) ** 2
        level = smoothstep((top + high * rng.uniform(0.9, 1.7) - grid.y) / 0.3) if patient.view == "PA" else 1.0
        gas += rng.uniform(0.6, 1.8) * half * half_chord(1 - offset) * level
    for _ in range(int(rng.integers(0, 5))):
        centre = rng.uniform(-0.5, 0.85) * thorax.half_width, thorax.base + rng.uniform(1.5, 9)
        half = rng.uniform(0.7, 1.8)
        offset = ((grid.x - centre[0]) / half) ** 2 + ((grid.y - centre[1]) / (half * rng.uniform(0.5, 0.9))) ** 2
        gas += rng.uniform(0.8, 1.8) * half * half_chord(1 - offset)
    return gas


def build_anatomy(grid: Grid, patient: Patient, seed: int) -> Anatomy:
    """Soft-tissue maps of a patient without disease."""
    rng = stream(seed, "soft")
    heart = heart_chord(grid, patient, patient.heart)
    lung = lung_path(grid, patient, heart)
    # Muscle and fat planes: broad unevenness of the trunk, a few per cent of its thickness.
    body = body_path(grid, patient)
    body = body * (1 + 0.018 * noise_field(rng, grid.size, 7, octaves=2))
    air = _airways(grid, patient, rng) + _abdominal_gas(grid, patient, rng)
    dome = grid.along_x(lambda x: diaphragm(patient, x))
    cage = grid.along_y(patient.thorax.cage)
    right, left = mediastinum_borders(grid, patient)
    outside = np.where(grid.x < 0, -grid.x > right + 0.3, grid.x > left + 0.3)
    clear = heart < 0.25 * patient.heart.depth
    inside = cage - np.abs(grid.x)
    visible = outside & clear & (inside > 0.1) & (grid.y < dome)
    return Anatomy(
        body=np.maximum(body, lung + 2.5 * (lung > 0)), air=air, lung=lung, visible=visible, inside=inside, dome=dome
    )
