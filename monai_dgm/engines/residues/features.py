"""What a residue system predicts, together with the features of its residue encoder, in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["predict_with_features"]


def predict_with_features(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Run a residue system.

    Args:
        network: a residue system; one with a method ``predict_with_features`` is asked by it.
        images: (B, 1, S, S) in [-1, 1], on its device.

    Returns:
        its output, and what its ``residue_encoder`` gives last, averaged over the image, float32 (B, D); None from a
        system without one.
    """
    own = getattr(network, "predict_with_features", None)
    if own is not None:
        prediction, features = own(images)
        return prediction, features
    with _pooled_features(network) as found:
        prediction = network(images)
    return prediction, found[0][: images.shape[0]] if found else None  # smoothed images may follow


@contextmanager
def _pooled_features(network: nn.Module) -> Iterator[list[Tensor]]:
    """The mean over the pixels of what the residue encoder gives last, (B, D), each time that ``network`` runs it."""
    encoder, features = getattr(network, "residue_encoder", None), []

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        features.append(output[-1].float().mean(dim=(2, 3)))

    if not isinstance(encoder, nn.Module) or isinstance(network, torch.jit.ScriptModule):
        yield features
        return
    handle = encoder.register_forward_hook(keep)
    try:
        yield features
    finally:
        handle.remove()
