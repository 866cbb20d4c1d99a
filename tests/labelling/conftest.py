from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from monai_dgm.engines.weights import save_weights
from monai_dgm.labelling.archive.archive_client import ArchiveClient
from monai_dgm.labelling.archive.archive_studies import StudyArchive
from monai_dgm.labelling.archive.instance_cache import DicomCache
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.models import LabellingModels
from monai_dgm.labelling.server.studies import StudyFolder
from monai_dgm.networks.decomposer import Decomposer
from monai_dgm.networks.detector import OpacityDetector
from tests.labelling.fake_archive import FakeArchive, serving

SIZE = 64


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of bundles with a decomposer of random weights that leaves residues, and nothing else."""
    folder = tmp_path_factory.mktemp("bundles")
    torch.manual_seed(0)
    settings = {"image_size": SIZE, "base_width": 4, "num_res_blocks": 1, "normal_skips": True, "residue_skips": True}
    network = Decomposer(4, 1, True, True)
    write_model(folder / "dgm" / "models" / "model.pt", network, settings)
    return folder


@pytest.fixture(scope="session")
def detector_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small detector that sees the image alone and, untrained, finds boxes of about the same score."""
    path = tmp_path_factory.mktemp("detector") / "model.pt"
    torch.manual_seed(0)
    settings = {"image_size": SIZE, "backbone": "resnet18", "width": 0.125, "fpn_channels": 16, "channels": ["image"]}
    network = OpacityDetector(1, "resnet18", SIZE, 0.125, 16)
    torch.nn.init.zeros_(network.network.classification_head.cls_logits.bias)
    write_model(path, network, {**settings, "score_threshold": 0.3})
    return path


def write_model(path: Path, network: torch.nn.Module, settings: dict) -> None:
    save_weights(network.state_dict(), path)
    path.with_suffix(".json").write_text(json.dumps(settings), encoding="utf-8")


def picture(seed: int, rows: int = 90, cols: int = 120) -> Image.Image:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :cols]
    spot = 120 * np.exp(-((x - 30 - 5 * seed) ** 2 + (y - 40) ** 2) / 200)
    return Image.fromarray((60 + spot + random.integers(0, 20, (rows, cols))).astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three radiographs: a.png, b.jpg, sub/c.png."""
    root = tmp_path / "studies"
    (root / "sub").mkdir(parents=True)
    picture(0).save(root / "a.png")
    picture(1).save(root / "b.jpg")
    picture(2).save(root / "sub" / "c.png")
    return root


@pytest.fixture
def analysis(folder: Path, bundles: Path) -> RadiographAnalysis:
    return RadiographAnalysis(StudyFolder(folder), LabellingModels(bundles))


@pytest.fixture
def fake_archive() -> Iterator[FakeArchive]:
    """An empty DICOMweb archive on loopback."""
    with serving(FakeArchive()) as archive:
        yield archive


@pytest.fixture
def study_archive(fake_archive: FakeArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyArchive:
    """Studies of the archive, looked at anew each time."""
    monkeypatch.setattr("monai_dgm.labelling.server.studies.RESCAN_SECONDS", 0.0)
    return StudyArchive(ArchiveClient(fake_archive.url), DicomCache(tmp_path / "cache", 100_000_000))
