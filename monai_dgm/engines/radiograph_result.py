"""What the models of a pipeline say of one radiograph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_dgm.engines.lungs.image_check import ChestCheck
from monai_dgm.engines.residues.decomposed_radiograph import Decomposition
from monai_dgm.engines.residues.uncertainty import ResidueUncertainty
from monai_dgm.transforms.preparation import PreparedRadiograph

__all__ = ["OpacityBoxes", "RadiographResult"]

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class OpacityBoxes:
    """Opacity boxes of one radiograph.

    Attributes:
        boxes: float32 (N, 4) in the original's pixels, within the original, best first.
        scores: float32 (N,) in [0, 1].
    """

    boxes: FloatArray
    scores: FloatArray

    def above(self, threshold: float) -> OpacityBoxes:
        """The boxes of score ``threshold`` or more."""
        kept = self.scores >= threshold
        return OpacityBoxes(self.boxes[kept], self.scores[kept])


@dataclass(frozen=True, eq=False)
class RadiographResult:
    """What the models of a pipeline say of one radiograph.

    Attributes:
        prepared: the model input, with the lung mask where lungs are known.
        lung_probability: of the lung segmentor, float32 (S, S) in [0, 1]; None without one.
        lung_mask_source: "given" with the radiograph, "predicted" by the segmentor, or None where no lungs are known.
        chest_check: whether this looks like a frontal chest, with the remarks of the file's header.
        decomposition: None without a residue system.
        features: of the residue encoder, averaged over the image, float32 (D,); None from a system without one.
        opacities: all boxes of the detector; None without one.
        class_probability: of the classifier's label 1, in [0, 1]; None without one.
        uncertainty: of the residue; None where it was not asked for.
    """

    prepared: PreparedRadiograph
    lung_probability: FloatArray | None
    lung_mask_source: str | None
    chest_check: ChestCheck
    decomposition: Decomposition | None = None
    features: FloatArray | None = None
    opacities: OpacityBoxes | None = None
    class_probability: float | None = None
    uncertainty: ResidueUncertainty | None = None

    @property
    def residue(self) -> FloatArray | None:
        """The residue a, (S, S); None without a residue system."""
        return None if self.decomposition is None else self.decomposition.residue
