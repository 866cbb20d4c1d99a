"""Simulated disease: lesions that fill the air of the lung (replace tissue), and lesions that add tissue (superimpose).

Each kind is a function ``(site) -> Lesion``. A lesion has no grey values: it is a share of the aerated path and
centimetres of soft tissue. The simulated exposure gives it the appearance of a real one (silhouette signs, visible
ribs).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from monai_dgm.data.simulator.anatomy import Anatomy, heart_chord, lung_path
from monai_dgm.data.simulator.grid import BoolArray, FloatArray, Grid, half_chord, noise_field, smoothstep, tube
from monai_dgm.data.simulator.patient import Patient
from monai_dgm.data.simulator.vessels import hilum, lung_trees


@dataclass(frozen=True)
class Lesion:
    """One disease process.

    Attributes:
        finding: its name.
        filled: share in [0, 1] of the aerated path that it replaces, (size, size).
        added: soft tissue in cm that it adds on top, (size, size).
    """

    finding: str
    filled: FloatArray
    added: FloatArray


@dataclass(frozen=True)
class Site:
    """Site of a lesion: the maps of a patient, a side (-1 right, 1 left) and a random stream."""

    grid: Grid
    patient: Patient
    anatomy: Anatomy
    rng: np.random.Generator
    side: float

    @property
    def half(self) -> BoolArray:
        """The lung fields of the side."""
        return self.anatomy.visible & (self.grid.x * self.side > 0)

    @property
    def own(self) -> FloatArray:
        """1 on the side's half of the chest, 0 on the other, with a soft seam behind the mediastinum."""
        return smoothstep(self.grid.x * self.side / 1.5 + 0.5)

    def point(self, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
        """A random point (cm) in the side's visible lung, between the shares ``low`` and ``high`` of its height."""
        rows, columns = np.nonzero(self.half)
        if rows.size == 0:
            return hilum(self.patient, self.side)
        heights = self.grid.y[rows, columns]
        bottom, top = np.quantile(heights, [0.01, 0.99])
        share = (heights - bottom) / max(top - bottom, 1e-3)
        depth = self.anatomy.inside[rows, columns]
        fit = np.flatnonzero((share >= low) & (share <= high) & (depth > 1.2))
        pick = int(self.rng.choice(fit)) if fit.size else int(self.rng.integers(rows.size))
        return float(self.grid.x[rows[pick], columns[pick]]), float(self.grid.y[rows[pick], columns[pick]])

    def blank(self) -> FloatArray:
        """A map of zeros."""
        return np.zeros_like(self.grid.x)

    def blob(self, centre: tuple[float, float], radii: tuple[float, float], edge: float, rough: float) -> FloatArray:
        """A patch in [0, 1], about elliptical, of uneven outline; ``edge``: the share of its radius that fades."""
        grid, angle = self.grid, self.rng.uniform(0, np.pi)
        reach = max(radii) * (1 + 2 * rough)
        column, row = grid.to_pixels(np.array(centre[0]), np.array(centre[1]))
        half = reach / grid.pixel_cm
        rows = slice(max(int(row - half), 0), max(int(row + half) + 2, 0))
        columns = slice(max(int(column - half), 0), max(int(column + half) + 2, 0))
        # The noise covers a square about the patch, whatever part of it lies in the picture.
        side = max(int(2 * half) + 4, 8)
        noise = noise_field(self.rng, side, 2.6 * max(radii) / min(radii), octaves=3)
        dx, dy = grid.x[rows, columns] - centre[0], grid.y[rows, columns] - centre[1]
        noise = noise[: dx.shape[0], : dx.shape[1]]
        u = (np.cos(angle) * dx + np.sin(angle) * dy) / radii[0]
        v = (-np.sin(angle) * dx + np.cos(angle) * dy) / radii[1]
        patch = self.blank()
        patch[rows, columns] = smoothstep((1 + rough * np.clip(noise, -2, 2) - np.sqrt(u * u + v * v)) / edge)
        return patch


def _bronchogram(site: Site) -> FloatArray:
    """Air-filled bronchi (cm of air) that show in a consolidated lung."""
    trees = lung_trees(site.patient, site.rng, share=0.62, levels=4)
    tree = trees[0 if site.side < 0 else 1]
    return site.grid.splat(
        *(tube(paths, np.maximum(radii, 0.1), max(7 - k, 3)) for k, (paths, radii) in enumerate(tree))
    )


def lobar_consolidation(site: Site) -> Lesion:
    """A lobe or part of it filled: sharp along a fissure, fading elsewhere, with air bronchograms."""
    rng, grid, side = site.rng, site.grid, site.side
    fissure = site.patient.thorax.apex + rng.uniform(0.5, 0.58) * (site.patient.thorax.dome - site.patient.thorax.apex)
    slope, sag = rng.normal(0, 0.12), rng.uniform(-0.02, 0.02)
    lateral = side * grid.x
    above = fissure + slope * (lateral - 6) + sag * (lateral - 6) ** 2 - grid.y
    lobe = str(rng.choice(["upper", "middle", "lower"] if side < 0 else ["upper", "lower"]))
    noise = noise_field(rng, grid.size, 5, octaves=3)
    if lobe == "upper":
        shape = smoothstep(above / 0.3 + 0.5) * smoothstep((rng.uniform(5.5, 9) - above + 1.1 * noise) / 2.5)
        if rng.random() < 0.5:  # one segment only, next to the hilum or to the side
            inner = rng.random() < 0.5
            shape = shape * smoothstep(
                (rng.uniform(0.8, 2.5) + (8 - lateral if inner else lateral - 5) + 1.1 * noise) / 3.0
            )
    elif lobe == "middle":
        reach = rng.uniform(8, 13) + 1.3 * noise
        wedge = smoothstep((reach - lateral - 0.5 * np.abs(above)) / 3.5)
        shape = smoothstep(-above / 0.3 + 0.5) * wedge * smoothstep((rng.uniform(4.5, 8) + 1.2 * noise + above) / 3.0)
    else:
        height = rng.uniform(4, 7.5)
        shape = smoothstep(
            (grid.y - (site.patient.thorax.base - height) + 0.8 * noise + 0.25 * (8 - lateral)) / rng.uniform(1.2, 3.2)
        )
    strength = rng.uniform(0.45, 0.95)
    filled = strength * shape * np.clip(0.92 + 0.1 * noise, 0.55, 1) * site.own
    air = _bronchogram(site)
    filled = filled * (1 - np.clip(0.5 * air, 0, 0.45) * shape)
    return Lesion("Consolidation", filled.astype(np.float32), site.blank())


def bronchopneumonia(site: Site) -> Lesion:
    """Many patches about the branches of one region, running together."""
    rng = site.rng
    centre = site.point(0.3, 1.0)
    std = rng.uniform(1.8, 3.6)
    clear = np.ones_like(site.grid.x)
    for _ in range(int(rng.integers(6, 12))):
        at = (centre[0] + rng.normal(0, std), centre[1] + rng.normal(0, std))
        radii = (rng.uniform(1.3, 3.2), rng.uniform(1.2, 2.6))
        clear *= 1 - rng.uniform(0.3, 0.7) * site.blob(at, radii, edge=rng.uniform(0.9, 1.3), rough=0.2)
    return Lesion("Pneumonia", (1 - clear) * site.own, site.blank())


def focal_pneumonia(site: Site) -> Lesion:
    """One ill-defined dense patch."""
    rng = site.rng
    radii = (rng.uniform(3.4, 7.5), rng.uniform(3.0, 6.0))
    patch = site.blob(site.point(0.15, 1.0), radii, edge=rng.uniform(0.7, 1.15), rough=0.2)
    strands = 1 + 0.16 * noise_field(rng, site.grid.size, 30, octaves=2)
    filled = rng.uniform(0.4, 0.85) * patch * np.clip(strands, 0.5, 1.4) * site.own
    return Lesion("Pneumonia", np.clip(filled, 0, 0.97).astype(np.float32), site.blank())


def ground_glass(site: Site) -> Lesion:
    """A broad haze through which vessels stay visible."""
    rng = site.rng
    radii = (rng.uniform(4.5, 8.5), rng.uniform(3.8, 6.5))
    haze = site.blob(site.point(0.2, 0.95), radii, edge=rng.uniform(0.9, 1.3), rough=0.22)
    uneven = 1 + 0.2 * noise_field(rng, site.grid.size, 9, octaves=3)
    filled = rng.uniform(0.25, 0.48) * haze * np.clip(uneven, 0.4, 1.5) * site.own
    return Lesion("Ground glass", filled.astype(np.float32), site.blank())


def perihilar_oedema(site: Site) -> Lesion:
    """Bat-wing haze about one hilum; the picture draws it on both sides."""
    rng, grid = site.rng, site.grid
    noise = noise_field(rng, grid.size, 8, octaves=3)
    x, y = hilum(site.patient, site.side)
    distance = np.hypot((grid.x - x - site.side * 2.2) / 4.6, (grid.y - y - 1.8) / 5.6)
    wing = smoothstep((1.1 + 0.22 * noise - distance) / 0.95)
    filled = rng.uniform(0.3, 0.6) * wing * np.clip(1 + 0.22 * noise, 0.4, 1.4) * site.own
    return Lesion("Edema", filled.astype(np.float32), site.blank())


def reticular(site: Site) -> Lesion:
    """A net of fine lines in the lower, outer lung, on top of everything."""
    rng, grid = site.rng, site.grid
    net = np.zeros_like(grid.x)
    for cells, weight in ((rng.uniform(46, 60), 1.0), (rng.uniform(26, 34), 0.8)):
        lines = noise_field(rng, grid.size, cells)
        net += weight * np.exp(-((lines / 0.25) ** 2))
    radii = (rng.uniform(4.5, 7.5), rng.uniform(4.0, 6.0))
    zone = site.blob(site.point(0.45, 1.0), radii, edge=1.0, rough=0.25) * site.own
    share = np.clip(site.anatomy.lung / 5, 0, 1)
    added = rng.uniform(1.2, 2.2) * net * zone * share
    return Lesion("Interstitial pattern", (0.12 * zone).astype(np.float32), added.astype(np.float32))


def band_atelectasis(site: Site) -> Lesion:
    """One to three plates of airless lung, seen edge-on as bands in the lower zones."""
    rng, added = site.rng, site.blank()
    x, y = site.point(0.55, 0.95)
    for _ in range(int(rng.integers(1, 4))):
        angle, half = rng.normal(0, 0.3), rng.uniform(2.5, 5.0)
        along = np.linspace(-1, 1, 120)
        bow = rng.normal(0, 0.4)
        path = np.stack([x + half * along * np.cos(angle), y + half * along * np.sin(angle) + bow * along**2], axis=-1)
        wide = rng.uniform(0.16, 0.36) * (1.02 - along**2) ** 0.35
        added += rng.uniform(3.5, 7) * site.grid.splat(tube(path, wide, 9))
        x, y = x + rng.normal(0, 1.0), y + rng.uniform(1.2, 2.6)
    return Lesion("Atelectasis", site.blank(), (added * np.clip(site.anatomy.lung / 3, 0, 1)).astype(np.float32))


def nodule(site: Site) -> Lesion:
    """A nodule or mass: round or lobed, denser than its own size would be for the larger ones."""
    rng, grid = site.rng, site.grid
    radius = float(np.clip(rng.lognormal(0.55, 0.35), 1.1, 3.2))
    x, y = site.point(0.05, 0.95)
    outline = 1 + rng.uniform(0.03, 0.14) * noise_field(rng, grid.size, grid.field_cm / (1.2 * radius))
    chord = 2 * radius * half_chord(1 - ((grid.x - x) ** 2 + (grid.y - y) ** 2) / (radius * outline) ** 2)
    lung = np.clip(site.anatomy.lung / 3, 0, 1)
    return Lesion(
        "Mass" if radius > 1.5 else "Nodule",
        site.blank(),
        (rng.uniform(1.2, 1.8) * chord**0.72 * lung).astype(np.float32),
    )


def pleural_effusion(site: Site) -> Lesion:
    """Fluid at the base with a meniscus that climbs the side wall; a veil when the patient lies."""
    rng, grid = site.rng, site.grid
    thorax = site.patient.thorax
    level = thorax.base - rng.uniform(3.2, 9.0)
    climb = rng.uniform(2.5, 5.0)
    edge = level - climb * np.exp(-np.maximum(site.anatomy.inside, 0) / 1.6) + 0.12 * np.abs(grid.x)
    lying = site.patient.view == "AP" and rng.random() < 0.4
    depth = rng.uniform(3.5, 7.0) if lying else rng.uniform(1.2, 2.6)
    filled = smoothstep((grid.y - edge) / depth + 0.15) * site.own
    return Lesion("Effusion", (rng.uniform(0.55, 0.95) * filled).astype(np.float32), site.blank())


def cardiomegaly(site: Site) -> Lesion:
    """A heart grown to the left, and to the right a little: lung that gave way to it."""
    rng, patient = site.rng, site.patient
    grown = rng.uniform(1.22, 1.45)
    heart = replace(
        patient.heart,
        left=patient.heart.left * grown,
        right=patient.heart.right * rng.uniform(1.05, 1.25),
        depth=patient.heart.depth * 1.08,
    )
    chord = heart_chord(site.grid, patient, heart)
    now = lung_path(site.grid, patient, chord)
    lost = np.clip(1 - now / np.maximum(site.anatomy.lung, 0.05), 0, 1) * (site.anatomy.lung > 0.3)
    larger = chord - heart_chord(site.grid, patient, patient.heart)
    return Lesion("Cardiomegaly", np.where(larger > 0, lost, 0).astype(np.float32), site.blank())


Maker = Callable[[Site], Lesion]
LUNG_OPACITIES: tuple[tuple[Maker, float], ...] = (
    (lobar_consolidation, 0.24),
    (bronchopneumonia, 0.24),
    (focal_pneumonia, 0.22),
    (ground_glass, 0.14),
    (perihilar_oedema, 0.08),
    (reticular, 0.08),
)
OTHER_ABNORMALITIES: tuple[tuple[Maker, float], ...] = (
    (pleural_effusion, 0.4),
    (nodule, 0.3),
    (cardiomegaly, 0.2),
    (band_atelectasis, 0.1),
)
BILATERAL_SHARE: dict[Maker, float] = {
    bronchopneumonia: 0.35,
    ground_glass: 0.5,
    perihilar_oedema: 0.85,
    reticular: 0.75,
    focal_pneumonia: 0.2,
    pleural_effusion: 0.2,
    nodule: 0.2,
}


def sample_lesions(
    grid: Grid, patient: Patient, anatomy: Anatomy, rng: np.random.Generator
) -> tuple[str, list[Lesion]]:
    """Draw the disease of an abnormal radiograph.

    Returns:
        category "lung_opacity" or "other_abnormal", and its lesions. A lung opacity may come with an effusion or a
        band; other abnormalities never come with a lung opacity.
    """
    category = "lung_opacity" if rng.random() < 0.75 else "other_abnormal"
    kinds = LUNG_OPACITIES if category == "lung_opacity" else OTHER_ABNORMALITIES
    weights = np.array([weight for _, weight in kinds])
    maker = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))][0]
    side = float(rng.choice([-1.0, 1.0], p=[0.55, 0.45]))
    site = Site(grid, patient, anatomy, rng, side)
    lesions = [maker(site)]
    if rng.random() < BILATERAL_SHARE.get(maker, 0.0):
        lesions.append(maker(replace(site, side=-side)))
    if category == "lung_opacity" and rng.random() < 0.15:
        second = pleural_effusion if rng.random() < 0.6 else band_atelectasis
        lesions.append(second(site))
    return category, lesions
