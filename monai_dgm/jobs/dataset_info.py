"""The data of a run: folder, folds, and a fingerprint that every result names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_dgm.data.fingerprints import hash_file
from monai_dgm.data.manifest import load_manifest
from monai_dgm.data.rsna import CLASSES, LABELS
from monai_dgm.data.simulator.sample import write_sample
from monai_dgm.data.splits import NUM_RSNA_SPLITS
from monai_dgm.errors import InputError

__all__ = ["RSNA_DESCRIPTION", "DatasetInfo", "choose_folds", "find_dataset_info"]

RSNA_DESCRIPTION = "the RSNA challenge"
"""How :attr:`monai_dgm.data.sources.Splits.description` begins on the paper's data."""


@dataclass(frozen=True)
class DatasetInfo:
    """The data.

    Attributes:
        dataset_dir: folder, absolute; None for the embedded sample.
        sample_dir: where the embedded sample is.
        name: description, without paths above the folder.
        sha256: of the manifest, or of the challenge's two label files together.
        folds: test folds of the data.
        is_rsna: whether it is the RSNA challenge as downloaded, the paper's own data.
    """

    dataset_dir: Path | None
    sample_dir: Path
    name: str
    sha256: str
    folds: tuple[int, ...]
    is_rsna: bool = False


def find_dataset_info(
    dataset_dir: str | os.PathLike[str] | None, sample_dir: Path, settings: Mapping[str, Any]
) -> DatasetInfo:
    """Describe the data; the embedded sample is written where it does not exist yet.

    Args:
        dataset_dir: as in :func:`monai_dgm.data.sources.load_splits`.
        sample_dir: of the embedded sample.
        settings: ``sample_patients`` and ``sample_size`` of the sample, where they are not the usual ones.

    Raises:
        InputError: a folder with neither a manifest nor the challenge, or a manifest that cannot be used.
    """
    if dataset_dir is None:
        patients, size = settings.get("sample_patients", 1500), settings.get("sample_size", 128)
        folder = write_sample(sample_dir, num_patients=patients, size=size, seed=0)
        name = f"the embedded sample: simulated radiographs of {patients} patients, no real data"
        return DatasetInfo(None, sample_dir, name, hash_file(folder / "manifest.csv"), _manifest_folds(folder))
    folder = Path(dataset_dir).absolute()
    if (folder / LABELS).is_file():
        files = [folder / LABELS, folder / CLASSES]
        folds = tuple(range(NUM_RSNA_SPLITS))
        return DatasetInfo(folder, sample_dir, f"{RSNA_DESCRIPTION}, the paper's hold-out", _hash(files), folds, True)
    if not (folder / "manifest.csv").is_file():
        raise InputError(f"{folder}: expected a folder with a manifest.csv or the RSNA challenge, there is neither")
    name, sha256 = f"the radiographs of {folder.name}/manifest.csv", hash_file(folder / "manifest.csv")
    return DatasetInfo(folder, sample_dir, name, sha256, _manifest_folds(folder))


def choose_folds(
    dataset_info: DatasetInfo, asked: Sequence[int] | None, proposed: Sequence[int] | None
) -> tuple[int, ...]:
    """The requested folds, else those that a preset proposes, else all.

    Raises:
        InputError: a requested fold that the data do not have.
    """
    wanted = asked or proposed or dataset_info.folds
    missing = sorted(set(wanted) - set(dataset_info.folds))
    if missing and asked is None:  # the preset's are a proposal
        return dataset_info.folds[: len(wanted)]
    if missing:
        raise InputError(f"folds: expected some of {list(dataset_info.folds)}, the data have no fold {missing[0]}")
    return tuple(sorted(set(wanted)))


def _manifest_folds(folder: Path) -> tuple[int, ...]:
    """Folds of the column ``fold``; (0,) without it, where every fold would be the same fifth of the patients."""
    folds = {item["fold"] for item in load_manifest(folder) if item.get("fold") is not None}
    return tuple(sorted(folds)) or (0,)


def _hash(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        try:
            digest.update(bytes.fromhex(hash_file(file)))
        except OSError as error:
            raise InputError(f"{file}: expected a file of the RSNA challenge ({error.strerror})") from error
    return digest.hexdigest()
