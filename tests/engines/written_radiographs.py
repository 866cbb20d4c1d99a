"""Radiographs of one bright disc in every format, and decomposers for them, for tests of inference on files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import torch
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from torch import Tensor, nn

from monai_dgm.engines.file_run import SCORES_FILE
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.networks.decomposer import Decomposer

SIZE = 32


class BrightCorner(nn.Module):
    """Answers with the image as normal and, as residue, what is bright in the image: it follows the picture."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat((image, torch.relu(image) * 0.9, torch.full_like(image, 0.25)), dim=1)


def bright_finder(size: int = SIZE) -> RadiographPipeline:
    """Finds what is bright."""
    return RadiographPipeline(BrightCorner(), size)


def untrained(**settings: Any) -> RadiographPipeline:
    """A network of random weights, the same at each call; ``settings`` as in ``RadiographPipeline``."""
    torch.manual_seed(0)
    return RadiographPipeline(Decomposer(2, 1), SIZE, **settings)


def picture(rows: int = 64, cols: int = 48, spot: tuple[int, int] = (12, 36)) -> np.ndarray:
    """Dark noise with one bright disc of radius 6 at (row, col)."""
    y, x = np.mgrid[:rows, :cols] + 0.5
    disc = (y - spot[0]) ** 2 + (x - spot[1]) ** 2 < 36
    return np.where(disc, 220, np.random.default_rng(0).integers(0, 30, (rows, cols))).astype(np.uint8)


def write_png(path: Path, pixels: np.ndarray | None = None) -> Path:
    """A PNG of 8 bits; :func:`picture` where no pixels are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture() if pixels is None else pixels).save(path)
    return path


def write_nifti(path: Path, pixels: np.ndarray) -> Path:
    """One slice, its axes columns and rows, of pixels 0.4 mm high and 0.3 mm wide."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(pixels.T.astype(np.float32), np.diag([-0.3, -0.4, 1, 1])).to_filename(path)
    return path


def write_dicom(path: Path, pixels: np.ndarray, **values: object) -> Path:
    """A synthetic CR image, MONOCHROME1: the lowest stored value is bright."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.PatientName, dataset.PatientID = "Secret^Name", "SECRET-ID"
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "CR", "CHEST", "PA"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME1"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelSpacing = [0.4, 0.3]
    dataset.PixelData = (4095 - 16 * pixels.astype(np.uint16)).tobytes()
    for name, value in values.items():
        setattr(dataset, name, value)
    if pydicom.__version__.startswith("2"):
        dataset.is_little_endian, dataset.is_implicit_VR = True, False
        dataset.save_as(path)
    else:
        dataset.save_as(path, enforce_file_format=True)
    return path


def read_scores(folder: Path) -> dict[str, Any]:
    """What a run wrote at its end."""
    return json.loads((folder / SCORES_FILE).read_text(encoding="utf-8"))
