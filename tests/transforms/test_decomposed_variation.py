"""Variation of radiographs with residues: both move together, only the image is re-exposed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_dgm.transforms.augmentation import RandRadiographAugmentation
from monai_dgm.transforms.decomposed_variation import RandResidueAugmentation

NO_EXPOSURE = {"contrast": 0.0, "brightness": 0.0, "gamma": 0.0}
NO_MOTION = {"rotation": 0.0, "scale": 0.0, "shift": 0.0}


def batch(channels: int = 2, count: int = 8) -> dict[str, Tensor]:
    return {"image": torch.rand(count, channels, 32, 32) * 2 - 1, "label": torch.zeros(count)}


def test_for_images_alone_it_is_the_plain_variation() -> None:
    b = batch(1)
    torch.manual_seed(3)
    expected = RandRadiographAugmentation()(b)["image"]
    torch.manual_seed(3)
    assert torch.equal(RandResidueAugmentation(("image",))(b)["image"], expected)


@pytest.mark.parametrize("channels", [("image", "residue"), ("residue", "image")])
def test_both_channels_move_alike(channels: tuple[str, str]) -> None:
    plane = torch.rand(6, 1, 32, 32)
    both = {"image": plane - 1, "residue": plane}  # the same above what lies beyond the border
    stacked = torch.cat([both[name] for name in channels], dim=1)
    out = RandResidueAugmentation(channels, prob=1.0, **NO_EXPOSURE)({"image": stacked})["image"]
    image, residue = out[:, channels.index("image")], out[:, channels.index("residue")]
    torch.testing.assert_close(image + 1, residue, rtol=0, atol=1e-5)
    assert not torch.allclose(out, stacked, atol=1e-2)


def test_exposure_leaves_the_residue_alone() -> None:
    b = batch()
    out = RandResidueAugmentation(prob=1.0, **NO_MOTION)(b)["image"]
    torch.testing.assert_close(out[:, 1], b["image"][:, 1], rtol=0, atol=1e-4)
    assert (out[:, 0] - b["image"][:, 0]).abs().max() > 0.05


def test_beyond_the_border_are_air_and_no_residue() -> None:
    out = RandResidueAugmentation(prob=1.0, shift=0.4, **NO_EXPOSURE)({"image": torch.full((20, 2, 32, 32), 0.7)})
    corners = torch.stack([out["image"][..., r, c] for r in (0, -1) for c in (0, -1)])  # (4, B, C)
    assert (corners[..., 0] == -1).any(dim=0).all() and (corners[..., 1].abs() < 1e-6).any(dim=0).all()


def test_residues_alone_are_never_re_exposed() -> None:
    out = RandResidueAugmentation(("residue",), prob=1.0, **NO_MOTION)(b := batch(1))["image"]
    torch.testing.assert_close(out, b["image"], rtol=0, atol=1e-4)


def test_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the channels image, residue, got 1"):
        RandResidueAugmentation()(batch(1))
