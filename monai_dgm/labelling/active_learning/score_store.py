"""Stored scores of images, so that only new images, and those scored by an older model, are scored again."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from monai_dgm.errors import InputError
from monai_dgm.labelling.active_learning.feature_distances import FeatureDistances
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
    "features BLOB, feature_version TEXT NOT NULL, remark TEXT NOT NULL",
    "forgotten": "number INTEGER NOT NULL",  # how often rows were deleted
}
_ADVICE = "delete it, and images are scored again"


class ScoreStore:
    """The latest scores of each image, in an SQLite file. Safe with several threads and processes.

    The rows are kept in memory too, and only those that were written since the last look are read: a row that is
    written gets a larger number (SQLite's rowid) than all others, as long as none is deleted.

    Args:
        path: the file; it is made, with its folder, if it is missing.
        timeout: seconds to wait while another process writes.

    Raises:
        InputError: a file that is not such a store.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float = 60.0) -> None:
        self._file = SqliteFile(path, _TABLES, _FORMAT, "image scores", _ADVICE, renewable=True, timeout=timeout)
        self.path = self._file.path
        self._lock = threading.Lock()
        self._known: dict[str, ImageScores] = {}
        self._seen = (0, 0)  # number of deletions, and largest rowid
        self._distances = FeatureDistances()
        self._choosing = threading.Lock()

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
        return sorted(self._current().values(), key=lambda item: item.image_id)

    def by_image(self) -> Mapping[str, ImageScores]:
        """The scores of all images by image id."""
        return self._current()

    def missing(self, image_ids: Iterable[str], model_version: str) -> list[str]:
        """The images among ``image_ids`` to be scored: first those without scores, then those scored by another model;
        both in the given order."""
        known = self._current()
        wanted = list(dict.fromkeys(image_ids))
        older = [name for name in wanted if name in known and known[name].model_version != model_version]
        return [name for name in wanted if name not in known] + older

    def forget(self, image_ids: Iterable[str]) -> None:
        """Delete the scores of images that do not exist any more."""
        with self._file.writing() as connection:
            connection.executemany("DELETE FROM scores WHERE image_id = ?", [(name,) for name in image_ids])
            connection.execute("INSERT INTO forgotten SELECT COUNT(*) + 1 FROM forgotten")

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
        known = self._current()
        labelled = set(exclude)
        names: Sequence[str] = list(known if candidates is None else dict.fromkeys(candidates))
        pool = [known.get(name) or _no_scores(name) for name in names if name not in labelled]
        pool = [item for item in pool if not item.remark]
        labelled_scores = [known[name] for name in sorted(labelled) if name in known]
        with self._choosing:
            return select_images(pool, n, strategy, labelled_scores, seed, weights, self._distances)

    def _current(self) -> dict[str, ImageScores]:
        """The scores of all images as they are now; not to be changed."""
        with self._lock, self._file.reading() as connection:
            connection.execute("BEGIN")  # both queries see the same rows
            forgotten = connection.execute("SELECT COUNT(*) FROM forgotten").fetchone()[0]
            known, last = self._known, self._seen[1]
            if forgotten != self._seen[0]:
                known, last = {}, 0
            rows = connection.execute(f"SELECT rowid, {_COLUMNS} FROM scores WHERE rowid > ?", (last,)).fetchall()
            if rows or known is not self._known:
                self._known = {**known, **{str(row[1]): _from_row(row[1:]) for row in rows}}
                self._seen = forgotten, max((int(row[0]) for row in rows), default=last)
            return self._known


@lru_cache(maxsize=100_000)  # the same images are asked for again and again
def _no_scores(image_id: str) -> ImageScores:
    return ImageScores(image_id, "")


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
