from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from monai_dgm.engines.files import describe_model
from monai_dgm.engines.weights import save_weights
from monai_dgm.errors import InputError
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.http_errors import UnavailableError
from monai_dgm.labelling.server.models import LabellingModels
from monai_dgm.labelling.server.studies import StudyFolder
from monai_dgm.networks.detector import OpacityDetector


def test_what_is_not_trained_is_named_with_the_way_to_train_it(tmp_path: Path) -> None:
    models = LabellingModels(tmp_path)
    assert models.detector() is models.classifier() is models.lungs() is None
    assert set(models.versions().values()) == {None}
    with pytest.raises(UnavailableError, match=r"^there is no trained decomposer in bundles/dgm/models; train one: "):
        models.decomposer()


def test_a_model_is_loaded_once_and_has_its_hash_as_version(bundles: Path, detector_weights: Path) -> None:
    models = LabellingModels(bundles, {"detector": detector_weights})
    versions = models.versions()
    loaded = models.decomposer()
    assert loaded is models.decomposer() and loaded.version == versions["decomposer"]
    assert loaded.version.startswith("decomposer-") and len(loaded.version) == len("decomposer-") + 12
    detector = models.detector()
    assert detector is not None and detector.settings["score_threshold"] == 0.3 and not detector.model.network.training


def test_other_weights_are_another_version(bundles: Path, detector_weights: Path, tmp_path: Path) -> None:
    models = LabellingModels(bundles, {"detector": detector_weights})
    before = models.detector()
    other = tmp_path / "model.pt"
    other.write_bytes(detector_weights.read_bytes() + b"\0")
    other.with_suffix(".json").write_bytes(detector_weights.with_suffix(".json").read_bytes())
    models.replace("detector", other)
    assert before is not None and models.versions()["detector"] != before.version


def test_weights_that_are_asked_for_must_be_there(bundles: Path) -> None:
    for paths in ({"detector": "/no/such/file"}, {"other": __file__}):
        with pytest.raises(InputError, match="expected the weights of one of"):
            LabellingModels(bundles, paths)
    with pytest.raises(InputError, match="^device: "):
        LabellingModels(bundles, device="toaster")


@pytest.mark.parametrize("right", [True, False])
def test_a_detector_of_residues_needs_the_decomposer_it_was_trained_with(
    bundles: Path, folder: Path, tmp_path: Path, right: bool
) -> None:
    torch.manual_seed(0)
    path = tmp_path / "model.pt"
    save_weights(OpacityDetector(2, "resnet18", 64, 0.125, 16).state_dict(), path)
    settings = {"image_size": 64, "backbone": "resnet18", "width": 0.125, "fpn_channels": 16}
    digest = describe_model(bundles / "dgm" / "models" / "model.pt")["sha256"] if right else "0" * 64
    settings |= {"channels": ["image", "residue"], "decomposer_sha256": digest}
    path.with_suffix(".json").write_text(json.dumps(settings), encoding="utf-8")
    analysis = RadiographAnalysis(StudyFolder(folder), LabellingModels(bundles, {"detector": path}))
    if right:
        found = analysis.detections("a")
        assert found.source == "detector" and found.boxes.shape == (len(found.scores), 4)
    else:
        with pytest.raises(UnavailableError):
            analysis.detections("a")


def test_why_weights_cannot_be_used_is_for_the_log_alone(bundles: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UnavailableError, match="^the detector cannot be used; the server's log says why$"):
        LabellingModels(bundles, {"detector": __file__}).detector()
    assert "test_models.py" in caplog.text and "Traceback" not in caplog.text


def test_a_bundles_own_detector_is_left_out_beside_another_decomposer(
    bundles: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shipped = tmp_path / "bundles" / "opacity_detection" / "models" / "shipped" / "model.safetensors"
    shipped.parent.mkdir(parents=True)
    shipped.touch()
    settings = {"channels": ["image", "residue"], "image_size": 64, "decomposer_sha256": "0" * 64}
    shipped.with_suffix(".json").write_text(json.dumps(settings))
    other = bundles / "dgm" / "models" / "model.pt"
    models = LabellingModels(tmp_path / "bundles", {"decomposer": other})
    assert models.detector() is None and models.versions()["detector"] is None and not models.has("detector")
    assert "detector: left out" in caplog.text
    models.replace("detector", shipped)
    assert models.has("detector")
