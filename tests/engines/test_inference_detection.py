"""Detection on files: boxes in the original's pixels, the residue as in training, bad files stop nobody."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from monai_dgm.data.dataset import RadiographDataset
from monai_dgm.data.decomposed import DecomposedDataset
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.residues.cached import cached_residues
from monai_dgm.engines.residues.channel_model import ChannelModel
from monai_dgm.engines.weights import save_weights
from monai_dgm.errors import InputError
from monai_dgm.handlers.decomposition_saver import DETECTIONS_FILE, OVERLAY_FILE
from monai_dgm.networks.decomposer import Decomposer
from monai_dgm.networks.detector import OpacityDetector
from tests.engines.file_runs import detect_files

SIZE = 64


class BrightBox(nn.Module):
    """Finds the box around what is bright in the image, and with score 0.3 the lower right corner."""

    def detect(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        found = []
        for image in images:
            rows, cols = torch.where(image[0] > 0)
            box = [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
            found.append((torch.tensor([box, [SIZE - 20, SIZE - 20, SIZE, SIZE]]).float(), torch.tensor([0.9, 0.3])))
        return found


def write_png(path: Path, rows: int, cols: int, box: Sequence[int]) -> Path:
    """Dark noise with a bright rectangle [xmin, ymin, xmax, ymax]."""
    pixels = np.random.default_rng(0).integers(0, 30, (rows, cols)).astype(np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 220
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def detect(datalist: Any, folder: Path, detector: nn.Module | None = None, **others: Any) -> dict[str, Any]:
    return detect_files(
        datalist, RadiographPipeline(detector=ChannelModel(detector or BrightBox(), SIZE)), folder, **others
    )


def test_boxes_are_in_the_originals_pixels(tmp_path: Path) -> None:
    """A wide image: x and y have different lengths, and padding above and below."""
    path = write_png(tmp_path / "wide.png", 100, 200, [140, 10, 180, 50])
    report = detect(path, tmp_path / "out", score_threshold=0.5)
    (image,) = report["images"]
    assert (image["rows"], image["cols"], image["image_id"], image["file"]) == (100, 200, "wide", "wide.png")
    np.testing.assert_allclose(image["boxes"], [[140, 10, 180, 50]], atol=4)  # a pixel of the model is 3 of these
    assert image["scores"] == [0.9] and report["score_threshold"] == 0.5
    assert json.loads((tmp_path / "out" / DETECTIONS_FILE).read_text()) == report


def test_boxes_end_at_the_image(tmp_path: Path) -> None:
    path = write_png(tmp_path / "high.png", 200, 100, [10, 20, 60, 60])
    (image,) = detect(path, tmp_path / "out")["images"]  # no threshold: the corner's box, too, part of it padding
    assert len(image["boxes"]) == 2
    for xmin, ymin, xmax, ymax in image["boxes"]:
        assert 0 <= xmin < xmax <= 100 and 0 <= ymin < ymax <= 200


def test_threshold_of_the_settings_unless_another_is_given(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", 80, 80, [10, 20, 30, 60])
    pipeline = RadiographPipeline(detector=ChannelModel(BrightBox(), SIZE, settings={"score_threshold": 0.5}))
    assert len(detect_files(path, pipeline, tmp_path / "o")["images"][0]["boxes"]) == 1
    assert len(detect_files(path, pipeline, tmp_path / "o", score_threshold=0.1)["images"][0]["boxes"]) == 2


def test_pictures(tmp_path: Path) -> None:
    write_png(tmp_path / "in" / "a.png", 80, 80, [10, 20, 30, 60])
    detect(tmp_path / "in", tmp_path / "out")
    with Image.open(tmp_path / "out" / "a" / OVERLAY_FILE) as picture:
        assert picture.mode == "RGB" and picture.width == 512
    detect(tmp_path / "in", tmp_path / "none", overlays=False)
    assert [path.name for path in (tmp_path / "none").iterdir()] == [DETECTIONS_FILE]


def test_its_own_pictures_are_no_input(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", 80, 80, [10, 20, 30, 60])
    for _ in range(2):
        report = detect(tmp_path, tmp_path / "out")
        assert [image["image_id"] for image in report["images"]] == ["a"]


def test_bad_files_are_listed_and_the_others_go_on(tmp_path: Path) -> None:
    for name in ("a", "c"):
        write_png(tmp_path / f"{name}.png", 80, 80, [10, 20, 30, 60])
    (tmp_path / "b.png").write_bytes(b"no picture")
    report = detect(tmp_path, tmp_path / "out", batch_size=2)
    assert [image["image_id"] for image in report["images"]] == ["a", "c"]
    assert [failed["image_id"] for failed in report["failed"]] == ["b"]
    assert str(tmp_path) not in json.dumps(report)


def test_when_no_file_can_be_used_it_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"b\.png"):
        detect(tmp_path, tmp_path / "out")
    assert json.loads((tmp_path / "out" / DETECTIONS_FILE).read_text())["images"] == []


def test_maps_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    detector = OpacityDetector(1, "resnet18", SIZE, width=0.125, fpn_channels=16)
    detector.network.regression_head.bbox_reg.bias.data.fill_(float("nan"))
    path = write_png(tmp_path / "a.png", 80, 80, [10, 20, 30, 60])
    with pytest.raises(InputError, match="not finite .* are the weights sound"):
        detect(path, tmp_path / "out", detector)


class Channels(nn.Module):
    """Remembers what it was shown."""

    def detect(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        self.seen = images
        return [(torch.zeros(0, 4), torch.zeros(0))] * len(images)

    forward = detect


@pytest.mark.parametrize(("side", "share"), [(SIZE, 0.002), (32, 0.1)])
def test_the_residue_is_the_one_of_training(tmp_path: Path, side: int, share: float) -> None:
    """The channels are those of training: exactly at the decomposer's side, nearly at another one.

    At another side the training set's residues are those of images prepared at the detector's side, and the pipeline's
    those of the radiograph prepared at the decomposer's.
    """
    torch.manual_seed(0)
    decomposer = Decomposer(2, 1).eval()
    save_weights(decomposer.state_dict(), tmp_path / "model.pt")
    (tmp_path / "model.json").write_text(json.dumps({"image_size": side}))
    path = write_png(tmp_path / "in" / "a.png", 120, 80, [10, 20, 30, 60])
    dataset = RadiographDataset([{"image": str(path), "label": 1}], SIZE, tmp_path / "cache")
    residues = cached_residues(dataset, decomposer, tmp_path / "model.pt", tmp_path / "cache")
    trained_on = DecomposedDataset(dataset, residues)[0]["image"]
    channels = Channels()
    detector = ChannelModel(channels, SIZE, ("image", "residue"))
    detect_files(path, RadiographPipeline(decomposer, side, detector=detector), tmp_path / "out")
    assert trained_on[1].abs().max() > 0.02
    torch.testing.assert_close(channels.seen[0, 0], trained_on[0], rtol=0, atol=1e-3)  # the cache keeps 16 bits
    difference = (channels.seen[0, 1] - trained_on[1]).abs()
    assert difference.mean() < share * trained_on[1].abs().mean()


def test_a_residue_needs_a_decomposer() -> None:
    with pytest.raises(InputError, match="expected a decomposer for the channel residue"):
        RadiographPipeline(detector=ChannelModel(Channels(), SIZE, ("image", "residue")))
