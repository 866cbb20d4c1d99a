"""The upright check: what its scores mean, its file, and that it is heard."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from monai_dgm.engines.lungs.image_check import check_chest
from monai_dgm.engines.lungs.segmentor import load_lung_segmentor
from monai_dgm.engines.lungs.upright import (
    UPRIGHT_FILE,
    WORDS,
    UprightCheck,
    UprightNetwork,
    load_upright_check,
    save_upright_check,
    upright_scores,
)
from monai_dgm.engines.lungs.upright_training import metrics_of, thresholds_of, train_upright
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.errors import InputError
from monai_dgm.readers.radiograph import Radiograph
from monai_dgm.transforms.geometry import RadiographGeometry, prepare_radiograph
from monai_dgm.transforms.preparation import prepare


class Corners(nn.Module):
    """Looks for what is bright on the left and at the top."""

    def forward(self, image: Tensor) -> Tensor:
        return 10 * torch.stack([image[..., :32].mean((1, 2, 3)), image[:, :, :32].mean((1, 2, 3))], dim=1)


@pytest.fixture
def bright_upper_left() -> Tensor:
    """float32 (4, 1, 64, 64), bright in the upper left quarter, with some noise."""
    image = -torch.ones(4, 1, 64, 64) + 0.05 * torch.rand(4, 1, 64, 64)
    image[:, :, :32, :32] += 1.5
    return image


def test_scores_are_opposite_for_the_mirror_image(bright_upper_left: Tensor) -> None:
    torch.manual_seed(3)
    network = UprightNetwork().eval()
    with torch.inference_mode():
        plain = upright_scores(network, bright_upper_left)
        assert torch.allclose(upright_scores(network, bright_upper_left.flip(3))[:, 0], -plain[:, 0], atol=1e-5)
        assert torch.allclose(upright_scores(network, bright_upper_left.flip(2))[:, 1], -plain[:, 1], atol=1e-5)


@pytest.mark.parametrize("side", [64, 128, 224])
def test_what_is_said(bright_upper_left: Tensor, side: int) -> None:
    check = UprightCheck(Corners(), (0.0, 0.0))
    image = nn.functional.interpolate(bright_upper_left, (side, side), mode="bilinear")
    for view, words in ((image, ""), (image.flip(3), WORDS[0]), (image.flip(2), WORDS[1])):
        for said, wrongness in check(view):
            assert said == words and (wrongness > 1) == bool(words) and 0 <= wrongness <= 100


def test_file(tmp_path: Path) -> None:
    network = UprightNetwork(4).eval()
    save_upright_check(tmp_path / UPRIGHT_FILE, network, (-1.5, 0.25), {"width": 4})
    read = load_upright_check(tmp_path / UPRIGHT_FILE)
    assert read.thresholds == (-1.5, 0.25) and read.settings == {"width": 4}
    image = torch.rand(2, 1, 64, 64)
    assert torch.allclose(read.network(image), network(image), atol=1e-2)
    (tmp_path / UPRIGHT_FILE).write_bytes(b"no weights")
    with pytest.raises(InputError, match="expected weights of the upright check"):
        load_upright_check(tmp_path / UPRIGHT_FILE)


def test_it_is_heard_by_the_chest_check() -> None:
    plane, geometry = np.zeros((32, 32), np.float32), RadiographGeometry(32, 32, 32)
    silent = check_chest(plane, geometry, None, ("body part HIP, expected a chest",))
    assert silent.looks_like_chest is None
    said = check_chest(plane, geometry, None, ("body part HIP, expected a chest",), (WORDS[1], 7.5))
    assert said.looks_like_chest is False and said.chest_score == 7.5
    assert list(said.remarks) == [
        "this does not look like a frontal chest: it looks upside down",
        "body part HIP, expected a chest",
    ]


def test_a_note_of_the_reader_is_no_doubt() -> None:
    plane, geometry = np.zeros((32, 32), np.float32), RadiographGeometry(32, 32, 32)
    note = "Patient Orientation R\\F: mirrored from left to right"
    read = Radiograph(np.eye(32, dtype=np.float32), None, "dicom", "DX", "HIP", "PA", 8, remarks=(note,), notes=(note,))
    prepared = prepare(read, 32)
    (unchecked,) = RadiographPipeline().find_lungs([prepared])
    checked = check_chest(plane, geometry, None, prepared.remarks, (WORDS[1], 7.5), prepared.notes)
    for said in (unchecked.chest_check, checked):
        assert note in said.remarks and said.as_dict()["remarks"] == list(said.remarks)
        assert said.doubts == tuple(remark for remark in said.remarks if remark != note) != ()


def test_training_learns_which_way_is_up(bright_upper_left: Tensor) -> None:
    torch.manual_seed(0)
    images = bright_upper_left.repeat(16, 1, 1, 1)
    network = train_upright(images, epochs=6, batch_size=16)
    metrics = metrics_of(network, (0.0, 0.0), images, ["a", "b"] * 32)
    assert metrics["all"]["num_images"] == 64 and metrics["b"]["num_images"] == 32
    assert metrics["all"]["false_alarms"] < 0.1 < 0.9 < metrics["all"]["mirrored"]
    assert thresholds_of(np.column_stack([np.arange(1000), np.arange(1000)]), 0.01) == pytest.approx((9.99, 0))


def test_shipped_weights_see_turned_chests(repository: Path, real_data: Path) -> None:
    """Real chests of the test fold; the figures over all of it are in upright.json."""
    shipped = repository / "bundles" / "lung_segmentation" / "models" / "shipped"
    segmentor = load_lung_segmentor(shipped / "model.safetensors")
    metrics = json.loads((shipped / "upright.json").read_text())["figures"]
    assert metrics["all"]["false_alarms"] <= 0.01 and metrics["all"]["mirrored"] > 0.95
    lines = (real_data / "cxr" / "manifest.csv").read_text().splitlines()[1:]
    files = [line.split(",")[0] for line in lines if line.startswith("images/nih") and ",0,True," in line][:24]
    images = []
    for file in files:
        pixels = np.asarray(Image.open(real_data / "cxr" / file).convert("L"))
        images.append(prepare_radiograph(pixels, 128)[0])
    stack = torch.from_numpy(np.stack(images))
    called = [
        np.mean([bool(words) for words, _ in segmentor.turned(view)])
        for view in (stack, stack.flip(3), stack.flip(2), stack.flip(2, 3))
    ]
    assert called[0] <= 0.05 and min(called[1:]) >= 0.75, called
