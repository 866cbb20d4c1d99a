"""Training, validation and test data of a folder: embedded sample, manifest, or the RSNA challenge."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.fingerprints import Fingerprints
from monai_dgm.data.manifest import load_manifest
from monai_dgm.data.rsna import LABELS, load_rsna
from monai_dgm.data.simulator.sample import write_sample
from monai_dgm.data.splits import check_disjoint, rsna_split, select_folds, split_by_patient
from monai_dgm.errors import UsageError
from monai_dgm.metrics.prior_maps import LungAlignedPrior, fit_mean_box_prior, fit_mean_lung_box
from monai_dgm.transforms.boxes import box_of_mask

__all__ = [
    "Baselines",
    "FindLungs",
    "Splits",
    "duplicate_warnings",
    "fit_baselines",
    "known_supervision",
    "load_splits",
    "lung_box_of",
    "split_warnings",
]

Datalist = list[dict[str, Any]]
FindLungs = Callable[[Tensor], np.ndarray]
MANIFEST = "manifest.csv"
ALL = "all"
FIRST_BYTES = 1 << 16  # of files of equal size; DICOM files differ in their UIDs


@dataclass(frozen=True)
class Splits:
    """Datalists of training, validation and test; no patient is in two of them. ``description`` says what they are."""

    training: Datalist
    validation: Datalist
    test: Datalist
    description: str

    @property
    def is_external(self) -> bool:
        """Whether all images are test images: weights from elsewhere are validated on them, nothing is trained."""
        return not self.training and not self.validation


def load_splits(
    dataset_dir: str | os.PathLike[str] | None,
    sample_dir: str | os.PathLike[str],
    fold: int | str = 0,
    validation_fraction: float = 0.1,
    sample_patients: int = 600,
    sample_size: int = 256,
    seed: int = 0,
) -> Splits:
    """Training, validation and test datalists.

    Args:
        dataset_dir: the RSNA challenge as downloaded (the paper's protocol: 1,000 patients held out, the rest split
            95 / 5 by patient; ``fold`` 0 to 4 is the split), or a folder with a ``manifest.csv`` (images of ``fold``
            are the test, or, without a column ``fold``, a fifth of the patients), or None for the embedded sample,
            written into ``sample_dir`` when it is not there yet. A manifest may also be named itself (a .csv file).
        sample_dir: folder of the embedded sample.
        fold: test fold, or RSNA split; "all": every image is a test image, for weights that were trained elsewhere. So
            it is, too, where the images of a manifest are all of one fold.
        validation_fraction: share of the patients that are not in the test; the RSNA protocol has its own, 5 %.
        sample_patients, sample_size: of the embedded sample.
        seed: of the splits and the sample.

    Raises:
        UsageError: when the folder is neither of these, or a fold that is none.
    """
    fold = _checked_fold(fold)
    manifest = MANIFEST
    if dataset_dir is None:
        folder = write_sample(sample_dir, num_patients=sample_patients, size=sample_size, seed=seed)
        name = f"the embedded sample (simulated radiographs of {sample_patients} patients; no real data)"
    elif Path(dataset_dir).is_file() and Path(dataset_dir).suffix.lower() == ".csv":
        folder, manifest = Path(dataset_dir).parent, Path(dataset_dir).name
        name = f"the radiographs of {Path(dataset_dir).absolute().parent.name}/{manifest}"
    elif not Path(dataset_dir).is_dir():
        raise UsageError(
            f"{dataset_dir}: expected a folder with a manifest.csv or the RSNA challenge, there is no folder"
        )
    elif (Path(dataset_dir) / LABELS).is_file():
        if fold == ALL:
            return Splits([], [], load_rsna(dataset_dir), "the RSNA challenge, all images as the test")
        training, validation, test = rsna_split(load_rsna(dataset_dir), int(fold), seed)
        return Splits(training, validation, test, f"the RSNA challenge, the paper's hold-out, split {fold}")
    else:
        folder, name = Path(dataset_dir), f"the radiographs of {Path(dataset_dir).name}/manifest.csv"
    datalist = load_manifest(folder, manifest)
    folds = {item.get("fold") for item in datalist}
    if fold == ALL or (len(folds) == 1 and None not in folds):
        return Splits([], [], datalist, f"{name}, all images as the test")
    if any(item.get("fold") is not None for item in datalist):
        test = select_folds(datalist, [int(fold)])
        rest = [item for item in datalist if item.get("fold") != fold]
        how = f"fold {fold} as the test"
    else:
        rest, test = split_by_patient(datalist, 0.2, seed)
        how = "a fifth of the patients as the test"
    training, validation = split_by_patient(rest, validation_fraction, seed + 1)
    check_disjoint(training, validation, test)
    return Splits(training, validation, test, f"{name}, {how}")


def _checked_fold(fold: int | str) -> int | str:
    if fold == ALL or (isinstance(fold, int) and not isinstance(fold, bool)):
        return fold
    if isinstance(fold, str) and fold.isdecimal():
        return int(fold)
    raise UsageError(f'fold: expected a whole number or "{ALL}", got {fold!r}')


def split_warnings(splits: Splits, settings: Mapping[str, Any]) -> list[str]:
    """A warning where weights may have been trained on the test images: of the same data, but for another test.

    Args:
        splits: of the test.
        settings: of the weights; ``trained_on`` is the description of the splits that they were trained on.
    """
    data, test, *_ = f"{splits.description}, ".split(", ")
    own_data, own_test, *_ = f"{settings.get('trained_on')}, ".split(", ")
    if data != own_data or test == own_test:
        return []
    return [
        f"the weights were trained with {own_test}, this is a test with {test}: if the data are the same, the weights "
        "have seen test images, and the metrics are too good"
    ]


def duplicate_warnings(splits: Splits, cache_dir: str | os.PathLike[str]) -> list[str]:
    """A warning where the same file is in two parts of a split: as images of two patients, since a patient is in one.

    Only files of equal size and equal first bytes are read; their SHA-256 are kept. Equal pixels in files that differ
    are not found.

    Args:
        splits: of a training or an evaluation.
        cache_dir: folder of :class:`monai_dgm.data.fingerprints.Fingerprints`.
    """
    parts = (splits.training, splits.validation, splits.test)
    files = [(number, item) for number, part in enumerate(parts) for item in part if os.path.isfile(item["image"])]
    fingerprints, groups = Fingerprints(Path(cache_dir)), [files]
    for key in (os.path.getsize, _first_bytes, fingerprints):
        groups = [same for group in groups for same in _grouped(group, key) if len({number for number, _ in same}) > 1]
    fingerprints.save()
    if not groups:
        return []
    names = " and ".join(repr(item["image_id"]) for _, item in groups[0][:2])
    return [
        f"{len(groups)} files are in two of training, validation and test, as images of different patients (the first "
        f"as {names}): the metrics are too good"
    ]


def _grouped(
    files: list[tuple[int, dict[str, Any]]], key: Callable[[str], Hashable]
) -> list[list[tuple[int, dict[str, Any]]]]:
    """Files apart by a key of their path, in their order."""
    found: dict[Hashable, list[tuple[int, dict[str, Any]]]] = {}
    for number, item in files:
        found.setdefault(key(str(item["image"])), []).append((number, item))
    return list(found.values())


def _first_bytes(path: str) -> bytes:
    with open(path, "rb") as stream:
        return hashlib.sha256(stream.read(FIRST_BYTES)).digest()


def known_supervision(splits: Splits, on_sample: bool = False) -> str:
    """What a decomposer's training learns from unless told otherwise: "boxes" or "labels".

    "boxes" where a training image has opacity boxes. The embedded sample, whose boxes and masks are known, is learned
    from image-level labels alone, which shows the method as the paper has it.

    Args:
        splits: of the data.
        on_sample: whether the data are the embedded sample.
    """
    boxes = (item.get("opacity_boxes") for item in splits.training)
    return "boxes" if not on_sample and any(own is not None and len(own) for own in boxes) else "labels"


@dataclass(frozen=True)
class Baselines:
    """Baselines of localisation that do not look at the image: priors and the mean lung box, None where unknown."""

    mean_box_prior: np.ndarray | None
    mean_lung_box: np.ndarray | None
    aligned_prior: LungAlignedPrior | None = None
    mean_blob: np.ndarray | None = None


def lung_box_of(
    dataset: RadiographDataset, index: int, truth: dict[str, Any], find_lungs: FindLungs | None
) -> np.ndarray | None:
    """Box (4,) of an image's lungs, of the known mask or else of a segmentor; None where neither finds any.

    Args:
        dataset: the images.
        index: which.
        truth: of it.
        find_lungs: a segmentor, or None.
    """
    if "lung_mask" in truth:
        return box_of_mask(truth["lung_mask"])
    return None if find_lungs is None else box_of_mask(find_lungs(dataset.images_as_tensor([index]))[0])


def fit_baselines(
    dataset: RadiographDataset,
    limit: int = 400,
    find_lungs: FindLungs | None = None,
    mean_blob: np.ndarray | None = None,
) -> Baselines:
    """Fit the baselines on a training set.

    Args:
        dataset: training images; their opacity masks and lung masks are used as far as they are known.
        limit: at most that many masks of each kind.
        find_lungs: (B, 1, S, S) -> bool (B, S, S), a lung segmentor, for the images without a lung mask.
        mean_blob: (S, S), see :func:`monai_dgm.metrics.localisation.localisation_rows`.
    """
    opacity_masks: list[np.ndarray] = []
    lung_masks: list[np.ndarray] = []
    aligned: list[tuple[np.ndarray, np.ndarray]] = []
    for index, item in enumerate(dataset.items):
        wanted = len(item.get("opacity_boxes", ())) or item.get("opacity_mask") or item.get("lung_mask")
        if not wanted or (len(opacity_masks) >= limit and len(lung_masks) >= limit):
            continue
        truth = dataset.truth(index)
        if "opacity_mask" in truth and truth["opacity_mask"].any() and len(aligned) < limit:
            box = lung_box_of(dataset, index, truth, find_lungs)
            aligned += [] if box is None else [(truth["opacity_mask"], box)]
        for name, masks in (("opacity_mask", opacity_masks), ("lung_mask", lung_masks)):
            if name in truth and truth[name].any() and len(masks) < limit:
                masks.append(truth[name])
    return Baselines(
        fit_mean_box_prior(opacity_masks) if opacity_masks else None,
        fit_mean_lung_box(lung_masks) if lung_masks else None,
        LungAlignedPrior.fit([mask for mask, _ in aligned], [box for _, box in aligned]) if aligned else None,
        mean_blob,
    )
