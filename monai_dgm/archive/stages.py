"""The three steps of a run: read and decode, run the networks, store. Each takes a chunk of images.

On Ray, several processes take chunks through them (:mod:`monai_dgm.archive.ray_run`); called one after the other in a
loop they do the same in one process.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monai_dgm.archive.image_files import ImageFiles, UnreadError
from monai_dgm.archive.image_list import ArchiveImage
from monai_dgm.archive.parts import DoneImages, ResultParts
from monai_dgm.archive.result_objects import ObjectMaker, ObjectSender, SourceImage
from monai_dgm.archive.rows import DONE, FAILED, UNREAD, UNSENT, result_values
from monai_dgm.archive.settings import ArchiveSettings
from monai_dgm.data.fingerprints import hash_file
from monai_dgm.engines.pipeline import RadiographPipeline
from monai_dgm.engines.radiograph_result import RadiographResult
from monai_dgm.errors import InputError, reason_of
from monai_dgm.readers.read import read_radiograph
from monai_dgm.transforms.preparation import PreparedRadiograph, prepare

__all__ = ["ImageWork", "ReadImages", "RunModels", "StoreResults"]

KNOWN = "known"  # another image of this content has a row, whose values count for this one too
SAME = "same"  # this very image has a row


@dataclass(repr=False)  # nobody writes a patient into a log
class ImageWork:
    """One image on its way through the steps.

    Attributes:
        values: of its row, as far as they are known.
        prepared: what the networks take; None for an image that they do not see.
        source: what DICOM objects need of the file; None where none are made.
        objects: its DICOM objects as files; None for none.
    """

    values: dict[str, Any]
    prepared: PreparedRadiograph | None = None
    source: SourceImage | None = None
    objects: list[bytes] | None = None

    @property
    def status(self) -> str:
        """Of the row."""
        return str(self.values["status"])

    def fail(self, reason: str) -> None:
        """Note that the content cannot be used."""
        self.values |= {"status": FAILED, "reason": reason}


class ReadImages:
    """Fetch, hash, decode and prepare images.

    Args:
        files: fetches images.
        sides: of the networks' inputs in pixels.
        done: what has a row.
        maker: of DICOM objects, which need more of the file; None for none.
    """

    def __init__(
        self, files: ImageFiles, sides: Sequence[int], done: DoneImages, maker: ObjectMaker | None = None
    ) -> None:
        self.files = files
        self.sides = tuple(sides)
        self.done = done
        self.maker = maker

    def __call__(self, chunk: Sequence[ArchiveImage]) -> list[ImageWork]:
        """One chunk."""
        return [self._read(image) for image in chunk]

    def _read(self, image: ArchiveImage) -> ImageWork:
        values = {"identifier": image.identifier, "source_stamp": image.stamp, "status": DONE, "reason": None}
        try:
            with self.files.file(image.address) as path:
                content = _hash(path)
                work = ImageWork({**values, "content_sha256": content})
                if self.done.has_image(image.identifier, content):
                    work.values["status"] = SAME
                elif self.done.has_content(content):
                    work.values["status"] = KNOWN
                else:
                    self._decode(path, work)
                return work
        except UnreadError as error:
            return ImageWork({**values, "content_sha256": "", "status": UNREAD, "reason": str(error)})

    def _decode(self, path: os.PathLike[str], work: ImageWork) -> None:
        try:
            radiograph = read_radiograph(path)
            work.prepared = prepare(radiograph, self.sides)
            if self.maker is not None:
                work.source = self.maker.read(path, radiograph, work.prepared)
        except Exception as error:  # whatever a file does, the others are still read
            work.prepared = None
            work.fail(reason_of(error, "image").replace(os.fspath(path), "image"))


def _hash(path: os.PathLike[str]) -> str:
    try:
        return hash_file(path)
    except OSError as error:
        raise UnreadError(f"image: cannot be read ({error.strerror})") from None


class RunModels:
    """Run the networks on the prepared images; the models are loaded with the first chunk.

    Args:
        settings: of the run.
        maker: of DICOM objects; None for none.
        pipeline: that is loaded already; None loads it.
    """

    def __init__(
        self, settings: ArchiveSettings, maker: ObjectMaker | None = None, pipeline: RadiographPipeline | None = None
    ) -> None:
        self.settings = settings
        self.maker = maker
        self._pipeline = pipeline

    @property
    def pipeline(self) -> RadiographPipeline:
        """The models."""
        if self._pipeline is None:
            self._pipeline = self.settings.load()
        return self._pipeline

    def __call__(self, chunk: Sequence[ImageWork]) -> list[ImageWork]:
        """One chunk, with the results, and without what the networks took."""
        usable, size = [work for work in chunk if work.prepared is not None], self.settings.batch_size
        for start in range(0, len(usable), size):
            self._run(usable[start : start + size])
        return [ImageWork({**work.values, **self.settings.columns()}, objects=work.objects) for work in chunk]

    def _run(self, batch: Sequence[ImageWork]) -> None:
        """Add the results of a batch."""
        try:
            results = self.pipeline([work.prepared for work in batch if work.prepared is not None])
        except Exception as error:
            if len(batch) > 1:  # one of them; the others have results
                for work in batch:
                    self._run([work])
                return
            results = [InputError(reason_of(error, "image"))]
        for work, result in zip(batch, results, strict=True):
            if isinstance(result, RadiographResult):
                self._add(work, result)
            else:
                work.fail(str(result))

    def _add(self, work: ImageWork, result: RadiographResult) -> None:
        settings = self.settings
        try:
            if self.maker is not None and work.source is not None:
                work.objects = self.maker.make(work.source, result)
            work.values |= result_values(result, settings.score_threshold, settings.burden_threshold)
        except Exception as error:  # whatever one image does, the others go on
            work.fail(reason_of(error, "image"))


class StoreResults:
    """Send the DICOM objects, then write the rows.

    Args:
        parts: folder of the results.
        settings_key: of the run.
        sender: of DICOM objects; None for none.
    """

    def __init__(self, parts: ResultParts, settings_key: str, sender: ObjectSender | None = None) -> None:
        self.parts = parts
        self.settings_key = settings_key
        self.sender = sender

    def __call__(self, chunk: Sequence[ImageWork]) -> dict[str, int]:
        """One chunk; how many images of each status it has, and the bytes of the Parquet files."""
        self._fill_known(chunk)
        for work in chunk:
            if self.sender is not None and work.objects is not None:
                self._send(work, self.sender)
        size = self.parts.store([work.values for work in chunk if work.status != SAME])
        counts = {name: sum(work.status == name for work in chunk) for name in (DONE, FAILED, UNREAD, UNSENT, SAME)}
        return {**counts, "bytes": size}

    def _fill_known(self, chunk: Sequence[ImageWork]) -> None:
        """Give images of known content the values of the image that has them."""
        known = [work for work in chunk if work.status == KNOWN]
        found = self.parts.rows_of((work.values["content_sha256"] for work in known), self.settings_key)
        for work in known:
            own = {name: work.values[name] for name in ("identifier", "source_stamp")}
            work.values = {**found[work.values["content_sha256"]], **own, "objects": None}

    def _send(self, work: ImageWork, sender: ObjectSender) -> None:
        assert work.objects is not None
        try:
            work.values["objects"] = sender.send(work.objects)
        except InputError as error:  # one line without identifiers
            work.values |= {"status": UNSENT, "reason": str(error)}
