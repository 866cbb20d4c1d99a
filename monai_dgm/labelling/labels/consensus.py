"""The consensus of several readers' labels of one image, by weighted boxes fusion.

After R. Solovyev, W. Wang and T. Gabruseva, "Weighted boxes fusion: Ensembling boxes from different object detection
models", Image and Vision Computing 107 (2021), section 3, with readers in place of models. The rules:

- A box counts with the weight of its reader. The score that a model gave it is not used.
- Boxes are taken in a fixed order: those of readers with more weight first, then those with more overlap with boxes of
  other readers (sum of IoU times weight), then by coordinates and reader. So the order of the labels changes nothing.
- A box joins the cluster whose fused box it overlaps most, if that IoU is above the threshold (0.55 in the paper).
  Otherwise it starts a new cluster. The fused box is the weighted mean of the cluster's boxes. No box is discarded.
- The agreement of a fused box is the weight of the readers with a box in its cluster, divided by the weight of all
  readers of the image, including those who confirmed that there is no finding (the paper rescales by the number of
  models). A fused box is kept if its agreement is at least ``min_agreement``.
- A label whose source is "adjudication" decides: the latest one is the consensus, and the readers' labels do not count.
- An image without a kept box is a confirmed negative if the readers who found nothing have more than half of the
  weight. Otherwise it is disputed: a person has to decide, and it is not used for training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_dgm.errors import InputError
from monai_dgm.labelling.labels.image_label import ADJUDICATION, ImageLabel, LabelledBox, as_array, make_boxes
from monai_dgm.transforms.boxes import box_iou

Boxes = NDArray[np.float32]
FloatArray = NDArray[np.float64]

IOU_THRESHOLD = 0.55
MIN_AGREEMENT = 0.5


@dataclass(frozen=True, eq=False)
class FusedBoxes:
    """Fused boxes, those with the highest agreement first.

    Attributes:
        boxes: float32 (K, 4).
        agreement: (K,) in (0, 1].
        members: for each fused box, the indices of the boxes in its cluster.
    """

    boxes: Boxes
    agreement: FloatArray
    members: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Consensus:
    """The consensus of the readers of one image.

    Attributes:
        image_id: id of the image.
        size: (rows, cols) of the original in pixels.
        status: "boxes", "no_finding" or "disputed".
        boxes: float32 (K, 4), the kept boxes in pixels of the original.
        agreement: (K,) of the kept boxes, in (0, 1].
        labels: for each kept box, the finding with most weight in its cluster; None where none is known.
        dropped: float32 (M, 4), fused boxes that too few readers drew.
        readers: names of the readers, sorted.
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
        """The consensus as a label, for export. The scores of its boxes are None, since no model gave them.

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
    """Weighted boxes fusion; the rules are in the module's docstring.

    Args:
        boxes: (N, 4) boxes of all readers.
        readers: (N,) for each box, who drew it.
        weights: by reader, above 0; also of readers without a box.
        iou: a box joins a cluster if its IoU with the fused box is above this.

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
    for index in _order(array, readers, weight_of_box):
        overlap = box_iou(array[index], fused)[0]
        best = int(overlap.argmax()) if fused else -1
        if fused and overlap[best] > iou:
            clusters[best].append(index)
            fused[best] = np.average(array[clusters[best]], axis=0, weights=weight_of_box[clusters[best]])
        else:
            clusters.append([index])
            fused.append(array[index])
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
    """The consensus of an image's readers; the rules are in the module's docstring.

    Args:
        labels: one per reader, all of one image.
        weights: by reader, above 0; 1 for readers that are not named.
        iou: threshold of the fusion.
        min_agreement: in (0, 1]; with 0.5, one of two readers is enough, and two of three are needed.

    Raises:
        InputError: no label, labels of different images or sizes, a reader twice, or a number out of range.
    """
    if not labels or len({(label.image_id, label.size) for label in labels}) != 1:
        raise InputError(f"expected labels of one image and one size, got {len(labels)} labels of several or of none")
    decided = sorted((label for label in labels if label.source == ADJUDICATION), key=lambda label: label.time)
    by_reader = {label.reader: label for label in decided[-1:] or labels}
    if not decided and len(by_reader) != len(labels):
        raise InputError("expected one label per reader, got several of one reader")
    if not 0 < min_agreement <= 1:
        raise InputError(f"expected an agreement above 0 and at most 1, got {min_agreement}")
    names = sorted(by_reader)
    weight_of = {name: float((weights or {}).get(name, 1.0)) for name in names}
    drawn = [(name, box) for name in names for box in by_reader[name].boxes]
    fused = fuse_boxes(as_array(box for _, box in drawn), [name for name, _ in drawn], weight_of, iou)
    kept = fused.agreement >= min_agreement - 1e-9  # weights such as 0.1 and 0.2 do not add up exactly
    negative = sum(weight_of[name] for name in names if not by_reader[name].boxes)
    status = "no_finding" if negative > 0.5 * sum(weight_of[name] for name in names) else "disputed"
    members = [fused.members[k] for k in np.flatnonzero(kept)]
    return Consensus(
        image_id=labels[0].image_id,
        size=labels[0].size,
        status="boxes" if kept.any() else status,
        boxes=fused.boxes[kept],
        agreement=fused.agreement[kept],
        labels=tuple(_heaviest([(drawn[i][1], weight_of[drawn[i][0]]) for i in indices]) for indices in members),
        dropped=fused.boxes[~kept],
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
