"""Which radiograph to label next: the scores of all images, updated in the background, and the choice by them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from monai_dgm.errors import InputError, reason_of
from monai_dgm.labelling.active_learning.image_scores import ImageScores, score_image
from monai_dgm.labelling.active_learning.score_store import ScoreStore
from monai_dgm.labelling.active_learning.strategies import STRATEGIES
from monai_dgm.labelling.server.analysis import RadiographAnalysis
from monai_dgm.labelling.server.background import Background
from monai_dgm.labelling.server.http_errors import UnavailableError
from monai_dgm.labelling.server.request_options import known_name

__all__ = ["ImageSelection"]

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
WORTH_WAITING = 4  # images without scores
FEW_IMAGES = 200  # among more, the choice hardly depends on the last few scores


class ImageSelection:
    """Chooses images by their scores; only new images, and those that an older model scored, are scored.

    Args:
        analysis: of the images.
        scores: store that a restart keeps.
    """

    def __init__(self, analysis: RadiographAnalysis, scores: ScoreStore) -> None:
        self.analysis = analysis
        self.scores = scores
        self.failures: dict[str, str] = {}  # images that cannot be scored, with the reason, since the server's start
        self._background = Background("scoring of images", self._run)

    def model_version(self) -> str:
        """Version of the models that score now."""
        versions = self.analysis.models.versions()
        return f"{versions['decomposer']}+{versions['detector'] or 'saliency'}"

    def score(self, image_id: str) -> ImageScores:
        """Score one image; each model runs at most once. An image that cannot be read has no scores and is chosen last.

        Raises:
            UnavailableError: no trained decomposer.
        """
        version = self.model_version()
        try:
            analysis_result = self.analysis.examine(image_id, uncertainty=True)
            found, salient = self.analysis.detections(image_id), self.analysis.saliency_detections(image_id)
            features, encoder = self.analysis.features(image_id)
        except UnavailableError:
            raise
        except Exception as error:  # whatever one image does, the others are scored
            if not isinstance(error, InputError):
                logger.warning("an image cannot be scored (%s)", type(error).__name__)
            self.failures[image_id] = reason_of(error, "image")
            return ImageScores(image_id, version)
        self.failures.pop(image_id, None)
        detector, saliency = (found.boxes, found.scores), (salient.boxes, salient.scores)
        two_models = saliency if found.source == "detector" else None
        spread = None if analysis_result.uncertainty is None else analysis_result.uncertainty.score
        known = (analysis_result.probability, two_models, features, encoder, spread)
        scores = score_image(image_id, version, detector, *known)
        return replace(scores, remark="; ".join(analysis_result.remarks))

    def remark(self, image_id: str) -> str:
        """Why an image may be no frontal chest radiograph; "" where nothing is wrong, or no decomposer is trained.

        Raises:
            InputError: as :meth:`RadiographAnalysis.examine`.
        """
        if not self.analysis.models.has("decomposer"):
            return ""
        known = self.scores.get(image_id)
        if known is not None and known.model_version == self.model_version():
            return known.remark
        return "; ".join(self.analysis.examine(image_id).remarks)

    def update(self, limit: int | None = None) -> int:
        """Score the images that have no scores of these models, at most ``limit``; returns how many.

        Raises:
            UnavailableError: no trained decomposer.
        """
        missing = self.scores.missing(self.analysis.studies.asked_for(), self.model_version())
        done = 0
        for image_id in self._background.each(missing[:limit]):
            self.scores.put(self.score(image_id))
            done += 1
        return done

    def start(self) -> None:
        """Update the scores in the background, unless that is under way or no decomposer is trained."""
        if self.analysis.models.has("decomposer"):
            self._background.start()

    def retry(self) -> int:
        """Try those that failed again; returns how many."""
        failed = list(self.failures)
        self.scores.forget(failed)
        self.failures.clear()
        self.start()
        return len(failed)

    def stop(self) -> None:
        """End the work in the background after the current image."""
        self._background.stop()

    def next_image(
        self, strategy: str, labelled: Iterable[str], seed: int = 0, patience: float = PATIENCE_SECONDS
    ) -> str | None:
        """The unlabelled image to label next; None where all are labelled.

        Args:
            strategy: one of ``monai_dgm.labelling.active_learning.strategies.STRATEGIES``.
            labelled: images that have a label.
            seed: of the random order.
            patience: seconds to wait for the last few scores that are being computed, at most :data:`WORTH_WAITING`;
                while more are missing, or of more than :data:`FEW_IMAGES` images, the choice is among the scored ones.

        Raises:
            UnknownError: another strategy.
        """
        known_name(strategy, STRATEGIES, "a strategy")
        candidates = self.analysis.studies.ids()
        missing = [] if strategy == "random" else self.scores.missing(candidates, self.model_version())
        if missing:
            self.start()
            if len(missing) <= WORTH_WAITING and len(candidates) <= FEW_IMAGES:
                self._background.wait(patience)
        chosen = self.scores.next_images(strategy, 1, labelled, candidates, seed)
        return chosen[0] if chosen else None

    def _run(self) -> None:
        try:
            count = self.update()
            logger.info("%d images scored for the choice of the next one", count)
        except InputError as error:
            logger.warning("images are not scored: %s", error)
