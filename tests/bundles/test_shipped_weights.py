"""What ships: whole, small, known by its checksum, with a model card, and enough for inference without any training."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.pipeline_loading import load_pipeline
from monai_dgm.engines.shipping import MAX_BYTES
from monai_dgm.engines.weights import find_weights, load_weights
from monai_dgm.networks.classifiers import build_classifier
from tests.engines.file_runs import decompose_files

BUNDLES = ("dgm", "lung_segmentation", "opacity_classification", "opacity_detection")
SIZE = 224


def shipped(repository: Path, bundle: str) -> Path:
    return repository / "bundles" / bundle / "models" / "shipped" / "model.safetensors"


def settings_of(weights: Path) -> dict[str, Any]:
    return json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("bundle", BUNDLES)
def test_files_are_those_of_the_model_card(repository: Path, bundle: str) -> None:
    weights = shipped(repository, bundle)
    content, told = weights.read_bytes(), settings_of(weights)["shipped"]
    assert hashlib.sha256(content).hexdigest() == told["sha256"] and len(content) == told["bytes"] <= MAX_BYTES
    card = (repository / "bundles" / bundle / "docs" / "model_card.md").read_text(encoding="utf-8")
    for known in ("sha256", "command", "manifest_sha256", "licence"):
        assert told[known] in card
    assert "not a medical device" in card and f"{told['bytes']:,}" in card
    assert all(torch.isfinite(tensor).all() for tensor in load_file(weights).values())
    assert find_weights(weights.parent.parent) == str(weights)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_settings_name_no_place_of_one_machine(repository: Path, bundle: str) -> None:
    text = shipped(repository, bundle).with_suffix(".json").read_text(encoding="utf-8")
    assert not re.search(r'["\s=\']/\w', text), "an absolute path"


def test_the_classifier_fits_its_settings(repository: Path) -> None:
    weights = shipped(repository, "opacity_classification")
    settings = settings_of(weights)
    load_weights(build_classifier(settings["architecture"], len(settings["channels"])), weights)


@pytest.fixture(scope="module")
def pipeline(repository: Path) -> RadiographPipeline:
    names = ("dgm", "lung_segmentation", "opacity_detection", "opacity_classification")
    found = load_pipeline(*(shipped(repository, name) for name in names))
    assert found.lungs is not None and found.lungs.reference is not None
    assert found.detector is not None and found.classifier is not None
    return found


def test_all_of_them_read_a_radiograph(sample_dir: Path, tmp_path: Path, pipeline: RadiographPipeline) -> None:
    items = [{"image": str(path), "image_id": path.stem} for path in sorted((sample_dir / "images").iterdir())[:2]]
    report = decompose_files(items, pipeline, tmp_path)
    assert len(report["images"]) == 2 and not report["failed"]
    for image in report["images"]:
        assert 0 <= image["abnormality_probability"] <= 1
        assert image["opacity_boxes"] is not None and image["looks_like_chest"] in (True, False)
        assert image["residue_burden"]["total"]["area"] > 0


def test_real_chests_pass_the_check_and_others_do_not(
    real_data: Path, tmp_path: Path, pipeline: RadiographPipeline
) -> None:
    report = decompose_files(real_data / "dicom", pipeline, tmp_path, panels=False)
    chests = {image["file"]: image["looks_like_chest"] for image in report["images"]}
    assert len(chests) >= 8  # one cannot be decoded, the hip needs a decoder that is optional
    assert chests == {file: not file.startswith("non_chest") for file in chests}
