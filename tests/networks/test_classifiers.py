"""Classifiers: the known sizes, the shapes, that they learn and export."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from monai_dgm.networks.classifiers import ARCHITECTURES, build_classifier

# parameters with 3 channels and 1,000 classes as published with torchvision's weights; features before the last layer
PUBLISHED = {
    "alexnet": (61_100_840, 4096),
    "vgg19": (143_667_240, 4096),
    "resnet18": (11_689_512, 512),
    "resnet50": (25_557_032, 2048),
    "resnet152": (60_192_808, 2048),
    "densenet121": (7_978_856, 1024),
    "densenet161": (28_681_000, 2208),
}
LIGHT = ("densenet_small", "resnet18")


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("architecture", PUBLISHED)
def test_number_of_parameters_is_the_published_one(architecture: str) -> None:
    published, features = PUBLISHED[architecture]
    with torch.device("meta"):
        network = build_classifier(architecture, in_channels=3)
    assert count(network) == published - 999 * (features + 1)


@pytest.mark.parametrize(
    ("architecture", "millions"), [("alexnet", 57.0), ("vgg19", 139.6), ("resnet152", 58.1), ("densenet161", 26.5)]
)
def test_sizes_of_table_4_are_those_of_two_outputs(architecture: str, millions: float) -> None:
    with torch.device("meta"):
        network = build_classifier(architecture, in_channels=3)
    second_output = PUBLISHED[architecture][1] + 1
    assert (count(network) + second_output) / 1e6 == pytest.approx(millions, abs=0.051)


@pytest.mark.parametrize(
    ("architecture", "convolutions", "linear"),
    [
        ("alexnet", (0, 3, 6, 8, 10), (1, 4, 6)),
        ("vgg19", (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34), (0, 3, 6)),
    ],
)
def test_weights_have_the_names_of_earlier_files(
    architecture: str, convolutions: tuple[int, ...], linear: tuple[int, ...]
) -> None:
    layers = [f"features.{i}" for i in convolutions] + [f"classifier.{i}" for i in linear]
    with torch.device("meta"):
        names = list(build_classifier(architecture, in_channels=1).state_dict())
    assert names == [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]


def test_the_small_one_is_small() -> None:
    assert count(build_classifier("densenet_small", 2)) < 1e6


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("size", [64, 224])
def test_any_side_from_64_gives_one_logit_an_image(architecture: str, size: int) -> None:
    with torch.device("meta"):
        network = build_classifier(architecture, in_channels=2).eval()
        assert network(torch.zeros(3, 2, size, size)).shape == (3, 1)


@pytest.mark.parametrize("architecture", LIGHT)
def test_every_channel_counts_and_gets_a_gradient(architecture: str) -> None:
    network = build_classifier(architecture, in_channels=2).eval()
    image = torch.randn(2, 2, 64, 64, requires_grad=True)
    network(image).sum().backward()
    assert image.grad is not None and (image.grad.abs().amax(dim=(0, 2, 3)) > 0).all()


def test_signal_of_vgg19_neither_fades_nor_explodes_at_the_start() -> None:
    network = build_classifier("vgg19", 1).train()
    with torch.no_grad():
        logits = network(torch.rand(4, 1, 64, 64) * 2 - 1)
    assert 1e-3 < logits.std() < 30


@pytest.mark.parametrize("architecture", ["densenet_small", "alexnet"])
def test_scripted_network_gives_the_same(architecture: str, tmp_path: Path) -> None:
    network = build_classifier(architecture, 2).eval()
    torch.jit.script(network).save(str(tmp_path / "network.ts"))
    image = torch.randn(2, 2, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(str(tmp_path / "network.ts"))(image), network(image))


def test_small_one_learns_where_a_bright_spot_is() -> None:
    network = build_classifier("densenet_small").train()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    image = 0.1 * torch.randn(16, 1, 64, 64)
    label = (torch.arange(16) % 2).float()[:, None]
    image[label[:, 0] == 1, :, 20:40, 20:40] += 1
    for _ in range(6):
        loss = nn.functional.binary_cross_entropy_with_logits(network(image), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3


def test_unknown_architecture_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"expected one of densenet161.*alexnet, got 'vit'"):
        build_classifier("vit")
