"""A radiograph as a reader opens it: the model's boxes, its numbers, and the reader's own label, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from monai_dgm.engines.decomposition.values import known_probability
from monai_dgm.engines.overlay import DISCLAIMER
from monai_dgm.labelling.labels.image_label import ImageLabel, LabelledBox
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.analysis_results import burden_of, shown_boxes
from monai_dgm.labelling.server.pictures import layers_of
from monai_dgm.labelling.server.selection import ImageSelection
from monai_dgm.labelling.server.submissions import Submissions
from monai_dgm.transforms.boxes import SAME_BOX_PIXELS
from monai_dgm.transforms.placement import Placement

__all__ = ["Cases", "ModelBoxes"]


@dataclass(frozen=True)
class ModelBoxes:
    """The model's boxes of a radiograph as a reader sees them.

    Attributes:
        boxes: in the original's pixels, best first.
        withheld: number of boxes that are not shown, because the radiograph may be no frontal chest radiograph.
        remark: why it may be none; "" where nothing is wrong.
        version: of the model that the boxes come from.
        placement: of the radiograph.
    """

    boxes: tuple[LabelledBox, ...]
    withheld: int
    remark: str
    version: str
    placement: Placement

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "rows": self.placement.rows,
            "cols": self.placement.cols,
            "boxes": [box.as_dict() for box in self.boxes],
            "boxes_withheld": self.withheld,
            "remark": self.remark,
            "same_box_pixels": SAME_BOX_PIXELS,
            "model_version": self.version,
            "box_source": "detector" if self.version.startswith("detector") else "saliency",
        }


class Cases:
    """Radiographs as readers open them. Nothing is written, but by :meth:`show`.

    Args:
        analysis: of the radiographs.
        submissions: have the labels, and the boxes that readers saw.
        selection: knows what may be no frontal chest radiograph.
    """

    def __init__(self, analysis: RadiographAnalysis, submissions: Submissions, selection: ImageSelection) -> None:
        self.analysis = analysis
        self.submissions = submissions
        self.selection = selection

    def model_boxes(self, image_id: str, reader: str, fresh: bool = False, despite_remark: bool = False) -> ModelBoxes:
        """The model's boxes: those that the reader saw last, else those that were computed in advance, else new ones.

        Boxes of another version than the one that is served now are replaced by new ones.

        Args:
            image_id: the radiograph.
            reader: who sees them.
            fresh: run the present model.
            despite_remark: give the boxes of a radiograph that may be no frontal chest radiograph, too.

        Raises:
            UnavailableError: there are no boxes, and no decomposer is trained.
            InputError: as :meth:`RadiographAnalysis.examine`.
        """
        placement = self.analysis.placement(image_id)
        remark = self.selection.remark(image_id)
        stored = None if fresh or remark else self.submissions.shown(image_id, reader)
        if (
            stored is not None
            and stored.size == (placement.rows, placement.cols)
            and stored.model_version == (self._served_version() or stored.model_version)
        ):
            return ModelBoxes(stored.boxes, 0, remark, stored.model_version or "", placement)
        found = self.analysis.detections(image_id)
        boxes = shown_boxes(found, found.score_threshold)
        if remark and not despite_remark:
            return ModelBoxes((), len(boxes), remark, found.version, placement)
        return ModelBoxes(boxes, 0, remark, found.version, placement)

    def _served_version(self) -> str | None:
        """Version of the model that boxes come from now; None without one."""
        versions = self.analysis.models.versions()
        return versions["detector"] or versions["decomposer"]

    def show(self, image_id: str, reader: str, fresh: bool = False, despite_remark: bool = False) -> ModelBoxes:
        """As :meth:`model_boxes`, and store that the reader sees them."""
        shown = self.model_boxes(image_id, reader, fresh, despite_remark)
        self.submissions.remember(shown.boxes, image_id, shown.placement, reader, shown.version)
        return shown

    def own_label(self, image_id: str, reader: str) -> dict[str, Any] | None:
        """The reader's label of a radiograph of this size; None without one."""
        placement = self.analysis.placement(image_id)
        for label in self.submissions.of_image(image_id):
            if label.reader == reader and label.size == (placement.rows, placement.cols):
                return label_values(label)
        return None

    def numbers(self, image_id: str) -> dict[str, Any]:
        """Abnormality probability, residue burden and the maps that can be laid over a radiograph.

        Raises:
            UnavailableError: no decomposer is trained.
            InputError: as :meth:`RadiographAnalysis.examine`.
        """
        result = self.analysis.examine(image_id)
        return {
            "image": image_id,
            "abnormality_probability": known_probability(result.decomposition),
            "burden": burden_of(result, result.decomposition).as_dict(),
            "remarks": list(result.remarks),
            "layers": layers_of(result),
            "model_version": result.versions[0],
            "disclaimer": DISCLAIMER,
        }


def label_values(label: ImageLabel) -> dict[str, Any]:
    """A label in short: reader, status, boxes, time, source."""
    return {
        "reader": label.reader,
        "status": label.status,
        "boxes": [box.as_dict() for box in label.boxes],
        "time": label.time,
        "source": label.source,
    }
