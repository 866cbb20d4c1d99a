"""Models, strategies of active learning and the training, as MONAI Label lists and calls them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from monai_dgm.labelling.active_learning.strategies import STRATEGIES
from monai_dgm.labelling.labels.image_label import OPACITY
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.analysis_results import Answer, classify, decompose, detect
from monai_dgm.labelling.server.request_options import CHOICES, DecomposeOptions
from monai_dgm.labelling.server.selection import ImageSelection
from monai_dgm.labelling.server.submissions import Submissions
from monai_dgm.labelling.training.detector_training import DetectorTraining
from monai_dgm.labelling.training.fine_tuning import FineTuneOptions

STRATEGY_DESCRIPTIONS = {
    "combined": "Mostly suspicion; also uncertainty, disagreement of the models, and difference from labelled images",
    "suspicion": "Where the models are most sure of a finding",
    "uncertainty": "Where the models are least sure",
    "disagreement": "Where saliency and detector disagree",
    "residue_uncertainty": "Where the residue of the radiograph and that of its mirror image differ most",
    "diversity": "What is least like the labelled images",
    "random": "Any unlabelled image",
}


class RadiographTask(InferTask):
    """One model.

    Args:
        kind: MONAI Label's type of the model.
        label: name of what the model marks; None where it marks nothing.
        description: for users.
        run: takes an image id and options, returns the answer.
        config: the options with their defaults, a list for a choice, as the panel of 3D Slicer shows them.
    """

    def __init__(
        self,
        kind: InferType,
        label: str | None,
        description: str,
        run: Callable[[str, Mapping[str, Any]], Answer],
        config: Mapping[str, Any],
    ) -> None:
        super().__init__(kind, label, 2, description, dict(config))
        self.run = run

    def is_valid(self) -> bool:
        """Always true: without a trained decomposer, the answer says how to train one."""
        return True

    def __call__(self, request: Mapping[str, Any]) -> tuple[None, dict[str, Any]]:
        """MONAI Label's way to run the model: no file, and plain values; our routes call ``run`` for the file."""
        return None, self.run(str(request["image"]), request).params


def make_infers(analysis: RadiographAnalysis) -> dict[str, RadiographTask]:
    """The models by name."""
    return {
        "detect_opacities": RadiographTask(
            InferType.DETECTION,
            OPACITY,
            "Boxes of lung opacities; from the saliency map where no detector is trained",
            lambda image_id, params: detect(analysis, image_id, params),
            {"score_threshold": "", "despite_remarks": False},
        ),
        "decompose": RadiographTask(
            InferType.SEGMENTATION,
            "saliency",
            "Saliency of the residue as a label; other maps by the option map",
            lambda image_id, params: decompose(analysis, image_id, params),
            {**DecomposeOptions().model_dump(), **CHOICES},
        ),
        "classify": RadiographTask(
            InferType.CLASSIFICATION,
            None,
            "Abnormality and opacity probability",
            lambda image_id, params: classify(analysis, image_id),
            {},
        ),
    }


class SelectionStrategy(Strategy):
    """One strategy that selects the next image to read.

    Args:
        name: one of :data:`monai_dgm.labelling.active_learning.strategies.STRATEGIES`.
        selection: has the scores of the images.
        submissions: has the labels so far.
        seed: of the random order.
    """

    def __init__(self, name: str, selection: ImageSelection, submissions: Submissions, seed: int) -> None:
        super().__init__(STRATEGY_DESCRIPTIONS[name])
        self.name = name
        self.selection = selection
        self.submissions = submissions
        self.seed = seed

    def choose(self, unusable: Collection[str] = ()) -> str | None:
        """Id of the image to read next, none of ``unusable``; None where all images are labelled."""
        return self.selection.next_image(self.name, self.submissions.labelled().union(unusable), self.seed)

    def __call__(self, request: Any, datastore: Any) -> dict[str, str] | None:
        """MONAI Label's way to call :meth:`choose`."""
        chosen = self.choose()
        return None if chosen is None else {"id": chosen}


def make_strategies(selection: ImageSelection, submissions: Submissions, seed: int) -> dict[str, SelectionStrategy]:
    """The strategies by name; the first one is the default."""
    return {name: SelectionStrategy(name, selection, submissions, seed) for name in STRATEGIES}


class DetectorTrainTask(TrainTask):
    """Fine-tunes the opacity detector on the readers' labels.

    Args:
        training: does it.
    """

    def __init__(self, training: DetectorTraining) -> None:
        super().__init__("Fine-tunes the opacity detector on the readers' labels")
        self.training = training

    def config(self) -> dict[str, Any]:
        """The options with their defaults, as the panel shows them."""
        return FineTuneOptions().model_dump()

    def stats(self) -> dict[str, Any]:
        """Progress."""
        return self.training.stats()

    def __call__(self, request: Mapping[str, Any], datastore: Any) -> dict[str, Any]:
        """MONAI Label's way to begin a training."""
        return self.training.start(request)


def make_trainers(training: DetectorTraining) -> dict[str, DetectorTrainTask]:
    """The trainings, by the name of the model that they improve."""
    return {"detect_opacities": DetectorTrainTask(training)}
