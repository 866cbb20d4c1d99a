"""Whether a radiograph looks like an upright frontal chest: the checks of its lungs and of its orientation together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dgm.engines.lungs.chest_check import ChestReference, chest_plausibility
from monai_dgm.transforms.geometry import RadiographGeometry

__all__ = ["ChestCheck", "check_chest"]


@dataclass(frozen=True)
class ChestCheck:
    """Whether a radiograph looks like a frontal chest.

    Attributes:
        looks_like_chest: what the lungs found in it say; None where that was not checked.
        chest_score: distance from the training chests in units of the threshold; None where that was not checked.
        remarks: reasons why it may be no frontal chest radiograph, those of the file's header among them, and notes.
        notes: those of the remarks that question nothing, see :class:`monai_dgm.readers.radiograph.Radiograph`.
    """

    looks_like_chest: bool | None = None
    chest_score: float | None = None
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def doubts(self) -> tuple[str, ...]:
        """The remarks without the notes: where there is one, results are shown and sent only to those who ask."""
        return tuple(remark for remark in self.remarks if remark not in self.notes)

    def as_dict(self) -> dict[str, Any]:
        """The attributes as JSON can hold them; notes are among the remarks."""
        named = {"looks_like_chest": self.looks_like_chest, "chest_score": self.chest_score}
        return {**named, "remarks": list(self.remarks)}


def check_chest(
    probability: NDArray[np.float32],
    geometry: RadiographGeometry,
    reference: ChestReference | None,
    remarks: Sequence[str] = (),
    turned: tuple[str, float] = ("", 0.0),
    notes: Sequence[str] = (),
) -> ChestCheck:
    """Check one radiograph.

    Args:
        probability: of lung, (S, S) in model coordinates.
        geometry: of the radiograph.
        reference: of the segmentor; without one the lungs are not checked.
        remarks: of the file's header.
        turned: result of :meth:`monai_dgm.engines.lungs.segmentor.LungSegmentor.turned`.
        notes: those of the remarks that question nothing.
    """
    words, score = turned
    reasons = [f"this does not look like a frontal chest: {words}"] if words else []
    if reference is None and not words:
        return ChestCheck(remarks=tuple(remarks), notes=tuple(notes))
    if reference is not None:
        plausible, reason, distance = chest_plausibility(probability[geometry.content], reference)
        reasons += [] if plausible else [reason]
        score = max(score, distance)
    return ChestCheck(not reasons, round(score, 4), (*reasons, *remarks), tuple(notes))
