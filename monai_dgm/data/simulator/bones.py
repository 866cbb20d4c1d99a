"""Ribs, clavicles, scapulae, humeri and spine as path lengths through bone (cm), drawn as clouds of small volumes."""

from __future__ import annotations

import numpy as np

from monai_dgm.data.simulator.grid import FloatArray, Grid, noise_field, smoothstep, spline, tube
from monai_dgm.data.simulator.patient import Patient, stream

_SIDES = (-1.0, 1.0)


def _smooth_path(knots: list[tuple[float, float]], points: int) -> np.ndarray:
    """Curve (points, 2) through the knots, evenly spaced in its parameter."""
    steps = np.linspace(0, len(knots) - 1, points)
    return np.stack([spline([(float(i), knot[axis]) for i, knot in enumerate(knots)])(steps) for axis in (0, 1)], axis=-1)


def _rib_cloud(patient: Patient, rng: np.random.Generator, points: int, across: int) -> tuple[np.ndarray, ...]:
    """Both sides' ribs: sheets of cortex on the cage's surface, seen edge-on (dense) where they turn at the side.

    A rib runs on the cage at angle t from the spine (0) over the side (pi / 2) to its front end, and descends as
    it goes: gently at the back, steeply at the front.
    """
    thorax = patient.thorax
    scale = (thorax.base - thorax.apex) / 25
    number = np.arange(11)
    pitch = (2.05 + 0.045 * number) * scale
    start = thorax.apex + 0.6 * scale + np.concatenate([[0], np.cumsum(pitch[:-1])])
    drop = np.interp(number, [0, 1, 2, 5, 8, 10], [4.6, 6.8, 8.6, 11.2, 12.0, 9.5]) * scale * rng.uniform(0.85, 1.1)
    last = np.interp(number, [0, 1, 5, 7, 9, 10], [0.86, 0.82, 0.76, 0.68, 0.55, 0.46]) * np.pi
    height = np.interp(number, [0, 1, 4, 10], [0.75, 0.62, 0.66, 0.55]) * rng.uniform(0.85, 1.15)
    xs, ys, volumes = [], [], []
    for side in _SIDES:
        wobble = rng.normal(0, 0.16, 11)
        share = np.linspace(0, 1, points)
        angle = 0.06 * np.pi + share[None, :] * (last - 0.06 * np.pi)[:, None]
        descent = 0.74 * (1 - np.cos(angle)) / 2 + 0.26 * angle / np.pi - 0.05 * np.exp(-(((angle - 0.35) / 0.3) ** 2))
        y = (start + wobble)[:, None] + drop[:, None] * descent
        cage = np.maximum(thorax.cage(np.maximum(y, thorax.apex + 0.9)), 0.3 * thorax.half_width)
        shift = patient.rotation * 0.5 * -np.cos(angle)
        length = np.hypot(np.gradient(cage * np.sin(angle), axis=1), np.gradient(y, axis=1))
        depth_step = np.gradient(cage * np.cos(angle), axis=1)
        arc = np.hypot(length, depth_step)
        offset = np.linspace(-1, 1, across)
        # Rib ends fade into costal cartilage in front.
        fade = np.clip((1 - share) / 0.05, 0, 1)
        for radius_cm in (0.1, 0.55):
            reach = (cage + radius_cm) * np.sin(angle)
            x = side * reach[:, :, None] + shift[:, :, None] + 0 * offset
            yy = y[:, :, None] + height[:, None, None] * offset * (0.75 + 0.25 * np.abs(np.cos(angle)))[:, :, None]
            cortex = 0.085 * (1 + 1.6 * np.abs(offset) ** 6) * (1 - 0.25 * offset)
            area = arc[:, :, None] * (2 * height[:, None, None] / across)
            xs.append(x)
            ys.append(yy)
            volumes.append(area * cortex * fade[None, :, None])
    return np.concatenate(xs), np.concatenate(ys), np.concatenate(volumes)


def _shoulder_girdle(grid: Grid, patient: Patient, rng: np.random.Generator, points: int) -> FloatArray:
    thorax, habitus = patient.thorax, patient.habitus
    scale = thorax.half_width / 13.8
    top = thorax.apex + habitus.shoulder
    bone = np.zeros_like(grid.x)
    lift = rng.uniform(-0.8, 1.0)
    blade = rng.uniform(9.8, 11.5) if patient.view == "AP" else rng.uniform(12.3, 14.2)
    for side in _SIDES:
        shift = 0.9 * patient.rotation
        inner = (1.7 * side * scale + shift, thorax.apex + 3.6 * scale)

        def at(x: float, y: float, side: float = side) -> tuple[float, float]:
            return side * x * scale, top + y * scale

        clavicle = _smooth_path([inner, at(5, 2.4 - lift), at(9, 1.1 - lift), at(13, 0.9 - lift), at(16.5, 1.6 - lift)], points)
        radius = np.interp(np.linspace(0, 1, points), [0, 0.15, 0.5, 1], [0.95, 0.65, 0.55, 0.75]) * scale
        bone += grid.splat(*tube(clavicle, radius, 16, shell=0.3)) + 0.25 * grid.splat(*tube(clavicle, radius, 12))
        humerus_x, humerus_y = 17.0 + 0.6 * scale, 4.6
        slope = habitus.arm
        shaft = _smooth_path([at(humerus_x + 0.5 * k * np.sin(slope) * 2, humerus_y + k * np.cos(slope)) for k in (0.0, 5.0, 12.0, 24.0)], points)
        shaft_radius = np.interp(np.linspace(0, 1, points), [0, 0.12, 0.3, 1], [2.1, 1.7, 1.15, 1.1]) * scale
        bone += grid.splat(*tube(shaft, shaft_radius, 20, shell=0.22)) + 0.12 * grid.splat(*tube(shaft, shaft_radius, 16))
        head = np.array([at(humerus_x - 0.25, humerus_y - 2.1), at(humerus_x - 0.1, humerus_y + 1.6)])
        head = np.linspace(head[0], head[1], points)
        round_off = 2.25 * scale * np.sqrt(np.clip(1 - np.linspace(-1, 1, points) ** 2, 0.02, 1))
        bone += 0.3 * grid.splat(*tube(head, round_off, 20))
        lateral = _smooth_path([at(14.6, 4.8), at(14.0, 8.0), at(blade + 1.2, 13.5), at(blade + 0.3, 16.2)], points)
        medial = _smooth_path([at(blade - 0.6, 2.6), at(blade - 0.4, 8.0), at(blade, 13.0), at(blade + 0.4, 16.2)], points)
        spine = _smooth_path([at(blade - 0.3, 5.0), at(blade + 2.0, 3.6), at(15.0, 1.6), at(17.4, 1.1)], points)
        for path, wide, weight in ((lateral, 0.42, 0.55), (medial, 0.22, 0.4), (spine, 0.6, 0.4)):
            bone += weight * grid.splat(*tube(path, wide * scale, 10))
        share = np.linspace(0, 1, 40)[None, :, None]
        sheet = medial[:, None, :] * (1 - share) + lateral[:, None, :] * share
        step = np.hypot(*np.gradient(medial, axis=0).T)[:, None] * np.abs(medial - lateral)[:, :1] / 40
        bone += grid.splat(sheet[..., 0], sheet[..., 1], 0.16 * np.broadcast_to(step, sheet.shape[:2]))
    return bone


def _spine(grid: Grid, patient: Patient, rng: np.random.Generator) -> FloatArray:
    """Vertebral bodies with end plates and pedicles, and spinous processes; lengths of bone in cm."""
    thorax = patient.thorax
    scale = (thorax.base - thorax.apex) / 25
    pitch = spline([(-14.0, 1.75 * scale), (0.0, 2.25 * scale), (16.0, 3.0 * scale)])
    # Phase counts vertebrae from the top: the integral of 1 / pitch over height.
    heights = np.arange(-45, 45, 0.05)
    count = np.cumsum(0.05 / pitch(heights))
    offset = rng.uniform(0, 1)
    phase = grid.along_y(lambda y: np.mod(np.interp(y, heights, count) + offset, 1))
    bend = rng.normal(0, 0.35)
    curve = grid.along_y(lambda y: bend * np.sin(y / 9) - 0.25 * patient.rotation)
    half = grid.along_y(lambda y: np.interp(y, [-16, -10, 0, 14], [1.35, 1.4, 1.6, 2.15]) * scale)
    x = grid.x - curve
    waist = half * (1 - 0.1 * np.sin(np.pi * np.clip(phase / 0.82, 0, 1)))
    soft = np.float32(0.12)
    inside = smoothstep((waist - np.abs(x)) / soft + 0.5) * smoothstep(phase / 0.05) * smoothstep((0.84 - phase) / 0.05)
    plates = np.exp(-(((phase - 0.04) / 0.035) ** 2)) + np.exp(-(((phase - 0.8) / 0.035) ** 2))
    rim = np.exp(-(((np.abs(x) - waist) / 0.13) ** 2))
    bone = inside * (1.15 + 0.5 * plates + 0.45 * rim)
    pedicle = ((np.abs(x) - 0.66 * half) / (0.3 * half)) ** 2 + ((phase - 0.3) / 0.17) ** 2
    bone += 0.75 * np.exp(-((pedicle - 1) ** 2) * 3) + 0.25 * np.exp(-pedicle)
    spinous = ((x + 0.15 * patient.rotation) / 0.32) ** 2 + ((phase - 0.72) / 0.24) ** 2
    bone += 1.0 * np.exp(-(spinous**2))
    transverse = np.exp(-(((phase - 0.28) / 0.16) ** 2)) * smoothstep((1.75 * half - np.abs(x)) / 0.5) * (np.abs(x) > 0.8 * half)
    return bone + 0.4 * transverse


def build_bones(grid: Grid, patient: Patient, seed: int) -> FloatArray:
    """Path length through bone (cm), float32 (size, size)."""
    rng = stream(seed, "bones")
    fine = grid.size >= 192
    cloud = _rib_cloud(patient, rng, points=340 if fine else 200, across=15 if fine else 9)
    density = rng.uniform(0.8, 1.15) * (1 - 0.004 * max(patient.age - 55, 0))
    bone = grid.splat(*cloud)
    bone += 0.8 * _shoulder_girdle(grid, patient, rng, 220 if fine else 120)
    bone += 1.25 * _spine(grid, patient, rng)
    grain = 1 + 0.07 * noise_field(rng, grid.size, 90, octaves=1)
    return (density * bone * grain).astype(np.float32)
