"""Terms on images and residues: the paper's (eq. 2 to 5), those where the truth is known, and AE-U's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "balanced_l1_loss",
    "blank_residue_loss",
    "l1_loss",
    "normal_ssim_loss",
    "residue_evidence_loss",
    "total_variation_loss",
    "uncertainty_loss",
    "weighted_l1_loss",
]


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


def normal_ssim_loss(normal: Tensor, true_normal: Tensor, weight: Tensor, window: int = 7) -> Tensor:
    """1 - SSIM of y' to the normal image where that is known; not in the paper, whose L1 terms leave y' soft.

    SSIM (Wang et al. 2004, eq. 13) with uniform windows: box filters cost a tenth of MONAI's Gaussian ones on a CPU,
    where those would take as long as the networks.

    Args:
        normal, true_normal: (B, C, S, S) in [-1, 1].
        weight: (B,), as in :func:`weighted_l1_loss`.
        window: side of the windows, at most S; only those that lie within the image count.
    """

    def mean(image: Tensor) -> Tensor:
        rows = F.avg_pool2d(image, (window, 1), stride=1)
        return F.avg_pool2d(rows, (1, window), stride=1)

    x, y = normal.float(), true_normal.float()
    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2  # the range of values is 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    each = 1 - (luminance * structure).mean(dim=(1, 2, 3))
    return (each * weight.float()).mean()


def blank_residue_loss(residue: Tensor, label: Tensor) -> Tensor:
    """l_R^3: mean |a| of normal radiographs, zero for abnormal ones (eq. 4), averaged over the batch.

    Args:
        residue: a, (B, C, S, S).
        label: (B,), 0 normal, 1 abnormal.
    """
    return weighted_l1_loss(residue, torch.zeros_like(residue), label == 0)


def residue_evidence_loss(residue: Tensor, label: Tensor, margin: float, fraction: float) -> Tensor:
    """The counterpart of eq. 4: an abnormal radiograph owes its residue some evidence. Not in the paper.

    The evidence of an image is the mean of its largest |a|; hinge over the abnormal images on how far theirs exceeds
    that of the normal ones, max(0, margin - (evidence - mean evidence of normals)): a mark that every residue bears,
    in a corner say, is no evidence.

    Args:
        residue: a, (B, C, S, S).
        label: (B,), 0 normal, 1 abnormal.
        margin: on the [-1, 1] scale.
        fraction: share of the pixels that the evidence may take, in (0, 1].
    """
    magnitude = residue.float().abs().flatten(1)
    top = magnitude.topk(max(1, round(fraction * magnitude.shape[1])), dim=1).values.mean(dim=1)
    normal = label == 0
    of_normals = (top * normal).sum() / normal.sum().clamp(min=1)
    return (torch.relu(margin - (top - of_normals)) * (label == 1)).mean()


def total_variation_loss(image: Tensor) -> Tensor:
    """Anisotropic total variation (paper, eq. 5), as a mean over neighbouring pairs instead of a sum.

    Args:
        image: y', (B, C, H, W).

    Returns:
        mean |y'[i+1, j] - y'[i, j]| + mean |y'[i, j+1] - y'[i, j]|: the same at every resolution for the same
        steepness, so that lambda_TV keeps its meaning per pixel.
    """
    image = image.float()
    vertical = (image[:, :, 1:, :] - image[:, :, :-1, :]).abs().mean()
    horizontal = (image[:, :, :, 1:] - image[:, :, :, :-1]).abs().mean()
    return vertical + horizontal


def uncertainty_loss(mean: Tensor, log_variance: Tensor, image: Tensor) -> Tensor:
    """Reconstruction with a predicted uncertainty: mean over pixels of (x - mean)^2 / variance + log variance.

    Args:
        mean, log_variance: of the reconstruction, (B, C, S, S).
        image: x, (B, C, S, S).

    Source: Mao et al. 2020, "Abnormality detection in chest X-ray images using uncertainty prediction autoencoders",
    eq. 3, and the code of DDAD's authors.
    """
    error = (image.float() - mean.float()).square()
    return (torch.exp(-log_variance.float()) * error + log_variance.float()).mean()
