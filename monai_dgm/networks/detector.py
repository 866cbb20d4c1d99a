"""Opacity detector (paper, section 5.8): MONAI's two-dimensional RetinaNet on [image] or [image, residue].

Network, anchors, losses, box coding and suppression are MONAI's (``monai.apps.detection``). What is ours is small: the
feature pyramid and the matching of anchors, because MONAI's need torchvision, the losses' normalisation (that of the
RetinaNet paper), anchors of the size of opacities, and the meaning of x.

MONAI's boxes have x along array axis 0. Our planes are (rows, cols), so x runs along axis 1: boxes change over in
:func:`swap_axes`, and nowhere else.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import cast

import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.networks.retinanet_network import RetinaNet
from monai.apps.detection.utils.ATSS_matcher import Matcher
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
from monai.networks.nets.resnet import ResNet, get_inplanes
from torch import Tensor, nn

from monai_dgm.networks.anchors import (
    BoxLossPerOpacity,
    FocalLossPerOpacity,
    IoUMatcher,
    opacity_anchors,
    pyramid_levels,
)
from monai_dgm.networks.efficientnet import FEATURE_WIDTHS, EfficientNetLite

__all__ = ["BACKBONES", "DETECTION_CHANNELS", "OpacityDetector", "swap_axes"]

BACKBONES: dict[str, tuple[str, list[int]]] = {
    "resnet18": ("basic", [2, 2, 2, 2]),
    "resnet34": ("basic", [3, 4, 6, 3]),
    "resnet50": ("bottleneck", [3, 4, 6, 3]),
    "efficientnet_lite2": ("", []),
}
DETECTION_CHANNELS = ("xmin", "ymin", "xmax", "ymax", "score")


def swap_axes(boxes: Tensor) -> Tensor:
    """Boxes (N, 4) of ours, x along the columns, to MONAI's, x along array axis 0, and back."""
    return boxes[:, [1, 0, 3, 2]]


class _FeaturePyramid(nn.Module):
    """MONAI's ResNet and feature pyramid; MONAI joins the two with a part of torchvision."""

    def __init__(self, backbone: ResNet, levels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.body = backbone
        self.levels = tuple(levels)
        self.out_channels = out_channels
        stages = (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)
        channels = [_out_channels(stage) for stage in stages]
        self.fpn = FeaturePyramidNetwork(2, [channels[level - 1] for level in levels], out_channels)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Feature maps, finest first."""
        x = self.body.maxpool(self.body.act(self.body.bn1(self.body.conv1(images))))
        maps: dict[str, Tensor] = {}
        x = self.body.layer1(x)
        if 1 in self.levels:
            maps["1"] = x
        x = self.body.layer2(x)
        maps["2"] = x
        x = self.body.layer3(x)
        maps["3"] = x
        maps["4"] = self.body.layer4(x)
        return self.fpn(maps)


class _EfficientNetPyramid(nn.Module):
    """EfficientNet-lite2 and MONAI's feature pyramid; level 1 is at a quarter of the side, as in a ResNet."""

    def __init__(self, in_channels: int, levels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.body = EfficientNetLite(in_channels)
        self.levels = tuple(levels)
        self.out_channels = out_channels
        self.fpn = FeaturePyramidNetwork(2, [FEATURE_WIDTHS[level] for level in levels], out_channels)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Feature maps, finest first."""
        features = self.body(images)
        maps: dict[str, Tensor] = {}
        if 1 in self.levels:
            maps["1"] = features[1]
        maps["2"] = features[2]
        maps["3"] = features[3]
        maps["4"] = features[4]
        return self.fpn(maps)


def _out_channels(stage: nn.Module) -> int:
    return [module.out_channels for module in stage.modules() if isinstance(module, nn.Conv2d)][-1]


class _Maps(nn.Module):
    """The network as MONAI's detector calls it: float32 maps under autocast, and an error where they are not finite."""

    def __init__(self, network: RetinaNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[str, list[Tensor]]:
        """``classification`` and ``box_regression`` maps of each level.

        Raises:
            FloatingPointError: NaN or infinity.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* is NaN or Inf")  # an error follows
            try:
                maps = self.network(images)
            except ValueError as error:  # MONAI's heads look, too, while training
                if "NaN or Inf" not in str(error):
                    raise
                raise FloatingPointError(f"the detector's maps are not finite ({error})") from error
        maps = {name: [level.float() for level in levels] for name, levels in maps.items()}
        if not all(torch.isfinite(level).all() for levels in maps.values() for level in levels):
            raise FloatingPointError("the detector's maps are not finite (NaN or infinity)")
        return maps


class _Detector(RetinaNetDetector):
    """MONAI's detector with a matcher that is not torchvision's."""

    proposal_matcher: Matcher

    def compute_anchor_matched_idxs(
        self, anchors: list[Tensor], targets: list[dict[str, Tensor]], num_anchor_locs_per_level: Sequence[int]
    ) -> list[Tensor]:
        """For each image the place of the box that each anchor is to find, negative for none."""
        found = []
        for anchor, target in zip(anchors, targets, strict=True):
            boxes = target[self.target_box_key].to(anchor.device)
            _, matches = self.proposal_matcher(boxes, anchor, num_anchor_locs_per_level, self.num_anchors_per_loc)
            found.append(matches.to(anchor.device))
        return found


def _make_pyramid(
    backbone: str, in_channels: int, width: float, levels: Sequence[int], out_channels: int
) -> _FeaturePyramid | _EfficientNetPyramid:
    if backbone == "efficientnet_lite2":
        return _EfficientNetPyramid(in_channels, levels, out_channels)
    block, layers = BACKBONES[backbone]
    body = ResNet(
        block,
        layers,
        get_inplanes(),
        spatial_dims=2,
        n_input_channels=in_channels,
        conv1_t_stride=2,
        widen_factor=width,
        feed_forward=False,
        bias_downsample=False,
    )
    return _FeaturePyramid(body, levels, out_channels)


class OpacityDetector(nn.Module):
    """RetinaNet for lung opacities, without pretrained weights (nothing is downloaded).

    Boxes are float32 (N, 4) ``[xmin, ymin, xmax, ymax]`` in pixels of the model input, x to the right, continuous
    edges; no box is (0, 4).

    Args:
        in_channels: 1 for [image], 2 for [image, residue].
        backbone: one of :data:`BACKBONES`.
        image_size: side S of the model input in pixels, a multiple of 32: anchors and pyramid follow it.
        width: factor of the backbone's channels, of a ResNet.
        fpn_channels: of the feature pyramid and the heads, a multiple of 16: the heads normalise eight groups of them.
        score_threshold: detections below are not given.
        nms_threshold: of two detections that overlap with a larger IoU the better one is given.
        max_detections: at most so many an image.

    Raises:
        ValueError: a backbone that there is not, or sizes that do not fit.
    """

    def __init__(
        self,
        in_channels: int = 1,
        backbone: str = "resnet50",
        image_size: int = 224,
        width: float = 1.0,
        fpn_channels: int = 256,
        score_threshold: float = 0.02,
        nms_threshold: float = 0.4,
        max_detections: int = 20,
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise ValueError(f"backbone: expected one of {', '.join(BACKBONES)}, got {backbone!r}")
        if image_size % 32 != 0 or image_size < 32 or fpn_channels % 16 != 0:
            got = f"{image_size} and {fpn_channels}"
            raise ValueError(f"expected an image_size that is a multiple of 32 and fpn_channels of 16, got {got}")
        features = _make_pyramid(backbone, in_channels, width, pyramid_levels(image_size), fpn_channels)
        self.anchors = opacity_anchors(image_size)
        self.num_anchors: int = self.anchors.num_anchors_per_location()[0]
        self.network = RetinaNet(2, 1, self.num_anchors, features, size_divisible=32)
        # In a tuple, for it shares the network: its weights are not to be listed, moved or exported twice.
        self._monai = (self._make_detector(score_threshold, nms_threshold, max_detections),)
        self.largest_code: float = self._monai[0].box_coder.boxes_xform_clip

    def _make_detector(self, score_threshold: float, nms_threshold: float, max_detections: int) -> _Detector:
        detector = _Detector(_Maps(self.network), self.anchors, spatial_dims=2, num_classes=1, size_divisible=32)
        detector.proposal_matcher = IoUMatcher()
        detector.set_cls_loss(FocalLossPerOpacity())
        detector.set_box_regression_loss(BoxLossPerOpacity(), encode_gt=True, decode_pred=False)
        detector.set_box_selector_parameters(score_threshold, 1000, nms_threshold, max_detections)
        return detector

    def forward(self, images: Tensor) -> Tensor:
        """Every anchor's box and score, before suppression: what exports to TorchScript.

        Args:
            images: (B, C, S, S), image and residue in [-1, 1].

        Returns:
            (B, 5, A), A the number of anchors; :data:`DETECTION_CHANNELS` names the channels. Edges in pixels of the
            input, within it; scores in [0, 1].
        """
        features = list(self.network.feature_extractor(images).values())
        logits = self._flat(self.network.classification_head(features), 1)
        codes = self._flat(self.network.regression_head(features), 4)
        anchors = self.anchors(images, features)[0].to(codes.dtype)
        sides = anchors[:, 2:] - anchors[:, :2]
        middles = (anchors[:, 2:] + anchors[:, :2]) / 2 + codes[:, :, :2] * sides
        sides = sides * torch.exp(codes[:, :, 2:].clamp(max=self.largest_code))
        edges = torch.cat((middles - sides / 2, middles + sides / 2), dim=2)
        rows, cols = images.shape[2], images.shape[3]
        ymin, xmin = edges[:, :, 0].clamp(0, rows), edges[:, :, 1].clamp(0, cols)
        ymax, xmax = edges[:, :, 2].clamp(0, rows), edges[:, :, 3].clamp(0, cols)
        return torch.stack((xmin, ymin, xmax, ymax, torch.sigmoid(logits[:, :, 0])), dim=1)

    def _flat(self, maps: list[Tensor], length: int) -> Tensor:
        """Maps (B, A * length, H, W) of all levels as (B, sum of H * W * A, length)."""
        flat: list[Tensor] = []
        for level in maps:
            count, _, rows, cols = level.shape
            cells = level.reshape(count, self.num_anchors, length, rows, cols).permute(0, 3, 4, 1, 2)
            flat.append(cells.reshape(count, -1, length))
        return torch.cat(flat, dim=1).float()

    @torch.jit.unused
    def training_losses(self, images: Tensor, targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """The RetinaNet paper's losses of a batch.

        Args:
            images: (B, C, S, S).
            targets: for each image its boxes (N, 4), (0, 4) where it has none.

        Returns:
            ``classification`` (focal loss), ``box_regression`` (smooth L1), and ``loss``, their sum; scalars.

        Raises:
            FloatingPointError: NaN or infinity in the network's maps.
            ValueError: targets that are no boxes.
        """
        labels = [torch.zeros(len(boxes), dtype=torch.long, device=images.device) for boxes in targets]
        swapped = [swap_axes(boxes.to(images.device, torch.float32)) for boxes in targets]
        rows = [{"boxes": boxes, "labels": label} for boxes, label in zip(swapped, labels, strict=True)]
        detector = self._prepared(images, training=True)
        losses = cast(dict[str, Tensor], detector(images, rows))
        # without a box in the batch MONAI gives a regression loss that is on no device
        losses = {name: loss.to(images.device) for name, loss in losses.items()}
        return {**losses, "loss": losses["classification"] + losses["box_regression"]}

    @torch.jit.unused
    def detect(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Detections, best first.

        Args:
            images: (B, C, S, S), image and residue in [-1, 1].

        Returns:
            for each image boxes float32 (N, 4) and scores float32 (N,) in [0, 1], on the images' device.

        Raises:
            FloatingPointError: NaN or infinity in the network's maps.
        """
        with torch.no_grad():
            found = cast(list[dict[str, Tensor]], self._prepared(images, training=False)(images))
        return [(swap_axes(one["boxes"]), one["labels_scores"]) for one in found]

    def _prepared(self, images: Tensor, training: bool) -> _Detector:
        """MONAI's detector, told what to do; the layers' own mode (batch norm) is that of this module."""
        (detector,) = self._monai
        detector.training = training
        if detector.anchors is not None and detector.anchors[0].device != images.device:
            detector.anchors = None
        return detector
