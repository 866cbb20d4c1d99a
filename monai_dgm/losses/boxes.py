"""Terms of boxes, masks and image-level evidence: where a residue has to be, and where not. Not in the paper.

The residue is read as an intensity: a pixel is marked with probability 1 - exp(-a+ / scale), a+ the part of a above 0
(opacities brighten a radiograph). Its negative log-likelihood is a / scale outside an opacity, which is eq. 4 for
every pixel, and -log(1 - exp(-a+ / scale)) inside, which asks for much where a is nearly 0 and for nothing where a is
several times ``scale``. No term of this wants a share of the image, or a mean.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "blank_outside_loss",
    "box_evidence_loss",
    "coupling_loss",
    "image_evidence_loss",
    "lesion_mask_loss",
]

_SHARPNESS = 200.0  # of the softplus that stands for max(a, 0): it keeps a gradient just below 0


def _marked(intensity: Tensor) -> Tensor:
    """-log(1 - exp(-intensity)), stable near 0."""
    return -torch.log(-torch.expm1(-intensity.clamp(min=1e-4)))


def _image_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over the pixels of each image, (B,); 0 for an image without weight."""
    total = weight.sum(dim=(1, 2, 3))
    return (values * weight).sum(dim=(1, 2, 3)) / torch.where(total > 0, total, torch.ones_like(total))


def coupling_loss(residue: Tensor, image: Tensor, normal: Tensor) -> Tensor:
    """Mean |a - (z - y')|: the residue is what the normal image lacks.

    Args:
        residue, image, normal: (B, C, S, S).
    """
    return (residue.float() - (image.float() - normal.float())).abs().mean()


def blank_outside_loss(residue: Tensor, box_weight: Tensor, complete: Tensor) -> Tensor:
    """Mean |a| outside the boxes of the images whose boxes are all drawn, averaged over the batch.

    Args:
        residue: a, (B, 1, S, S).
        box_weight: (B, 1, S, S), above 0 inside boxes.
        complete: (B,) bool, whether all opacities of an image have a box and there is one.
    """
    outside = _image_mean(residue.float().abs(), (box_weight <= 0).float())
    return (outside * complete.float()).mean()


def box_evidence_loss(residue: Tensor, box_weight: Tensor, complete: Tensor, scale: float) -> Tensor:
    """-log(1 - exp(-a+ / scale)) inside the boxes, a weighted mean for each image, averaged over the batch.

    Args:
        residue: a, (B, 1, S, S).
        box_weight: (B, 1, S, S), weight of a pixel inside boxes, 0 outside.
        complete: (B,) bool, as in :func:`blank_outside_loss`.
        scale: of the intensity, on the [-1, 1] scale.
    """
    intensity = F.softplus(_SHARPNESS * residue.float()) / (_SHARPNESS * scale)
    inside = _image_mean(_marked(intensity), box_weight.float())
    return (inside * complete.float()).mean()


def image_evidence_loss(residue: Tensor, abnormal: Tensor, scale: float, cells: float) -> Tensor:
    """-log(1 - exp(-cells x mean a+ / scale)): the chance that no part of an abnormal image is marked.

    With ``cells`` parts of equal size, each marked with probability 1 - exp(-its mean intensity), the parts' sizes
    cancel: a small dense opacity is as much evidence as a large faint one.

    Args:
        residue: a, (B, 1, S, S).
        abnormal: (B,) bool, the images that owe evidence.
        scale: of the intensity, on the [-1, 1] scale.
        cells: parts of the image.
    """
    intensity = F.softplus(_SHARPNESS * residue.float()) / (_SHARPNESS * scale)
    return (_marked(cells * intensity.mean(dim=(1, 2, 3))) * abnormal.float()).mean()


def lesion_mask_loss(mask_logit: Tensor, box_weight: Tensor, known: Tensor, inside_share: float = 0.2) -> Tensor:
    """Cross entropy of the mask of a masked composition with the boxes.

    Args:
        mask_logit: (B, 1, S, S).
        box_weight: (B, 1, S, S), weight of a pixel inside boxes, 0 outside.
        known: (B,) bool, the images of which all boxes are known, or that have none.
        inside_share: share of the loss that is the boxes', whatever their size, in [0, 1].
    """
    logit = mask_logit.float()
    outside = _image_mean(F.softplus(logit), (box_weight <= 0).float())
    inside = _image_mean(F.softplus(-logit), box_weight.float())
    return (((1 - inside_share) * outside + inside_share * inside) * known.float()).mean()
