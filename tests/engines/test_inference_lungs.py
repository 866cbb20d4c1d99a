"""Lungs of files: masks in the original's pixels, boxes, the chest check, and bad files."""

from __future__ import annotations

import json
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
from monai_dgm.errors import InputError
from monai_dgm.handlers.result_saver import LUNGS_FILE, MASK_FILE
from tests.engines.drawn_lungs import lungs
from tests.engines.file_runs import segment_files


class Dark(nn.Module):
    """Takes what is dark for lung, but not the black border that "pad" adds."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.where(image > -0.99, -6 * image, -9.0)


def draw(path: Path, plane: np.ndarray) -> None:
    picture = np.uint8(240 - 200 * plane)
    picture[: len(picture) // 16] = 0  # else the lungs are the darkest of all and become -1, as the border is
    Image.fromarray(picture).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A chest of 200 x 120 pixels, a picture without lungs, and a file that is none."""
    folder = tmp_path / "in"
    folder.mkdir()
    draw(folder / "chest.png", lungs(3, 200, 120))
    draw(folder / "flat.png", np.linspace(0, 0.3, 64 * 64).reshape(64, 64))
    (folder / "broken.png").write_bytes((folder / "chest.png").read_bytes()[:100])
    return folder


@pytest.fixture(scope="module")
def segmentor() -> RadiographPipeline:
    reference = fit_chest_reference([describe_lungs(lungs(seed, certainty=0.96)) for seed in range(100)], 0.05)
    wide = [20.0] * len(reference.scale)  # the drawn network's certainty is another; only the lungs count here
    wide_reference = reference.__class__(**{**vars(reference), "scale": wide})
    return RadiographPipeline(lungs=LungSegmentor(Dark(), 64, wide_reference, {}))


def told(target: Path) -> dict[str, Any]:
    return json.loads((target / LUNGS_FILE).read_text(encoding="utf-8"))


def test_masks_and_boxes_in_the_originals_pixels(folder: Path, segmentor: RadiographPipeline, tmp_path: Path) -> None:
    report = segment_files(folder / "chest.png", segmentor, tmp_path / "out")
    (image,) = report["images"]
    mask = np.asarray(Image.open(tmp_path / "out" / "chest" / MASK_FILE))
    truth = lungs(3, 200, 120) > 0.5
    assert mask.shape == (200, 120) and set(np.unique(mask)) == {0, 255}
    assert 2 * ((mask > 0) & truth).sum() / ((mask > 0).sum() + truth.sum()) > 0.95
    rows, cols = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    assert image["lung_box"] == pytest.approx([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1], abs=4)
    assert image["right_lung_box"][2] <= image["left_lung_box"][0]
    assert image["lung_area_fraction"] == pytest.approx(truth.mean(), rel=0.1)
    assert image["looks_like_chest"] is True and image["chest_score"] <= 1 and image["remarks"] == []
    assert (image["rows"], image["cols"], image["file"]) == (200, 120, "chest.png") and told(tmp_path / "out") == report


def test_bad_file_is_listed_and_what_is_no_chest_is_questioned(
    folder: Path, segmentor: RadiographPipeline, tmp_path: Path
) -> None:
    report = segment_files(folder, segmentor, tmp_path / "out", batch_size=2)
    assert [image["image_id"] for image in report["images"]] == ["chest", "flat"]
    assert [file["file"] for file in report["failed"]] == ["broken.png"] and report["failed"][0]["reason"]
    flat = report["images"][1]
    assert flat["looks_like_chest"] is False and "no lungs were found" in flat["remarks"][0]
    assert flat["lung_box"] is None and not np.asarray(Image.open(tmp_path / "out" / "flat" / MASK_FILE)).any()
    again = segment_files(folder, segmentor, tmp_path / "out")
    assert again["images"] == report["images"]


def test_outputs_within_the_folder_are_no_inputs(folder: Path, segmentor: RadiographPipeline) -> None:
    for _ in range(2):
        assert len(segment_files(folder, segmentor, folder / "out")["images"]) == 2


def test_without_a_reference_nothing_is_questioned(folder: Path, segmentor: RadiographPipeline, tmp_path: Path) -> None:
    plain = RadiographPipeline(lungs=LungSegmentor(Dark(), 64, None, {}))
    (image,) = segment_files(folder / "flat.png", plain, tmp_path / "out")["images"]
    assert image["looks_like_chest"] is None and image["chest_score"] is None and image["remarks"] == []


def test_only_bad_files(folder: Path, segmentor: RadiographPipeline, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="broken.png: "):
        segment_files(folder / "broken.png", segmentor, tmp_path / "out")
    assert told(tmp_path / "out")["images"] == []
