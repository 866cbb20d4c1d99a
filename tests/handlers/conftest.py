"""Evaluated radiographs without a network or an engine."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from monai_dgm.metrics.case_results import DecompositionResult
from monai_dgm.metrics.decomposition import evaluate_decomposition

MakeRecord = Callable[..., DecompositionResult]


@pytest.fixture
def make_record() -> MakeRecord:
    """make_record(image_id, category): 32 x 32, with one opacity box where the category says so."""

    def make(image_id: str, category: str = "normal") -> DecompositionResult:
        rng = np.random.default_rng(list(image_id.encode()))
        image = rng.uniform(-1, 1, (32, 32)).astype(np.float32)
        marked = category == "lung_opacity"
        residue = np.zeros_like(image)
        residue[8:16, 4:12] = 0.4 * marked
        boxes = np.array([[4, 8, 12, 16]] if marked else np.zeros((0, 4)), np.float32)
        return DecompositionResult(
            image_id=image_id,
            patient_id=image_id,
            source="test",
            label=int(category != "normal"),
            category=category,
            image=image,
            normal=image - residue,
            residue=residue,
            probability=0.9 if category != "normal" else 0.1,
            opacity_boxes=boxes,
        )

    return make


@pytest.fixture
def metrics(make_record: MakeRecord) -> SimpleNamespace:
    """Results and rows, as a DecompositionMetrics has them after a run."""
    kinds = ["lung_opacity", "normal", "normal", "other_abnormal", "lung_opacity", "normal"]
    records = [make_record(f"image_{i}", kind) for i, kind in enumerate(kinds)]
    return SimpleNamespace(results=records, rows=evaluate_decomposition(records, num_bootstrap=3))
