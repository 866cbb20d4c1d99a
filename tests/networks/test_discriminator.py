"""The discriminator: scales, receptive fields, normalisations."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from monai_dgm.networks.blocks import InstanceNorm
from monai_dgm.networks.discriminator import MultiScaleDiscriminator

NORMS = ("none", "instance", "spectral")


def image(*shape: int) -> Tensor:
    return torch.rand(*shape) * 2 - 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", [64, 96, 224])
def test_three_scales_each_at_half_the_resolution(size: int, norm: str) -> None:
    scores = MultiScaleDiscriminator(base_width=2, norm=norm)(image(2, 1, size, size))
    assert [tuple(s.shape) for s in scores] == [(2, 1, side, side) for side in (size // 16, size // 32, size // 64)]


def test_default_is_four_stride_2_convolutions_from_64_filters_without_norm() -> None:
    with torch.device("meta"):
        network = MultiScaleDiscriminator()
    assert len(network.scales) == 3
    for scale in network.scales:
        convolutions = [module for module in scale if isinstance(module, nn.Conv2d)]
        assert [c.out_channels for c in convolutions] == [64, 128, 256, 512, 1]
        assert [c.stride[0] for c in convolutions] == [2, 2, 2, 2, 1]
        assert [type(module) for module in scale] == 4 * [nn.Conv2d, nn.LeakyReLU] + [nn.Conv2d]
        assert all(module.negative_slope == 0.2 for module in scale if isinstance(module, nn.LeakyReLU))


def test_each_scale_sees_an_average_pooled_image() -> None:
    network = MultiScaleDiscriminator(base_width=2)
    x = image(1, 1, 64, 64)
    for scale, scores in zip(network.scales, network(x), strict=True):
        torch.testing.assert_close(scale(x), scores)
        x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)


def test_pooling_keeps_a_constant_image_constant_to_its_border() -> None:
    seen: list[Tensor] = []
    network = MultiScaleDiscriminator(base_width=2)
    for scale in network.scales:
        scale.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.full((1, 1, 64, 64), 0.5))
    assert [x.shape[-1] for x in seen] == [64, 32, 16]
    assert all(torch.equal(x, torch.full_like(x, 0.5)) for x in seen)


def test_scores_are_local_patches_without_norm() -> None:
    network = MultiScaleDiscriminator(base_width=2, num_scales=1)
    x = image(1, 1, 128, 128)
    changed = x.clone()
    changed[..., :4, :4] *= -1
    difference = (network(changed)[0] - network(x)[0]).abs()[0, 0]
    assert difference[0, 0] > 0  # a score's field: 1 + 3 (1 + 2 + 4 + 8) = 46 pixels, one score every 16
    assert difference[3:, :].max() == 0 and difference[:, 3:].max() == 0


def test_instance_norm_is_on_all_layers_but_the_first_and_the_last() -> None:
    for scale in MultiScaleDiscriminator(base_width=2, norm="instance").scales:
        kinds = [type(module) for module in scale]
        normed = [nn.Conv2d, InstanceNorm, nn.LeakyReLU]
        assert kinds == [nn.Conv2d, nn.LeakyReLU, *normed, *normed, *normed, nn.Conv2d]


def test_spectral_norm_bounds_every_convolution() -> None:
    network = MultiScaleDiscriminator(base_width=4, norm="spectral")
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.parametrizations.weight.original.mul_(50)
        for _ in range(30):  # power iterations
            network(image(1, 1, 64, 64))
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            assert is_parametrized(module, "weight")
            assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, rel=0.05)


def test_scales_share_no_weights() -> None:
    pointers = [parameter.data_ptr() for parameter in MultiScaleDiscriminator(base_width=2).parameters()]
    assert len(set(pointers)) == len(pointers)


def test_pix2pixhd_has_three_stride_2_and_one_stride_1_layers_with_instance_norm_and_a_4x4_output() -> None:
    """Wang et al. 2018; the receptive field of a score is 70 pixels."""
    with torch.device("meta"):
        network = MultiScaleDiscriminator(num_layers=3, norm="instance", layout="pix2pixhd")
    assert len(network.scales) == 3
    normed = [nn.Conv2d, InstanceNorm, nn.LeakyReLU]
    for scale in network.scales:
        assert [type(module) for module in scale] == [nn.Conv2d, nn.LeakyReLU, *normed, *normed, *normed, nn.Conv2d]
        convolutions = [module for module in scale if isinstance(module, nn.Conv2d)]
        assert [c.out_channels for c in convolutions] == [64, 128, 256, 512, 1]
        assert [c.stride[0] for c in convolutions] == [2, 2, 2, 1, 1]
        assert all(c.kernel_size == (4, 4) and c.padding == (2, 2) for c in convolutions)
    with torch.device("meta"):
        deep = MultiScaleDiscriminator(num_layers=5, layout="pix2pixhd")
    widths = [module.out_channels for module in deep.scales[0] if isinstance(module, nn.Conv2d)]
    assert widths == [64, 128, 256, 512, 512, 512, 1]


def test_a_score_of_pix2pixhd_sees_70_pixels() -> None:
    network = MultiScaleDiscriminator(base_width=2, num_scales=1, num_layers=3, layout="pix2pixhd").double()
    x = image(1, 1, 256, 256).double().requires_grad_()
    scores = network(x)[0]
    scores[0, 0, scores.shape[-2] // 2, scores.shape[-1] // 2].backward()
    assert x.grad is not None
    for axis in (0, 1):
        seen = x.grad[0, 0].abs().sum(dim=axis).nonzero()[:, 0]
        assert int(seen.max() - seen.min()) + 1 == 70


@pytest.mark.parametrize("size", [64, 96, 224])
def test_pix2pixhd_scores_every_8_pixels_of_each_scale(size: int) -> None:
    found = MultiScaleDiscriminator(base_width=2, num_layers=3, layout="pix2pixhd")(image(1, 1, size, size))
    assert [tuple(scores.shape[2:]) for scores in found] == [2 * (size // factor + 3,) for factor in (8, 16, 32)]


@pytest.mark.parametrize("given", [{"norm": "batch"}, {"layout": "resnet"}])
def test_unknown_settings_are_refused(given: dict[str, str]) -> None:
    ((name, value),) = given.items()
    with pytest.raises(ValueError, match=f"^{name}: expected .*{value}"):
        MultiScaleDiscriminator(**given)  # type: ignore[arg-type]
