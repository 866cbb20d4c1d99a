"""The embedded sample: a folder of simulated radiographs with a manifest, written once and as a whole.

``write_sample`` with its defaults writes 690 images of 600 patients (90 patients have two), 345 of them abnormal.
"""

from __future__ import annotations

import csv
import fcntl
import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from monai_dgm.data.simulator.simulate import simulate_radiograph
from monai_dgm.errors import InputError

SIMULATOR_VERSION = 4  # raise it when the same seed gives another picture
NUM_FOLDS = 5
SECOND_STUDY_SHARE = 0.15
MANIFEST_COLUMNS = (
    "image", "width", "height", "native_size", "source", "patient_id", "view", "sex", "age", "label", "label_source",
    "findings", "opacity_boxes", "lung_mask", "normal", "opacity_mask", "fold", "upright_ok", "licence",
)  # fmt: skip
_FOLDERS = ("images", "normals", "opacity_masks", "lung_masks")
_PATIENTS_PER_SEED = 1_000_000
_POOL_FROM = 32  # images; fewer are written faster without a pool of processes


@dataclass(frozen=True)
class SampleSettings:
    """Settings of a sample; written to its settings.json."""

    num_patients: int
    size: int
    seed: int
    abnormal_fraction: float
    simulator_version: int = SIMULATOR_VERSION


@dataclass(frozen=True)
class _Job:
    folder: str
    patient: int
    study: int
    fold: int
    abnormal: bool
    settings: SampleSettings


def encode_grey(image: np.ndarray) -> np.ndarray:
    """[-1, 1] to uint16 [0, 65535], the same line for every image, so that differences of images stay exact."""
    return np.rint((image.astype(np.float64) + 1) * 32767.5).astype(np.uint16)


def _save(array: np.ndarray, folder: str, name: str) -> str:
    Image.fromarray(array).save(os.path.join(folder, name), compress_level=1)
    return name


def _write_one(job: _Job) -> dict[str, object]:
    """Simulate one radiograph, write its files and return its manifest row."""
    settings = job.settings
    seed = settings.seed * _PATIENTS_PER_SEED + job.patient
    shot = simulate_radiograph(seed, settings.size, job.abnormal, job.study)
    file = f"sim_{job.patient:06d}_{job.study}.png"
    image = _save(encode_grey(shot.image), job.folder, f"images/{file}")
    normal = _save(encode_grey(shot.normal), job.folder, f"normals/{file}") if shot.label else image
    boxes = (
        json.dumps([[round(float(v), 2) for v in box] for box in shot.opacity_boxes]) if len(shot.opacity_boxes) else ""
    )
    values = (
        image, settings.size, settings.size, settings.size, "simulated", f"sim_{job.patient:06d}", shot.view, shot.sex,
        shot.age, shot.category, "simulator", "|".join(shot.findings) or "No Finding", boxes,
        _save(shot.lung_mask.astype(np.uint8) * 255, job.folder, f"lung_masks/{file}"), normal,
        _save(shot.opacity_mask.astype(np.uint8) * 255, job.folder, f"opacity_masks/{file}"), job.fold, True,
        "Apache-2.0 (simulated, no patient)",
    )  # fmt: skip
    return dict(zip(MANIFEST_COLUMNS, values, strict=True))


def _plan(folder: str, settings: SampleSettings) -> list[_Job]:
    """The images of a sample: exact shares of second studies and of abnormal images, folds by patient."""
    rng = np.random.default_rng([settings.seed, 77])
    patients = settings.num_patients
    folds = rng.permutation(np.arange(patients) % NUM_FOLDS)
    twice = set(rng.permutation(patients)[: round(SECOND_STUDY_SHARE * patients)].tolist())
    studies = [(patient, study) for patient in range(patients) for study in range(1 + (patient in twice))]
    abnormal = np.arange(len(studies)) < round(settings.abnormal_fraction * len(studies))
    abnormal = rng.permutation(abnormal)
    return [
        _Job(folder, patient, study, int(folds[patient]), bool(is_abnormal), settings)
        for (patient, study), is_abnormal in zip(studies, abnormal, strict=True)
    ]


def _rows(jobs: list[_Job], workers: int | None) -> Iterable[dict[str, object]]:
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers <= 1 or len(jobs) < _POOL_FROM:
        return [_write_one(job) for job in jobs]
    # Fork, as torch's DataLoader does: it asks nothing of the caller's main module.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        return list(pool.map(_write_one, jobs, chunksize=4))


def _build(folder: str, settings: SampleSettings, workers: int | None) -> None:
    for name in _FOLDERS:
        os.mkdir(os.path.join(folder, name))
    rows = _rows(_plan(folder, settings), workers)
    with open(os.path.join(folder, "manifest.csv"), "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, MANIFEST_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with open(os.path.join(folder, "settings.json"), "w", encoding="utf-8") as file:
        json.dump(asdict(settings), file, indent=2)


def _check_settings(settings: SampleSettings) -> None:
    if not 1 <= settings.num_patients < _PATIENTS_PER_SEED:
        raise InputError(f"num_patients: expected 1 to {_PATIENTS_PER_SEED - 1}, got {settings.num_patients}")
    if settings.size < 32:
        raise InputError(f"size: expected at least 32 pixels, got {settings.size}")
    if settings.seed < 0:
        raise InputError(f"seed: expected 0 or more, got {settings.seed}")
    if not 0 <= settings.abnormal_fraction <= 1:
        raise InputError(f"abnormal_fraction: expected a share from 0 to 1, got {settings.abnormal_fraction}")


def _is_there(target: Path, settings: SampleSettings) -> bool:
    """True when the folder holds a sample of these settings, False when it is missing or empty.

    Raises:
        InputError: the folder holds something else.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    try:
        found = json.loads((target / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{target}: expected a simulated sample or an empty folder, got one without a readable settings.json"
        ) from error
    expected = asdict(settings)
    if found != expected:
        other = found if isinstance(found, dict) else {}
        differ = ", ".join(
            f"{key} {other.get(key)!r} instead of {value!r}"
            for key, value in expected.items()
            if other.get(key) != value
        )
        raise InputError(
            f"{target}: expected the sample asked for, got one with {differ or 'other settings'}; "
            "remove it or name another folder"
        )
    return True


@contextmanager
def _only_builder(parent: Path) -> Iterator[None]:
    """Let one process at a time build below ``parent``; the lock of a process that is killed is released."""
    handle = os.open(parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_sample(
    folder: str | os.PathLike[str],
    num_patients: int = 600,
    size: int = 256,
    seed: int = 0,
    abnormal_fraction: float = 0.5,
    workers: int | None = None,
) -> Path:
    """Write a sample of simulated radiographs with its truth, unless the folder already holds it.

    Holds images/ (16-bit PNG, -1..1 as 0..65535), normals/ (the same for abnormal images only; a normal image is its
    own), opacity_masks/ and lung_masks/ (8-bit, 0 or 255), manifest.csv and settings.json. 15 % of the patients have
    two images. The folder appears complete or not at all; several processes may ask for it at once.

    Args:
        folder: to make; its parent is made when missing.
        num_patients: 1 to 999,999.
        size: pixels a side, at least 32.
        seed: 0 or more; patient i is ``simulate_radiograph(seed * 1_000_000 + i, ...)``.
        abnormal_fraction: share of abnormal images, in [0, 1].
        workers: processes; None takes all the cores this process may use.

    Returns:
        The folder.

    Raises:
        InputError: an argument out of range; the folder holds another sample or other things.
    """
    settings = SampleSettings(int(num_patients), int(size), int(seed), float(abnormal_fraction))
    _check_settings(settings)
    target = Path(folder).absolute()
    if _is_there(target, settings):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _only_builder(target.parent):
        if _is_there(target, settings):  # another process built it while this one waited
            return target
        prefix = f".partial-{target.name}-"
        # Folders left by a process that was killed: the lock is held, so no other process builds now.
        for stale in target.parent.glob(prefix + "*"):
            shutil.rmtree(stale, ignore_errors=True)
        partial = tempfile.mkdtemp(prefix=prefix, dir=target.parent)
        try:
            _build(partial, settings, workers)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(partial, 0o777 & ~umask)  # mkdtemp's are private
            os.rename(partial, target)  # onto nothing or an empty folder
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target
