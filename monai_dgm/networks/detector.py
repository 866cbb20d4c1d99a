"""Opacity detector (paper, section 5.8): MONAI's two-dimensional RetinaNet on [image] or [image, residue].

Network, anchors, box decoding and suppression are MONAI's (``monai.apps.detection``); targets and losses are in
:mod:`monai_dgm.networks.anchor_targets`. Defined here are the sizes of the anchors, which are those of opacities, and
the order of the box edges.

MONAI's boxes have x along array axis 0. The planes of this package are (rows, cols), so x runs along axis 1.
:func:`swap_axes` converts between the two; no other function does.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.networks.retinanet_network import RetinaNet
from monai.apps.detection.utils.anchor_utils import AnchorGenerator
from torch import Tensor, nn

from monai_dgm.networks.anchor_targets import anchor_losses, pad_boxes
from monai_dgm.networks.feature_pyramid import BACKBONES, make_pyramid

__all__ = [
    "BACKBONES",
    "DETECTION_CHANNELS",
    "OpacityDetector",
    "build_detector",
    "opacity_anchors",
    "pyramid_levels",
    "swap_axes",
]

DETECTION_CHANNELS = ("xmin", "ymin", "xmax", "ymax", "score")

# Of the opacity boxes drawn on radiographs 90 % have a side (root of the area) of 0.13 to 0.41 of the image and are
# 0.6 to 2.5 times as high as wide. With these anchors each of them overlaps one with IoU 0.5 or more at 224 px.
ANCHOR_SIDE = 24 / 224
ANCHOR_SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
ANCHOR_HEIGHT_TO_WIDTH = (0.6, 1.1, 2.0)


def swap_axes(boxes: Tensor) -> Tensor:
    """Convert boxes (..., 4) with x along the columns to MONAI's, with x along array axis 0, or back."""
    return boxes[..., [1, 0, 3, 2]]


def pyramid_levels(image_size: int) -> tuple[int, ...]:
    """Backbone stages (of 1 to 4, strides 4 to 32) that predict boxes; the finest has about 30 cells per side."""
    return (2, 3, 4) if image_size >= 160 else (1, 2, 3, 4)


def opacity_anchors(image_size: int) -> AnchorGenerator:
    """MONAI's anchor generator with nine anchors per cell; their sides scale with the image and double per level.

    Args:
        image_size: side S of the model input in pixels.
    """
    sides = [ANCHOR_SIDE * image_size * 2**level for level in range(len(pyramid_levels(image_size)))]
    sizes = [[side * scale for scale in ANCHOR_SCALES] for side in sides]
    # MONAI's ratio is extent along axis 1 over extent along axis 0: width over height
    ratios = tuple(1 / ratio for ratio in ANCHOR_HEIGHT_TO_WIDTH)
    return AnchorGenerator(sizes, (ratios,) * len(sizes))


class _FiniteMaps(nn.Module):
    """The network as MONAI's detector calls it: float32 maps under autocast, and an error where they are not finite."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[str, list[Tensor]]:
        """``classification`` and ``box_regression`` maps of each level.

        Raises:
            FloatingPointError: NaN or infinity.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* is NaN or Inf")  # the error below says so
            maps = self.network(images)
        maps = {name: [level.float() for level in levels] for name, levels in maps.items()}
        if not all(torch.isfinite(level).all() for levels in maps.values() for level in levels):
            raise FloatingPointError("the detector's maps are not finite (NaN or infinity)")
        return maps


class OpacityDetector(nn.Module):
    """RetinaNet for lung opacities, without pretrained weights (nothing is downloaded).

    Boxes are float32 (N, 4) ``[xmin, ymin, xmax, ymax]`` in pixels of the model input, x to the right, continuous
    edges; an image without boxes has (0, 4).

    Args:
        in_channels: 1 for [image], 2 for [image, residue].
        backbone: one of :data:`BACKBONES`.
        image_size: side S of the model input in pixels, a multiple of 32; anchors and pyramid levels depend on it.
        width: factor of the backbone's channels.
        fpn_channels: channels of the feature pyramid and the heads, a multiple of 16 (group norm with eight groups).
        score_threshold: detections with a lower score are dropped.
        nms_threshold: of two detections whose IoU is larger, only the one with the higher score is kept.
        max_detections: largest number of detections per image.

    Raises:
        ValueError: an unknown backbone, or sizes that are not the multiples above.
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
        if image_size % 32 or image_size < 32 or fpn_channels % 16:
            expected = "an image_size that is a multiple of 32 and fpn_channels of 16"
            raise ValueError(f"expected {expected}, got {image_size} and {fpn_channels}")
        features = make_pyramid(backbone, in_channels, width, pyramid_levels(image_size), fpn_channels)
        self.anchors = opacity_anchors(image_size)
        self.num_anchors: int = self.anchors.num_anchors_per_location()[0]
        self.network = RetinaNet(2, 1, self.num_anchors, features, size_divisible=32)
        self._selection = (score_threshold, nms_threshold, max_detections)
        # In a tuple, because it shares the network: its weights must not be listed, moved or exported twice.
        self._monai = (self._make_detector(self.network),)
        self.largest_code: float = self._monai[0].box_coder.boxes_xform_clip

    @torch.jit.unused
    def use_maps(self, network: nn.Module) -> None:
        """Take the maps of another network in :meth:`detect`, such as those of the same network in another runtime.

        Args:
            network: (B, C, S, S) to lists of maps by "classification" and "box_regression".
        """
        self._monai = (self._make_detector(network),)

    def _make_detector(self, network: nn.Module) -> RetinaNetDetector:
        score_threshold, nms_threshold, max_detections = self._selection
        detector = RetinaNetDetector(
            _FiniteMaps(network), self.anchors, spatial_dims=2, num_classes=1, size_divisible=32
        )
        detector.training = False  # it detects only; the mode of the layers is that of this module
        detector.set_box_selector_parameters(score_threshold, 1000, nms_threshold, max_detections)
        return detector

    def forward(self, images: Tensor) -> Tensor:
        """Box and score of every anchor, before non-maximum suppression; this method can be exported to TorchScript.

        Args:
            images: (B, C, S, S), image and residue in [-1, 1].

        Returns:
            float32 (B, 5, A), A the number of anchors; :data:`DETECTION_CHANNELS` names the channels. Edges are in
            pixels of the input, in [0, S]; scores are in [0, 1].
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
        """Concatenate maps (B, A * length, H, W) of all levels to (B, sum of H * W * A, length)."""
        flat: list[Tensor] = []
        for level in maps:
            count, _, rows, cols = level.shape
            cells = level.reshape(count, self.num_anchors, length, rows, cols).permute(0, 3, 4, 1, 2)
            flat.append(cells.reshape(count, -1, length))
        return torch.cat(flat, dim=1).float()

    @torch.jit.unused
    def training_losses(self, images: Tensor, targets: Sequence[Tensor] | Tensor) -> dict[str, Tensor]:
        """Losses of the RetinaNet paper for a batch (:func:`monai_dgm.networks.anchor_targets.anchor_losses`).

        Args:
            images: (B, C, S, S).
            targets: the boxes (N, 4) of each of the B images, (0, 4) for an image without boxes; or, on the device
                of the images, all of them as (B, K, 4), those that an image lacks zeros.

        Returns:
            ``classification`` (focal loss), ``box_regression`` (smooth L1), and ``loss``, their sum; scalars.

        Raises:
            FloatingPointError: NaN or infinity in the network's maps.
            ValueError: boxes without area, or of another shape.
        """
        boxes = targets if isinstance(targets, Tensor) else pad_boxes(targets)
        boxes = swap_axes(boxes.to(images.device, torch.float32))
        features = list(self.network.feature_extractor(images).values())
        classify, regress = self.network.classification_head, self.network.regression_head
        # not the heads themselves: they look for NaN in each map, which makes a GPU wait twelve times
        logits = self._flat([classify.cls_logits(classify.conv(level)) for level in features], 1)
        codes = self._flat([regress.bbox_reg(regress.conv(level)) for level in features], 4)
        with torch.no_grad():
            anchors = self.anchors(images, features)[0].float()
        losses = anchor_losses(logits, codes, anchors, boxes)
        if not torch.isfinite(losses["loss"]):
            raise FloatingPointError("the detector's maps are not finite (NaN or infinity)")
        return losses

    @torch.jit.unused
    def detect(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Detections in each image, highest score first.

        Args:
            images: (B, C, S, S), image and residue in [-1, 1].

        Returns:
            boxes float32 (N, 4) and scores float32 (N,) in [0, 1] for each image, on the device of the images.

        Raises:
            FloatingPointError: NaN or infinity in the network's maps.
        """
        (detector,) = self._monai
        if detector.anchors is not None and detector.anchors[0].device != images.device:
            detector.anchors = None
        with torch.no_grad():
            found = cast(list[dict[str, Tensor]], detector(images))
        return [(swap_axes(one["boxes"]), one["labels_scores"]) for one in found]


def build_detector(settings: Mapping[str, Any]) -> OpacityDetector:
    """The detector that the settings beside its weights describe, with random weights.

    Args:
        settings: "image_size"; "channels" (["image", "residue"] where there are none), "backbone" (resnet50), "width"
            (1.0) and "fpn_channels" (256), see :class:`OpacityDetector`.

    Raises:
        ValueError: as :class:`OpacityDetector`.
    """
    return OpacityDetector(
        in_channels=len(settings.get("channels", ["image", "residue"])),
        backbone=settings.get("backbone", "resnet50"),
        image_size=int(settings["image_size"]),
        width=settings.get("width", 1.0),
        fpn_channels=settings.get("fpn_channels", 256),
    )
