"""One truth out of several readers' labels: weighted boxes fusion.

After R. Solovyev, W. Wang and T. Gabruseva, "Weighted boxes fusion: Ensembling boxes from different object detection
models", Image and Vision Computing 107 (2021), section 3, with readers in place of models. What is stated there for
models is stated here for readers:

- A box that a reader submitted counts with the reader's weight; the score that a model once gave it does not matter.
- Boxes are taken in a fixed order: heavier readers first, then boxes that overlap more with those of others (sum of
  IoU times weight), then by coordinates and reader. So the order in which labels arrive changes nothing.
- A box joins the cluster whose fused box it overlaps most, when that IoU is above the threshold (0.55 in the paper),
  else it starts one. The fused box is the mean of its cluster's boxes by weight. No box is thrown away.
- Agreement of a fused box: the weight of the readers with a box in its cluster over that of all readers of the image,
  confirmed negatives included (the paper's rescaling by the number of models). It stays at ``min_agreement`` or more.
- An image with no box left is a confirmed negative when the readers who said so have more than half of the weight;
  else it is disputed, for a human to decide, and not to train on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import ImageLabel, LabelledBox, as_array, make_boxes
from monai_dgm.transforms.boxes import box_iou

Boxes = NDArray[np.float32]
FloatArray = NDArray[np.float64]

IOU_THRESHOLD = 0.55
MIN_AGREEMENT = 0.5


@dataclass(frozen=True, eq=False)
class FusedBoxes:
    """Fused boxes, the most agreed on first.

    Attributes:
        boxes: float32 (K, 4).
        agreement: (K,) in (0, 1].
        members: for each, the places of the boxes it was made of.
    """

    boxes: Boxes
    agreement: FloatArray
    members: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Consensus:
    """What the readers of one image say together.

    Attributes:
        image_id: the image.
        size: (rows, cols) of the original.
        status: "boxes", "no_finding" or "disputed".
        boxes: float32 (K, 4), those that stay.
        agreement: (K,) of those.
        labels: (K,) the finding with most weight among their members, None where none is known.
        dropped: float32 (M, 4), fused boxes that too few readers drew.
        readers: names, sorted.
    """

    image_id: str
    size: tuple[int, int]
    status: str
    boxes: Boxes
    agreement: FloatArray
    labels: tuple[str | None, ...]
    dropped: Boxes
    readers: tuple[str, ...]

    def as_label(self, reader: str = "consensus") -> ImageLabel:
        """The consensus as a label, for export; a box's score is None, for no model gave it.

        Raises:
            InputError: a disputed image.
        """
        if self.status == "disputed":
            raise InputError("expected an image whose readers agree, got a disputed one")
        return ImageLabel(
            image_id=self.image_id,
            size=self.size,
            status="boxes" if len(self.boxes) else "no_finding",
            boxes=make_boxes(self.boxes, self.labels),
            reader=reader,
            source="consensus",
        )


def fuse_boxes(
    boxes: ArrayLike, readers: Sequence[str], weights: Mapping[str, float], iou: float = IOU_THRESHOLD
) -> FusedBoxes:
    """Weighted boxes fusion, see the module.

    Args:
        boxes: (N, 4) boxes of all readers.
        readers: (N,) who drew each.
        weights: weight above 0 of every reader of the image, those without a box too.
        iou: a box joins a cluster when the IoU with its fused box is above this.

    Raises:
        InputError: a reader without weight, a weight that is not above 0, or a length that differs.
    """
    array = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if len(readers) != len(array) or not set(readers) <= weights.keys():
        raise InputError(f"expected a reader with a weight for each box, got {len(readers)} for {len(array)} boxes")
    if not all(0 < weight < float("inf") for weight in weights.values()):
        raise InputError("expected weights of readers above 0")
    weight_of_box = np.array([weights[reader] for reader in readers], dtype=np.float64)
    clusters: list[list[int]] = []
    fused: list[FloatArray] = []
    for place in _order(array, readers, weight_of_box):
        overlap = box_iou(array[place], fused)[0]
        best = int(overlap.argmax()) if fused else -1
        if fused and overlap[best] > iou:
            clusters[best].append(place)
            fused[best] = np.average(array[clusters[best]], axis=0, weights=weight_of_box[clusters[best]])
        else:
            clusters.append([place])
            fused.append(array[place])
    total = sum(weights[reader] for reader in sorted(weights))
    shares = [sum(weights[name] for name in sorted({readers[i] for i in cluster})) / total for cluster in clusters]
    order = sorted(range(len(clusters)), key=lambda k: (-shares[k], *fused[k].tolist()))
    return FusedBoxes(
        np.array([fused[k] for k in order], dtype=np.float32).reshape(-1, 4),
        np.array([shares[k] for k in order], dtype=np.float64),
        tuple(tuple(sorted(clusters[k])) for k in order),
    )


def consensus_of(
    labels: Sequence[ImageLabel],
    weights: Mapping[str, float] | None = None,
    iou: float = IOU_THRESHOLD,
    min_agreement: float = MIN_AGREEMENT,
) -> Consensus:
    """The consensus of an image's readers, see the module.

    Args:
        labels: one a reader, all of one image.
        weights: by reader, above 0; 1 for those not named.
        iou: threshold of the fusion.
        min_agreement: in (0, 1]; at 0.5 one of two readers is enough, and of three it takes two.

    Raises:
        InputError: no label, labels of different images or sizes, a reader twice, or a number out of range.
    """
    if not labels or len({(label.image_id, label.size) for label in labels}) != 1:
        raise InputError(f"expected labels of one image and one size, got {len(labels)} labels of several or of none")
    by_reader = {label.reader: label for label in labels}
    if len(by_reader) != len(labels):
        raise InputError("expected one label a reader, got several of one reader")
    if not 0 < min_agreement <= 1:
        raise InputError(f"expected an agreement above 0 and at most 1, got {min_agreement}")
    names = sorted(by_reader)
    weight_of = {name: float((weights or {}).get(name, 1.0)) for name in names}
    drawn = [(name, box) for name in names for box in by_reader[name].boxes]
    fused = fuse_boxes(as_array(box for _, box in drawn), [name for name, _ in drawn], weight_of, iou)
    stays = fused.agreement >= min_agreement - 1e-9  # weights such as 0.1 and 0.2 do not add up exactly
    negative = sum(weight_of[name] for name in names if not by_reader[name].boxes)
    status = "no_finding" if negative > 0.5 * sum(weight_of[name] for name in names) else "disputed"
    members = [fused.members[k] for k in np.flatnonzero(stays)]
    return Consensus(
        image_id=labels[0].image_id,
        size=labels[0].size,
        status="boxes" if stays.any() else status,
        boxes=fused.boxes[stays],
        agreement=fused.agreement[stays],
        labels=tuple(_heaviest([(drawn[i][1], weight_of[drawn[i][0]]) for i in places]) for places in members),
        dropped=fused.boxes[~stays],
        readers=tuple(names),
    )


def _order(boxes: FloatArray, readers: Sequence[str], weights: FloatArray) -> list[int]:
    if not len(boxes):
        return []
    overlap = box_iou(boxes, boxes)
    of_others = np.array([[first != second for second in readers] for first in readers])
    # summed in sorted order and rounded: the sum must not depend on the order of the boxes
    support = np.round(np.sort(overlap * of_others * weights, axis=1).sum(axis=1), 6)
    return sorted(range(len(boxes)), key=lambda i: (-weights[i], -support[i], *boxes[i].tolist(), readers[i]))


def _heaviest(members: Sequence[tuple[LabelledBox, float]]) -> str | None:
    weight: dict[str, float] = {}
    for box, share in members:
        if box.label is not None:
            weight[box.label] = weight.get(box.label, 0.0) + share
    return min(weight, key=lambda name: (-weight[name], name)) if weight else None
