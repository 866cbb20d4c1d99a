"""Made-up test images and predictions: what a perfect, an unchanged and a wrong system would give."""

from __future__ import annotations

import numpy as np
import pytest

from monai_dgm.benchmark.judge import Prediction
from monai_dgm.benchmark.results import Judged, Results, collect
from monai_dgm.benchmark.scores import measure
from monai_dgm.benchmark.test_sets import TestSet

SIDE = 32


def make_test_set(name: str = "inserted", count: int = 24, exact: bool = True, seed: int = 0) -> TestSet:
    """Half normal and half with one bright disc, two images a patient, two sources."""
    rng = np.random.default_rng(seed)
    normals = rng.uniform(-0.6, 0.2, (count, SIDE, SIDE)).astype(np.float32)
    labels = np.arange(count) % 2
    y, x = np.mgrid[:SIDE, :SIDE]
    areas = np.zeros((count, SIDE, SIDE), bool)
    for i in np.flatnonzero(labels):
        centre, radius = rng.integers(9, SIDE - 9, 2), rng.integers(2, 7)
        areas[i] = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2
    added = rng.uniform(0.2, 0.6, (count, 1, 1)).astype(np.float32) * areas
    patients = np.array([f"p{i // 2}" for i in range(count)])
    return TestSet(
        name=name,
        images=normals + added,
        normals=normals if exact else np.zeros(0, np.float32),
        areas=areas,
        labels=labels,
        complete=labels == 1,
        patients=patients,
        sources=np.array(["a" if i // 2 % 2 else "b" for i in range(count)]),
        kinds=np.array(["real" if i % 4 < 2 else "rendered" for i in range(count)]),
        lung_boxes=np.tile(np.array([4, 4, 28, 28], np.float32), (count, 1)),
    )


def perfect(test_set: TestSet) -> Prediction:
    """The truth."""
    features = test_set.normals.reshape(len(test_set), -1)
    residues = test_set.images - test_set.normals
    return Prediction(test_set.normals, residues, test_set.labels.astype(np.float32), features)


def nothing(test_set: TestSet) -> Prediction:
    """y' = z and no residue."""
    features = test_set.images.reshape(len(test_set), -1)
    unknown = np.full(len(test_set), np.nan, np.float32)
    return Prediction(test_set.images, np.zeros_like(test_set.images), unknown, features)


@pytest.fixture
def test_set() -> TestSet:
    """:func:`make_test_set`."""
    return make_test_set()


def noisy(test_set: TestSet, noise: float, seed: int) -> Prediction:
    """The truth with noise in the residue."""
    right = perfect(test_set)
    added = np.random.default_rng(seed + 1).normal(0, noise, right.residues.shape).astype(np.float32)
    return Prediction(right.normals, right.residues + added, right.probabilities, right.features)


@pytest.fixture
def results() -> Results:
    """Ours, a worse system of other seeds, weights that were not trained here, and a reference."""
    test_sets = {"inserted": make_test_set("inserted"), "real": make_test_set("real", exact=False)}
    exact = {"inserted": test_sets["inserted"], "real": make_test_set("real")}

    def judged(name: str, noise: float, seeds: tuple[int, ...]) -> Judged:
        cells = {
            seed: {part: measure(test_sets[part], noisy(exact[part], noise, seed)) for part in test_sets}
            for seed in seeds
        }
        return Judged(name, name, "labels", cells)

    same = {part: measure(test_sets[part], nothing(exact[part])) for part in test_sets}
    everyone = [
        judged("ours", 0.05, (0, 1, 2)),
        judged("other", 0.6, (1, 2, 3)),
        judged("weights", 0.3, (-1,)),
        Judged("unchanged", "unchanged", "none", {-1: same}, True),
    ]
    return collect(everyone, test_sets, ["ours"], 60)
