"""Made-up jobs: scores as the bundles leave them, without any training."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.classification.classification_evaluation import ClassificationResult, write_scores
from monai_dgm.engines.detection.detection_evaluation import write_detections
from monai_dgm.jobs.dataset_info import DatasetInfo
from monai_dgm.jobs.job import Job
from monai_dgm.jobs.job_record import SCORES, JobRecord
from monai_dgm.jobs.runner import Outcome
from monai_dgm.metrics.detection import DetectionResult
from monai_dgm.reproduction.jobs import Plan, make_plan
from monai_dgm.reproduction.presets import PRESETS, Preset

SAMPLE = "the embedded sample (simulated radiographs of 60 patients; no real data), fold {fold} as the test"
RSNA = "the RSNA challenge, the paper's hold-out, split {fold}"


@dataclass(frozen=True)
class MadeUp:
    """A plan whose jobs all seem to have run."""

    root: Path
    plan: Plan
    outcome: Outcome
    dataset_info: DatasetInfo


def classification_records(
    seed: int, gain: float, sources: tuple[str, ...], number: int = 60
) -> list[ClassificationResult]:
    """Scores that tell the labels apart the better the larger the gain; about two images a patient."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 2
    scores = 1 / (1 + np.exp(-rng.normal(gain * (labels - 0.5), 1.0)))
    return [
        ClassificationResult(
            f"image{i}", f"patient{i // 2}", sources[i // 2 % len(sources)], "PA", "F", "x", int(label), score
        )
        for i, (label, score) in enumerate(zip(labels, scores.tolist(), strict=True))
    ]


def detection_records(seed: int, gain: float, number: int = 40) -> list[DetectionResult]:
    rng = np.random.default_rng(seed)
    box = np.array([[10.0, 10.0, 30.0, 30.0]], dtype=np.float32)
    records = []
    for i in range(number):
        found = box + rng.normal(0, 6 / gain, (1, 4)).astype(np.float32)
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2])
        truth = box if i % 2 else np.zeros((0, 4), np.float32)
        records.append(DetectionResult(f"image{i}", f"patient{i}", found, rng.random(1).astype(np.float32), truth))
    return records


def write_job(root: Path, job: Job, sources: tuple[str, ...], described: str, data_sha256: str) -> JobRecord:
    """What a job leaves: weights, scores, figures."""
    folder = root / "jobs" / job.name
    weights = folder / "models" / "model.pt"
    weights.parent.mkdir(parents=True)
    weights.write_text(job.name)
    seed, gain = job.fold, 2.0 if "residue" in job.name else 1.0
    names = SCORES.get(job.kind, ())
    for part, name in enumerate(names):
        if job.kind == "detector":
            records = detection_records(10 * part + seed, gain)
            write_detections(records, [sources[i // 2 % len(sources)] for i in range(len(records))], folder / name)
        else:
            write_scores(classification_records(10 * part + seed, gain, sources), folder / name)
    settings = {
        "architecture": "densenet_small",
        "image_size": 64,
        "base_width": 4,
        "num_res_blocks": 1,
        **job.overrides,
    }
    metrics = {"model": {"sha256": hash_file(weights)}, "settings": settings, "tested_on": described}
    (folder / "report").mkdir(exist_ok=True)
    (folder / "report" / "metrics.json").write_text(json.dumps(metrics))
    relative = tuple(f"jobs/{job.name}/{name}" for name in names)
    where = f"jobs/{job.name}/models/model.pt"
    return JobRecord(job.name, "key", "python", where, hash_file(weights), None, data_sha256, relative, {}, 1.0, "0")


def make_up(
    root: Path,
    preset: Preset = PRESETS["toy"],
    sources: tuple[str, ...] = ("simulated",),
    is_rsna: bool = False,
    described: str = SAMPLE,
    folds: tuple[int, ...] = (0, 1),
    tables: tuple[int, ...] = (4, 5, 6, 7),
    controls: bool = False,
) -> MadeUp:
    """Finished jobs of a plan."""
    plan = make_plan(dataclasses.replace(preset, num_bootstrap=40), folds, tables, controls=controls)
    sha256 = "5" * 64
    outcome = Outcome()
    for job in plan.jobs:
        outcome.finished[job.name] = write_job(root, job, sources, described.format(fold=job.fold), sha256)
    name = "the RSNA challenge" if is_rsna else "the embedded sample"
    return MadeUp(root, plan, outcome, DatasetInfo(None, root / "sample", name, sha256, folds, is_rsna))


@pytest.fixture
def made_up(tmp_path: Path) -> Callable[..., MadeUp]:
    """:func:`make_up` in the test's own folder."""
    return functools.partial(make_up, tmp_path)
