"""Ribs, clavicles, scapulae, humeri and spine as path lengths through bone (cm), drawn as clouds of small volumes."""

from __future__ import annotations

import numpy as np

from monai_dgm.data.simulator.grid import Cloud, FloatArray, Grid, noise_field, smoothstep, spline, tube
from monai_dgm.data.simulator.patient import Patient, stream

_SIDES = (-1.0, 1.0)
_SPINE_REACH_CM = 5.0


def _smooth_path(knots: list[tuple[float, float]], points: int) -> np.ndarray:
    """Curve (points, 2) through the knots, evenly spaced in its parameter."""
    steps = np.linspace(0, len(knots) - 1, points)
    return np.stack(
        [spline([(float(i), knot[axis]) for i, knot in enumerate(knots)])(steps) for axis in (0, 1)], axis=-1
    )


def _rib_cloud(patient: Patient, rng: np.random.Generator, points: int, across: int) -> Cloud:
    """Both sides' ribs: sheets of cortex on the cage's surface, seen edge-on (dense) where they turn at the side.

    A rib runs on the cage at angle t from the spine (0) over the side (pi / 2) to its front end, and descends as
    it goes: gently at the back, steeply at the front.
    """
    thorax = patient.thorax
    scale = (thorax.base - thorax.apex) / 25
    number = np.arange(11)
    pitch = (2.05 + 0.045 * number) * scale
    start = thorax.apex + 0.6 * scale + np.concatenate([[0], np.cumsum(pitch[:-1])])
    drop = np.interp(number, [0, 1, 2, 5, 8, 10], [4.2, 6.0, 7.6, 9.8, 10.6, 8.6]) * scale * rng.uniform(0.85, 1.1)
    last = np.interp(number, [0, 1, 5, 7, 9, 10], [0.86, 0.82, 0.76, 0.68, 0.55, 0.46]) * np.pi
    height = np.interp(number, [0, 1, 4, 10], [0.74, 0.64, 0.64, 0.52]) * rng.uniform(0.85, 1.15)
    offset = np.linspace(-1, 1, across, dtype=np.float32)
    cortex = np.float32(0.18) * (1 + 1.6 * np.abs(offset) ** 6) * (1 - 0.25 * offset)  # bright rims, the upper more
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
        # Rib ends fade into costal cartilage in front; twisted and moved by breathing, ribs seen edge-on are less
        # dense than thin sheets would be.
        fade = np.clip((1 - share) / 0.05, 0, 1)
        turned = 0.3 + 0.7 * np.abs(np.cos(angle)) - 0.3 * (angle > np.pi / 2)
        rise = height[:, None] * (0.75 + 0.25 * np.abs(np.cos(angle)))
        faint = np.interp(number, [0, 7, 10], [1, 1, 0.35])[:, None]  # the free ribs are slight
        area = faint * arc * fade * turned * (2 * height[:, None] / across)
        rows = (y[:, :, None] + rise[:, :, None] * offset).astype(np.float32)
        volume = area.astype(np.float32)[:, :, None] * cortex
        for radius_cm in (0.12, 0.46):
            x = (side * (cage + radius_cm) * np.sin(angle) + shift).astype(np.float32)
            xs.append(np.broadcast_to(x[:, :, None], rows.shape))
            ys.append(rows)
            volumes.append(volume)
    return np.concatenate(xs), np.concatenate(ys), np.concatenate(volumes)


def _arm_bones(patient: Patient, side: float, points: int) -> list[Cloud]:
    """Humerus: a hollow shaft that opens into a spongy, rounded head."""
    scale = patient.thorax.half_width / 13.8
    top = patient.thorax.apex + patient.habitus.shoulder
    slope = patient.habitus.arm
    share = np.linspace(0, 1, points)
    along = -2.2 + 36.0 * share
    x = side * (17.6 + np.maximum(along, -0.5) * np.sin(slope)) * scale
    shaft = np.stack([x, top + (4.4 + along * np.cos(slope)) * scale], axis=-1)
    radius = np.interp(along, [-2.2, -1.9, -1.0, 0.3, 2.0, 4.5, 34], [0.7, 1.35, 2.0, 2.1, 1.6, 1.15, 1.1]) * scale
    cortex = np.interp(share, [0, 0.1, 0.24, 1], [0.25, 0.35, 0.9, 1.0])
    clouds = []
    head = int(0.2 * points)
    for part, across in ((slice(0, head), 32), (slice(head, None), 16)):
        clouds.append(tube(shaft[part], radius[part], across, shell=0.2, weight=cortex[part]))
        clouds.append(tube(shaft[part], radius[part], across, weight=0.16))
    return clouds


def _scapula(patient: Patient, side: float, blade: float, points: int) -> list[Cloud]:
    """Scapula: a thin sheet with a thick outer border, a fine inner one, and its spine running to the acromion."""
    scale = patient.thorax.half_width / 13.8
    top = patient.thorax.apex + patient.habitus.shoulder

    def at(x: float, y: float) -> tuple[float, float]:
        return side * x * scale, top + y * scale

    lateral = _smooth_path([at(15.0, 4.6), at(14.4, 8.0), at(blade + 1.4, 13.5), at(blade + 0.3, 16.4)], points)
    medial = _smooth_path(
        [at(blade - 0.9, 2.2), at(blade - 0.5, 8.0), at(blade - 0.2, 13.0), at(blade + 0.3, 16.4)], points
    )
    spine = _smooth_path([at(blade - 0.5, 5.0), at(blade + 2.0, 3.4), at(15.2, 1.6), at(17.6, 1.3)], points)
    coracoid = _smooth_path([at(13.6, 3.4), at(14.4, 2.6), at(15.2, 3.4)], points // 3)
    share = np.linspace(0, 1, 28)[None, :, None]
    sheet = medial[:, None, :] * (1 - share) + lateral[:, None, :] * share
    rise = np.hypot(*np.gradient(medial, axis=0).T)[:, None]
    area = np.broadcast_to(rise * np.abs(medial - lateral)[:, :1] / 28, sheet.shape[:2])
    return [
        tube(lateral, 0.42 * scale, 9, weight=0.5),
        tube(medial, 0.2 * scale, 6, weight=0.45),
        tube(spine, 0.55 * scale, 10, weight=0.35),
        tube(coracoid, 0.55 * scale, 9, weight=0.5),
        (sheet[..., 0], sheet[..., 1], 0.15 * area),
    ]


def _shoulder_girdle(patient: Patient, rng: np.random.Generator, points: int) -> list[Cloud]:
    thorax = patient.thorax
    scale = thorax.half_width / 13.8
    top = thorax.apex + patient.habitus.shoulder
    clouds: list[Cloud] = []
    lift = rng.uniform(-0.8, 1.0)
    blade = rng.uniform(9.8, 11.5) if patient.view == "AP" else rng.uniform(12.0, 13.6)
    share = np.linspace(0, 1, points)
    for side in _SIDES:
        inner = (1.7 * side * scale + 0.9 * patient.rotation, thorax.apex + 3.6 * scale)
        outer = [(5, 2.4 - lift), (9, 1.1 - lift), (13, 0.9 - lift), (16.5, 1.6 - 0.7 * lift)]
        clavicle = _smooth_path([inner, *((side * x * scale, top + y * scale) for x, y in outer)], points)
        radius = np.interp(share, [0, 0.04, 0.15, 0.5, 0.9, 1], [0.5, 0.95, 0.68, 0.55, 0.75, 0.6]) * scale
        ends = np.interp(share, [0, 0.05, 0.2, 0.85, 1], [0.3, 0.55, 1, 1, 0.5])
        clouds += [tube(clavicle, radius, 14, shell=0.28, weight=ends), tube(clavicle, radius, 10, weight=0.25 * ends)]
        clouds += _arm_bones(patient, side, 2 * points) + _scapula(patient, side, blade, points)
    return [(x, y, 1.1 * volume) for x, y, volume in clouds]


def _spine(grid: Grid, patient: Patient, rng: np.random.Generator) -> FloatArray:
    """Vertebral bodies with end plates and pedicles, and spinous processes; lengths of bone in cm."""
    thorax = patient.thorax
    scale = (thorax.base - thorax.apex) / 25
    pitch = spline([(-14.0, 1.75 * scale), (0.0, 2.25 * scale), (16.0, 3.0 * scale)])
    # Phase counts vertebrae from the top: the integral of 1 / pitch over height.
    heights = np.arange(-45, 45, 0.05)
    count = np.cumsum(0.05 / pitch(heights))
    offset = rng.uniform(0, 1)
    near = np.flatnonzero((np.abs(grid.x) < _SPINE_REACH_CM).any(axis=0))
    if near.size == 0:
        return np.zeros_like(grid.x)
    columns = slice(near[0], near[-1] + 1)  # the rest of the picture has none of it
    phase = grid.along_y(lambda y: np.mod(np.interp(y, heights, count) + offset, 1))[:, columns]
    bend = rng.normal(0, 0.35)
    curve = grid.along_y(lambda y: bend * np.sin(y / 9) - 0.25 * patient.rotation)[:, columns]
    half = grid.along_y(lambda y: np.interp(y, [-16, -10, 0, 14], [1.35, 1.4, 1.6, 2.15]) * scale)[:, columns]
    x = grid.x[:, columns] - curve
    waist = half * (1 - 0.1 * np.sin(np.pi * np.clip(phase / 0.82, 0, 1)))
    soft = np.float32(0.3)
    inside = smoothstep((waist - np.abs(x)) / soft + 0.5) * smoothstep(phase / 0.05) * smoothstep((0.84 - phase) / 0.05)
    plates = np.exp(-(((phase - 0.04) / 0.035) ** 2)) + np.exp(-(((phase - 0.8) / 0.035) ** 2))
    rim = np.exp(-(((np.abs(x) - waist) / 0.13) ** 2))
    bone = inside * (1.15 + 0.35 * plates + 0.3 * rim)
    pedicle = ((np.abs(x) - 0.66 * half) / (0.3 * half)) ** 2 + ((phase - 0.3) / 0.17) ** 2
    bone += 0.75 * np.exp(-((pedicle - 1) ** 2) * 3) + 0.25 * np.exp(-pedicle)
    spinous = ((x + 0.15 * patient.rotation) / 0.32) ** 2 + ((phase - 0.72) / 0.24) ** 2
    bone += 1.0 * np.exp(-(spinous**2))
    transverse = (
        np.exp(-(((phase - 0.28) / 0.16) ** 2)) * smoothstep((1.75 * half - np.abs(x)) / 0.5) * (np.abs(x) > 0.8 * half)
    )
    out = np.zeros_like(grid.x)
    out[:, columns] = bone + 0.4 * transverse
    return out


def build_bones(grid: Grid, patient: Patient, seed: int) -> FloatArray:
    """Path length through bone (cm), float32 (size, size)."""
    rng = stream(seed, "bones")
    fine = grid.size >= 192
    clouds = [_rib_cloud(patient, rng, points=215 if fine else 130, across=12 if fine else 8)]
    density = rng.uniform(0.8, 1.15) * (1 - 0.004 * max(patient.age - 55, 0))
    clouds += _shoulder_girdle(patient, rng, 150 if fine else 90)
    bone = grid.splat(*clouds) + 0.42 * _spine(grid, patient, rng)
    grain = 1 + 0.07 * noise_field(rng, grid.size, 90, octaves=1)
    return (density * bone * grain).astype(np.float32)
