"""L1 terms on images and residues (paper, eq. 2 to 4), and the supervised terms where the truth is known."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["balanced_l1_loss", "blank_residue_loss", "l1_loss", "residue_evidence_loss", "weighted_l1_loss"]


def l1_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference over pixels: l_R^1 with z' (eq. 2), l_R^2 with z'' (eq. 3)."""
    return (prediction.float() - target.float()).abs().mean()


def weighted_l1_loss(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference over the images that count.

    Args:
        prediction, target: (B, C, S, S).
        weight: (B,), zero for the images that do not count; the sum of the others' losses is divided by B, so that
            a term keeps its scale whatever the mixture of a batch.
    """
    each = (prediction.float() - target.float()).abs().mean(dim=(1, 2, 3))
    return (each * weight.float()).mean()


def balanced_l1_loss(prediction: Tensor, target: Tensor, area: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference inside an area and outside it, half each: a small opacity counts as much as the rest.

    Args:
        prediction, target: (B, C, S, S).
        area: (B, C, S, S) bool.
        weight: (B,), as in :func:`weighted_l1_loss`.
    """
    difference = (prediction.float() - target.float()).abs()
    inside = (difference * area).sum(dim=(1, 2, 3)) / area.sum(dim=(1, 2, 3)).clamp(min=1)
    outside = (difference * ~area).sum(dim=(1, 2, 3)) / (~area).sum(dim=(1, 2, 3)).clamp(min=1)
    return ((inside + outside) / 2 * weight.float()).mean()


def blank_residue_loss(residue: Tensor, label: Tensor) -> Tensor:
    """l_R^3: mean |a| of normal radiographs, zero for abnormal ones (eq. 4), averaged over the batch.

    Args:
        residue: a, (B, C, S, S).
        label: (B,), 0 normal, 1 abnormal.
    """
    return weighted_l1_loss(residue, torch.zeros_like(residue), label == 0)


def residue_evidence_loss(residue: Tensor, label: Tensor, margin: float, fraction: float) -> Tensor:
    """The counterpart of eq. 4: an abnormal radiograph owes its residue some evidence. Not in the paper.

    Hinge on the mean of the largest |a|: max(0, margin - mean of the top ``fraction`` of pixels), over abnormal images.

    Args:
        residue: a, (B, C, S, S).
        label: (B,), 0 normal, 1 abnormal.
        margin: on the [-1, 1] scale.
        fraction: share of the pixels that the evidence may take, in (0, 1].
    """
    magnitude = residue.float().abs().flatten(1)
    top = magnitude.topk(max(1, round(fraction * magnitude.shape[1])), dim=1).values.mean(dim=1)
    return (torch.relu(margin - top) * (label == 1)).mean()
