from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

SIZE = 64
DETECTOR_SIZE = 32


@pytest.fixture(scope="session")
def decomposer_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small decomposer, untrained."""
    from monai_dgm.engines.weights import save_weights
    from monai_dgm.networks.decomposer import Decomposer

    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.manual_seed(0)
    save_weights(Decomposer(4, 1, True, True).state_dict(), path)
    skips = {"normal_skips": True, "residue_skips": True}
    settings = {"image_size": SIZE, "base_width": 4, "num_res_blocks": 1, **skips}
    path.with_suffix(".json").write_text(json.dumps(settings), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def detector_weights(decomposer_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small detector of images and residues, untrained."""
    from monai_dgm.engines.files import describe_model
    from monai_dgm.engines.weights import save_weights
    from monai_dgm.networks.detector import OpacityDetector

    path = tmp_path_factory.mktemp("detector") / "model.pt"
    torch.manual_seed(0)
    save_weights(OpacityDetector(2, "resnet18", DETECTOR_SIZE, 0.125, 16).state_dict(), path)
    settings = {"image_size": DETECTOR_SIZE, "backbone": "resnet18", "width": 0.125, "fpn_channels": 16}
    settings |= {"channels": ["image", "residue"], "decomposer_sha256": describe_model(decomposer_weights)["sha256"]}
    path.with_suffix(".json").write_text(json.dumps(settings), encoding="utf-8")
    return path


def write_studies(folder: Path) -> Path:
    """Three radiographs; the first two have a patient's name for a file name."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number, name in enumerate(("Doe_Jane.png", "Roe_Richard.jpg", "c.png")):
        y, x = np.mgrid[:90, :120]
        spot = 120 * np.exp(-((x - 30 - 20 * number) ** 2 + (y - 40) ** 2) / 200)
        Image.fromarray((60 + spot + random.integers(0, 20, (90, 120))).astype(np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    return write_studies(tmp_path / "studies")


@pytest.fixture
def start_client(repository: Path, decomposer_weights: Path, tmp_path: Path) -> Iterator[Any]:
    """Starts the app on a folder of studies, in this process; takes settings of the app."""
    pytest.importorskip("monailabel", reason="MONAI Label is not installed (pip install -e '.[label]')")
    from fastapi.testclient import TestClient
    from monailabel.app import app
    from monailabel.config import settings
    from monailabel.interfaces.utils.app import apps, clear_cache

    clients: list[Any] = []

    def start(folder: Path, **conf: str) -> Any:
        settings.MONAI_LABEL_APP_DIR = str(repository / "apps" / "radiology_dgm")
        settings.MONAI_LABEL_STUDIES = str(folder)
        settings.MONAI_LABEL_APP_CONF = {"decomposer": str(decomposer_weights), "bundles": str(tmp_path), **conf}
        client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)
    for instance in apps.values():
        instance.selection.stop()
        if instance.watcher is not None:
            instance.watcher.stop()
    clear_cache()
    app.middleware_stack = None


@pytest.fixture
def client(start_client: Any, studies: Path) -> Any:
    return start_client(studies)


@pytest.fixture
def environment() -> dict[str, str]:
    """Of a server that is started in a process of its own."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}
