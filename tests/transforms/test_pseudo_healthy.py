"""Normal twins in a batch: which images get one, what it is made of, and what stays as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_dgm.transforms.pseudo_healthy import RandPseudoHealthy, content_mask, pseudo_healthy_image

SIZE = 32


def halving(image: Tensor) -> Tensor:
    """A decomposer whose normal image is half of the image, and whose residue is what is above 0 in it."""
    assert not torch.is_grad_enabled()
    return torch.cat((image / 2, image.clamp(min=0), torch.ones_like(image)), dim=1)


def batch(labels: list[int], channels: int = 1) -> dict[str, Tensor]:
    image = torch.rand(len(labels), channels, SIZE, SIZE) * 1.8 - 0.9
    return {"image": image, "label": torch.tensor(labels).float(), "index": torch.arange(len(labels))}


def test_every_abnormal_image_becomes_its_normal_twin_at_probability_1() -> None:
    b = batch([0, 1, 1, 0])
    before = {name: value.clone() for name, value in b.items()}
    out = RandPseudoHealthy(1.0, halving)(b)
    assert out["label"].tolist() == [0, 0, 0, 0] and out["pseudo_healthy"].tolist() == [False, True, True, False]
    torch.testing.assert_close(out["image"][1:3], b["image"][1:3] / 2)
    assert torch.equal(out["image"][[0, 3]], b["image"][[0, 3]])
    assert all(torch.equal(b[name], value) for name, value in before.items())  # the input is left alone
    assert torch.equal(out["index"], b["index"])


def test_probability_0_needs_no_decomposer_and_changes_nothing() -> None:
    out = RandPseudoHealthy(0.0, channels=("residue",))(b := batch([0, 1]))
    assert torch.equal(out["image"], b["image"]) and torch.equal(out["label"], b["label"])
    assert not out["pseudo_healthy"].any()


def test_about_the_asked_share_and_the_same_ones_for_the_same_state() -> None:
    b, pseudo_healthy = batch([1] * 300), RandPseudoHealthy(0.3, halving)
    torch.manual_seed(1)
    first = pseudo_healthy(b)
    assert first["pseudo_healthy"].float().mean().item() == pytest.approx(0.3, abs=0.08)
    assert torch.equal(first["label"] == 0, first["pseudo_healthy"])
    torch.manual_seed(1)
    assert torch.equal(pseudo_healthy(b)["image"], first["image"])


def test_residue_of_a_twin_is_what_the_decomposer_finds_in_the_twin() -> None:
    b = batch([1, 1], channels=2)
    out = RandPseudoHealthy(1.0, halving, channels=("residue", "image"))(b)["image"]
    torch.testing.assert_close(out[:, 1], b["image"][:, 1] / 2)
    torch.testing.assert_close(out[:, 0], (b["image"][:, 1] / 2).clamp(min=0))


def test_border_that_was_added_stays_air_without_residue() -> None:
    image = torch.full((1, 1, SIZE, SIZE), -1.0)
    image[..., 6:26] = 0.5
    image[0, 0, 3, 10] = -1  # black within the radiograph is no border
    assert content_mask(image)[0, 0, :, 6:26].all() and not content_mask(image)[..., :6].any()
    twin = pseudo_healthy_image(lambda z: torch.full((1, 3, *z.shape[-2:]), 0.25), image, channels=("image", "residue"))
    assert (twin[0, 0, :, :6] == -1).all() and (twin[0, 0, :, 26:] == -1).all() and (twin[0, 0, :, 6:26] == 0.25).all()
    assert (twin[0, 1, :, :6] == 0).all() and (twin[0, 1, :, 6:26] == 0.25).all()


def test_decomposer_of_another_side_sees_its_own() -> None:
    seen: list[int] = []

    def decomposer(image: Tensor) -> Tensor:
        seen.append(image.shape[-1])
        return halving(image)

    image = torch.full((2, 1, SIZE, SIZE), 0.5)
    twin = pseudo_healthy_image(decomposer, image, size=16, channels=("image", "residue"))
    assert seen == [16, 16] and twin.shape == (2, 2, SIZE, SIZE)
    torch.testing.assert_close(twin, torch.full_like(twin, 0.25))


def test_twins_can_be_trained_on() -> None:
    network = torch.nn.Conv2d(1, 1, 1)
    out = RandPseudoHealthy(1.0, halving)(batch([1, 0]))["image"]
    network(out).sum().backward()
    assert network.weight.grad is not None and not out.requires_grad


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prob": 1.5, "decomposer": halving}, "prob: expected a number in"),
        ({"prob": 0.5}, "decomposer: expected one"),
        ({"prob": 0.5, "decomposer": halving, "channels": ("residue",)}, "expected the image among them"),
    ],
)
def test_what_it_cannot_do(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandPseudoHealthy(**arguments)
