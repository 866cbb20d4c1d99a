"""Labels as training data: the consensus of each image's readers replaces the labels of the data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monai_dgm.labelling.labels.consensus import IOU_THRESHOLD, MIN_AGREEMENT, Consensus, consensus_of
from monai_dgm.labelling.labels.image_label import OPACITY, ImageLabel

LABEL_SOURCE = "readers"


@dataclass(frozen=True)
class Corrections:
    """Training data from readers' labels.

    Attributes:
        datalist: one item per image, in the order of the data set: the data set's item, with "opacity_boxes" float32
            (N, 4) in original pixels, "category", "label" (0 normal, 1 abnormal), "label_source" ("readers"),
            "agreement" float64 (N,) and "num_readers" from the consensus.
        left_out: (image id, reason) of labelled images that are not in the datalist.
        counts: "images", "with_boxes", "no_finding", "boxes", "dropped_boxes" (drawn by too few readers), "disputed",
            "unusable", "labels", "readers".
    """

    datalist: list[dict[str, Any]]
    left_out: list[tuple[str, str]]
    counts: dict[str, int]


def training_datalist(
    labels: Iterable[ImageLabel],
    datalist: Sequence[dict[str, Any]],
    weights: Mapping[str, float] | None = None,
    iou: float = IOU_THRESHOLD,
    min_agreement: float = MIN_AGREEMENT,
) -> Corrections:
    """The labelled images of a data set with the consensus of their readers, see
    :mod:`monai_dgm.labelling.labels.consensus`.

    A confirmed negative has no opacity, but it may have another abnormality: its category stays "other_abnormal" if it
    is that in the data set, otherwise it becomes "normal". Left out and counted are disputed images, images whose
    labels differ in image size, and labels of images that are not in the data set.

    Args:
        labels: of any number of images, one per reader and image.
        datalist: items of the data set with "image_id"; other keys are kept.
        weights: by reader; 1 for readers that are not named.
        iou, min_agreement: as in :func:`monai_dgm.labelling.labels.consensus.consensus_of`.

    Raises:
        InputError: a reader with two labels of one image, or a number out of range.
    """
    by_image: dict[str, list[ImageLabel]] = {}
    for label in labels:
        by_image.setdefault(label.image_id, []).append(label)
    known = {item["image_id"] for item in datalist}
    left_out = [(name, "not among the images of the data set") for name in sorted(by_image.keys() - known)]
    items: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for item in datalist:
        given = by_image.get(item["image_id"], [])
        if len({label.size for label in given}) > 1:
            left_out.append((item["image_id"], "its labels are for images of different sizes"))
        elif given:
            consensus = consensus_of(given, weights, iou, min_agreement)
            counts[consensus.status] += 1
            counts["dropped_boxes"] += len(consensus.dropped)
            if consensus.status == "disputed":
                left_out.append((item["image_id"], "its readers disagree"))
            else:
                items.append(_corrected(item, consensus))
    everyone = [label for given in by_image.values() for label in given]
    return Corrections(items, left_out, _counted(counts, items, left_out, everyone))


def _counted(
    counts: Counter[str], items: Sequence[dict[str, Any]], left_out: Sequence[Any], labels: Sequence[ImageLabel]
) -> dict[str, int]:
    return {
        "images": len(items),
        "with_boxes": counts["boxes"],
        "no_finding": counts["no_finding"],
        "boxes": sum(len(item["opacity_boxes"]) for item in items),
        "dropped_boxes": counts["dropped_boxes"],
        "disputed": counts["disputed"],
        "unusable": len(left_out) - counts["disputed"],
        "labels": len(labels),
        "readers": len({label.reader for label in labels}),
    }


def _corrected(item: dict[str, Any], consensus: Consensus) -> dict[str, Any]:
    category = OPACITY if len(consensus.boxes) else "normal"
    if not len(consensus.boxes) and item.get("category") == "other_abnormal":
        category = "other_abnormal"
    return {
        **item,
        "opacity_boxes": consensus.boxes,
        "category": category,
        "label": int(category != "normal"),
        "label_source": LABEL_SOURCE,
        "agreement": consensus.agreement,
        "num_readers": len(consensus.readers),
        "opacity_mask": None,  # it shows the boxes of the data set
    }
