"""The label app as the platform starts it, but its models' boxes are known: tests can say where they ought to be.

python tests/apps/ohif/server_with_boxes.py start_server --app apps/radiology_dgm --studies ...
"""

from __future__ import annotations

import runpy
from typing import Any

import numpy as np

from monai_dgm.labelling.server.analysis import Detections, RadiographAnalysis
from monai_dgm.labelling.server.models import LabellingModels

VERSION = "detector-of-the-test"
# two boxes of every radiograph as shares of its width and height, and their scores
SHARES = np.array([[0.20, 0.30, 0.40, 0.50], [0.60, 0.28, 0.80, 0.55]], dtype=np.float32)
SCORES = np.array([0.87, 0.54], dtype=np.float32)


def known_boxes(rows: int, cols: int) -> np.ndarray:
    """The boxes (2, 4) of a radiograph in pixels."""
    return SHARES * np.array([cols, rows, cols, rows], dtype=np.float32)


def detections(self: RadiographAnalysis, image_id: str) -> Detections:
    """In the place of the detector's."""
    placement = self.placement(image_id)
    boxes = known_boxes(placement.rows, placement.cols)
    return Detections(boxes, SCORES, "detector", VERSION, placement, 0.0)


def versions(self: LabellingModels, known: Any = LabellingModels.versions) -> dict[str, str | None]:
    """As the models', but for the detector, whose boxes are known."""
    return {**known(self), "detector": VERSION}


if __name__ == "__main__":
    LabellingModels.versions = versions  # type: ignore[method-assign]
    RadiographAnalysis.detections = detections  # type: ignore[method-assign]
    runpy.run_module("monailabel.main", run_name="__main__", alter_sys=True)
