"""Criss-cross attention against a dense masked attention, its reach, and its memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_dgm.networks.lung_segmentation import CrissCrossAttention, RecurrentCrissCrossAttention


@pytest.fixture
def attention() -> CrissCrossAttention:
    module = CrissCrossAttention(16).double()
    with torch.no_grad():
        module.gamma.fill_(0.7)
    return module


def dense(module: CrissCrossAttention, x: Tensor) -> Tensor:
    """Full self-attention over all H W pixels, everything outside a pixel's row and column masked away."""
    batch, channels, height, width = x.shape
    query, key, value = (conv(x).flatten(2) for conv in (module.query, module.key, module.value))
    rows, cols = torch.arange(height * width) // width, torch.arange(height * width) % width
    cross = (rows[:, None] == rows) | (cols[:, None] == cols)  # the pixel itself is in it once
    energy = (query.transpose(1, 2) @ key).masked_fill(~cross, float("-inf"))
    context = value @ torch.softmax(energy, dim=-1).transpose(1, 2)
    return module.gamma * context.view(batch, channels, height, width) + x


@pytest.mark.parametrize("shape", [(2, 16, 5, 7), (1, 16, 7, 5), (1, 16, 1, 4), (1, 16, 4, 1), (1, 16, 1, 1)])
def test_equals_dense_attention_masked_to_row_and_column(attention: CrissCrossAttention, shape: tuple) -> None:
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(attention(x), dense(attention, x))
    ours, theirs = (torch.autograd.grad(f.square().sum(), x)[0] for f in (attention(x), dense(attention, x)))
    torch.testing.assert_close(ours, theirs)


def test_weights_sum_to_one_and_the_pixel_itself_counts_once(attention: CrissCrossAttention) -> None:
    x = torch.randn(2, 16, 4, 6, dtype=torch.float64)
    weights = attention.attention(x)
    assert weights.shape == (2, 4, 6, 4 + 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 6, dtype=torch.float64))
    for row in range(4):
        assert (weights[:, row, :, row] == 0).all()
    assert (weights[..., 4:] > 0).all()


def test_starts_as_the_identity() -> None:
    x = torch.randn(1, 16, 3, 3)
    assert torch.equal(CrissCrossAttention(16)(x), x)


def test_queries_and_keys_have_an_eighth_of_the_channels() -> None:
    module = CrissCrossAttention(64)
    assert module.query.out_channels == module.key.out_channels == 8 and module.value.out_channels == 64
    assert CrissCrossAttention(4).query.out_channels == 1


@pytest.mark.parametrize(("recurrence", "reached"), [(1, False), (2, True)])
def test_two_rounds_join_any_two_pixels(attention: CrissCrossAttention, recurrence: int, reached: bool) -> None:
    x = torch.randn(1, 16, 6, 6, dtype=torch.float64, requires_grad=True)
    y = x
    for _ in range(recurrence):
        y = attention(y)
    y[0, :, 0, 0].sum().backward()
    assert x.grad is not None
    touched = x.grad.abs().sum(dim=(0, 1)) > 0
    assert touched[0].all() and touched[:, 0].all()
    assert bool(touched[3, 4]) == reached


def test_recurrence_shares_its_weights() -> None:
    def count(recurrence: int) -> int:
        return sum(p.numel() for p in RecurrentCrissCrossAttention(8, 4, recurrence).parameters())

    assert count(1) == count(2) == count(5)


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes the largest tensor that any operation puts out."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self.numel = max(self.numel, tensor.numel())
        return out


def test_memory_is_linear_in_rows_and_columns_for_each_pixel() -> None:
    """No operation makes anything larger than the weights, H + W a pixel (few channels, so that features are small)."""
    module, side = CrissCrossAttention(2), 48
    with torch.no_grad(), Largest() as seen:
        module(torch.randn(1, 2, side, side))
    assert seen.numel == side * side * (side + side)
    with torch.no_grad(), Largest() as everything:
        x = torch.randn(1, 2, side, side)
        dense(module, x)
    assert everything.numel == side**4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_runs_under_autocast(dtype: torch.dtype) -> None:
    module = CrissCrossAttention(16)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        assert torch.isfinite(module(torch.randn(1, 16, 5, 5)).float()).all()
