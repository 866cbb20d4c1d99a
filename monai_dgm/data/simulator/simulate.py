"""One simulated frontal radiograph with its truth: normal image, residue, opacity mask and boxes, lung mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, find_objects, label

from monai_dgm.data.simulator.anatomy import Anatomy, build_anatomy
from monai_dgm.data.simulator.bones import build_bones
from monai_dgm.data.simulator.detector_noise import (
    Camera,
    attenuation,
    cables,
    draw_extras,
    marker_overlay,
    sample_film,
)
from monai_dgm.data.simulator.grid import BoolArray, FloatArray, Grid
from monai_dgm.data.simulator.opacity import Lesion, sample_lesions
from monai_dgm.data.simulator.patient import Patient, sample_patient, stream
from monai_dgm.data.simulator.vessels import build_vessels

Box = tuple[int, int, int, int]  # xmin, ymin, xmax, ymax

RESIDUE_THRESHOLD = 0.04  # on the [-1, 1] scale; smaller residues are hidden by the noise
_MIN_AREA_SHARE = 0.0006  # of the image; smaller regions are not counted as an opacity
_MERGE_SHARE = 0.02  # of the side: parts closer than this are one opacity
CLEAR_RESIDUE = 0.24  # mean |residue| within its mask that a disease has at least, on the [-1, 1] scale


@dataclass(frozen=True)
class SimulatedRadiograph:
    """A simulated radiograph with its ground truth.

    Attributes:
        image: float32 (size, size) in [-1, 1], bright = dense; rows downwards, the patient's left at the right.
        normal: the same patient and exposure without the disease; equal to ``image`` in a normal radiograph.
        opacity_mask: bool (size, size), where ``residue`` is not 0.
        lung_mask: bool (size, size), both lung fields.
        opacity_boxes: float32 (N, 4) [xmin, ymin, xmax, ymax] in pixels, one around each connected opacity, overlapping
            ones joined; (0, 4) unless category is "lung_opacity".
        category: "normal", "lung_opacity" or "other_abnormal".
        label: 0 normal, 1 abnormal.
        findings: names of the lesions.
        view: "PA" or "AP".
        sex: "F" or "M".
        age: years.
    """

    image: FloatArray
    normal: FloatArray
    opacity_mask: BoolArray
    lung_mask: BoolArray
    opacity_boxes: FloatArray
    category: str
    label: int
    findings: tuple[str, ...]
    view: str
    sex: str
    age: int

    @property
    def residue(self) -> FloatArray:
        """The true residue a = image - normal, float32 (size, size)."""
        return self.image - self.normal


def connected_opacities(residue: FloatArray) -> tuple[BoolArray, FloatArray]:
    """Support of a residue and the box around each of its parts, specks left out.

    Args:
        residue: float32 (size, size), the [-1, 1] scale.

    Returns:
        mask bool (size, size) and boxes float32 (N, 4), which together hold the whole mask.
    """
    size = residue.shape[0]
    seen = np.abs(residue) > RESIDUE_THRESHOLD
    reach = max(round(_MERGE_SHARE * size), 1)
    parts, count = label(binary_dilation(seen, iterations=reach))
    parts = parts * seen
    area = np.bincount(parts.ravel(), minlength=count + 1)
    area[0] = 0
    keep = area >= max(_MIN_AREA_SHARE * size * size, 0.06 * area.max(), 4)
    found = find_objects(parts, count)
    boxes = [
        (where[1].start, where[0].start, where[1].stop, where[0].stop)
        for index, where in enumerate(found, start=1)
        if where is not None and keep[index]
    ]
    return keep[parts], np.array(_join_overlapping(boxes), dtype=np.float32).reshape(-1, 4)


def _join_overlapping(boxes: list[Box]) -> list[Box]:
    """Replace boxes that overlap by the one around them, as a reader would draw it, until none do."""
    joined: list[Box] = []
    for box in boxes:
        apart = []
        for other in joined:
            if max(box[0], other[0]) < min(box[2], other[2]) and max(box[1], other[1]) < min(box[3], other[3]):
                box = (min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3]))
            else:
                apart.append(other)
        joined = [*apart, box]
    return joined if len(joined) == len(boxes) else _join_overlapping(joined)


class _Scene:
    """A patient's normal chest under a fixed exposure; lesions are then put into it."""

    def __init__(self, seed: int, study: int, size: int, patient: Patient) -> None:
        self.grid = Grid(size, patient.field_cm, patient.centre, patient.tilt)
        self.anatomy: Anatomy = build_anatomy(self.grid, patient, seed)
        extras = stream(seed, "extras", study)
        self._bone = build_bones(self.grid, patient, seed) + cables(self.grid, patient, extras)
        self._vessels = build_vessels(self.grid, patient, self.anatomy.lung, seed)
        self._density = patient.thorax.lung_density
        total = attenuation(self.anatomy, self._bone, self._vessels, self._density)
        film = sample_film(seed, study, patient.view == "AP")
        self._camera = Camera(total, self.anatomy.visible, film, self.grid, stream(seed, "noise", study))
        self._extras = marker_overlay(self.grid, patient, extras)
        self.normal = self._picture(total)

    def _picture(self, total: FloatArray) -> FloatArray:
        return np.clip(draw_extras(self._camera.expose(total), self._extras), -1, 1)

    def with_lesions(self, lesions: list[Lesion], strength: float = 1.0) -> FloatArray:
        clear = np.ones_like(self.normal)
        added = np.zeros_like(self.normal)
        for lesion in lesions:
            clear *= 1 - np.clip(strength * lesion.filled, 0, 0.98)
            added += strength * lesion.added
        return self._picture(attenuation(self.anatomy, self._bone, self._vessels, self._density, 1 - clear, added))


def _diseased(scene: _Scene, lesions: list[Lesion]) -> tuple[FloatArray, BoolArray, FloatArray]:
    """Image, mask and boxes; a disease too faint to be found in this exposure is made denser."""
    strength = 1.0
    for _ in range(5):
        image = scene.with_lesions(lesions, strength)
        residue = image - scene.normal
        mask, boxes = connected_opacities(residue)
        if mask.any() and np.abs(residue[mask]).mean() >= CLEAR_RESIDUE:
            break
        strength *= 1.4
    return np.where(mask, image, scene.normal), mask, boxes


def simulate_radiograph(
    seed: int, size: int = 256, abnormal: bool | None = None, study: int = 0
) -> SimulatedRadiograph:
    """Simulate a frontal chest radiograph; the same arguments give the same bits.

    Args:
        seed: of the patient, the exposure and the disease. The normal image of a seed is the same whatever
            ``abnormal`` is.
        size: pixels a side, at least 32.
        abnormal: with disease, without, or drawn from the seed with equal chances (None).
        study: number of the examination: the same patient in another position, exposure, noise and disease.

    Raises:
        ValueError: size below 32.
    """
    if size < 32:
        raise ValueError(f"size: expected at least 32 pixels, got {size}")
    patient = sample_patient(seed, study)
    scene = _Scene(seed, study, size, patient)
    if abnormal is None:
        abnormal = bool(stream(seed, "label", study).random() < 0.5)
    image, mask, boxes = scene.normal, np.zeros((size, size), dtype=bool), np.zeros((0, 4), dtype=np.float32)
    category, findings = "normal", tuple[str, ...]()
    if abnormal:
        category, lesions = sample_lesions(scene.grid, patient, scene.anatomy, stream(seed, "disease", study))
        findings = tuple(sorted({lesion.finding for lesion in lesions}))
        image, mask, boxes = _diseased(scene, lesions)
        if category != "lung_opacity":
            boxes = np.zeros((0, 4), dtype=np.float32)
    return SimulatedRadiograph(
        image=image,
        normal=scene.normal,
        opacity_mask=mask,
        lung_mask=scene.anatomy.visible,
        opacity_boxes=boxes,
        category=category,
        label=int(abnormal),
        findings=findings,
        view=patient.view,
        sex=patient.sex,
        age=patient.age,
    )
