"""Pulmonary vessels and bronchi: trees that branch and taper from the hila."""

from __future__ import annotations

import numpy as np

from monai_dgm.data.simulator.grid import Cloud, FloatArray, Grid, noise_field, tube
from monai_dgm.data.simulator.patient import Patient, stream

_SAMPLES = 22


def hilum(patient: Patient, side: float) -> tuple[float, float]:
    """Position (x, y) in cm of the hilum; the left one (side 1) stands a little higher."""
    scale = patient.thorax.half_width / 13.8
    x = side * 3.5 * scale + 0.4 * patient.rotation
    y = patient.thorax.apex + (12.2 if side < 0 else 11.2) * scale
    return x, y


def branch_tree(
    rng: np.random.Generator, start: np.ndarray, angle: np.ndarray, radius: np.ndarray, length: float, levels: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Grow a bifurcating tree level by level.

    Args:
        start: (n, 2) cm, where the first branches begin.
        angle: (n,) their directions, radians, 0 = +x, pi / 2 = down.
        radius: (n,) cm.
        length: cm of a first branch.
        levels: number of generations.

    Returns:
        one (paths (n, points, 2), radii (n, points)) for each generation.
    """
    out = []
    for level in range(levels):
        along = np.linspace(0, 1, max(_SAMPLES - 3 * level, 8))
        count = len(angle)
        reach = length * 0.86**level * rng.uniform(0.65, 1.35, count)
        turn = rng.normal(0, 0.38, count)
        heading = angle[:, None] + turn[:, None] * along
        step = reach[:, None] / (len(along) - 1)
        move = np.stack([np.cos(heading), np.sin(heading)], axis=-1) * step[..., None]
        paths = start[:, None, :] + np.concatenate([np.zeros((count, 1, 2)), np.cumsum(move[:, :-1], axis=1)], axis=1)
        radii = radius[:, None] * (1 - 0.22 * along)
        out.append((paths, radii))
        split = rng.uniform(0.15, 0.55, count)
        uneven = rng.uniform(0.62, 0.9, count)
        sign = rng.choice([-1.0, 1.0], count)
        main = angle + turn - sign * split * 0.45
        side = angle + turn + sign * split * 1.25
        angle = np.concatenate([main, side])
        start = np.concatenate([paths[:, -1], paths[:, -1]])
        radius = np.concatenate([0.8 * radius * (1.15 - 0.25 * uneven), 0.78 * radius * uneven])
    return out


def lung_trees(patient: Patient, rng: np.random.Generator, share: float = 1.0, levels: int = 6) -> list:
    """Trees of both lungs; ``share`` scales the radii (bronchi are drawn as thinner trees)."""
    scale = (patient.thorax.base - patient.thorax.apex) / 25
    out = []
    for side in (-1.0, 1.0):
        x, y = hilum(patient, side)
        # Steep ones run up and down along the mediastinum, the lower ones are wider (blood flow of an upright chest).
        fan = np.deg2rad([-86, -68, -50, -30, -10, 12, 30, 46, 60, 73, 84]) + rng.normal(0, 0.11, 11)
        count = len(fan)
        wide = np.interp(fan, [-1.5, 0, 0.9, 1.5], [0.26, 0.24, 0.36, 0.36]) * rng.uniform(0.75, 1.25, count)
        angle = fan if side > 0 else np.pi - fan
        start = np.stack(
            [x + side * rng.uniform(-0.6, 1.0, count), y + 1.8 * np.sin(fan) + rng.normal(0, 0.3, count)], axis=-1
        )
        out.append(branch_tree(rng, start, angle, wide * 1.5 * share * scale, 2.75 * scale, levels))
    return out


def build_vessels(grid: Grid, patient: Patient, lung: FloatArray, seed: int) -> FloatArray:
    """Path through vessels (cm) inside the aerated lung, and the finer texture that they sum up to."""
    rng = stream(seed, "vessels")
    levels = 6 if grid.size >= 192 else 5
    clouds: list[Cloud] = []
    for tree in lung_trees(patient, rng, levels=levels):
        clouds += [tube(paths, radii, across=max(9 - 2 * level, 2)) for level, (paths, radii) in enumerate(tree)]
    for side in (-1.0, 1.0):
        x, y = hilum(patient, side)
        artery = np.linspace([x - side * 1.0, y - 0.8], [x + side * rng.uniform(1.0, 1.7), y + 3.8], 60)
        artery[:, 0] += side * 0.7 * np.sin(np.linspace(0, np.pi, 60))
        clouds.append(tube(artery, np.linspace(1.05, 0.55, 60), 24))
        # Vessels seen end-on about the hilum, and the lymph nodes between them.
        centre = np.stack([x + side * rng.uniform(-0.4, 1.6, 9), y + rng.normal(0.6, 1.4, 9)], axis=-1)
        across = np.sqrt(1 - np.linspace(-0.98, 0.98, 14) ** 2)
        size = rng.uniform(0.25, 0.6, 9)[:, None]
        blobs = centre[:, None, :] + size[..., None] * np.linspace(-1, 1, 14)[None, :, None] * np.array([0.0, 1.0])
        clouds.append(tube(blobs, size * across, 12, weight=1.1))
    vessels = grid.splat(*clouds)
    texture = noise_field(rng, grid.size, 42, octaves=2)
    fine = 0.012 * lung * texture
    inside: FloatArray = np.clip(lung / 4.0, 0, 1)
    return (vessels + fine) * inside
