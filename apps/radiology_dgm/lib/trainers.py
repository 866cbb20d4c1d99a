"""The app's training task, as the platform lists it and its panel shows its progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.tasks.train import TrainTask

from monai_dgm.labelling.training.detector_training import DetectorTraining
from monai_dgm.labelling.training.fine_tuning import OPTIONS


class DetectorTrainTask(TrainTask):
    """Fine-tunes the opacity detector with the readers' labels.

    Args:
        training: that does it.
    """

    def __init__(self, training: DetectorTraining) -> None:
        super().__init__("Fine-tunes the opacity detector with the readers' labels")
        self.training = training

    def config(self) -> dict[str, Any]:
        """The options with their defaults, as the panel shows them."""
        return {
            name: default if name in ("learning_rate", "correction_share") else int(default)
            for name, (_, _, default) in OPTIONS.items()
        }

    def stats(self) -> dict[str, Any]:
        """Progress."""
        return self.training.stats()

    def __call__(self, request: Mapping[str, Any], datastore: Any) -> dict[str, Any]:
        """The platform's way to begin a training."""
        return self.training.start(request)


def make_trainers(training: DetectorTraining) -> dict[str, DetectorTrainTask]:
    """The tasks by name, which is that of the inference they improve."""
    return {"detect_opacities": DetectorTrainTask(training)}
