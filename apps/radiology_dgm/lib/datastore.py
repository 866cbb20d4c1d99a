"""Studies and labels as MONAI Label lists them. Nothing is stored through this class: the routes do that."""

from __future__ import annotations

import io
from typing import Any

from monailabel.interfaces.datastore import Datastore

from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.analysis_results import image_nifti
from monai_dgm.labelling.server.http_errors import ForbiddenError
from monai_dgm.labelling.server.submissions import Submissions, in_short

TAG = "final"  # the only tag; it stands for the current label of each reader
SERVED_SUFFIX = ".nii.gz"  # viewers get each image as NIfTI


class StudyDatastore(Datastore):
    """MONAI Label's interface for `Studies` and `Submissions`.

    No method returns a path; images are converted to NIfTI by our reader.

    Args:
        analysis: has the studies.
        submissions: have the labels.
        blinded: whether readers do not see the labels of others; the clients of this class do not say who asks.
    """

    def __init__(self, analysis: RadiographAnalysis, submissions: Submissions, blinded: bool = False) -> None:
        self.blinded = blinded
        self.analysis = analysis
        self.submissions = submissions

    def name(self) -> str:
        return "radiographs"

    def set_name(self, name: str) -> None:
        raise ForbiddenError("the datastore keeps its name")

    def description(self) -> str:
        return "Radiographs of a folder, read in their original form"

    def set_description(self, description: str) -> None:
        raise ForbiddenError("the datastore keeps its description")

    def list_images(self) -> list[str]:
        return self.analysis.studies.ids()

    def datalist(self) -> list[dict[str, Any]]:
        """Image ids with the readers of each image; no paths."""
        return [{"image": name, **self.get_label_info(name, TAG)} for name in self.get_labeled_images()]

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        return {TAG: image_id} if image_id in self.submissions.labelled() else {}

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        return self.get_labels_by_image_id(image_id).get(tag, "")

    def get_image(self, image_id: str, params: Any = None) -> io.BytesIO:
        return io.BytesIO(image_nifti(self.analysis, image_id))

    def get_image_uri(self, image_id: str) -> str:
        """The id itself, if there is such an image."""
        return self.analysis.studies.find(image_id).image_id

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> io.BytesIO | None:
        if label_tag != TAG or self.blinded:
            return None
        document = self.submissions.markups(label_id, self.analysis.placement(label_id))
        return None if document is None else io.BytesIO(document)

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        return self.get_label_by_image_id(label_id, label_tag)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        image = self.analysis.studies.find(image_id)
        info = {"name": image.image_id + SERVED_SUFFIX, "ts": image.stamp[1] // 10**9}
        return {**info, "study": image.study, "series": image.series}

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        if label_tag != TAG:
            return {}
        return {"readers": [] if self.blinded else in_short(self.submissions.of_image(label_id))}

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        labelled = self.submissions.labelled()
        return [name for name in self.list_images() if name in labelled]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        labelled = self.submissions.labelled()
        return [name for name in self.list_images() if name not in labelled]

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        raise ForbiddenError("images cannot be downloaded as an archive")

    def refresh(self) -> None:
        self.analysis.studies.refresh()

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        raise ForbiddenError("images are added by PUT /datastore/image")

    def remove_image(self, image_id: str) -> None:
        raise ForbiddenError("images are not removed by the server")

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        raise ForbiddenError("labels are added by PUT /datastore/label")

    def remove_label(self, label_id: str, label_tag: str) -> None:
        raise ForbiddenError("labels are not removed by the server")

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        raise ForbiddenError("images have no info to change")

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        raise ForbiddenError("labels are not changed once they are stored")

    def status(self) -> dict[str, Any]:
        completed = len(self.get_labeled_images())
        total = len(self.list_images())
        return {"total": total, "completed": completed, "label_tags": {TAG: completed} if completed else {}}

    def json(self) -> dict[str, Any]:
        return {
            "name": self.name(),
            "description": self.description(),
            "images_dir": "",
            "labels_dir": "",
            "objects": {name: self._described(name) for name in self.list_images()},
        }

    def _described(self, image_id: str) -> dict[str, Any]:
        labels = {
            tag: {"ext": ".json", "info": self.get_label_info(image_id, tag)}
            for tag in self.get_labels_by_image_id(image_id)
        }
        return {"image": {"ext": SERVED_SUFFIX, "info": {"name": image_id + SERVED_SUFFIX}}, "labels": labels}
