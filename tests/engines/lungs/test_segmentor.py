"""Lungs by a segmentor: masks of batches, files beside the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from monai_dgm.engines.lungs.chest_check import CHEST_FILE, describe_lungs, fit_chest_reference
from monai_dgm.engines.lungs.segmentor import LungSegmentor, load_lung_segmentor, network_from_settings
from monai_dgm.engines.weights import save_weights
from monai_dgm.errors import InputError
from monai_dgm.networks.lung_segmentation import CrissCrossLungNet, build_lung_network
from tests.engines.drawn_lungs import lungs

SETTINGS: dict[str, Any] = {"architecture": "unet", "network_settings": {"width": 4}, "image_size": 32}


class Dark(nn.Module):
    """Takes what is dark for lung."""

    def forward(self, image: Tensor) -> Tensor:
        return -8 * image


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    (tmp_path / "model.json").write_text(json.dumps(SETTINGS))
    save_weights(build_lung_network("unet", {"width": 4}).state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def test_masks_of_a_batch() -> None:
    planes = np.stack([lungs(0), np.zeros((64, 64)), lungs(1)])
    masks = LungSegmentor(Dark(), planes.shape[-1], None, {}).masks(torch.from_numpy(1 - 2 * planes)[:, None].float())
    assert masks.shape == (3, 64, 64) and masks.dtype == bool
    assert np.array_equal(masks, planes > 0.5) and not masks[1].any()


def test_segmentor_of_a_file_takes_any_side(model_path: Path) -> None:
    segmentor = load_lung_segmentor(model_path)
    assert segmentor.size == 32 and segmentor.reference is None and not segmentor.network.training
    for side in (32, 48):
        image = torch.rand(2, 1, side, side) * 2 - 1
        probability = segmentor.probability(image)
        assert probability.shape == segmentor.masks(image).shape == (2, side, side)
        assert probability.dtype == np.float32 and probability.min() >= 0 and probability.max() <= 1


def test_chest_reference_beside_the_weights_is_taken(model_path: Path) -> None:
    reference = fit_chest_reference([describe_lungs(lungs(seed)) for seed in range(30)])
    reference.write(model_path.with_name(CHEST_FILE))
    assert load_lung_segmentor(model_path).reference == reference


def test_network_is_the_settings() -> None:
    network = network_from_settings(
        {"architecture": "criss_cross", "network_settings": {"layers": [1, 1, 1, 1], "width": 4}}
    )
    assert isinstance(network, CrissCrossLungNet)
    with pytest.raises(InputError, match="expected settings of a lung segmentor, .* got 'densenet161'"):
        network_from_settings({"architecture": "densenet161"})


def test_weights_of_another_network_are_refused(model_path: Path) -> None:
    model_path.with_suffix(".json").write_text(json.dumps({**SETTINGS, "network_settings": {"width": 8}}))
    with pytest.raises(InputError, match="model.pt: expected weights of UNet as configured"):
        load_lung_segmentor(model_path)
