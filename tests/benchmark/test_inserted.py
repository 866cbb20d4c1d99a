"""Inserted opacities: exact truth, inside the lungs' box, clear, and nothing else changed."""

from __future__ import annotations

import numpy as np
import pytest

from monai_dgm.benchmark.inserted import LEAST_PIXELS, LEAST_RESIDUE, Donor, insert_opacities
from monai_dgm.benchmark.test_sets import TestSet
from monai_dgm.data.simulator.simulate import RESIDUE_THRESHOLD, simulate_radiograph
from monai_dgm.transforms.boxes import box_of_mask

SIDE = 64


def box_of(mask: np.ndarray) -> np.ndarray:
    box = box_of_mask(mask)
    assert box is not None
    return box


@pytest.fixture(scope="module")
def normals() -> TestSet:
    shots = [simulate_radiograph(seed, SIDE, abnormal=False) for seed in range(6)]
    return TestSet(
        name="real",
        images=np.stack([shot.image for shot in shots]).astype(np.float32),
        normals=np.zeros(0, np.float32),
        areas=np.zeros((6, SIDE, SIDE), bool),
        labels=np.zeros(6, np.int64),
        complete=np.zeros(6, bool),
        patients=np.array([f"p{i}" for i in range(6)]),
        sources=np.array(["a", "b"] * 3),
        kinds=np.array([""] * 6),
        lung_boxes=np.stack([box_of(shot.lung_mask) for shot in shots]).astype(np.float32),
    )


@pytest.fixture(scope="module")
def donors() -> list[Donor]:
    shots = [simulate_radiograph(seed, SIDE, abnormal=True) for seed in range(100, 112)]
    return [
        Donor(shot.image, shot.opacity_boxes, box_of(shot.lung_mask), "a") for shot in shots if len(shot.opacity_boxes)
    ]


@pytest.fixture(scope="module")
def inserted(normals: TestSet, donors: list[Donor]) -> TestSet:
    return insert_opacities(normals, donors)


def test_each_normal_gets_a_real_and_a_rendered_opacity(normals: TestSet, inserted: TestSet) -> None:
    assert set(inserted.kinds.tolist()) == {"real", "rendered"} and len(inserted) > len(normals)
    assert set(inserted.patients.tolist()) <= set(normals.patients.tolist()) and inserted.labels.all()


def test_the_truth_is_exact(normals: TestSet, inserted: TestSet) -> None:
    known = dict(zip(normals.patients, normals.images, strict=True))
    for patient, image, normal, area in zip(
        inserted.patients, inserted.images, inserted.normals, inserted.areas, strict=True
    ):
        assert np.array_equal(normal, known[patient])
        residue = image - normal
        assert np.array_equal(area, np.abs(residue) > RESIDUE_THRESHOLD)
        assert area.sum() >= LEAST_PIXELS and residue[area].mean() >= LEAST_RESIDUE  # it brightens, and is seen
        assert np.abs(image).max() <= 1 and area.mean() < 0.6


def test_opacities_lie_at_the_lungs(inserted: TestSet) -> None:
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    for area, box in zip(inserted.areas, inserted.lung_boxes, strict=True):
        centre = np.array([x[area].mean(), y[area].mean()])
        assert (centre > box[:2] - 4).all() and (centre < box[2:] + 4).all()


def test_the_same_seed_gives_the_same_and_no_donor_leaves_the_rendered(
    normals: TestSet, donors: list[Donor], inserted: TestSet
) -> None:
    assert insert_opacities(normals, donors).key == inserted.key
    assert insert_opacities(normals, donors, seed=1).key != inserted.key
    assert set(insert_opacities(normals, []).kinds.tolist()) == {"rendered"}
