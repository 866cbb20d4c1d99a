"""Figures of a decomposer while it trains."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gpu.pack import SOURCES
from monai_dgm.engines.training.resident import ResidentRadiographs
from monai_dgm.networks.dgm import DGM


@torch.no_grad()
def decompose(network: DGM, data: ResidentRadiographs, batch_size: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    """a and the mask's logit, half (N, 1, S, S), and the abnormality's logit (N,)."""
    network.eval()
    found = []
    for index in torch.arange(len(data), device=data.images.device).split(batch_size):
        outputs = network(data.batch(index)["image"])
        found.append((outputs["residue"].half(), outputs["mask_logit"].half(), outputs["abnormality_logit"][:, 0]))
    residue, mask, logit = (torch.cat(parts) for parts in zip(*found, strict=True))
    return residue, mask, logit.float()


def _sources(data: ResidentRadiographs) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each source that has boxes and images of both classes: name, which images are its own (N,), their labels."""
    for name in ("nih", "siim_fisabio"):
        own = data.source == SOURCES.index(name)
        label = data.label[own] > 0
        if 0 < int(label.sum()) < len(label):
            yield name, own, label


def judge(network: DGM, data: ResidentRadiographs) -> dict[str, float]:
    """Figures of a validation set, within each of the two sources that have boxes."""
    residue, mask, logit = decompose(network, data)
    metrics: dict[str, float] = {}
    for name, own, label in _sources(data):
        strength = residue[own].float().abs().mean(dim=(1, 2, 3))
        metrics[f"{name}_auc"] = _auc(logit[own], label)
        metrics[f"{name}_a_auc"] = _auc(strength, label)
        metrics[f"{name}_a_normal"] = float(strength[~label].mean())
        metrics[f"{name}_a_abnormal"] = float(strength[label].mean())
        boxed = own & data.complete
        if boxed.any():
            maps = residue[boxed].float().abs()
            area = data.batch(boxed.nonzero()[:, 0])["box_weight"] > 0
            metrics[f"{name}_pixel_ap"] = _average_precision(maps.flatten(), area.flatten())
            metrics[f"{name}_mask_ap"] = _average_precision(mask[boxed].float().flatten(), area.flatten())
            metrics[f"{name}_pointing"] = _pointing(maps, area)
    return {key: round(value, 4) for key, value in metrics.items()}


@torch.no_grad()
def abnormality_aucs(network: nn.Module, data: ResidentRadiographs, batch_size: int = 64) -> dict[str, float]:
    """AUC of a classifier, and of its mean over the image and its mirror image, within each source with boxes."""
    network.eval()
    plain, both = [], []
    for index in torch.arange(len(data), device=data.images.device).split(batch_size):
        image = data.batch(index)["image"]
        own = network(image)[:, 0].float()
        plain.append(own)
        both.append(own + network(image.flip(-1))[:, 0].float())
    metrics = {}
    for name, own, label in _sources(data):
        metrics[f"{name}_auc"] = round(_auc(torch.cat(plain)[own], label), 4)
        metrics[f"{name}_auc_mirrored"] = round(_auc(torch.cat(both)[own], label), 4)
    return metrics


def _auc(score: Tensor, label: Tensor) -> float:
    rank = torch.argsort(torch.argsort(score)).double() + 1
    positive = int(label.sum())
    return float((rank[label].sum() - positive * (positive + 1) / 2) / (positive * (len(label) - positive)))


def _average_precision(score: Tensor, label: Tensor) -> float:
    hits = label[torch.argsort(score, descending=True)].double().cumsum(0)
    precision = hits / torch.arange(1, len(hits) + 1, device=hits.device)
    return float((precision * torch.diff(hits, prepend=hits.new_zeros(1))).sum() / hits[-1])


def _pointing(maps: Tensor, area: Tensor) -> float:
    sigma = maps.shape[-1] / 64
    axis = torch.arange(-int(4 * sigma), int(4 * sigma) + 1, device=maps.device).float()
    kernel = torch.exp(-0.5 * (axis / sigma) ** 2)
    kernel = kernel / kernel.sum()
    pad = len(axis) // 2
    smooth = nn.functional.conv2d(maps, kernel[None, None, None], padding=(0, pad))
    smooth = nn.functional.conv2d(smooth, kernel[None, None, :, None], padding=(pad, 0))
    return float(area.flatten(1).gather(1, smooth.flatten(1).argmax(1, keepdim=True)).float().mean())
