"""What a classifier's training starts from: ImageNet's weights of a package, without any download."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from monai_dgm.engines.training import imagenet
from monai_dgm.engines.training.imagenet import initial_weights_sha256, initialise_classifier
from monai_dgm.errors import InputError
from monai_dgm.networks.classifiers import EfficientNetClassifier, build_classifier
from monai_dgm.networks.efficientnet import imagenet_state_dict
from tests.networks.test_efficientnet import package_weights

ARCHITECTURE = "efficientnet_lite2"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Those that the package carries, here random ones."""
    state = package_weights()
    torch.save(state, tmp_path / "lite2.pth")
    monkeypatch.setattr(imagenet, "find_imagenet_weights", lambda: tmp_path / "lite2.pth")
    return state


@pytest.mark.parametrize("channels", [1, 2])
def test_the_encoder_is_imagenets_and_a_residue_adds_nothing_yet(weights: dict[str, Tensor], channels: int) -> None:
    network = initialise_classifier(build_classifier(ARCHITECTURE, channels), "imagenet").eval()
    expected = imagenet_state_dict(weights)
    for name, value in network.get_submodule("encoder").state_dict().items():
        assert torch.equal(value[:, :1] if name == "stages.0.0.1.weight" else value, expected[name]), name
    image = torch.rand(2, channels, 64, 64) * 2 - 1
    other = image.clone()
    other[:, 1:] = 0.5
    with torch.no_grad():
        assert torch.equal(network(image), network(other))


def test_none_leaves_random_weights() -> None:
    network = build_classifier(ARCHITECTURE)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert initialise_classifier(network) is network and initial_weights_sha256(None) is None
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.usefixtures("weights")
def test_frozen_stages_do_not_learn_but_their_statistics_follow() -> None:
    network = initialise_classifier(build_classifier(ARCHITECTURE), "imagenet", frozen_stages=2)
    assert isinstance(network, EfficientNetClassifier)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    network(torch.rand(4, 1, 64, 64) * 2 - 1).square().sum().backward()
    optimizer.step()
    frozen = ("encoder.stages.0.", "encoder.stages.1.")
    for name, value in network.state_dict().items():
        if isinstance(dict(network.named_parameters()).get(name), nn.Parameter):
            assert torch.equal(value, before[name]) == name.startswith(frozen), name
    name = "encoder.stages.0.0.2.running_mean"
    assert not torch.equal(network.state_dict()[name], before[name])


@pytest.mark.usefixtures("weights")
def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="expected the architecture efficientnet_lite2 .* got DenseNet"):
        initialise_classifier(build_classifier("densenet_small"), "imagenet")
    with pytest.raises(ValueError, match="0 to 5 .* got 6"):
        initialise_classifier(build_classifier(ARCHITECTURE), None, frozen_stages=6)
    with pytest.raises(ValueError, match="expected the image alone, got 2 channels"):
        initialise_classifier(build_classifier(ARCHITECTURE, 2), None, frozen_stages=1)
    with pytest.raises(ValueError, match="0 to 0 .* got 1"):
        initialise_classifier(build_classifier("densenet_small"), None, frozen_stages=1)


def test_without_the_package_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "PACKAGE", "no-such-package")
    for run in (
        lambda: initialise_classifier(build_classifier(ARCHITECTURE), "imagenet"),
        lambda: initial_weights_sha256("imagenet"),
    ):
        with pytest.raises(InputError, match="expected the package no-such-package .* not installed") as error:
            run()
        assert "\n" not in str(error.value)


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    torch.save(build_classifier("densenet_small").state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match="expected ImageNet's weights of EfficientNet-lite2, got another network"):
        imagenet.load_imagenet(EfficientNetClassifier().encoder, tmp_path / "other.pth")
