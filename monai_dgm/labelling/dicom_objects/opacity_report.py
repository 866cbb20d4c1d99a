"""What a structured report says of opacities, and how a reader's boxes differ from a model's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

SAME_IOU = 0.5  # from here on a reader's box is a predicted one, kept or moved
KEPT_WITHIN = 1.0  # pixels that an edge may differ: viewers round


@dataclass(frozen=True)
class ReportedOpacity:
    """One region of a report.

    Args:
        box: [xmin, ymin, xmax, ymax] in pixels of the image, continuous edges; around a region that is no rectangle.
        text: comment, or the finding's words where there is none.
        score: number in [0, 1] at the end of the text, or None.
        tracking_uid: new in every report that OHIF writes; empty where there is none.
        sop_instance_uid: image the region is on.
        series_uid: series of that image, or None where the report does not say.
        graphic_type: "POLYLINE", "ELLIPSE" or "CIRCLE".
    """

    box: tuple[float, float, float, float]
    text: str
    score: float | None
    tracking_uid: str
    sop_instance_uid: str
    series_uid: str | None
    graphic_type: str


@dataclass(frozen=True)
class OpacityReport:
    """A TID 1500 report.

    :func:`monai_dgm.labelling.dicom_objects.structured_report_reader.read_opacity_report` makes it.

    Args:
        sop_instance_uid: of the report.
        study_uid: study it belongs to.
        opacities: regions, in the report's order.
        no_opacity: the report says that there is none.
        images: SOP Instance UIDs of the images it refers to, in order.
        reader: person who answers for it, None where it names nobody ("unknown^unknown" of OHIF is nobody).
        software: what wrote it, with version where it says so.
        by_us: written by :func:`monai_dgm.labelling.dicom_objects.structured_report.write_opacity_report`.
        written: date and time of the content, in the writer's local time, None where it does not say.
        problems: one line for each thing that was left out or is doubtful, and why. They quote no text of the report.
    """

    sop_instance_uid: str
    study_uid: str
    opacities: tuple[ReportedOpacity, ...]
    no_opacity: bool
    images: tuple[str, ...]
    reader: str | None
    software: str
    by_us: bool
    written: datetime | None
    problems: tuple[str, ...]

    @property
    def is_prediction(self) -> bool:
        """A model's own: written by us, with no reader."""
        return self.by_us and self.reader is None

    @property
    def confirmed_negative(self) -> bool:
        """A reader says that there is no opacity."""
        return self.no_opacity and not self.opacities and not self.is_prediction

    def on_image(self, sop_instance_uid: str) -> tuple[ReportedOpacity, ...]:
        """The regions on one image."""
        return tuple(item for item in self.opacities if item.sop_instance_uid == sop_instance_uid)


def boxes_of(opacities: Iterable[ReportedOpacity]) -> NDArray[np.float32]:
    """Boxes of regions, float32 (N, 4)."""
    return np.array([item.box for item in opacities], dtype=np.float32).reshape(-1, 4)


def newest_report_per_study(
    reports: Iterable[OpacityReport], include_predictions: bool = False
) -> dict[str, OpacityReport]:
    """The report that counts in each study: every save is a complete report, so the newest one replaces the others.

    Args:
        reports: in any order. One without a time is older than any with; among equals the later in order counts.
        include_predictions: a model's own reports count, too; by default only what readers saved does.

    Returns:
        Study Instance UID -> report.
    """
    newest: dict[str, OpacityReport] = {}
    for report in reports:
        if report.is_prediction and not include_predictions:
            continue
        known = newest.get(report.study_uid)
        if known is None or _time(report) >= _time(known):
            newest[report.study_uid] = report
    return newest


def _time(report: OpacityReport) -> datetime:
    return report.written or datetime.min


@dataclass(frozen=True)
class Corrections:
    """What a reader did to a model's boxes; indices into the predictions and into the reader's boxes.

    Args:
        kept: (prediction, box) whose edges all agree.
        moved: (prediction, box) that overlap enough to be the same opacity.
        added: boxes without a prediction.
        deleted: predictions without a box.
    """

    kept: tuple[tuple[int, int], ...]
    moved: tuple[tuple[int, int], ...]
    added: tuple[int, ...]
    deleted: tuple[int, ...]


def match_to_predictions(
    boxes: ArrayLike, predicted: ArrayLike, iou: float = SAME_IOU, kept_within: float = KEPT_WITHIN
) -> Corrections:
    """Tell what became of a model's boxes in a reader's report.

    Viewers give every region a new identity on saving, so the pairs are found by overlap: the largest first.

    Args:
        boxes: (N, 4) of the reader, see :func:`boxes_of`.
        predicted: (M, 4) that the reader started from, on the same image.
        iou: least intersection over union of a pair, in (0, 1].
        kept_within: pixels that no edge of a kept box differs by more.
    """
    theirs = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    ours = np.asarray(predicted, dtype=np.float64).reshape(-1, 4)
    overlaps = _iou(ours, theirs)
    kept: list[tuple[int, int]] = []
    moved: list[tuple[int, int]] = []
    while overlaps.size and overlaps.max() >= iou:
        i, j = (int(index) for index in np.unravel_index(np.argmax(overlaps), overlaps.shape))
        overlaps[i], overlaps[:, j] = -1.0, -1.0
        unchanged = float(np.abs(ours[i] - theirs[j]).max()) <= kept_within
        (kept if unchanged else moved).append((i, j))
    paired = [*kept, *moved]
    return Corrections(
        kept=tuple(sorted(kept)),
        moved=tuple(sorted(moved)),
        added=tuple(sorted(set(range(len(theirs))) - {j for _, j in paired})),
        deleted=tuple(sorted(set(range(len(ours))) - {i for i, _ in paired})),
    )


def _iou(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union (M, N) of boxes (M, 4) and (N, 4)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
