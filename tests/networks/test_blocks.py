"""Building blocks: folding against the direct form, the norms of Tables 1 and 2, residual blocks, AdaIN."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_dgm.networks.blocks import (
    AdaptiveInstanceNorm,
    AdaptiveResidualBlock,
    InstanceNorm,
    PhaseConv2d,
    ResidualBlock,
    UpsampleConv2d,
    make_norm,
    phase_layout,
)

KERNELS = (1, 3, 5, 7)
SIZES = ((1, 1), (1, 5), (2, 2), (7, 7), (8, 6), (5, 9))


def upsample_then_convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Table 2's "Upsample, Conv" as it is written: every pixel four times, then a convolution with zero padding."""
    x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def gradients(y: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad((y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum(), inputs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel_size", KERNELS)
def test_folding_changes_neither_output_nor_gradients(kernel_size: int, size: tuple[int, int]) -> None:
    layer = UpsampleConv2d(3, 2, kernel_size).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    parameters = (x, layer.weight, layer.bias)
    expected = upsample_then_convolve(*parameters)
    expected_gradients = gradients(expected, *parameters)
    for folded in (True, False):
        layer.folded = folded
        y = layer(x)
        torch.testing.assert_close(y, expected)
        for ours, theirs in zip(gradients(y, *parameters), expected_gradients, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel_size", KERNELS)
def test_phase_conv_is_the_layer_it_was_made_from(kernel_size: int, size: tuple[int, int]) -> None:
    layer = UpsampleConv2d(3, 2, kernel_size).double()
    baked = PhaseConv2d.from_upsample(layer).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(baked(x), upsample_then_convolve(x, layer.weight, layer.bias), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kernel_size", (5, 7))
def test_folding_is_exact_in_single_precision(kernel_size: int) -> None:
    layer = UpsampleConv2d(16, 4, kernel_size)
    x = torch.randn(1, 16, 14, 14)
    difference = layer(x) - upsample_then_convolve(x, layer.weight, layer.bias)
    assert difference.abs().max() < 2e-6


@pytest.mark.parametrize("kernel_size", (5, 7))
def test_channels_last_gives_the_same_numbers(kernel_size: int) -> None:
    layer = UpsampleConv2d(8, 4, kernel_size)
    x = torch.randn(2, 8, 6, 10)
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last)), layer(x))


@pytest.mark.parametrize(("kernel_size", "share"), [(5, 9 / 25), (7, 16 / 49)])
def test_folding_leaves_the_stated_share_of_the_arithmetic(kernel_size: int, share: float) -> None:
    layer = UpsampleConv2d(3, 2, kernel_size)
    taps = layer.phase_weight()[0, 0].numel()  # of one phase: as many multiplications for each output pixel
    assert taps / layer.weight[0, 0].numel() == pytest.approx(share)


def test_kernels_are_folded_in_full_precision_under_autocast() -> None:
    layer = UpsampleConv2d(3, 2, 5)
    alone = layer.phase_weight()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = layer.phase_weight()
        assert layer(torch.randn(1, 3, 4, 4)).dtype == torch.bfloat16
    assert inside.dtype == torch.float32
    assert torch.equal(inside, alone)


def test_folded_and_direct_share_their_checkpoints() -> None:
    folded, direct = UpsampleConv2d(3, 2, 5), UpsampleConv2d(3, 2, 5, folded=False)
    assert set(folded.state_dict()) == {"weight", "bias"}
    direct.load_state_dict(folded.state_dict())
    x = torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(folded(x), direct(x), rtol=1e-5, atol=1e-6)


def test_each_tap_falls_on_one_source_pixel() -> None:
    for kernel_size in KERNELS:
        fold, starts, taps = phase_layout(kernel_size)
        assert fold.shape == (2, taps, kernel_size)
        assert torch.equal(fold.sum(dim=1), torch.ones(2, kernel_size))
        for phase in range(2):
            for tap in range(kernel_size):
                row = torch.nonzero(fold[phase, :, tap]).item()
                upsampled = phase + tap - (kernel_size - 1) // 2  # read by output 0 + phase
                assert starts[phase] + row == upsampled // 2  # each source pixel appears twice


def test_even_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match="odd number, got 4"):
        UpsampleConv2d(1, 1, 4)


def test_instance_norm_standardises_each_channel_of_each_sample() -> None:
    x = torch.randn(2, 3, 4, 5) * 3 + 1
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = (x - mean).square().mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(make_norm("instance", 3)(x), (x - mean) / (variance + 1e-5).sqrt())


def test_layer_norm_standardises_over_channels_and_pixels_and_scales_per_channel() -> None:
    x = torch.randn(2, 3, 4, 5) * 3 + 1
    norm = make_norm("layer", 3)
    assert isinstance(norm, nn.GroupNorm)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
        norm.bias.copy_(torch.tensor([0.0, -1.0, 1.0]))
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    variance = (x - mean).square().mean(dim=(1, 2, 3), keepdim=True)
    expected = (x - mean) / (variance + 1e-5).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), expected)


def test_no_norm_is_the_identity_and_unknown_ones_are_refused() -> None:
    x = torch.randn(1, 2, 3, 3)
    assert torch.equal(make_norm("none", 2)(x), x)
    with pytest.raises(ValueError, match="'group'"):
        make_norm("group", 2)


def test_a_single_pixel_passes_instance_norm() -> None:
    x = torch.randn(2, 3, 1, 1)
    assert torch.equal(InstanceNorm()(x), x)
    assert InstanceNorm()(torch.randn(2, 3, 1, 2)).abs().max() <= 1


def test_residual_block_with_dead_branch_is_the_identity() -> None:
    block = ResidualBlock(4, 4, "none")
    with torch.no_grad():
        block.conv_2.weight.zero_()
        block.conv_2.bias.zero_()  # type: ignore[union-attr]
    x = torch.randn(1, 4, 5, 5)
    assert torch.equal(block(x), x)


def test_adaptive_instance_norm_gives_the_statistics_it_is_told() -> None:
    x = torch.randn(2, 3, 16, 16) * 5 - 2
    scale, shift = torch.rand(2, 3) + 0.5, torch.randn(2, 3)
    y = AdaptiveInstanceNorm(3)(x, scale, shift)
    torch.testing.assert_close(y.mean(dim=(2, 3)), shift, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(y.std(dim=(2, 3), correction=0), scale, rtol=1e-4, atol=1e-4)


def test_adaptive_block_uses_each_of_its_four_parameters() -> None:
    block = AdaptiveResidualBlock(6, 4)
    x, parameters = torch.randn(2, 6, 5, 5), torch.zeros(2, 4, 4)
    neutral = block(x, parameters)
    assert neutral.shape == (2, 4, 5, 5)
    for i in range(4):
        changed = parameters.clone()
        changed[1, i] = 0.5
        y = block(x, changed)
        assert torch.equal(y[0], neutral[0])  # each sample has its own
        assert not torch.allclose(y[1], neutral[1])
