from __future__ import annotations

from pathlib import Path

import pytest

from monai_dgm.errors import InputError
from monai_dgm.labelling.models import LabellingModels
from monai_dgm.labelling.refusals import UnavailableError


def test_what_is_not_trained_is_named_with_the_way_to_train_it(tmp_path: Path) -> None:
    models = LabellingModels(tmp_path)
    assert models.detector() is models.classifier() is models.lungs() is None
    assert set(models.versions().values()) == {None}
    with pytest.raises(UnavailableError, match=r"^there is no trained decomposer in bundles/dgm/models; train one: "):
        models.decompose()


def test_a_model_is_loaded_once_and_has_its_hash_as_version(bundles: Path, detector_weights: Path) -> None:
    models = LabellingModels(bundles, {"detector": detector_weights})
    versions = models.versions()
    loaded = models.decompose()
    assert loaded is models.decompose() and loaded.version == versions["decomposer"]
    assert loaded.version.startswith("decomposer-") and len(loaded.version) == len("decomposer-") + 12
    detector = models.detector()
    assert detector is not None and detector.settings["score_threshold"] == 0.3 and not detector.model.training


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


def test_why_weights_cannot_be_used_is_for_the_log_alone(bundles: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UnavailableError, match="^the detector cannot be used; the server's log says why$"):
        LabellingModels(bundles, {"detector": __file__}).detector()
    assert "test_models.py" in caplog.text and "Traceback" not in caplog.text
