"""Scores of a classifier over a data set, with what the data set knows of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ignite.metrics import Metric
from torch import Tensor

from monai_dgm.data.decomposed import DecomposedDataset
from monai_dgm.errors import InputError
from monai_dgm.metrics.classification import auc

__all__ = ["ClassificationResult", "ClassificationScores"]


@dataclass(frozen=True)
class ClassificationResult:
    """One scored radiograph.

    Attributes:
        image_id: unique name of the image.
        patient_id: images that share it are resampled together.
        source, view, sex: "unknown" where the data does not say.
        category: "normal", "lung_opacity" or "other_abnormal"; "unknown" where the data does not say.
        label: of the task, 0 or 1.
        score: probability of label 1, in [0, 1].
    """

    image_id: str
    patient_id: str
    source: str
    view: str
    sex: str
    category: str
    label: int
    score: float


class ClassificationScores(Metric):
    """Scores of a data set, kept with what it knows of each image; its value is their AUC (NaN for a single label).

    Args:
        dataset: that the evaluator runs over, in its order; the evaluator's output has ``pred`` (logits) and ``label``.
    """

    def __init__(self, dataset: DecomposedDataset, device: str = "cpu") -> None:
        self.dataset = dataset
        self._scores: list[float] = []
        super().__init__(output_transform=lambda output: (output["pred"], output["label"]), device=device)

    def reset(self) -> None:
        """Forget all scores."""
        self._scores = []

    def update(self, output: Sequence[Tensor]) -> None:
        """Take in logits and labels (B, 1) of a batch.

        Raises:
            InputError: logits that are not finite.
            ValueError: labels that are not those of the data set's next images.
        """
        logits, labels = (values.detach().double().flatten().cpu() for values in output)
        first = len(self._scores)
        if not torch.equal(labels.float(), self.dataset.labels[first : first + len(labels)]):
            raise ValueError("expected the images of the data set in their order, the labels are others")
        if not torch.isfinite(logits).all():
            raise InputError("expected finite values from the classifier, got NaN or infinity: are the weights sound?")
        self._scores += torch.sigmoid(logits).tolist()

    def compute(self) -> float:
        """AUC."""
        return auc(self.dataset.labels[: len(self._scores)].numpy(), self._scores)

    @property
    def records(self) -> list[ClassificationResult]:
        """Every scored image, in the order of the data set."""
        return [_record(self.dataset.items[place], place, score) for place, score in enumerate(self._scores)]


def _record(item: dict[str, Any], place: int, score: float) -> ClassificationResult:
    known = {name: str(item.get(name) or "unknown") for name in ("source", "view", "sex", "category")}
    names = {"image_id": str(item.get("image_id", place)), "patient_id": str(item.get("patient_id", place))}
    return ClassificationResult(**names, **known, label=int(item["label"]), score=score)
