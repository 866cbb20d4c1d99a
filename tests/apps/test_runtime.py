"""The setting ``runtime``: the server says the same in each runtime, and its log says which one runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from monai_dgm.engines.runtimes.installed import EXACT, installed_runtimes
from monai_dgm.engines.weights import save_weights
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.models import LabellingModels
from monai_dgm.labelling.server.studies import StudyFolder
from monai_dgm.networks.detector import OpacityDetector
from tests.apps.conftest import DETECTOR_SIZE
from tests.apps.panel import infer, parts

FASTEST = next(name for name in EXACT if name in installed_runtimes())


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def boxing_detector(detector_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small untrained detector, so that it finds boxes: an untrained one is sure that there are none."""
    path = tmp_path_factory.mktemp("boxing") / "model.pt"
    torch.manual_seed(0)
    network = OpacityDetector(2, "resnet18", DETECTOR_SIZE, 0.125, 16)
    torch.nn.init.zeros_(network.network.classification_head.cls_logits.bias)
    save_weights(network.state_dict(), path)
    path.with_suffix(".json").write_bytes(detector_weights.with_suffix(".json").read_bytes())
    return path


@pytest.mark.parametrize("runtime", [*EXACT, "auto"])
def test_the_server_says_the_same_in_each_runtime(
    runtime: str,
    start_client: Any,
    studies: Path,
    decomposer_weights: Path,
    boxing_detector: Path,
    exports: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if runtime != "auto" and runtime not in installed_runtimes():
        pytest.skip(f"{runtime} is not installed")
    monkeypatch.setenv("MONAI_DGM_CACHE", str(exports))
    monkeypatch.delenv("MONAI_DGM_RUNTIME", raising=False)
    with caplog.at_level(logging.INFO, logger="monai_dgm"):
        client = start_client(studies, detector=str(boxing_detector), runtime=runtime)
        params = parts(infer(client, "detect_opacities", "c", {"score_threshold": 0.0}))[0]
        probability = parts(infer(client, "decompose", "c"))[0]["abnormality_probability"]
    taken = FASTEST if runtime == "auto" else runtime
    assert f"runtime of the networks: {taken} (" in caplog.text and "failed" not in caplog.text

    paths = {"decomposer": decomposer_weights, "detector": boxing_detector}
    plain = RadiographAnalysis(StudyFolder(studies), LabellingModels(studies, paths, runtime="torch"))
    expected, known = plain.detections("c"), plain.examine("c").probability
    assert len(params["boxes"]) > 0 and known is not None
    scores = np.array([box["score"] for box in params["boxes"][:5]])
    np.testing.assert_allclose(scores, np.sort(expected.scores)[::-1][: len(scores)], atol=1e-4)
    best = params["boxes"][0]["box"]
    assert np.abs(np.asarray(expected.boxes) - best).max(axis=1).min() < 0.01  # pixels
    assert probability == pytest.approx(known, abs=1e-4)
