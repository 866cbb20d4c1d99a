from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from monai_dgm.engines.weights import save_weights
from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.markups import markups_to_boxes
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.analysis_results import classify, decompose, detect, image_nifti
from monai_dgm.labelling.server.http_errors import UnavailableError, UnknownError
from monai_dgm.labelling.server.models import LabellingModels
from monai_dgm.labelling.server.request_options import MAPS
from monai_dgm.labelling.server.studies import StudyFolder
from monai_dgm.networks.classifiers import build_classifier
from monai_dgm.readers.read import read_radiograph


def loaded(tmp_path: Path, content: bytes) -> nibabel.Nifti1Image:
    (tmp_path / "x.nii.gz").write_bytes(content)
    return nibabel.load(tmp_path / "x.nii.gz")


@pytest.fixture
def with_detector(folder: Path, bundles: Path, detector_weights: Path) -> RadiographAnalysis:
    return RadiographAnalysis(StudyFolder(folder), LabellingModels(bundles, {"detector": detector_weights}))


def test_the_saliency_is_a_label_of_the_images_size(analysis: RadiographAnalysis, tmp_path: Path) -> None:
    answer = decompose(analysis, "a", {"threshold": 0.01})
    assert answer.name == "saliency.nii.gz" and answer.params["label_names"] == {"saliency": 1}
    image = loaded(tmp_path, answer.content)
    assert image.shape == (120, 90, 1) and set(np.unique(image.dataobj)) <= {0, 1}
    np.testing.assert_array_equal(image.affine, loaded(tmp_path, image_nifti(analysis, "a")).affine)
    assert 0 <= answer.params["abnormality_probability"] <= 1 and 0 <= answer.params["severity"] <= 1
    assert answer.params["lung_mask_source"].startswith("none")
    json.dumps(answer.params, allow_nan=False)


def test_a_lower_threshold_is_no_smaller_mask(analysis: RadiographAnalysis) -> None:
    areas = [
        decompose(analysis, "a", {"threshold": value}).params["saliency_area_fraction"] for value in (0.3, 0.02, 0)
    ]
    assert areas == sorted(areas) and areas[0] < areas[-1]
    fixed = decompose(analysis, "a", {"threshold": "fixed", "fixed_threshold": "0.02"})
    assert fixed.params["saliency_area_fraction"] == areas[1]


@pytest.mark.parametrize("name", MAPS)
def test_every_map_is_a_file(analysis: RadiographAnalysis, tmp_path: Path, name: str) -> None:
    if name == "lungs":
        with pytest.raises(InputError, match="no lung segmentor"):
            decompose(analysis, "b", {"map": name})
        return
    answer = decompose(analysis, "b", {"map": name})
    if name == "overlay":
        assert answer.name == "overlay.png" and answer.content.startswith(b"\x89PNG")
    else:
        assert answer.name == f"{name}.nii.gz" and loaded(tmp_path, answer.content).shape == (120, 90, 1)


@pytest.mark.parametrize(
    "params",
    [
        {"map": "x"},
        {"map": 1},
        {"threshold": "x"},
        {"threshold": -1},
        {"threshold": True},
        {"threshold": [1]},
        {"threshold": "fixed", "fixed_threshold": 9},
        {"threshold": "9" * 400},
        {"map": "../x"},
    ],
)
def test_wrong_options_are_refused(analysis: RadiographAnalysis, params: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        decompose(analysis, "a", params)


def test_the_image_is_served_as_it_was_read(analysis: RadiographAnalysis, folder: Path, tmp_path: Path) -> None:
    image = loaded(tmp_path, image_nifti(analysis, "a"))
    assert image.get_data_dtype() == np.int16
    np.testing.assert_array_equal(np.asarray(image.dataobj)[:, :, 0].T, read_radiograph(folder / "a.png").pixels)
    assert image_nifti(analysis, "a") == image_nifti(analysis, "a")


@pytest.mark.parametrize("detector", [False, True])
def test_boxes_come_back_from_the_markups(
    analysis: RadiographAnalysis, with_detector: RadiographAnalysis, detector: bool
) -> None:
    used = with_detector if detector else analysis
    answer = detect(used, "a", {"score_threshold": 0})
    boxes = answer.params["boxes"]
    assert boxes and answer.name == "opacities.json"
    assert answer.params["box_source"] == ("detector" if detector else "saliency")
    assert answer.params["model_version"] == used.models.versions()["detector" if detector else "decomposer"]
    scores = [box["score"] for box in boxes]
    assert scores == sorted(scores, reverse=True)
    reading = markups_to_boxes(answer.content, used.placement("a"))
    assert len(json.loads(answer.content)["markups"]) == len(boxes)
    found = np.array([box.box for box in reading.boxes])
    for box in found:  # boxes that overlap much are one
        assert np.abs(np.array([b["box"] for b in boxes]) - box).max(axis=1).min() < 2e-3


def test_without_boxes_there_is_a_note(with_detector: RadiographAnalysis) -> None:
    answer = detect(with_detector, "a", {"score_threshold": 1.0})
    assert answer.name == "opacities.json" and answer.params["boxes"] == [] and answer.params["boxes_withheld"] == 0
    (note,) = json.loads(answer.content)["markups"]
    assert note["type"] == "Fiducial" and "no opacity" in note["controlPoints"][0]["label"]
    reading = markups_to_boxes(answer.content, with_detector.placement("a"))
    assert reading.status == "no_finding" and not reading.boxes  # sent back, it is no finding of the reader's
    assert detect(with_detector, "a", {}).params["score_threshold"] == 0.3


def test_classification_says_what_it_lacks(analysis: RadiographAnalysis) -> None:
    values = classify(analysis, "a").params
    assert values["opacity_probability"] is None and 0 <= values["abnormality_probability"] <= 1
    assert values["classifier_abnormality_probability"] is values["classifier_version"] is None


@pytest.mark.parametrize(
    ("task", "name"),
    [("opacity", "opacity_probability"), ("abnormality", "classifier_abnormality_probability")],
)
def test_classifier_is_called_by_its_task(analysis: RadiographAnalysis, tmp_path: Path, task: str, name: str) -> None:
    torch.manual_seed(0)
    path = tmp_path / "classifier.pt"
    save_weights(build_classifier("densenet_small", in_channels=1).state_dict(), path)
    settings = {"task": task, "channels": ["image"], "architecture": "densenet_small", "image_size": 64}
    path.with_suffix(".json").write_text(json.dumps(settings))
    analysis.models.replace("classifier", path)
    values = classify(analysis, "a").params
    names = {"opacity_probability", "classifier_abnormality_probability"}
    assert 0 < values[name] < 1 and values[(names - {name}).pop()] is None
    assert values["classifier_version"] == analysis.models.versions()["classifier"]


def test_a_changed_file_is_another_image(analysis: RadiographAnalysis, folder: Path) -> None:
    before = classify(analysis, "a").params
    assert analysis.examine("a") is analysis.examine("a")
    (folder / "a.png").write_bytes((folder / "sub" / "c.png").read_bytes())
    assert classify(analysis, "a").params != before
    (folder / "a.png").unlink()
    with pytest.raises(UnknownError):
        classify(analysis, "a")


def test_without_a_decomposer_the_answer_is_how_to_train_one(folder: Path, tmp_path: Path) -> None:
    analysis = RadiographAnalysis(StudyFolder(folder), LabellingModels(tmp_path))
    for run in (
        lambda: decompose(analysis, "a", {}),
        lambda: detect(analysis, "a", {}),
        lambda: classify(analysis, "a"),
    ):
        with pytest.raises(UnavailableError, match="bundles/dgm/configs/train.json"):
            run()
    assert image_nifti(analysis, "a")


def test_the_uncertainty_is_measured_where_it_is_asked_for(analysis: RadiographAnalysis, tmp_path: Path) -> None:
    assert decompose(analysis, "a", {}).params["uncertainty"] is None and analysis.examine("a").uncertainty is None
    answer = decompose(analysis, "a", {"map": "uncertainty"})
    measured = analysis.examine("a", uncertainty=True).uncertainty
    assert measured is not None and measured is analysis.examine("a", uncertainty=True).uncertainty
    assert answer.params["uncertainty"] == pytest.approx(measured.score, abs=1e-6) and measured.score > 0
    plane = np.asarray(loaded(tmp_path, answer.content).dataobj)
    assert plane.shape == (120, 90, 1) and plane.max() == pytest.approx(measured.map.max(), rel=0.2)
    assert analysis.examine("a").decomposition is analysis.examine("a", uncertainty=True).decomposition
