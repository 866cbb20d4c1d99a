"""A run over a source: what is new in it, and results of that."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_dgm.archive.compaction import compact
from monai_dgm.archive.image_files import ImageFiles
from monai_dgm.archive.image_list import ArchiveImage, is_dicomweb, list_images
from monai_dgm.archive.packages import check_installed
from monai_dgm.archive.parts import AGAIN, KEPT, ResultParts
from monai_dgm.archive.ray_run import count_workers, ray_cluster, run_on_ray
from monai_dgm.archive.result_objects import ObjectMaker, ObjectSender
from monai_dgm.archive.rows import FAILED
from monai_dgm.archive.settings import ArchiveSettings
from monai_dgm.archive.stages import ReadImages, RunModels, StoreResults

if TYPE_CHECKING:
    from monai_dgm.labelling.archive.wanted_images import WantedImages

__all__ = ["ArchiveJob", "Cluster"]

CHUNK, CHUNK_WITH_OBJECTS = 32, 8  # images that are read, run and stored together


@dataclass(frozen=True)
class Cluster:
    """Where a run computes.

    Attributes:
        address: of a Ray cluster; None for this machine.
        workers: processes that run networks; None for one a core.
        gpus: share of a GPU that each of them takes.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float = 0.0


@dataclass
class ArchiveJob:
    """A source, where its results go, and by which models.

    Attributes:
        source: as in :func:`monai_dgm.archive.image_list.list_images`.
        parts: folder of the results.
        settings: models and thresholds.
        files: fetches the images.
        sender: of DICOM objects; None for none.
        index: of a DICOMweb source; None for another one.
        chunk: number of images that are read, run and stored together.
    """

    source: str
    parts: ResultParts
    settings: ArchiveSettings
    files: ImageFiles
    sender: ObjectSender | None = None
    index: Any = None
    chunk: int = CHUNK

    @classmethod
    def of(
        cls,
        source: str,
        output: str | os.PathLike[str],
        settings: ArchiveSettings,
        stow: str | None = None,
        login: tuple[str, str] | None = None,
        wanted: WantedImages | None = None,
    ) -> ArchiveJob:
        """A job from what the command is given.

        Args:
            source, settings: as the attributes.
            output: folder of the results.
            stow: address of the DICOMweb service that gets DICOM objects; None makes none.
            login: user and password for the DICOMweb services.
            wanted: radiographs of a DICOMweb source; None for CR, DX and RG of any date.

        Raises:
            InputError: an address that cannot be one, or the extra is not installed.
        """
        check_installed()
        files, index = ImageFiles(source if is_dicomweb(source) else None, login), None
        if files.url is not None:
            from monai_dgm.labelling.archive.instance_index import ArchiveIndex
            from monai_dgm.labelling.archive.wanted_images import WantedImages

            index = ArchiveIndex(files.client(), wanted or WantedImages())
        sender = None
        if stow is not None:
            sender = ObjectSender(ImageFiles(stow, login))
            sender.files.client()  # an address that cannot be one is told now
        # with the pictures of DICOM objects, an image is ten times as large
        chunk = CHUNK if sender is None else CHUNK_WITH_OBJECTS
        return cls(source, ResultParts(output), settings, files, sender, index, chunk)

    def images(self) -> list[ArchiveImage]:
        """What the source has, without the folder of the results; errors as :func:`list_images`."""
        found = list_images(self.source, self.index)
        if self.index is not None or "://" in self.source:
            return found
        return [image for image in found if "://" in image.address or not self._is_result(image.address)]

    def _is_result(self, path: str) -> bool:
        return Path(path).is_relative_to(self.parts.folder)

    def prepare(
        self, retry_failed: bool = False
    ) -> tuple[list[ArchiveImage], tuple[ReadImages, RunModels, StoreResults]]:
        """What is left to do, and the steps that do it; within :meth:`ResultParts.writer`.

        Args:
            retry_failed: also images whose content could not be used.

        Raises:
            InputError: nothing in the source, weights that cannot be used, damaged results.
        """
        images = self.images()
        again = (AGAIN, KEPT[FAILED]) if retry_failed else (AGAIN,)
        self.parts.drop(again, {image.identifier for image in images}, self.settings.key)
        return self.new_ones(images)

    def new_ones(
        self, images: Sequence[ArchiveImage]
    ) -> tuple[list[ArchiveImage], tuple[ReadImages, RunModels, StoreResults]]:
        """Those of some images that have no row by name and stamp, and the steps; errors as :meth:`prepare`."""
        done = self.parts.done(self.settings.key)
        new = [image for image in images if not done.has_stamp(image.identifier, image.stamp)]
        maker = None if self.sender is None else ObjectMaker(self.settings)
        read = ReadImages(self.files, self.settings.sides, done, maker)
        return new, (read, RunModels(self.settings, maker), StoreResults(self.parts, self.settings.key, self.sender))

    def run(self, cluster: Cluster, retry_failed: bool = False) -> Iterator[dict[str, int]]:
        """Do what is not done.

        Args:
            cluster: where.
            retry_failed: also images whose content could not be used.

        Yields:
            at first the number of "new" images; then for each chunk the number of its images of each status.

        Raises:
            InputError: nothing in the source, another run in the same folder, a full disk, weights that cannot be used.
        """
        with self.parts.writer(), ray_cluster(cluster.address, cluster.workers) as ray:
            # after Ray has started: tasks of a driver that was killed have ended, or see that their time is over
            compact(self.parts)
            new, steps = self.prepare(retry_failed)
            yield {"new": len(new)}
            if new:
                workers = cluster.workers or count_workers(ray)
                yield from run_on_ray(ray, new, self.chunk, steps, workers, cluster.gpus)
