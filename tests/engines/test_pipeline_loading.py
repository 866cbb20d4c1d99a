"""A pipeline from files of weights, and its lungs, chest check and opacity boxes in the scores of a radiograph."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from monai_dgm.engines.lungs.chest_check import describe_lungs, fit_chest_reference
from monai_dgm.engines.lungs.segmentor import LungSegmentor
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.pipeline_loading import load_pipeline
from monai_dgm.engines.residues.frozen_decomposer import decomposer_sha256
from monai_dgm.engines.weights import save_weights
from monai_dgm.errors import InputError
from monai_dgm.networks.detector import OpacityDetector
from monai_dgm.networks.lung_segmentation import build_lung_network
from monai_dgm.transforms.saliency import ThresholdRule
from tests.decomposers import write_decomposer
from tests.engines.drawn_lungs import lungs
from tests.engines.file_runs import decompose_files

SIZE = 32


class Dark(nn.Module):
    """Lungs are what is dark."""

    def forward(self, image: Tensor) -> Tensor:
        return -20.0 * (image + 0.3)


class CentreResidue(nn.Module):
    """A decomposer that finds one square of residue in each lung's place, the right one (image left) stronger."""

    def forward(self, image: Tensor) -> Tensor:
        prediction = torch.zeros(image.shape[0], 3, *image.shape[2:])
        prediction[:, 0], prediction[:, 2] = image[:, 0], 0.5
        prediction[:, 1, 12:18, 6:12] = 0.8
        prediction[:, 1, 12:18, 20:26] = 0.4
        return prediction


def centre(lungs: LungSegmentor | None = None, threshold: ThresholdRule | float = "otsu") -> RadiographPipeline:
    return RadiographPipeline(CentreResidue(), SIZE, lungs, threshold=threshold)


def write_chest(path: Path, side: int = 64) -> Path:
    """Two dark lungs on bright ground."""
    pixels = np.full((side, side), 200, dtype=np.uint8)
    unit = side // 32
    pixels[6 * unit : 26 * unit, 4 * unit : 14 * unit] = 20
    pixels[6 * unit : 26 * unit, 18 * unit : 28 * unit] = 20
    Image.fromarray(pixels).save(path)
    return path


def segmentor() -> LungSegmentor:
    return LungSegmentor(Dark(), SIZE, None, {})


def test_predicted_lungs_are_the_saliencys_and_burden_is_of_each_lung(tmp_path: Path) -> None:
    write_chest(tmp_path / "a.png")
    alone = decompose_files(tmp_path / "a.png", centre(), tmp_path / "alone")["images"][0]
    told = decompose_files(tmp_path / "a.png", centre(segmentor()), tmp_path / "o")["images"][0]
    assert (alone["lung_mask_source"], alone["lung_box_source"]) == (None, "whole_image")
    assert alone["residue_burden"]["lungs"] == {}
    assert (told["lung_mask_source"], told["lung_box_source"]) == ("predicted", "lung_mask")
    np.testing.assert_allclose(told["lung_box"], [8, 12, 56, 52], atol=2)
    right, left = (told["residue_burden"]["lungs"][side] for side in ("right", "left"))
    assert right["integrated"] == pytest.approx(0.8 * 36, rel=0.01)
    assert left["integrated"] == pytest.approx(0.4 * 36, rel=0.01)
    assert told["looks_like_chest"] is None  # the segmentor has no reference


def test_a_given_mask_is_kept(tmp_path: Path) -> None:
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[20:40, 10:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    item = {"image": str(write_chest(tmp_path / "a.png")), "image_id": "a", "lung_mask": str(tmp_path / "mask.png")}
    told = decompose_files([item], centre(segmentor()), tmp_path / "o")["images"][0]
    assert told["lung_mask_source"] == "given" and told["lung_box"] == [10, 20, 30, 40]


def test_burden_takes_one_threshold_for_all_whatever_that_of_the_saliency(tmp_path: Path) -> None:
    write_chest(tmp_path / "a.png")

    def salient(threshold: ThresholdRule | float = "otsu", **options: Any) -> float:
        report = decompose_files(tmp_path / "a.png", centre(segmentor(), threshold), tmp_path / "o", **options)
        return report["images"][0]["residue_burden"]["total"]["salient_area"]

    assert salient(threshold="otsu") == salient(threshold="quantile") == salient(threshold=0.7)
    assert salient(burden_threshold=0.6) < salient(burden_threshold=0.2)


@pytest.fixture
def trained(tmp_path: Path) -> dict[str, Path]:
    """Weights of a decomposer, a segmentor and a detector, untrained."""
    decomposer = write_decomposer(tmp_path / "dgm")
    torch.manual_seed(0)
    small: dict[str, Any] = {"width": 4}
    models: dict[str, tuple[nn.Module, dict[str, Any]]] = {
        "lungs": (build_lung_network("unet", small), {"architecture": "unet", "network_settings": small}),
        "detector": (
            OpacityDetector(in_channels=2, backbone="resnet18", image_size=64, width=0.125, fpn_channels=16),
            {
                "channels": ["image", "residue"],
                "backbone": "resnet18",
                "width": 0.125,
                "fpn_channels": 16,
                "score_threshold": 0.0,
                "decomposer_sha256": decomposer_sha256(decomposer, ["residue"]),
            },
        ),
    }
    detector = models["detector"][0]
    nn.init.normal_(detector.network.classification_head.cls_logits.bias)  # untrained, it would find nothing at all
    paths = {"decomposer": decomposer}
    for name, (network, settings) in models.items():
        paths[name] = tmp_path / name / "model.safetensors"
        paths[name].parent.mkdir()
        save_weights(network.state_dict(), paths[name])
        paths[name].with_suffix(".json").write_text(json.dumps({"image_size": 64, **settings}))
    return paths


def load(paths: dict[str, Path]) -> RadiographPipeline:
    return load_pipeline(paths["decomposer"], paths["lungs"], paths["detector"])


def test_all_models_from_their_files_and_what_is_missing_is_left_out(trained: dict[str, Path], tmp_path: Path) -> None:
    write_chest(tmp_path / "a.png", 96)
    report = decompose_files(tmp_path / "a.png", load(trained), tmp_path / "o")
    boxes = np.array([each["box"] for each in report["images"][0]["opacity_boxes"]])
    assert len(boxes) and boxes.min() >= 0 and boxes.max() <= 96  # untrained: boxes anywhere within the original
    assert all(report["auxiliary_models"][name]["file"] == "model.safetensors" for name in ("lungs", "detector"))
    for name in ("lungs", "detector"):
        trained[name].unlink()
    assert load(trained).lungs is None and load(trained).detector is None


def test_a_detector_of_another_decomposer_is_left_out(
    trained: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = write_decomposer(tmp_path / "other", seed=1)
    with caplog.at_level(logging.WARNING):
        pipeline = load({**trained, "decomposer": other})
    assert pipeline.detector is None and pipeline.lungs is not None
    assert "the decomposer that it was trained with" in caplog.text


def test_unsound_weights_are_an_error(trained: dict[str, Path]) -> None:
    trained["lungs"].write_bytes(b"no weights")
    with pytest.raises(InputError, match="expected weights of"):
        load(trained)


def test_what_is_no_chest_is_questioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reference = fit_chest_reference([describe_lungs(lungs(seed)) for seed in range(100)], 0.02, "drawn lungs")
    ramp = np.linspace(150, 200, 64 * 64).reshape(64, 64)
    Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "flat.png")
    pipeline = centre(LungSegmentor(Dark(), SIZE, reference, {}))
    with caplog.at_level(logging.WARNING):
        report = decompose_files(tmp_path / "flat.png", pipeline, tmp_path / "o")
    told = report["images"][0]
    assert told["looks_like_chest"] is False and told["chest_score"] > 1
    assert "does not look like a frontal chest" in told["remarks"][0] and told["remarks"][0] in caplog.text


def test_networks_that_are_loaded_already_are_not_loaded_again(trained: dict[str, Path]) -> None:
    networks: dict[str, nn.Module] = {name: nn.Identity() for name in ("decomposer", "lungs", "detector")}
    pipeline = load_pipeline(trained["decomposer"], trained["lungs"], trained["detector"], networks=networks)
    assert pipeline.decomposer is networks["decomposer"] and pipeline.size == SIZE
    assert pipeline.lungs is not None and pipeline.lungs.network is networks["lungs"]
    assert pipeline.detector is not None and pipeline.detector.network is networks["detector"]
    assert pipeline.model_files == {name: str(path) for name, path in trained.items()}
