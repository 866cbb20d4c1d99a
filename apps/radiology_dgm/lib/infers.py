"""The app's inference tasks, as the platform lists and calls them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from monai_dgm.labelling.labels.image_label import OPACITY
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.analysis_results import (
    FIXED_THRESHOLD,
    MAPS,
    THRESHOLDS,
    Answer,
    classify,
    decompose,
    detect,
)

Run = Callable[[str, Mapping[str, Any]], Answer]


class RadiographTask(InferTask):
    """One model.

    Args:
        kind: the platform's type of it.
        label: that it draws; None for none.
        description: for users.
        run: (image id, options) to an answer.
        config: the options with their defaults, a list for a choice, as the panel shows them.
    """

    def __init__(
        self,
        kind: InferType,
        label: str | None,
        description: str,
        run: Run,
        config: Mapping[str, Any],
    ) -> None:
        super().__init__(kind, label, 2, description, dict(config))
        self.run = run

    def is_valid(self) -> bool:
        """Whether it can be called; without a decomposer it answers with the way to train one."""
        return True

    def answer(self, image_id: str, params: Mapping[str, Any]) -> Answer:
        """Run it."""
        return self.run(image_id, params)

    def __call__(self, request: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """The platform's way to call it: (path of a temporary file, which the caller removes, figures)."""
        answer = self.answer(str(request["image"]), request)
        if answer.name is None:
            return None, answer.params
        with tempfile.NamedTemporaryFile(suffix=f"-{answer.name}", delete=False) as file:
            file.write(answer.content)
        return file.name, answer.params


def make_infers(analysis: RadiographAnalysis) -> dict[str, RadiographTask]:
    """The tasks by name."""
    return {
        "detect_opacities": RadiographTask(
            InferType.DETECTION,
            OPACITY,
            "Boxes of lung opacities; of the saliency where no detector is trained",
            lambda image_id, params: detect(analysis, image_id, params),
            {"score_threshold": ""},
        ),
        "decompose": RadiographTask(
            InferType.SEGMENTATION,
            "saliency",
            "Saliency of the residue as a label; other maps by the option map",
            lambda image_id, params: decompose(analysis, image_id, params),
            {"map": list(MAPS), "threshold": list(THRESHOLDS), "fixed_threshold": FIXED_THRESHOLD},
        ),
        "classify": RadiographTask(
            InferType.CLASSIFICATION,
            None,
            "Abnormality and opacity probability",
            lambda image_id, params: classify(analysis, image_id),
            {},
        ),
    }
