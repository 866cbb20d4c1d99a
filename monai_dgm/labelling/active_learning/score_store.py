"""Stored scores of images, so that only new images, and those scored by an older model, are scored again."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from monai_dgm.errors import InputError
from monai_dgm.labelling.active_learning.image_scores import ImageScores
from monai_dgm.labelling.active_learning.strategies import SCORES, select_images
from monai_dgm.labelling.labels.image_label import MAX_IMAGE_ID, MAX_VERSION, checked_text
from monai_dgm.utils.sqlite import SqliteFile

MAX_FEATURES = 8192
_FORMAT = 4  # increased when the meaning of the scores changes: a file of another format is emptied
_NAMES = ("image_id", "model_version", *SCORES, "features", "feature_version", "remark")
_COLUMNS, _PLACEHOLDERS = ", ".join(_NAMES), ", ".join("?" * len(_NAMES))
_TABLES = {
    "scores": f"image_id TEXT PRIMARY KEY, model_version TEXT NOT NULL, {' REAL, '.join(SCORES)} REAL, "
    "features BLOB, feature_version TEXT NOT NULL, remark TEXT NOT NULL"
}
_ADVICE = "delete it, and images are scored again"


class ScoreStore:
    """The latest scores of each image, in an SQLite file.

    Args:
        path: the file; it is made, with its folder, if it is missing.
        timeout: seconds to wait while another process writes.

    Raises:
        InputError: a file that is not such a store.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float = 60.0) -> None:
        self._file = SqliteFile(path, _TABLES, _FORMAT, "image scores", _ADVICE, renewable=True, timeout=timeout)
        self.path = self._file.path

    def put(self, scores: ImageScores | Iterable[ImageScores]) -> None:
        """Store the scores of one or several images. If it raises, none of them is stored.

        Raises:
            InputError: an id or a version that is not text, a score or a feature that is not finite, or too many
            features.
        """
        rows = [_as_row(item) for item in ([scores] if isinstance(scores, ImageScores) else scores)]
        with self._file.writing() as connection:
            connection.executemany(f"INSERT OR REPLACE INTO scores ({_COLUMNS}) VALUES ({_PLACEHOLDERS})", rows)

    def get(self, image_id: str) -> ImageScores | None:
        """The scores of an image; None where there are none."""
        checked_text(image_id, "an image id", MAX_IMAGE_ID)
        with self._file.reading() as connection:
            query = f"SELECT {_COLUMNS} FROM scores WHERE image_id = ?"
            row = connection.execute(query, (image_id,)).fetchone()
        return None if row is None else _from_row(row)

    def all(self) -> list[ImageScores]:
        """The scores of all images, by image id."""
        with self._file.reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM scores").fetchall()
        return sorted((_from_row(row) for row in rows), key=lambda item: item.image_id)

    def missing(self, image_ids: Iterable[str], model_version: str) -> list[str]:
        """The images among ``image_ids`` to be scored: first those without scores, then those scored by another model;
        both in the given order."""
        with self._file.reading() as connection:
            known = dict(connection.execute("SELECT image_id, model_version FROM scores").fetchall())
        wanted = list(dict.fromkeys(image_ids))
        older = [name for name in wanted if known.get(name, model_version) != model_version]
        return [name for name in wanted if name not in known] + older

    def forget(self, image_ids: Iterable[str]) -> None:
        """Delete the scores of images that do not exist any more."""
        with self._file.writing() as connection:
            connection.executemany("DELETE FROM scores WHERE image_id = ?", [(name,) for name in image_ids])

    def next_images(
        self,
        strategy: str = "combined",
        n: int = 1,
        exclude: Iterable[str] = (),
        candidates: Iterable[str] | None = None,
        seed: int = 0,
        weights: Mapping[str, float] | None = None,
    ) -> list[str]:
        """The ``n`` images to label next, see :func:`monai_dgm.labelling.active_learning.strategies.select_images`.

        No image is scored here: scores of an older model are used until they are replaced, and images without scores
        come last, in random order. Images with a remark, which may be no frontal chest radiographs, are left out.

        Args:
            strategy: of :data:`monai_dgm.labelling.active_learning.strategies.STRATEGIES`.
            n: number of images.
            exclude: images that are labelled already.
            candidates: images to choose from; by default, all images with scores.
            seed: of the random order.
            weights: of the terms of "combined".

        Raises:
            InputError: as :func:`select_images`.
        """
        known = {item.image_id: item for item in self.all()}
        labelled = set(exclude)
        names: Sequence[str] = list(known if candidates is None else dict.fromkeys(candidates))
        pool = [known.get(name) or ImageScores(name, "") for name in names if name not in labelled]
        pool = [item for item in pool if not item.remark]
        labelled_scores = [known[name] for name in sorted(labelled) if name in known]
        return select_images(pool, n, strategy, labelled_scores, seed, weights)


def _as_row(item: ImageScores) -> tuple[Any, ...]:
    checked_text(item.image_id, "an image id", MAX_IMAGE_ID)
    checked_text(item.model_version, "a model version", MAX_VERSION)
    if item.feature_version:
        checked_text(item.feature_version, "a feature version", MAX_VERSION)
    values = [getattr(item, name) for name in SCORES]
    for name, value in zip(SCORES, values, strict=True):
        if value is not None and not math.isfinite(value):
            raise InputError(f"expected a finite {name}, got {value}")
    blob = None
    if item.features is not None:
        features = np.asarray(item.features, dtype="<f4")
        if features.ndim != 1 or not 1 <= features.size <= MAX_FEATURES or not np.isfinite(features).all():
            raise InputError(f"expected 1 to {MAX_FEATURES} finite features, got shape {features.shape}")
        blob = features.tobytes()
    known = [None if value is None else float(value) for value in values]
    return (item.image_id, item.model_version, *known, blob, item.feature_version or "", item.remark)


def _from_row(row: tuple[Any, ...]) -> ImageScores:
    image_id, model_version, *known, blob, feature_version, remark = row
    features = None if blob is None else np.frombuffer(blob, dtype="<f4")
    scores = dict(zip(SCORES, known, strict=True))
    more = {"features": features, "feature_version": feature_version, "remark": remark}
    return ImageScores(image_id, model_version, **scores, **more)
